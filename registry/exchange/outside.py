"""Rows of a staged file that lie outside, and the coordinate system that would put them inside."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy
from sqlalchemy import Connection, select

from registry.exchange.coordinates import SYSTEMS, Degrees, System, to_wgs84_all
from registry.exchange.staging import Staging
from registry.models import ORGANIZATIONS
from registry.organizations import Organization
from registry.partition import parent_path, within

MAX_LISTED = 100
_O = ORGANIZATIONS.c
_Box = tuple[float, float, float, float]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class OutsideSheet:
    """sheet: empty where a file has none. rows: numbers, the first 100. would_be_inside: by
    coordinate system, how many of them it would put inside."""

    sheet: str
    count: int
    rows: tuple[int, ...]
    would_be_inside: Mapping[str, int]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """Rows that lie outside the box of the organisation they are imported into: that of its own
    polygon, else of all polygons below it, else of the nearest above. box: west, south, east,
    north in WGS-84 degrees; None where there is no polygon, and nothing is outside. whose: the
    path of the organisation whose polygon that is, or above whose polygons."""

    count: int = 0
    rows: tuple[int, ...] = ()
    would_be_inside: Mapping[str, int] = dataclasses.field(default_factory=dict)
    box: _Box | None = None
    whose: str = ""
    sheets: tuple[OutsideSheet, ...] = ()


class _Sheet:
    def __init__(self) -> None:
        self.count = 0
        self.rows: list[int] = []
        self.inside: dict[str, int] = {}


def outside(connection: Connection, staging: Staging, home: Organization) -> Outside:
    """The rows of the file that lie outside home's box."""
    found = _box(connection, home.path)
    if found is None:
        return Outside()
    whose, box = found
    sheets: dict[str, _Sheet] = {}
    columns = "sheet, row, longitude, latitude, raw_longitude, raw_latitude"
    for chunk in staging.select(columns, "rows", "longitude IS NOT NULL"):
        numbers = numpy.array([each[2:4] for each in chunk], dtype=float)
        out = numpy.flatnonzero(~_inside(box, numbers[:, 0], numbers[:, 1]))
        if out.size:
            _note(sheets, [chunk[number] for number in out.tolist()], box, staging.system)
    listed = tuple(
        OutsideSheet(
            sheet=sheet, count=each.count, rows=tuple(each.rows), would_be_inside=each.inside
        )
        for sheet, each in sheets.items()
    )
    totals: dict[str, int] = {}
    for each in listed:
        for other, number in each.would_be_inside.items():
            totals[other] = totals.get(other, 0) + number
    return Outside(
        count=sum(each.count for each in listed),
        rows=tuple(row for each in listed for row in each.rows)[:MAX_LISTED],
        would_be_inside=totals,
        box=box,
        whose=whose,
        sheets=listed,
    )


def _note(sheets: dict[str, _Sheet], rows: list[Any], box: _Box, system: System) -> None:
    """Count rows that lie outside. system: in which they stand in the file."""
    raw = numpy.array([row[2:4] if row[4] is None else row[4:6] for row in rows], dtype=float)
    better: dict[str, list[bool]] = {
        each: _inside(box, *to_wgs84_all(raw[:, 0], raw[:, 1], each)).tolist()
        for each in SYSTEMS
        if each != system
    }
    for number, (sheet, row, *_) in enumerate(rows):
        found = sheets.setdefault(sheet, _Sheet())
        found.count += 1
        if len(found.rows) < MAX_LISTED:
            found.rows.append(row)
        for other, inside in better.items():
            if inside[number]:
                found.inside[other] = found.inside.get(other, 0) + 1


def _inside(box: _Box, longitudes_deg: Degrees, latitudes_deg: Degrees) -> Any:
    west, south, east, north = box
    return (
        (longitudes_deg >= west)
        & (longitudes_deg <= east)
        & (latitudes_deg >= south)
        & (latitudes_deg <= north)
    )


def _box(connection: Connection, path: str) -> tuple[str, _Box] | None:
    """Whose box it is, and the box."""
    columns = select(_O.path, _O.west_deg, _O.south_deg, _O.east_deg, _O.north_deg)
    drawn = columns.where(_O.area_m2.is_not(None))
    boxes = connection.execute(drawn.where(within(_O.path, path))).all()
    own = [each for each in boxes if each.path == path]
    if boxes:
        found = own or boxes
        west, south = min(each.west_deg for each in found), min(each.south_deg for each in found)
        east, north = max(each.east_deg for each in found), max(each.north_deg for each in found)
        return path, (west, south, east, north)
    above = []
    while path := parent_path(path):
        above.append(path)
    nearest = connection.execute(
        drawn.where(_O.path.in_(above)).order_by(_O.depth.desc()).limit(1)
    ).one_or_none()
    return (nearest.path, tuple(nearest[1:])) if nearest else None
