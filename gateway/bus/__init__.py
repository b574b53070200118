"""The MQTT bus: topics, the CloudEvents codec, the client with birth and will, the broker."""
