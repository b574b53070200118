"""trunk-recorder: what its MQTT status plugin tells of the trunked systems that it listens to."""
