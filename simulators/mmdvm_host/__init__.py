"""A simulated MMDVMHost that tells over MQTT of radios in the modes that it hears."""

from simulators.mmdvm_host.host import MmdvmHost, Radio
from simulators.mqtt_publisher import BrokerPlace

__all__ = ["BrokerPlace", "MmdvmHost", "Radio"]
