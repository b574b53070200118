"""The JSON of MMDVMHost over MQTT, in both its dialects → typed messages. Pure.

Source: g4klx/MMDVMHost at b5b119f, schema.json and the writeJSON functions of its modes. The
second dialect (``src_id``, ``dst_id``, ``group: "yes"``, ``src_callsign``) is that of
KN4OQW/waypoint, internal/mqtt/bridge_test.go, and of dashboards that read both. Every document
has one member, named by the mode or by what was measured.
"""

import contextlib
import dataclasses
import enum
import json
import math
from datetime import UTC, datetime
from typing import Any

LARGEST_DOCUMENT = 64 << 10
LARGEST_NUMBER = 1 << 32
LONGEST_TEXT = 200
VOICE_MODES = frozenset({"D-Star", "DMR", "YSF", "P25", "NXDN"})


class MalformedDocumentError(ValueError):
    """A document is not of the host. where: a JSON path such as ``$.DMR.slot``."""

    def __init__(self, reason: str, where: str) -> None:
        super().__init__(f"{reason} (at {where})")
        self.reason = reason
        self.where = where


class Action(enum.StrEnum):
    START = "start"
    LATE_ENTRY = "late_entry"
    END = "end"
    LOST = "lost"
    TIMEOUT = "timeout"
    REJECTED = "rejected"
    CSBK = "csbk"
    INVALID = "invalid"


class Side(enum.StrEnum):
    """Who sends: a radio that the host hears, or its network."""

    RF = "rf"
    NETWORK = "network"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """at: by the host's clock, None if left out. slot: 0 where the mode has none."""

    mode: str
    slot: int = 0
    at: datetime | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Report(Document):
    """What happened in a mode.

    side, unit, destination: None and empty in ends, which since June 2023 name nobody. info: what
    the host knows of the unit beside its id. group: to all, rather than to one. frames: of a data
    transmission, which is no talk. bit_error_percent, loss_percent, rssi_dbm: None if not told.
    """

    action: Action
    side: Side | None = None
    unit: str = ""
    info: str = ""
    destination: str = ""
    group: bool = True
    frames: int | None = None
    description: str = ""
    duration_s: float | None = None
    loss_percent: float | None = None
    bit_error_percent: float | None = None
    rssi_dbm: float | None = None

    @property
    def is_data(self) -> bool:
        return self.frames is not None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Level(Document):
    """RSSI in dBm or bit errors in percent of a radio that is heard now; the other is None."""

    rssi_dbm: float | None = None
    bit_error_percent: float | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Alias(Document):
    """A text that came with the voice: a talker alias."""

    text: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FmState(Document):
    """The state of the analogue repeater, which knows no units."""

    state: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class HostState(Document):
    """What the host does (mode ``idle``, ``error``, ``lockout``, …) or says."""

    message: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Other(Document):
    """A document that is of no use here; mode names it."""


Message = Report | Level | Alias | FmState | HostState | Other


def decode(payload: bytes) -> Message:
    """Read a document. Unknown members and fields are no error.

    Raises: MalformedDocumentError.
    """
    if len(payload) > LARGEST_DOCUMENT:
        raise MalformedDocumentError(f"a document of {len(payload)} bytes", "$")
    try:
        document = json.loads(payload)
    except (ValueError, RecursionError) as error:
        place = f"character {error.pos}" if isinstance(error, json.JSONDecodeError) else "$"
        raise MalformedDocumentError("not JSON", place) from None
    if not isinstance(document, dict) or not document:
        raise MalformedDocumentError("not a JSON object with a member", "$")
    kind, body = next(iter(document.items()))
    kind = kind[:LONGEST_TEXT]
    if not isinstance(body, dict):
        raise MalformedDocumentError("not a JSON object", f"$.{kind}")
    return _decode_body(kind, body, f"$.{kind}")


def _decode_body(kind: str, body: dict[str, Any], where: str) -> Message:
    at = _moment(body)
    if kind in VOICE_MODES:
        return _report(kind, body, where, at)
    match kind:
        case "RSSI" | "BER":
            value = _number(body, "value", where)
            if value is None:
                raise MalformedDocumentError("a number is missing", f"{where}.value")
            return Level(
                mode=_text(body, "mode", where, required=True),
                slot=_slot(body, where),
                at=at,
                rssi_dbm=value if kind == "RSSI" else None,
                bit_error_percent=value if kind == "BER" else None,
            )
        case "Text":
            return Alias(
                mode=_text(body, "mode", where, required=True),
                slot=_slot(body, where),
                at=at,
                text=_text(body, "value", where),
            )
        case "FM":
            return FmState(mode="FM", at=at, state=_text(body, "state", where, required=True))
        case "MMDVM":
            mode, message = _text(body, "mode", where), _text(body, "message", where)
            return HostState(mode=mode, at=at, message=message)
    return Other(mode=kind, at=at)


def _report(mode: str, body: dict[str, Any], where: str, at: datetime | None) -> Report:
    action = _text(body, "action", where, required=True)
    if action not in set(Action):
        raise MalformedDocumentError("an unknown action", f"{where}.action")
    side = _text(body, "source", where)
    if side not in ("", *Side):
        raise MalformedDocumentError("neither rf nor network", f"{where}.source")
    slot = _slot(body, where)
    if mode == "DMR" and slot == 0:
        raise MalformedDocumentError("a slot is missing", f"{where}.slot")
    frames = _number(body, "frames", where)
    if mode == "YSF" and _text(body, "mode", where).startswith("data"):
        frames = frames or 0
    return Report(
        mode=mode,
        slot=slot,
        at=at,
        action=Action(action),
        side=Side(side) if side else None,
        unit=_first(body, where, "source_id", "source_cs", "src_id", "src_callsign"),
        info=_first(body, where, "source_info", "src_info"),
        destination=_destination(mode, body, where),
        group=_is_group(body, where),
        frames=int(frames) if frames is not None else None,
        description=_text(body, "csbk_desc", where),
        duration_s=_number(body, "duration", where),
        loss_percent=_number(body, "loss", where),
        bit_error_percent=_number(body, "ber", where),
        rssi_dbm=_average(body, where),
    )


def _destination(mode: str, body: dict[str, Any], where: str) -> str:
    if mode == "YSF":
        return _first(body, where, "dg-id", "dg_id", "dst_callsign") or "0"
    return _first(body, where, "destination_id", "destination_cs", "dst_id", "dst_callsign")


def _is_group(body: dict[str, Any], where: str) -> bool:
    """``destination_type: group|individual`` of one dialect, ``group: yes|no`` of the other."""
    kind = _text(body, "destination_type", where)
    if kind:
        return kind != "individual"
    said = body.get("group", "yes")
    return said not in ("no", False, 0, "0", "false")


def _average(body: dict[str, Any], where: str) -> float | None:
    rssi = body.get("rssi")
    if isinstance(rssi, dict):
        return _number(rssi, "ave", f"{where}.rssi")
    return _number(body, "rssi", where)


# --- fields -----------------------------------------------------------------------------------


def _slot(body: dict[str, Any], where: str) -> int:
    slot = _number(body, "slot", where) or 0
    if slot not in (0, 1, 2):
        raise MalformedDocumentError("not a slot", f"{where}.slot")
    return int(slot)


def _first(body: dict[str, Any], where: str, *names: str) -> str:
    """The first of these fields that says something."""
    return next((text for name in names if (text := _text(body, name, where))), "")


def _text(body: dict[str, Any], name: str, where: str, *, required: bool = False) -> str:
    """A text, or a number as one, without the blanks that call signs are filled with."""
    value = body.get(name)
    if isinstance(value, str):
        text = value.replace("\x00", "").strip()[:LONGEST_TEXT]
    elif isinstance(value, int) and not isinstance(value, bool) and abs(value) < LARGEST_NUMBER:
        text = str(value)
    elif value is None:
        text = ""
    else:
        raise MalformedDocumentError("not a text", f"{where}.{name}")
    if required and not text:
        raise MalformedDocumentError("a text is missing", f"{where}.{name}")
    return text


def _number(body: dict[str, Any], name: str, where: str) -> float | None:
    value = body.get(name)
    if value in (None, ""):
        return None
    number = math.nan
    if isinstance(value, int | float) and not isinstance(value, bool):
        number = float(value) if abs(value) < LARGEST_NUMBER else math.nan
    elif isinstance(value, str) and len(value) < 32:
        with contextlib.suppress(ValueError):
            number = float(value)
    if not abs(number) < LARGEST_NUMBER:
        raise MalformedDocumentError("not a number", f"{where}.{name}")
    return number


def _moment(body: dict[str, Any]) -> datetime | None:
    """The host writes UTC with milliseconds and a Z; anything else is as good as nothing."""
    value = body.get("timestamp")
    if not isinstance(value, str) or len(value) > 40:
        return None
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
