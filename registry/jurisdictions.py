"""Jurisdiction polygons: what is accepted, and which one a point belongs to. No SQL here."""

import dataclasses
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy
import shapely
from numpy.typing import ArrayLike, NDArray
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


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why a place belongs to whom it does.

    rule: ``position`` it has none; ``none`` no polygon covers it; ``only`` one alone does;
    ``deepest``, ``area`` and ``path`` say what decided among several. covered_by: paths of all
    that cover it, by precedence. border_of: those of them on whose border it lies, which belongs
    to them. hole_of: those in whose hole it lies, which does not.
    """

    rule: str
    covered_by: tuple[str, ...] = ()
    border_of: tuple[str, ...] = ()
    hole_of: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """For a person, in English."""
        said = {
            "position": "it has no position",
            "none": "no polygon covers it",
            "only": "one polygon covers it",
            "deepest": "of the polygons that cover it, this is the deepest organization's",
            "area": "of the deepest organizations' polygons that cover it, this is the smaller",
            "path": "of the deepest, equally large polygons that cover it, this has the smaller "
            "slug path",
        }[self.rule]
        if self.border_of:
            said += f"; it lies on the border of {', '.join(self.border_of)}, which counts as in"
        if self.hole_of:
            said += f"; it lies in a hole of {', '.join(self.hole_of)}, which counts as out"
        return said


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """Ground that two organisations' polygons cover, neither of them above the other.
    winner: the path of the one that gets its points, by rule ``deepest``, ``area`` or ``path``."""

    between: tuple[str, str]
    area_m2: int
    winner: str
    rule: str


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
        table: list[Jurisdiction | None] = [*self._ranked, None]
        return [table[rank] for rank in self.ranks(longitudes_deg, latitudes_deg).tolist()]

    def ranks(self, longitudes_deg: ArrayLike, latitudes_deg: ArrayLike) -> NDArray[numpy.int64]:
        """For each point the rank of its owner, for `at`; -1 where no polygon covers it."""
        x = numpy.asarray(longitudes_deg, dtype=numpy.float64)
        y = numpy.asarray(latitudes_deg, dtype=numpy.float64)
        best = numpy.full(len(x), -1, dtype=numpy.int64)
        if not (self._ranked and len(x)):
            return best
        which, near = self._tree.query(shapely.points(x, y))
        # A prepared polygon tells all points near it at once, however many corners it has. The
        # least rank comes last, and so stays.
        order = numpy.argsort(-near, kind="stable")
        which, near = which[order], near[order]
        begins = numpy.flatnonzero(numpy.diff(near, prepend=-1))
        for begin, end in itertools.pairwise([*begins.tolist(), len(near)]):
            rank = int(near[begin])
            points = which[begin:end]
            # To a point, covering and intersecting are the same.
            inside = shapely.intersects_xy(self._ranked[rank].geometry, x[points], y[points])
            best[points[inside]] = rank
        return best

    def below(self, path: str) -> "Jurisdictions":
        """Those of the organisation at path and of all below it."""
        return Jurisdictions(
            each for each in self._ranked if each.path == path or each.path.startswith(f"{path}/")
        )

    def __len__(self) -> int:
        return len(self._ranked)

    def at(self, rank: int) -> Jurisdiction:
        return self._ranked[rank]

    def explain(self, longitude_deg: float | None, latitude_deg: float | None) -> Explanation:
        """By what rule `owner` decides; None where a point has no position."""
        if longitude_deg is None or latitude_deg is None:
            return Explanation(rule="position")
        point = shapely.Point(longitude_deg, latitude_deg)
        covering = sorted(self._tree.query(point, predicate="covered_by").tolist())
        around = sorted(set(self._tree.query(point).tolist()) - set(covering))
        return Explanation(
            rule=_rule([self._ranked[rank] for rank in covering[:2]]),
            covered_by=tuple(self._ranked[rank].path for rank in covering),
            border_of=tuple(
                self._ranked[rank].path
                for rank in covering
                if shapely.touches(self._ranked[rank].geometry, point)
            ),
            hole_of=tuple(
                self._ranked[rank].path
                for rank in around
                if _fills(self._ranked[rank].geometry, point)
            ),
        )

    def overlaps(self) -> tuple[Overlap, ...]:
        """The ground that organisations contest, greatest first. Borders that only touch are not
        contested, nor is what an organisation has inside one above it."""
        found: list[Overlap] = []
        if not self._ranked:
            return ()
        geometries = [each.geometry for each in self._ranked]
        for first, second in self._tree.query(geometries, predicate="intersects").T.tolist():
            winner, other = self._ranked[first], self._ranked[second]
            if first >= second or _related(winner.path, other.path):
                continue
            area = area_m2(shapely.intersection(winner.geometry, other.geometry))
            if area:
                between = (winner.path, other.path)
                rule = _rule([winner, other])
                found.append(Overlap(between=between, area_m2=area, winner=winner.path, rule=rule))
        return tuple(sorted(found, key=lambda each: (-each.area_m2, each.between)))


def _rule(leading: Sequence[Jurisdiction]) -> str:
    """What decides between the first two of those that cover a place, in order of precedence."""
    if len(leading) < 2:
        return "only" if leading else "none"
    first, second = leading
    if first.depth != second.depth:
        return "deepest"
    return "area" if first.area_m2 != second.area_m2 else "path"


def _related(path: str, other: str) -> bool:
    return other.startswith(f"{path}/") or path.startswith(f"{other}/")


def _fills(geometry: BaseGeometry, point: shapely.Point) -> bool:
    """Whether a point that the geometry does not cover lies in one of its holes."""
    parts = shapely.get_parts(geometry)
    return any(shapely.Polygon(part.exterior).covers(point) for part in parts)


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
