"""Points of a map in clusters: counts by cell, which the database keeps (`point_counts`)."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    FromClause,
    cast,
    func,
    literal,
    literal_column,
    or_,
    select,
)

from registry import organizations, point_rules
from registry.errors import Invalid
from registry.models import POINT_CELLS, POINTS
from registry.models.point_counts import CELL_LEVELS
from registry.partition import SEE_POINTS, Principal, owned_within, visible

Box = tuple[float, float, float, float]

MAX_ZOOM = 22
CELLS_PER_TILE = 2
"""Levels by which a cell is finer than a tile of the map: four cells to its side, 64 pixels."""
MOST_COLUMNS = 256
"""Cells side by side in a box; a box that holds more of them gets coarser ones."""
_MILLION = 1_000_000
_E = POINT_CELLS.c
_P = POINTS.c


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """points: how many lie in the cell. longitude, latitude: their mean. box: the cell, as west,
    south, east, north; all in WGS-84 degrees."""

    points: int
    longitude: float
    latitude: float
    box: Box


def clusters(
    connection: Connection,
    principal: Principal,
    *,
    zoom: int,
    bbox: Box | None = None,
    organization: str | None = None,
) -> tuple[Cluster, ...]:
    """What a map shows of the points that the principal's own roles see; what is shared with them
    is in no count. Points without a position are nowhere on it.

    zoom: of web maps, 0 (the world on 256 pixels) to 22. bbox: west, south, east, north in
    degrees; west may be greater, across the 180th meridian; every cell that touches it is in the
    answer, whole. Without it no cell is finer than those kept (some 2 km).
    Raises: Invalid; NotFound for an organisation that is not seen.
    """
    if not 0 <= zoom <= MAX_ZOOM:
        raise Invalid.at("zoom", f"must be 0 to {MAX_ZOOM}")
    path = ""
    if organization is not None:
        path = organizations.get(connection, principal, organization, SEE_POINTS).path
    level = zoom + CELLS_PER_TILE
    if bbox is None:
        level = min(level, max(CELL_LEVELS))
    else:
        point_rules.check_box(*bbox)
        level = min(level, _finest(bbox))
    if bbox is None or level <= max(CELL_LEVELS):
        kept = next(each for each in CELL_LEVELS if each >= level)
        source = _from_cells(kept, bbox, _seen(_E.organization_id, principal, path))
        return _read(connection, source, level, kept - level)
    floor = func.floor if connection.dialect.name == "postgresql" else _cut
    seen = _seen(_P.organization_id, principal, path)
    return _read(connection, _from_points(level, bbox, seen, floor), level, 0)


def _seen(owner: Column[str], principal: Principal, path: str) -> list[ColumnElement[bool]]:
    return [visible(owner, principal, SEE_POINTS), owned_within(owner, path)]


def _cut(number: ColumnElement[float]) -> ColumnElement[int]:
    """SQL: floor of what is not below zero; not every SQLite has a function for it."""
    return cast(number, BigInteger)


def _finest(bbox: Box) -> int:
    west_deg, _, east_deg, _ = bbox
    wide_deg = (east_deg - west_deg) % 360 or (360.0 if east_deg != west_deg else 0.0)
    if wide_deg == 0:
        return MAX_ZOOM + CELLS_PER_TILE
    return max(0, math.floor(math.log2(MOST_COLUMNS * 360 / wide_deg)))


def _read(
    connection: Connection, source: FromClause, level: int, shift: int
) -> tuple[Cluster, ...]:
    """shift: by how many levels the source's cells are finer than those asked for."""
    x, y = (source.c[name].op(">>")(literal_column(str(shift))) for name in ("x", "y"))
    number = func.sum(source.c.points)
    wanted = (
        select(
            x,
            y,
            number,
            func.sum(source.c.longitude_sum),
            func.sum(source.c.latitude_sum),
        )
        .group_by(x, y)
        .having(number > 0)
        .order_by(x, y)
    )
    side_deg = 360 / 2**level
    return tuple(
        Cluster(
            points=points,
            longitude=round(float(longitude_sum) / points / _MILLION, 6),
            latitude=round(float(latitude_sum) / points / _MILLION, 6),
            box=_cell_box(column, row, side_deg),
        )
        for column, row, points, longitude_sum, latitude_sum in connection.execute(wanted)
    )


def _cell_box(column: int, row: int, side_deg: float) -> Box:
    west_deg, south_deg = column * side_deg - 180, row * side_deg - 90
    return (
        round(west_deg, 9),
        round(south_deg, 9),
        round(west_deg + side_deg, 9),
        round(south_deg + side_deg, 9),
    )


def _from_cells(level: int, bbox: Box | None, seen: list[ColumnElement[bool]]) -> FromClause:
    wanted = select(_E.x, _E.y, _E.points, _E.longitude_sum, _E.latitude_sum).where(
        _E.level == level, *seen
    )
    if bbox is not None:
        west, south, east, north = bbox
        side_deg = 360 / 2**level
        first, last = math.floor((west + 180) / side_deg), math.floor((east + 180) / side_deg)
        inside = _E.x.between(first, last) if west <= east else or_(_E.x >= first, _E.x <= last)
        rows = (math.floor((each + 90) / side_deg) for each in (south, north))
        wanted = wanted.where(inside, _E.y.between(*rows))
    return wanted.subquery("cells")


def _from_points(
    level: int,
    bbox: Box,
    seen: list[ColumnElement[bool]],
    floor: Callable[[ColumnElement[float]], ColumnElement[Any]],
) -> FromClause:
    """Cells finer than those kept, of which a box holds few enough points to look at each."""
    west, south, east, north = bbox
    side_deg = 360 / 2**level
    south_deg = math.floor((south + 90) / side_deg) * side_deg - 90
    north_deg = (math.floor((north + 90) / side_deg) + 1) * side_deg - 90
    west_deg = math.floor((west + 180) / side_deg) * side_deg - 180
    east_deg = (math.floor((east + 180) / side_deg) + 1) * side_deg - 180
    # A number close to zero is rounded away above: what the box itself holds is in in any case.
    west_deg, south_deg = min(west, west_deg), min(south, south_deg)
    inside = (
        (_P.longitude >= west_deg) & (_P.longitude < east_deg)
        if west <= east
        else or_(_P.longitude >= west_deg, _P.longitude < east_deg)
    )
    return (
        select(
            cast(floor((_P.longitude + 180) / side_deg), BigInteger).label("x"),
            cast(floor((_P.latitude + 90) / side_deg), BigInteger).label("y"),
            literal(1).label("points"),
            cast(_P.longitude * _MILLION, BigInteger).label("longitude_sum"),
            cast(_P.latitude * _MILLION, BigInteger).label("latitude_sum"),
        )
        .where(inside, _P.latitude >= south_deg, _P.latitude < north_deg, *seen)
        .subquery("cells")
    )
