CREATE TABLE mqtt_user (username text PRIMARY KEY, password_hash text NOT NULL);
CREATE EXTENSION IF NOT EXISTS pgcrypto;
INSERT INTO mqtt_user VALUES ('car-7', crypt('its password', gen_salt('bf', 10)));
