"""What the values of a point may be. Pure: no SQL here."""

import json
import re
import unicodedata
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from registry.errors import Invalid, Reason
from registry.jurisdictions import is_position
from registry.machine_file import attribute_reasons

if TYPE_CHECKING:
    from registry.points import Point

CATEGORIES = (1, 2, 3, 9)
OWNERSHIPS = ("public_security", "community", "property", "enterprise", "other")
STATUSES = ("online", "offline", "fault", "unknown")
ASSIGNED_BY = ("explicit", "polygon", "none")
EDITABLE = frozenset(
    {
        "code",
        "name",
        "place",
        "longitude",
        "latitude",
        "category",
        "ownership",
        "host",
        "channel_number",
        "masked",
        "attributes",
    }
)
MAX_ATTRIBUTES_BYTES = 65_536
_CODE = re.compile(r"[0-9]{20}")


def editable(point: "Point") -> dict[str, Any]:
    """The values of a point that people edit."""
    return {field: getattr(point, field) for field in sorted(EDITABLE)}


def clean(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as they are stored: texts trimmed and in Unicode NFC, host in lower case.

    Raises: Invalid with every reason found.
    """
    cleaned = dict(values)
    for field in ("name", "place"):
        cleaned[field] = unicodedata.normalize("NFC", str(values[field] or "").strip())
    cleaned["code"] = str(values["code"]).strip() if values["code"] else None
    cleaned["host"] = str(values["host"]).strip().lower() if values["host"] else None
    cleaned["attributes"] = dict(values["attributes"] or {})
    reasons = [
        *_text_reasons(cleaned),
        *_choice_reasons(cleaned),
        *_position_reasons(cleaned["longitude"], cleaned["latitude"]),
    ]
    if reasons:
        raise Invalid(*reasons)
    return cleaned


def _text_reasons(values: Mapping[str, Any]) -> list[Reason]:
    reasons = []
    for field, least, most in (("name", 1, 200), ("place", 0, 400)):
        text = values[field]
        if not least <= len(text) <= most:
            reasons.append(Reason(field=field, reason=f"must have {least} to {most} characters"))
        elif "\x00" in text:
            reasons.append(Reason(field=field, reason="must not hold a NUL character"))
    if values["code"] is not None and not _CODE.fullmatch(values["code"]):
        reasons.append(Reason(field="code", reason="must be 20 digits"))
    if values["host"] is not None and len(values["host"]) > 255:
        reasons.append(Reason(field="host", reason="must have at most 255 characters"))
    attributes = json.dumps(values["attributes"])
    if len(attributes) > MAX_ATTRIBUTES_BYTES:
        most = MAX_ATTRIBUTES_BYTES
        reasons.append(Reason(field="attributes", reason=f"must be at most {most} bytes of JSON"))
    elif "\\u0000" in attributes:
        reasons.append(Reason(field="attributes", reason="must not hold a NUL character"))
    return [*reasons, *attribute_reasons(values["attributes"])]


def _choice_reasons(values: Mapping[str, Any]) -> list[Reason]:
    reasons = []
    if values["category"] not in CATEGORIES:
        reasons.append(Reason(field="category", reason="must be 1, 2, 3 or 9"))
    if values["ownership"] not in OWNERSHIPS:
        reasons.append(Reason(field="ownership", reason=f"must be one of {', '.join(OWNERSHIPS)}"))
    number = values["channel_number"]
    if number is not None and not 1 <= number <= 65_535:
        reasons.append(Reason(field="channel_number", reason="must be 1 to 65535"))
    return reasons


def _position_reasons(longitude_deg: float | None, latitude_deg: float | None) -> list[Reason]:
    if longitude_deg is None and latitude_deg is None:
        return []
    if longitude_deg is None or latitude_deg is None:
        missing = "longitude" if longitude_deg is None else "latitude"
        return [Reason(field=missing, reason="longitude and latitude go together")]
    if is_position(longitude_deg, latitude_deg):
        return []
    wrong = "latitude" if is_position(longitude_deg, 0.0) else "longitude"
    bound = "±90" if wrong == "latitude" else "±180"
    return [Reason(field=wrong, reason=f"must be WGS-84 degrees within {bound}")]


def check_filter(
    status: str | None, category: int | None, ownership: str | None, assigned_by: str | None
) -> None:
    """Raises: Invalid naming each filter whose value no point can have."""
    allowed: tuple[tuple[str, Any, tuple[Any, ...]], ...] = (
        ("status", status, STATUSES),
        ("category", category, CATEGORIES),
        ("ownership", ownership, OWNERSHIPS),
        ("assigned_by", assigned_by, ASSIGNED_BY),
    )
    reasons = [
        Reason(field=field, reason=f"must be one of {', '.join(map(str, choices))}")
        for field, value, choices in allowed
        if value is not None and value not in choices
    ]
    if reasons:
        raise Invalid(*reasons)


def check_box(west_deg: float, south_deg: float, east_deg: float, north_deg: float) -> None:
    """Raises: Invalid unless these are the sides of a box in WGS-84 degrees."""
    if not (is_position(west_deg, south_deg) and is_position(east_deg, north_deg)):
        raise Invalid.at("bbox", "must be west, south, east, north in WGS-84 degrees")
    if south_deg > north_deg:
        raise Invalid.at("bbox", "south must not be greater than north")
