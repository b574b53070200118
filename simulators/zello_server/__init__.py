"""A simulated carrier push-to-talk server that speaks the Zello Channel API, with phones."""

from simulators.zello_server.phone import HeardStream, HeardText, Phone
from simulators.zello_server.record import Kind, Log, Record
from simulators.zello_server.server import ZelloServer

__all__ = ["HeardStream", "HeardText", "Kind", "Log", "Phone", "Record", "ZelloServer"]
