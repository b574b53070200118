"""The feed of trunk-recorder's MQTT status plugin: JSON documents → typed messages. Pure.

Source: taclane/trunk-recorder-mqtt-status at 2b571fd, README.md, example_messages.md and
mqtt_status_plugin.cc. Before 13 November 2023 (5c2ce20) every number and truth value of it was a
string; both are read.
"""

import contextlib
import dataclasses
import enum
import json
import math
from typing import Any

UNKNOWN_POWER = 999.0
"""What signal and noise are when they were not measured."""
LARGEST_DOCUMENT = 4 << 20
LARGEST_NUMBER = 1 << 48
LONGEST_TEXT = 200
MOST_PATCHES = 16


class MalformedDocumentError(ValueError):
    """A document is not of the feed. where: a JSON path such as ``$.calls[2].talkgroup``."""

    def __init__(self, reason: str, where: str) -> None:
        super().__init__(f"{reason} (at {where})")
        self.reason = reason
        self.where = where


class CallState(enum.IntEnum):
    """`call_state`, and `rec_state` of a call's recorder. Others exist and mean nothing here."""

    COMPLETED = -1
    MONITORING = 0
    RECORDING = 1
    INACTIVE = 2
    ACTIVE = 3
    IDLE = 4
    STOPPED = 6
    AVAILABLE = 7
    IGNORE = 8


class Monitoring(enum.IntEnum):
    """`mon_state`: why a call that is followed is not recorded."""

    UNSPECIFIED = 0
    UNKNOWN_TG = 1
    IGNORED_TG = 2
    NO_SOURCE = 3
    NO_RECORDER = 4
    ENCRYPTED = 5
    DUPLICATE = 6
    SUPERSEDED = 7


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """instance_id: which trunk-recorder. timestamp_s: its own clock, whole seconds; 0 if left
    out."""

    instance_id: str = ""
    timestamp_s: int = 0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """A site of a radio system, as one trunk-recorder follows it.

    sys_name: its short name there. sysid, wacn: in hexadecimal, ``0`` until they are decoded and
    where the kind of system has none. rfss, site_id: 0 if unknown.
    """

    sys_name: str
    kind: str
    sysid: str = "0"
    wacn: str = "0"
    rfss: int = 0
    site_id: int = 0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Systems(Document):
    """`systems` (all of them) and `system` (one that was set up, or decoded who it is)."""

    systems: tuple[System, ...]
    complete: bool


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call as `calls_active`, `call_start`, `call_end` and the units' `call` have it.

    unit: 0 if unknown. start_time_s: may differ by seconds from one message to the next.
    call_state, monitoring, recorder: None where left out; recorder is None too where there is
    none. patched: the talkgroups it is patched to, itself left out. patched, emergency: None where
    the message does not say. elapsed_s: since it began. stop_time_s: 0 if left out.
    """

    sys_name: str
    call_num: int
    talkgroup: int
    talkgroup_alias: str = ""
    unit: int = 0
    unit_alias: str = ""
    start_time_s: int = 0
    stop_time_s: int = 0
    elapsed_s: int = 0
    call_state: int | None = None
    monitoring: int | None = None
    recorder: int | None = None
    encrypted: bool = False
    emergency: bool | None = None
    conventional: bool = False
    patched: tuple[int, ...] | None = None

    @property
    def is_encrypted(self) -> bool:
        return self.encrypted or self.monitoring == Monitoring.ENCRYPTED


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CallsActive(Document):
    """`calls_active`: all calls of an instance, each second. faults: what could not be read."""

    calls: tuple[Call, ...]
    faults: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Granted(Document):
    """A unit's `call`, and `call_start`: somebody was given the channel."""

    call: Call


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Concluded(Document):
    """`call_end`, some seconds after the talk. signal_dbm, noise_dbm: None if not measured."""

    call: Call
    signal_dbm: float | None = None
    noise_dbm: float | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Transmitted(Document):
    """A unit's `end`: one transmission of a call that is over."""

    call: Call


class UnitAction(enum.StrEnum):
    """What a unit did, by the last level of its topic."""

    ON = "on"
    OFF = "off"
    JOIN = "join"
    LOCATION = "location"
    DATA = "data"
    ACKRESP = "ackresp"
    ANS_REQ = "ans_req"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class UnitDid(Document):
    """talkgroup: 0 where the action has none."""

    action: UnitAction
    sys_name: str
    unit: int
    unit_alias: str = ""
    talkgroup: int = 0
    patched: tuple[int, ...] | None = None


class Trunking(enum.Enum):
    """What a decoded control message means to us."""

    QUEUED = "queued"
    DENIED = "denied"
    OTHER = "other"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TrunkingMessage(Document):
    """`message`: of each batch that the plugin was given, the first only."""

    sys_name: str
    means: Trunking
    description: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Rates(Document):
    """`rates`: control messages decoded in a second, by short name; trunked systems alone."""

    per_s: tuple[tuple[str, float], ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PluginStatus(Document):
    """What the broker keeps of the plugin, or its will: no proof of anything."""

    connected: bool


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Other(Document):
    """A document that tells only that the instance is there."""

    kind: str


Message = (
    Systems
    | CallsActive
    | Granted
    | Concluded
    | Transmitted
    | UnitDid
    | TrunkingMessage
    | Rates
    | PluginStatus
    | Other
)

_UNIT_ACTIONS = frozenset(action.value for action in UnitAction)
_QUEUE_RESPONSE, _DENY_RESPONSE = "21", "27"
"""Opcodes of P25, in hexadecimal, as the plugin writes them."""


def decode(payload: bytes) -> Message:
    """Read a document. Unknown fields and types are no error.

    Raises: MalformedDocumentError.
    """
    if len(payload) > LARGEST_DOCUMENT:
        raise MalformedDocumentError(f"a document of {len(payload)} bytes", "$")
    try:
        document = json.loads(payload)
    except (ValueError, RecursionError) as error:
        place = f"character {error.pos}" if isinstance(error, json.JSONDecodeError) else "$"
        raise MalformedDocumentError("not JSON", place) from None
    if not isinstance(document, dict):
        raise MalformedDocumentError("not a JSON object", "$")
    envelope: dict[str, Any] = {
        "instance_id": _text(document, "instance_id", "$"),
        "timestamp_s": _integer(document, "timestamp", "$", default=0),
    }
    if "type" not in document and "status" in document:  # the only one without an envelope
        connected = _text(document, "status", "$") == "connected"
        return PluginStatus(connected=connected, **envelope)
    kind = _text(document, "type", "$", required=True)
    return _decode_body(kind, document, envelope)


def _decode_body(kind: str, document: dict[str, Any], envelope: dict[str, Any]) -> Message:
    match kind:
        case "calls_active":
            calls, faults = _active(document.get("calls"))
            return CallsActive(calls=calls, faults=faults, **envelope)
        case "call" | "call_start":
            return Granted(call=_call(_object(document, "call"), "$.call"), **envelope)
        case "call_end":
            body = _object(document, "call")
            return Concluded(
                call=_call(body, "$.call"),
                signal_dbm=_power(body, "signal"),
                noise_dbm=_power(body, "noise"),
                **envelope,
            )
        case "end":
            return Transmitted(call=_call(_object(document, "end"), "$.end"), **envelope)
        case "systems":
            found = _each(document.get("systems"), "$.systems")
            systems = tuple(_system(body, where) for body, where in found)
            return Systems(systems=systems, complete=True, **envelope)
        case "system":
            system = _system(_object(document, "system"), "$.system")
            return Systems(systems=(system,), complete=False, **envelope)
        case "rates":
            rates = _each(document.get("rates"), "$.rates")
            return Rates(per_s=tuple(_rate(body, where) for body, where in rates), **envelope)
        case "message":
            return _trunking(_object(document, "message"), envelope)
    if kind in _UNIT_ACTIONS:
        return _unit_did(UnitAction(kind), _object(document, kind), f"$.{kind}", envelope)
    return Other(kind=kind[:LONGEST_TEXT], **envelope)


def _active(calls: Any) -> tuple[tuple[Call, ...], tuple[str, ...]]:
    """One call that cannot be read does not take the others with it. None at all is null."""
    read: list[Call] = []
    faults: list[str] = []
    for number, body in enumerate(_list(calls, "$.calls")):
        where = f"$.calls[{number}]"
        try:
            read.append(_call(_checked_object(body, where), where))
        except MalformedDocumentError as error:
            faults.append(str(error))
    return tuple(read), tuple(faults)


def _call(body: dict[str, Any], where: str) -> Call:
    talkgroup = _integer(body, "talkgroup", where)
    recorder = _optional(body, "rec_state", where)
    return Call(
        sys_name=_text(body, "sys_name", where, required=True),
        call_num=_integer(body, "call_num", where),
        talkgroup=talkgroup,
        talkgroup_alias=_text(body, "talkgroup_alpha_tag", where),
        unit=max(_integer(body, "unit", where, default=0), 0),
        unit_alias=_text(body, "unit_alpha_tag", where),
        start_time_s=_start_time(body, where),
        stop_time_s=_integer(body, "stop_time", where, default=0),
        elapsed_s=_integer(body, "elapsed", where, default=0),
        call_state=_optional(body, "call_state", where),
        monitoring=_optional(body, "mon_state", where),
        recorder=None if recorder == -1 else recorder,
        encrypted=_truth(body, "encrypted", where) or False,
        emergency=_truth(body, "emergency", where),
        conventional=_truth(body, "conventional", where) or False,
        patched=_patched(body, talkgroup, where),
    )


def _start_time(body: dict[str, Any], where: str) -> int:
    """Of its own field, or, where that is left out, the third part of the id."""
    if "start_time" in body:
        return _integer(body, "start_time", where, default=0)
    *_, last = _text(body, "id", where).split("_")
    return int(last) if last.isascii() and last.isdigit() and len(last) < 15 else 0


def _patched(body: dict[str, Any], talkgroup: int, where: str) -> tuple[int, ...] | None:
    """The list names the talkgroup itself too."""
    if "talkgroup_patches" not in body:
        return None
    given = _text(body, "talkgroup_patches", where, limit=4096)
    numbers: dict[int, None] = {}
    for part in given.split(","):
        text = part.strip()
        if not text:
            continue
        if not (text.isascii() and text.isdigit() and len(text) < 12):
            raise MalformedDocumentError("not a list of talkgroups", f"{where}.talkgroup_patches")
        numbers[int(text)] = None
    return tuple(number for number in numbers if number != talkgroup)[:MOST_PATCHES]


def _system(body: dict[str, Any], where: str) -> System:
    return System(
        sys_name=_text(body, "sys_name", where, required=True),
        kind=_text(body, "type", where),
        sysid=_hexadecimal(body, "sysid", where),
        wacn=_hexadecimal(body, "wacn", where),
        rfss=_integer(body, "rfss", where, default=0),
        site_id=_integer(body, "site_id", where, default=0),
    )


def _rate(body: dict[str, Any], where: str) -> tuple[str, float]:
    name = _text(body, "sys_name", where)
    return name, _number(body, "decoderate", where, default=0.0)


def _trunking(body: dict[str, Any], envelope: dict[str, Any]) -> TrunkingMessage:
    where = "$.message"
    opcode = _text(body, "opcode", where).upper().removeprefix("0X")
    meanings = {_QUEUE_RESPONSE: Trunking.QUEUED, _DENY_RESPONSE: Trunking.DENIED}
    return TrunkingMessage(
        sys_name=_text(body, "sys_name", where, required=True),
        means=meanings.get(opcode, Trunking.OTHER),
        description=_text(body, "meta", where) or _text(body, "opcode_desc", where),
        **envelope,
    )


def _unit_did(
    action: UnitAction, body: dict[str, Any], where: str, envelope: dict[str, Any]
) -> UnitDid:
    talkgroup = max(_integer(body, "talkgroup", where, default=0), 0)
    return UnitDid(
        action=action,
        sys_name=_text(body, "sys_name", where, required=True),
        unit=max(_integer(body, "unit", where, default=0), 0),
        unit_alias=_text(body, "unit_alpha_tag", where),
        talkgroup=talkgroup,
        patched=_patched(body, talkgroup, where),
        **envelope,
    )


# --- fields -----------------------------------------------------------------------------------


def _object(document: dict[str, Any], name: str) -> dict[str, Any]:
    return _checked_object(document.get(name), f"$.{name}")


def _checked_object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise MalformedDocumentError("not a JSON object", where)
    return value


def _list(value: Any, where: str) -> list[Any]:
    if value is None or value == "":  # a list of nothing is null, and was an empty text
        return []
    if not isinstance(value, list):
        raise MalformedDocumentError("not a list", where)
    return value


def _each(value: Any, where: str) -> list[tuple[dict[str, Any], str]]:
    return [
        (_checked_object(body, f"{where}[{number}]"), f"{where}[{number}]")
        for number, body in enumerate(_list(value, where))
    ]


def _text(
    body: dict[str, Any],
    name: str,
    where: str,
    *,
    required: bool = False,
    limit: int = LONGEST_TEXT,
) -> str:
    value = body.get(name)
    if isinstance(value, str):
        text = value.strip()[:limit]
    elif isinstance(value, int) and not isinstance(value, bool) and abs(value) < LARGEST_NUMBER:
        text = str(value)
    elif value is None:
        text = ""
    else:
        raise MalformedDocumentError("not a text", f"{where}.{name}")
    if required and not text:
        raise MalformedDocumentError("a text is missing", f"{where}.{name}")
    return text


def _number(body: dict[str, Any], name: str, where: str, *, default: float | None = None) -> float:
    value = body.get(name)
    if value in (None, "") and default is not None:
        return default
    number = math.nan
    if isinstance(value, int | float) and not isinstance(value, bool):
        number = float(value) if abs(value) < LARGEST_NUMBER else math.nan
    elif isinstance(value, str) and len(value) < 32:
        with contextlib.suppress(ValueError):
            number = float(value)
    if not abs(number) < LARGEST_NUMBER:
        reason = "a number is missing" if value is None else "not a number"
        raise MalformedDocumentError(reason, f"{where}.{name}")
    return number


def _integer(body: dict[str, Any], name: str, where: str, *, default: int | None = None) -> int:
    number = _number(body, name, where, default=default)
    if number != int(number):
        raise MalformedDocumentError("not a whole number", f"{where}.{name}")
    return int(number)


def _optional(body: dict[str, Any], name: str, where: str) -> int | None:
    return None if body.get(name) in (None, "") else _integer(body, name, where)


def _truth(body: dict[str, Any], name: str, where: str) -> bool | None:
    """true, 1, "true" and "1" are one; None where it is left out."""
    value = body.get(name)
    if isinstance(value, str):
        value = {"true": True, "1": True, "false": False, "0": False, "": None}.get(
            value.strip().lower(), value
        )
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float) and value in (0, 1):
        return bool(value)
    raise MalformedDocumentError("neither true nor false", f"{where}.{name}")


def _hexadecimal(body: dict[str, Any], name: str, where: str) -> str:
    text = _text(body, name, where, limit=16).upper() or "0"
    try:
        return f"{int(text, 16):X}"
    except ValueError:
        raise MalformedDocumentError("not a hexadecimal number", f"{where}.{name}") from None


def _power(body: dict[str, Any], name: str) -> float | None:
    """In dB; None where it was not measured."""
    power = _number(body, name, "$.call", default=UNKNOWN_POWER)
    return None if power == UNKNOWN_POWER else power
