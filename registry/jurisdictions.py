"""Jurisdiction polygons: what is accepted, and which one a point belongs to. No SQL here."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy
import shapely
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from registry.errors import Invalid

EARTH_RADIUS_M = 6_371_008.8
MAX_POSITIONS = 100_000


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Jurisdiction:
    """An organisation's polygon. depth: 1 for a root. area_m2: whole square metres."""

    organization_id: str
    path: str
    depth: int
    area_m2: int
    geometry: BaseGeometry

    @property
    def rank(self) -> tuple[int, int, str]:
        """Orders by precedence, the owner first: deepest, then smallest, then by slug path."""
        return (-self.depth, self.area_m2, self.path)


class Jurisdictions:
    """The polygons of some organisations, made ready for many questions."""

    def __init__(self, jurisdictions: Iterable[Jurisdiction]) -> None:
        self._ranked = sorted(jurisdictions, key=lambda each: each.rank)
        for each in self._ranked:
            shapely.prepare(each.geometry)
        self._tree = shapely.STRtree([each.geometry for each in self._ranked])

    def owner(self, longitude_deg: float, latitude_deg: float) -> Jurisdiction | None:
        """Whose polygon covers the point, its border included, or None.

        The deepest organisation's; of equal depth the smaller polygon; of equal area, to the
        square metre, the smaller slug path.
        """
        point = shapely.Point(longitude_deg, latitude_deg)
        covering = self._tree.query(point, predicate="covered_by")
        return self._ranked[int(covering.min())] if covering.size else None

    def owners(
        self, longitudes_deg: Sequence[float], latitudes_deg: Sequence[float]
    ) -> list[Jurisdiction | None]:
        """`owner` of many points at once."""
        points = shapely.points(longitudes_deg, latitudes_deg)
        which, covering = self._tree.query(points, predicate="covered_by")
        best = numpy.full(len(points), len(self._ranked), dtype=numpy.int64)
        numpy.minimum.at(best, which, covering)
        table: list[Jurisdiction | None] = [*self._ranked, None]
        return [table[index] for index in best]


def read_geometry(document: Mapping[str, Any]) -> BaseGeometry:
    """The geometry of a GeoJSON Polygon or MultiPolygon, WGS-84 degrees, checked.

    Raises: Invalid saying what is wrong and where: its type, a position outside the world, a ring
    that crosses itself, no area, more than 100,000 positions.
    """
    if document.get("type") not in ("Polygon", "MultiPolygon"):
        raise Invalid.at("type", "must be Polygon or MultiPolygon")
    coordinates = document.get("coordinates")
    if not isinstance(coordinates, list | tuple):
        raise Invalid.at("coordinates", "must be rings of [longitude, latitude] positions")
    try:
        geometry = shape({"type": document["type"], "coordinates": coordinates})
    except Exception:
        # Shapely raises whatever its parts stumble over: TypeError, ValueError, GEOSException.
        raise Invalid.at(
            "coordinates", "must be closed rings of at least four [longitude, latitude] positions"
        ) from None
    _check_positions(geometry)
    if not geometry.is_valid:
        raise Invalid.at("coordinates", f"not a valid polygon: {shapely.is_valid_reason(geometry)}")
    return geometry


def _check_positions(geometry: BaseGeometry) -> None:
    positions = shapely.get_coordinates(geometry)
    if not 4 <= len(positions) <= MAX_POSITIONS:
        raise Invalid.at("coordinates", f"must have 4 to {MAX_POSITIONS} positions")
    inside = (
        numpy.isfinite(positions).all(axis=1)
        & (abs(positions[:, 0]) <= 180)
        & (abs(positions[:, 1]) <= 90)
    )
    if not inside.all():
        wrong = int(numpy.argmin(inside))
        longitude_deg, latitude_deg = positions[wrong]
        raise Invalid.at(
            "coordinates",
            f"position {wrong + 1} is [{longitude_deg}, {latitude_deg}]: longitude must be within "
            "±180, latitude within ±90",
        )


def area_m2(geometry: BaseGeometry) -> int:
    """The area on the sphere, in whole square metres (Lambert's equal-area projection)."""
    flat = shapely.transform(
        geometry,
        lambda positions: numpy.column_stack(
            (
                numpy.radians(positions[:, 0]) * EARTH_RADIUS_M,
                numpy.sin(numpy.radians(positions[:, 1])) * EARTH_RADIUS_M,
            )
        ),
    )
    return round(flat.area)


def is_position(longitude_deg: float, latitude_deg: float) -> bool:
    """Whether these are WGS-84 degrees."""
    return (
        math.isfinite(longitude_deg)
        and math.isfinite(latitude_deg)
        and abs(longitude_deg) <= 180
        and abs(latitude_deg) <= 90
    )
