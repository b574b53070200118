"""The JSON of MMDVMHost, in both its dialects. No I/O."""

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

Dialect = Literal["ids", "src"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Talk:
    """Who sends what where. slot: 0 where the mode has none."""

    mode: str
    slot: int
    source: Literal["rf", "network"]
    unit: str
    info: str
    destination: str
    group: bool = True


def timestamp(offset_s: float = 0.0) -> str:
    """As the host writes it: UTC, milliseconds, Z."""
    at = datetime.now(UTC) + timedelta(seconds=offset_s)
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def began(talk: Talk, action: str, at: str, dialect: Dialect, **more: Any) -> dict[str, Any]:
    """`start`, `late_entry`, `rejected`, `csbk`: these name who and where."""
    body: dict[str, Any] = {"timestamp": at, "source": talk.source, "action": action}
    if talk.slot:
        body["slot"] = talk.slot
    return {talk.mode: body | _subject(talk, dialect) | more}


def ended(talk: Talk, action: str, at: str, **more: Any) -> dict[str, Any]:
    """`end`, `lost`, `timeout`: these name nobody."""
    body: dict[str, Any] = {"timestamp": at, "action": action}
    if talk.slot:
        body["slot"] = talk.slot
    return {talk.mode: body | more}


def level(kind: Literal["RSSI", "BER"], talk: Talk, value: float, at: str) -> dict[str, Any]:
    return {kind: _of(talk, at) | {"value": value}}


def alias(talk: Talk, text: str, at: str) -> dict[str, Any]:
    return {"Text": _of(talk, at) | {"value": text}}


def host(mode: str, message: str, at: str) -> dict[str, Any]:
    return {"MMDVM": {"timestamp": at, "mode": mode, "message": message}}


def fm(state: str, at: str) -> dict[str, Any]:
    return {"FM": {"timestamp": at, "state": state}}


def _of(talk: Talk, at: str) -> dict[str, Any]:
    body: dict[str, Any] = {"timestamp": at, "mode": talk.mode}
    if talk.slot:
        body["slot"] = talk.slot
    return body


def _subject(talk: Talk, dialect: Dialect) -> dict[str, Any]:
    if talk.mode in ("D-Star", "YSF"):
        return _call_signs(talk, dialect)
    unit, destination = int(talk.unit), int(talk.destination)
    if dialect == "src":
        said = "yes" if talk.group else "no"
        return {"src_id": unit, "dst_id": destination, "group": said, "src_info": talk.info}
    return {
        "source_id": unit,
        "destination_id": destination,
        "destination_type": "group" if talk.group else "individual",
        "source_info": talk.info,
    }


def _call_signs(talk: Talk, dialect: Dialect) -> dict[str, Any]:
    width = 8 if talk.mode == "D-Star" else 10
    unit = talk.unit.ljust(width)
    if talk.mode == "YSF":
        named = {"src_callsign": unit} if dialect == "src" else {"source_cs": unit}
        return named | {"dg-id": int(talk.destination), "mode": "voice_dn"}
    destination = talk.destination.ljust(width)
    if dialect == "src":
        return {"src_callsign": unit, "src_ext": "    ", "dst_callsign": destination}
    return {"source_cs": unit, "source_ext": "    ", "destination_cs": destination}
