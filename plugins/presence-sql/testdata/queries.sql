SELECT count(*) FROM mqtt_online;
SELECT node, connected_at, disconnected_at, reason FROM mqtt_sessions WHERE client = 'device-7' ORDER BY id;
