"""Very many points as columns of numbers: where each is, whose it is, and how they came by it.

A million rows as Python's objects would take longer than everything that is done with them.
PostgreSQL gives each chunk as the bytes of an array.
"""

import dataclasses
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy
from numpy.typing import NDArray
from sqlalchemy import Connection, Select, literal_column, select, text

from registry.errors import Conflict
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
    ("id", "V16", "uuid_send(points.id)"),
    ("version", ">i4", "int4send(points.version)"),
    ("longitude", ">f8", "float8send(coalesce(points.longitude, 'NaN'))"),
    ("latitude", ">f8", "float8send(coalesce(points.latitude, 'NaN'))"),
    ("owner", ">i8", "int8send(coalesce(owners.number, 0))"),
    ("home", ">i8", "int8send(homes.number)"),
    ("by", ">i4", "int4send(array_position(CAST(:by AS text[]), CAST(assigned_by AS text)))"),
)
"""Name, type, and SQL of its bytes. Numbers count from 1; 0 is none."""
_ROW = numpy.dtype([(name, kind) for name, kind, _ in _FIELDS])
_NUMBERED = "unnest(CAST(:ids AS uuid[])) WITH ORDINALITY"
_CHUNK = text(
    f"SELECT string_agg({' || '.join(sql for _, _, sql in _FIELDS)}, '') FROM ("
    "SELECT * FROM points WHERE home_id = ANY(CAST(:ids AS uuid[])) AND id > :after "
    "ORDER BY id LIMIT :most) AS points "
    f"JOIN {_NUMBERED} AS homes (id, number) ON homes.id = points.home_id "
    f"LEFT JOIN {_NUMBERED} AS owners (id, number) ON owners.id = points.organization_id"
)


def _from_postgresql(connection: Connection, numbers: Mapping[str, int]) -> Iterator[PlacedPoints]:
    values = {"ids": list(numbers), "by": list(BY), "most": CHUNK}
    by_place = numpy.fromiter(numbers.values(), numpy.int64, len(numbers))
    after = uuid.UUID(int=0)
    while found := connection.scalar(_CHUNK, {**values, "after": after}):
        rows = numpy.frombuffer(found, _ROW)
        yield _of_bytes(rows, by_place)
        if len(rows) < CHUNK:
            return
        after = uuid.UUID(bytes=max(rows["id"].tolist()))


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
