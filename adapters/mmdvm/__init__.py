"""MMDVMHost: what a hotspot or repeater tells over MQTT of the radios that it hears."""
