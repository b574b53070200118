"""Very many points as columns of numbers: where each is, whose it is, and how they came by it.

A million rows as Python's objects would take longer than everything that is done with them. From
PostgreSQL they come as the bytes of a binary COPY, whose rows are all of one length here.
"""

import dataclasses
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy
from numpy.typing import NDArray
from sqlalchemy import Connection, Select, literal_column, select

from registry.errors import Conflict
from registry.exchange.bulk import copied
from registry.models import ORGANIZATIONS, POINTS
from registry.partition import within

CHUNK = 20_000
BY = ("explicit", "polygon", "none")
"""How a point came by its owner; a number says its place here."""

_P = POINTS.c
_O = ORGANIZATIONS.c
_BY_NUMBER = {each: number for number, each in enumerate(BY)}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PlacedPoints:
    """A chunk of points. All arrays have one entry for each: positions in degrees, NaN where a
    point has none; owners and homes by the number of their organisation, by by that of `BY`.
    id_of: the id of one, by its place in the chunk."""

    id_of: Callable[[int], str]
    versions: Sequence[int] | NDArray[numpy.int32]
    longitudes_deg: NDArray[numpy.float64]
    latitudes_deg: NDArray[numpy.float64]
    owners: NDArray[numpy.int64]
    homes: NDArray[numpy.int64]
    by: NDArray[numpy.int64]

    def __len__(self) -> int:
        return len(self.owners)


def homes_below(path: str) -> Select[tuple[str]]:
    """SQL: the ids of the organisations at path and below."""
    return select(_O.id).where(within(_O.path, path))


def chunks(
    connection: Connection, path: str, numbers: Mapping[str, int], *, most_of_all: bool
) -> Iterator[PlacedPoints]:
    """The points whose home is at path or below, by and by. numbers: of all these organisations,
    by id. most_of_all: they are most of the points that there are.

    Raises: Conflict for an organisation without a number, which was made a moment ago.
    """
    if connection.dialect.name == "sqlite":
        return _from_sqlite(connection, path, numbers, most_of_all)
    return _from_postgresql(connection, numbers)


# --- SQLite ---------------------------------------------------------------------------------------


def _from_sqlite(
    connection: Connection, path: str, numbers: Mapping[str, int], most_of_all: bool
) -> Iterator[PlacedPoints]:
    # By the index of homes each page would be read once for every home on it. The plus keeps
    # SQLite from using one.
    home = literal_column("+points.home_id") if most_of_all else _P.home_id
    statement = select(
        *(_P.id, _P.version, _P.longitude, _P.latitude),
        *(_P.organization_id, _P.home_id, _P.assigned_by),
    ).where(home.in_(homes_below(path)))
    # It reads on where it is, and sorts nothing: a page at a time would sort what is left.
    result = connection.execute(statement)
    while found := result.cursor.fetchmany(CHUNK):
        yield _of_rows(found, numbers)


def _of_rows(found: Sequence[Sequence[Any]], numbers: Mapping[str, int]) -> PlacedPoints:
    ids, versions, longitudes, latitudes, owners, homes, by = zip(*found, strict=True)
    # None becomes NaN, which is nowhere.
    return PlacedPoints(
        id_of=ids.__getitem__,
        versions=versions,
        longitudes_deg=numpy.array(longitudes, dtype=numpy.float64),
        latitudes_deg=numpy.array(latitudes, dtype=numpy.float64),
        owners=_numbered(owners, numbers),
        homes=_numbered(homes, numbers),
        by=_numbered(by, _BY_NUMBER),
    )


def _numbered(keys: Sequence[str], numbers: Mapping[str, int]) -> NDArray[numpy.int64]:
    try:
        return numpy.fromiter(map(numbers.__getitem__, keys), numpy.int64, len(keys))
    except KeyError:
        raise _made_meanwhile() from None


# --- PostgreSQL -----------------------------------------------------------------------------------

_FIELDS = (
    ("id", "V16", "points.id"),
    ("version", ">i4", "CAST(points.version AS int4)"),
    ("longitude", ">f8", "coalesce(points.longitude, 'NaN')"),
    ("latitude", ">f8", "coalesce(points.latitude, 'NaN')"),
    ("owner", ">i4", "CAST(coalesce(owners.number, 0) AS int4)"),
    ("home", ">i4", "CAST(homes.number AS int4)"),
    ("by", ">i4", "array_position(%(by)s, CAST(points.assigned_by AS text))"),
)
"""Name, type on the wire, SQL. Numbers count from 1; 0 is none."""
_SELECTED = ", ".join(sql for _, _, sql in _FIELDS)
_NUMBERED = "unnest(CAST(%(ids)s AS uuid[])) WITH ORDINALITY"
_QUERY = (
    f"SELECT {_SELECTED} FROM points "
    f"JOIN {_NUMBERED} AS homes (id, number) ON homes.id = points.home_id "
    f"LEFT JOIN {_NUMBERED} AS owners (id, number) ON owners.id = points.organization_id "
    "WHERE points.id > %(after)s ORDER BY points.id LIMIT %(most)s"
)
# https://www.postgresql.org/docs/15/sql-copy.html, "Binary Format": each row begins with its number
# of fields, each field with its length; before all stand 19 bytes, after all a row of -1 fields.
_ROW = numpy.dtype(
    [
        ("fields", ">i2"),
        *(
            part
            for name, kind, _ in _FIELDS
            for part in ((f"length of {name}", ">i4"), (name, kind))
        ),
    ]
)
_HEADER_LENGTH, _TRAILER_LENGTH = 19, 2


def _from_postgresql(connection: Connection, numbers: Mapping[str, int]) -> Iterator[PlacedPoints]:
    values = {"ids": list(numbers), "by": list(BY), "most": CHUNK}
    after = uuid.UUID(int=0)
    while True:
        whole = copied(connection, _QUERY, {**values, "after": after})
        rows = numpy.frombuffer(whole[_HEADER_LENGTH:-_TRAILER_LENGTH], _ROW)
        if len(rows):
            yield _of_bytes(rows, numpy.fromiter(numbers.values(), numpy.int64, len(numbers)))
        if len(rows) < CHUNK:
            return
        after = uuid.UUID(bytes=rows["id"][-1].tobytes())


def _of_bytes(rows: NDArray[Any], numbers: NDArray[numpy.int64]) -> PlacedPoints:
    ids = rows["id"]
    if not rows["owner"].all():
        raise _made_meanwhile()
    return PlacedPoints(
        id_of=lambda place: str(uuid.UUID(bytes=ids[place].tobytes())),
        versions=rows["version"],
        longitudes_deg=rows["longitude"].astype(numpy.float64),
        latitudes_deg=rows["latitude"].astype(numpy.float64),
        owners=numbers[rows["owner"] - 1],
        homes=numbers[rows["home"] - 1],
        by=rows["by"].astype(numpy.int64) - 1,
    )


def _made_meanwhile() -> Conflict:
    return Conflict("organizations changed while this was planned")
