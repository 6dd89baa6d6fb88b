-- The password of alice is wonderland: echo wonderland | java -jar target/login-jdbc.jar hash
CREATE TABLE IF NOT EXISTS mqtt_user (username VARCHAR(255) PRIMARY KEY, password VARCHAR(255) NOT NULL);
MERGE INTO mqtt_user VALUES
  ('alice', 'pbkdf2-sha256$10000$fGzshqpJ/CzPdOsfR3U2Kw==$ibJPWtu1a6KbVO56y7//q3/HD1MfR3eQ0SF/Fv8oERo=');
