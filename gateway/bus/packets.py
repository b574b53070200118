"""MQTT 3.1.1 packets of a client that uses QoS 0 and 1: bytes to packets and back. Pure.

Source: MQTT Version 3.1.1, OASIS Standard, chapters 2 and 3.
"""

import dataclasses
import enum
import struct
from collections.abc import Sequence

MOST_BYTES = 268_435_455
"""The longest remaining length that the format can tell."""
MOST_PACKET_IDS = 0xFFFF


class Kind(enum.IntEnum):
    """The upper four bits of a packet's first byte."""

    CONNECT = 1
    CONNACK = 2
    PUBLISH = 3
    PUBACK = 4
    SUBSCRIBE = 8
    SUBACK = 9
    UNSUBSCRIBE = 10
    UNSUBACK = 11
    PINGREQ = 12
    PINGRESP = 13
    DISCONNECT = 14


class MalformedPacket(ValueError):
    """What came is not MQTT 3.1.1, or nothing that a client of ours asked for."""


PINGREQ = bytes((Kind.PINGREQ << 4, 0))
DISCONNECT = bytes((Kind.DISCONNECT << 4, 0))
_PUBLISH = int(Kind.PUBLISH) << 4
_QOS_1 = 0x02
_RETAIN = 0x01
_CLEAN_SESSION, _WILL, _WILL_QOS_1, _WILL_RETAIN = 0x02, 0x04, 0x08, 0x20
_PASSWORD, _USERNAME = 0x40, 0x80
_REFUSED = 0x80


@dataclasses.dataclass(frozen=True, slots=True)
class Publish:
    """A message that came. packet_id: 0 for QoS 0."""

    topic: str
    payload: bytes
    packet_id: int


# --- what a client sends ----------------------------------------------------------------------


def connect(
    client_id: str,
    *,
    keepalive_s: int,
    username: str | None = None,
    password: str | None = None,
    will: tuple[str, bytes] | None = None,
) -> bytes:
    """With a clean session. will: topic and payload, retained, QoS 1."""
    flags = _CLEAN_SESSION
    parts = [_text(client_id)]
    if will is not None:
        flags |= _WILL | _WILL_QOS_1 | _WILL_RETAIN
        parts += [_text(will[0]), _counted(will[1])]
    if username is not None:
        flags |= _USERNAME
        parts.append(_text(username))
        if password is not None:
            flags |= _PASSWORD
            parts.append(_text(password))
    head = _text("MQTT") + struct.pack("!BBH", 4, flags, keepalive_s)
    return _packet(int(Kind.CONNECT) << 4, head + b"".join(parts))


def publish(topic: str, payload: bytes, *, packet_id: int = 0, retain: bool = False) -> bytes:
    """packet_id: 0 for QoS 0, else QoS 1. Raises: ValueError for what is too long to be sent."""
    name = topic.encode()
    first = _PUBLISH | (_RETAIN if retain else 0)
    if not packet_id:
        return _packet(first, struct.pack("!H", len(name)) + name + payload)
    head = struct.pack("!H", len(name)) + name + struct.pack("!H", packet_id)
    return _packet(first | _QOS_1, head + payload)


def puback(packet_id: int) -> bytes:
    return struct.pack("!BBH", int(Kind.PUBACK) << 4, 2, packet_id)


def subscribe(packet_id: int, pattern: str, qos: int) -> bytes:
    body = struct.pack("!H", packet_id) + _text(pattern) + bytes((qos,))
    return _packet(int(Kind.SUBSCRIBE) << 4 | 0x02, body)


def unsubscribe(packet_id: int, pattern: str) -> bytes:
    body = struct.pack("!H", packet_id) + _text(pattern)
    return _packet(int(Kind.UNSUBSCRIBE) << 4 | 0x02, body)


def _packet(first: int, body: bytes) -> bytes:
    left = len(body)
    if left < 128:
        return bytes((first, left)) + body
    if left > MOST_BYTES:
        raise ValueError(f"a packet of {left} bytes is too long for MQTT")
    length = bytearray()
    while True:
        left, low = left >> 7, left & 0x7F
        length.append(low | 0x80 if left else low)
        if not left:
            return bytes((first, *length)) + body


def _text(text: str) -> bytes:
    return _counted(text.encode())


def _counted(data: bytes) -> bytes:
    if len(data) > 0xFFFF:
        raise ValueError(f"{len(data)} bytes are too long for a field of MQTT")
    return struct.pack("!H", len(data)) + data


# --- what a client gets -----------------------------------------------------------------------


def next_packet(data: bytes | bytearray, at: int) -> tuple[int, int, int] | None:
    """The packet that begins at `at`: its first byte, where its body begins, where it ends; None
    while it is not there as a whole. Raises: MalformedPacket."""
    shift = length = 0
    for place in range(at + 1, min(at + 5, len(data))):
        byte = data[place]
        length |= (byte & 0x7F) << shift
        if byte < 128:
            end = place + 1 + length
            return (data[at], place + 1, end) if end <= len(data) else None
        shift += 7
    if len(data) - at > 4:
        raise MalformedPacket("a length of more than four bytes")
    return None


def read_publish(first: int, body: bytes) -> Publish:
    """first: the packet's first byte. Raises: MalformedPacket."""
    qos = first >> 1 & 3
    if qos > 1:
        raise MalformedPacket(f"a message of QoS {qos}, which nobody asked for")
    if len(body) < 2:
        raise MalformedPacket("a message without topic")
    begin = 2 + (body[0] << 8 | body[1])
    rest = begin + 2 if qos else begin
    if len(body) < rest:
        raise MalformedPacket("a message that ends in its topic")
    packet_id = body[begin] << 8 | body[begin + 1] if qos else 0
    if qos and not packet_id:
        raise MalformedPacket("a message of QoS 1 without packet identifier")
    try:
        topic = body[2:begin].decode()
    except UnicodeDecodeError:
        raise MalformedPacket("a topic that is no UTF-8") from None
    return Publish(topic, body[rest:], packet_id)


def read_connack(body: bytes) -> int:
    """The return code, 0 for welcome. Raises: MalformedPacket."""
    if len(body) != 2:
        raise MalformedPacket(f"a CONNACK of {len(body)} bytes")
    return body[1]


def read_packet_id(body: bytes) -> int:
    """Of a PUBACK, a SUBACK or an UNSUBACK. Raises: MalformedPacket."""
    if len(body) < 2:
        raise MalformedPacket("an acknowledgement without packet identifier")
    return body[0] << 8 | body[1]


def granted(body: bytes) -> Sequence[bool]:
    """Of each filter of a SUBSCRIBE: was it granted?"""
    return [code < _REFUSED for code in body[2:]]
