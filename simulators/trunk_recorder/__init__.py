"""A simulated trunk-recorder whose MQTT status plugin tells of radios on trunked systems."""

from simulators.mqtt_publisher import BrokerPlace
from simulators.trunk_recorder.documents import Site
from simulators.trunk_recorder.recorder import Radio, TrunkRecorder

__all__ = ["BrokerPlace", "Radio", "Site", "TrunkRecorder"]
