"""The payloads of the bus and their codec: CloudEvents and plain JSON objects. Pure.

Source: CloudEvents 1.0, MQTT binding, structured mode; the contract's MQTT chapter.
"""

import dataclasses
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

TYPE_PREFIX = "hutong."


class UnreadableMessage(ValueError):
    """A payload that is not what its topic promises; the message says what is wrong."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CloudEvent:
    """An occurrence or a decision on the bus.

    type: without ``hutong.``, such as ``floor.taken``. subject: channel, point or system id.
    sequence counts from 1 within epoch of one writer. uptime_ms: the writer's monotonic clock.
    """

    id: str
    source: str
    type: str
    subject: str
    time: str
    epoch: str
    sequence: int
    uptime_ms: int
    data: Mapping[str, Any]


def rfc3339(moment: datetime) -> str:
    """UTC with milliseconds and ``Z``."""
    text = moment.astimezone(UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def encode(payload: Mapping[str, Any]) -> bytes:
    return msgspec.json.encode(payload)


def decode(payload: bytes) -> dict[str, Any]:
    """A JSON object. Raises: UnreadableMessage."""
    try:
        value = msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableMessage(f"not JSON: {error}") from None
    if not isinstance(value, dict):
        raise UnreadableMessage(f"a JSON object was expected, not {type(value).__name__}")
    return value


def cloud_event_object(event: CloudEvent) -> dict[str, Any]:
    """The JSON object of an event, as on the wire."""
    return {
        "specversion": "1.0",
        "id": event.id,
        "source": event.source,
        "type": TYPE_PREFIX + event.type,
        "subject": event.subject,
        "time": event.time,
        "datacontenttype": "application/json",
        "sequence": f"{event.sequence:020d}",
        "epoch": event.epoch,
        "uptimems": event.uptime_ms,
        "data": dict(event.data),
    }


def encode_event(event: CloudEvent) -> bytes:
    return encode(cloud_event_object(event))


class _Wire(msgspec.Struct):
    id: str
    source: str
    type: str
    subject: str
    time: str
    epoch: str
    sequence: str | int
    uptimems: str | int
    data: dict[str, Any] = {}


_WIRE = msgspec.json.Decoder(_Wire)


def decode_event(payload: bytes) -> CloudEvent:
    """Unknown fields are ignored. Raises: UnreadableMessage naming the field."""
    try:
        wire = _WIRE.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _decode_slowly(payload)
    kind = wire.type
    if not (kind.startswith(TYPE_PREFIX) and wire.id and wire.source and wire.subject):
        return _decode_slowly(payload)
    if not (wire.time and wire.epoch):
        return _decode_slowly(payload)
    return CloudEvent(
        id=wire.id,
        source=wire.source,
        type=kind[len(TYPE_PREFIX) :],
        subject=wire.subject,
        time=wire.time,
        epoch=wire.epoch,
        sequence=_count("sequence", wire.sequence),
        uptime_ms=_count("uptimems", wire.uptimems),
        data=wire.data,
    )


def _decode_slowly(payload: bytes) -> CloudEvent:
    """Field by field, to say what is wrong with it."""
    value = decode(payload)
    kind = _text(value, "type")
    if not kind.startswith(TYPE_PREFIX):
        raise UnreadableMessage(f"type {kind!r} does not begin with {TYPE_PREFIX!r}")
    data = value.get("data", {})
    if not isinstance(data, dict):
        raise UnreadableMessage("data is not an object")
    return CloudEvent(
        id=_text(value, "id"),
        source=_text(value, "source"),
        type=kind.removeprefix(TYPE_PREFIX),
        subject=_text(value, "subject"),
        time=_text(value, "time"),
        epoch=_text(value, "epoch"),
        sequence=_number(value, "sequence"),
        uptime_ms=_number(value, "uptimems"),
        data=data,
    )


def _text(value: Mapping[str, Any], field: str) -> str:
    text = value.get(field)
    if not isinstance(text, str) or not text:
        raise UnreadableMessage(f"{field} is missing or not text")
    return text


def _number(value: Mapping[str, Any], field: str) -> int:
    return _count(field, value.get(field))


def _count(field: str, number: object) -> int:
    if isinstance(number, str) and number.isascii() and number.isdecimal() and len(number) <= 20:
        return int(number)
    if isinstance(number, int) and not isinstance(number, bool) and number >= 0:
        return number
    raise UnreadableMessage(f"{field} is missing or not a number")


@dataclasses.dataclass(slots=True)
class Repeats:
    """Drops what one writer sent before: within an epoch only a higher sequence passes.

    gaps: how many sequence numbers were jumped over.
    """

    epoch: str = ""
    last: int = 0
    gaps: int = 0

    def passes(self, epoch: str, sequence: int) -> bool:
        if epoch != self.epoch:
            self.epoch, self.last = epoch, sequence
            return True
        if sequence <= self.last:
            return False
        self.gaps += sequence - self.last - 1
        self.last = sequence
        return True
