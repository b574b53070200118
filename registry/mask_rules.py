"""What a privacy mask may be. Pure: no SQL here."""

import math
import unicodedata
from collections.abc import Mapping, Sequence

import shapely

from registry.errors import Invalid, Reason

Polygon = tuple[tuple[float, float], ...]
"""Corners as x, y in 0..1 of the frame, from its upper left; the last joins the first."""

MAX_POLYGONS = 16
"""Of one picture."""
MAX_CORNERS = 64
MAX_PRESETS = 64
MIN_AREA = 1e-5
"""Of the frame: less hides nothing."""


def checked_polygons(field: str, given: Sequence[Sequence[Sequence[float]]]) -> tuple[Polygon, ...]:
    """Polygons as they are stored. field: where they stand, for reasons.

    Raises: Invalid with every reason found.
    """
    if len(given) > MAX_POLYGONS:
        raise Invalid.at(field, f"must be at most {MAX_POLYGONS} polygons")
    reasons = []
    polygons: list[Polygon] = []
    for number, corners in enumerate(given):
        place = f"{field}[{number}]"
        found = _polygon_reason(place, corners)
        if found is not None:
            reasons.append(found)
        else:
            polygons.append(tuple((float(x), float(y)) for x, y in _open_ring(corners)))
    if reasons:
        raise Invalid(*reasons)
    return tuple(polygons)


def checked_presets(
    given: Mapping[str, Sequence[Sequence[Sequence[float]]]],
) -> dict[str, tuple[Polygon, ...]]:
    """Masks by preset as they are stored, at least one polygon each. Raises: Invalid."""
    if len(given) > MAX_PRESETS:
        raise Invalid.at("presets", f"must be at most {MAX_PRESETS} presets")
    reasons: list[Reason] = []
    presets: dict[str, tuple[Polygon, ...]] = {}
    for name, polygons in given.items():
        field = f"presets.{name[:64]}"
        trimmed = unicodedata.normalize("NFC", name.strip())
        if not 1 <= len(trimmed) <= 64 or not trimmed.isprintable():
            reasons.append(Reason(field=field, reason="must be a name of 1 to 64 characters"))
        elif not polygons:
            reason = "needs a polygon: without one the picture is blank at this preset anyway"
            reasons.append(Reason(field=field, reason=reason))
        else:
            try:
                presets[trimmed] = checked_polygons(field, polygons)
            except Invalid as invalid:
                reasons.extend(invalid.reasons)
    if reasons:
        raise Invalid(*reasons)
    return presets


def _open_ring(corners: Sequence[Sequence[float]]) -> Sequence[Sequence[float]]:
    """Without the last corner where it repeats the first, as GeoJSON writes it."""
    closed = len(corners) > 1 and list(corners[0]) == list(corners[-1])
    return corners[:-1] if closed else corners


def _polygon_reason(field: str, given: Sequence[Sequence[float]]) -> Reason | None:
    corners = _open_ring(given)
    if not 3 <= len(corners) <= MAX_CORNERS:
        return Reason(field=field, reason=f"must have 3 to {MAX_CORNERS} corners")
    for number, corner in enumerate(corners):
        if len(corner) != 2 or not all(math.isfinite(each) and 0 <= each <= 1 for each in corner):
            reason = "must be x, y in 0..1 of the frame"
            return Reason(field=f"{field}[{number}]", reason=reason)
    shape = shapely.Polygon(corners)
    if not shape.is_valid:
        return Reason(field=field, reason="must not cross or touch itself")
    if shape.area < MIN_AREA:
        return Reason(field=field, reason="must enclose something")
    return None
