"""Points to CSV, XLSX and GeoJSON, so that importing the file again changes nothing."""

import csv
import functools
import io
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import openpyxl
from openpyxl.cell import WriteOnlyCell

from registry import point_lists
from registry.database import Database
from registry.errors import Invalid
from registry.machine_file import ATTRIBUTES, wrong
from registry.paging import MAX_LIMIT
from registry.partition import Principal
from registry.point_lists import EVERYTHING, PointFilter
from registry.points import Point

COLUMNS = (
    *("id", "code", "name", "organization", "assigned_by", "place", "longitude", "latitude"),
    *("category", "ownership", "masked", "status"),
    *ATTRIBUTES,
    "attributes",
)
"""Hosts are left out: nobody outside is told where a camera is on the network."""

_RUN_BY_SPREADSHEETS = re.compile(r"'*[=+\-@\t\r]")
_QUOTED = re.compile(r"'+[=+\-@\t\r]")
_NOT_IN_XLSX = re.compile("[\x00-\x08\x0b-\x1f\ufffe\uffff]|_x[0-9A-Fa-f]{4}_")
MAX_XLSX_TEXT = 32_767
MAX_XLSX_ROWS = 1_048_576


def exported(
    database: Database, principal: Principal, wanted: PointFilter = EVERYTHING
) -> Iterator[Point]:
    """The points that the principal sees and the filter wants, in the order they were made, a few
    hundred in memory at a time. Blocks: call it in a thread.

    Each few hundred are read as they are then: a point changed meanwhile is there once, as it was
    or as it is. Raises: NotFound, Invalid, DatabaseAway.
    """
    cursor: str | None = None
    while True:
        page = database.read_now(
            functools.partial(
                point_lists.page,
                principal=principal,
                wanted=wanted,
                limit=MAX_LIMIT,
                cursor=cursor,
            )
        )
        yield from page.items
        cursor = page.next
        if cursor is None:
            return


def check_fits(database: Database, principal: Principal, wanted: PointFilter) -> None:
    """Raises: Invalid where there are more points than a sheet has rows."""
    counted = functools.partial(point_lists.page, principal=principal, wanted=wanted, limit=1)
    if database.read_now(counted).total >= MAX_XLSX_ROWS:
        raise Invalid.at("format", f"a sheet has room for {MAX_XLSX_ROWS - 1} points: csv")


def row_of(point: Point) -> dict[str, Any]:
    """A point by our column names; what it does not have is None. Numbers are numbers."""
    attributes = dict(point.attributes)
    known = {
        name: attributes.pop(name)
        for name, attribute in ATTRIBUTES.items()
        if attributes.get(name) is not None and _fits(name, attributes[name])
    }
    return {
        "id": point.id,
        "code": point.code,
        "name": point.name,
        "organization": point.organization.path,
        "assigned_by": point.assigned_by,
        "place": point.place or None,
        "longitude": point.longitude,
        "latitude": point.latitude,
        "category": point.category,
        "ownership": point.ownership,
        "masked": int(point.masked),
        "status": point.status,
        **{name: known.get(name) for name in ATTRIBUTES},
        "attributes": attributes or None,
    }


def _fits(name: str, value: Any) -> bool:
    """Whether the attribute can stand in a cell of its own and be read back the same."""
    if value == [] or wrong(ATTRIBUTES[name], value) is not None:
        return False
    if not isinstance(value, str):
        return True
    return value != "" and value == unicodedata.normalize("NFC", value).strip()


def _cell(value: Any) -> Any:
    if isinstance(value, list):
        return "/".join(map(str, value))
    if isinstance(value, dict):
        text = json.dumps(value, ensure_ascii=False)
        return text if unicodedata.is_normalized("NFC", text) else json.dumps(value)
    return value


def _escaped(text: str) -> str:
    """What begins like a text that `guarded` changed gets one quote more, as import takes one."""
    return f"'{text}" if _QUOTED.match(text) else text


def guarded(value: Any) -> str:
    """A cell of a CSV file: texts that a spreadsheet would run get a quote in front."""
    if value is None:
        return ""
    if isinstance(value, str):
        return f"'{value}" if _RUN_BY_SPREADSHEETS.match(value) else value
    return repr(value) if isinstance(value, float) else str(value)


def csv_lines(rows: Iterable[Mapping[str, Any]], columns: Sequence[str] = COLUMNS) -> Iterator[str]:
    """Text of a CSV file, a piece per row; to be encoded as UTF-8. It begins with a BOM, without
    which spreadsheet programs take Chinese for something else."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    buffer.write("\ufeff")
    writer.writerow(columns)
    yield _taken(buffer)
    for row in rows:
        writer.writerow([guarded(_cell(row[name])) for name in columns])
        yield _taken(buffer)


def _taken(buffer: io.StringIO) -> str:
    text = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return text


def geojson_pieces(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Text of a GeoJSON FeatureCollection, a piece per feature."""
    yield '{"type":"FeatureCollection","features":['
    between = "\n"
    for row in rows:
        left_out = ("longitude", "latitude")
        properties = {
            name: _escaped(value) if isinstance(value, str) else value
            for name, value in row.items()
            if name not in left_out and value is not None
        }
        position = [row["longitude"], row["latitude"]]
        feature = {
            "type": "Feature",
            "id": row["id"],
            "geometry": None if None in position else {"type": "Point", "coordinates": position},
            "properties": properties,
        }
        yield between + json.dumps(feature, ensure_ascii=False)
        between = ",\n"
    yield "\n]}\n"


def write_xlsx(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """A workbook, written as a stream. Texts are texts: a code keeps its digits, and what looks
    like a formula is none. Raises: ValueError past 1,048,575 points."""

    def cells() -> Iterator[Sequence[Any]]:
        yield COLUMNS
        for number, row in enumerate(rows, 2):
            if number > MAX_XLSX_ROWS:
                raise ValueError("a sheet has room for 1,048,575 points: export CSV or GeoJSON")
            yield [_cell(row[name]) for name in COLUMNS]

    write_sheet(path, "points", cells())


def write_sheet(path: Path, title: str, rows: Iterable[Sequence[Any]]) -> None:
    """A workbook of one sheet, its first row the header, written as a stream."""
    workbook = openpyxl.Workbook(write_only=True)
    sheet = workbook.create_sheet(title)
    sheet.freeze_panes = "A2"
    for row in rows:
        sheet.append([_typed(sheet, value) for value in row])
    workbook.save(path)


def _typed(sheet: Any, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    # What a workbook cannot hold is left out: an empty cell changes nothing when it is imported.
    if _NOT_IN_XLSX.search(value) or len(value) > MAX_XLSX_TEXT:
        return None
    cell = WriteOnlyCell(sheet, value=_escaped(value))
    cell.data_type = "s"
    return cell
