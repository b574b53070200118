"""The one MQTT reader, for kinds whose wire is a feed on somebody's broker."""
