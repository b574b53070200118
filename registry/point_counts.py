"""Counts of points without a scan of them: by organisation and kind, and by cell of the map.

Triggers of the database keep the sums (migration 0004), whoever writes the points.
"""

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, func, insert, select, text

from registry.models import ORGANIZATIONS, POINT_COUNTS, UNCOUNTED_WRITES
from registry.models.point_counts import CELL_LEVELS
from registry.partition import within

_C = POINT_COUNTS.c
COUNTED = ("status", "category", "ownership", "assigned_by")
"""What points are counted by."""
_KEY = "organization_id, status, assigned_by, category, ownership"


def of_organizations(
    connection: Connection, condition: ColumnElement[bool], below: str | None = None
) -> dict[str, Mapping[str, int]]:
    """``{points, online, offline, fault, unassigned}`` by the path of the owner itself; one that
    owns nothing is left out. condition: on `POINT_COUNTS`. below: only at this path or below."""

    def number(condition: ColumnElement[bool]) -> ColumnElement[int]:
        return func.coalesce(func.sum(_C.points).filter(condition), 0)

    wanted = (
        select(
            ORGANIZATIONS.c.path,
            func.sum(_C.points).label("points"),
            number(_C.status == "online").label("online"),
            number(_C.status == "offline").label("offline"),
            number(_C.status == "fault").label("fault"),
            number(_C.assigned_by == "none").label("unassigned"),
        )
        .join_from(POINT_COUNTS, ORGANIZATIONS, _C.organization_id == ORGANIZATIONS.c.id)
        .where(condition)
        .group_by(ORGANIZATIONS.c.path)
        .having(func.sum(_C.points) > 0)
    )
    if below is not None:
        wanted = wanted.where(within(ORGANIZATIONS.c.path, below))
    return {
        row[0]: dict(
            zip(("points", "online", "offline", "fault", "unassigned"), row[1:], strict=True)
        )
        for row in connection.execute(wanted)
    }


@contextlib.contextmanager
def counted_at_once(connection: Connection, organization_ids: Iterable[str]) -> Iterator[None]:
    """For a transaction that writes very many points: on SQLite they are counted once at the end
    of the block instead of one by one, which costs as much as writing them. organization_ids: all
    that own such a point before or after. PostgreSQL counts by statement anyway."""
    if connection.dialect.name != "sqlite":
        yield
        return
    connection.execute(insert(UNCOUNTED_WRITES).values(id=1))
    yield
    owners = json.dumps(list(organization_ids))
    for statement in _recount():
        connection.execute(text(statement), {"owners": owners})
    connection.execute(delete(UNCOUNTED_WRITES))


def _recount() -> Iterator[str]:
    owned = "organization_id IN (SELECT value FROM json_each(:owners))"
    yield f"DELETE FROM point_counts WHERE {owned}"
    yield f"DELETE FROM point_cells WHERE {owned}"
    yield (
        f"INSERT INTO point_counts ({_KEY}, slot, points) "
        f"SELECT {_KEY}, 0, count(*) FROM points WHERE {owned} GROUP BY {_KEY}"
    )
    finest = max(CELL_LEVELS)
    columns = "(level, organization_id, x, y, slot, points, longitude_sum, latitude_sum)"
    yield (
        f"INSERT INTO point_cells {columns} SELECT {finest}, organization_id, "
        f"CAST((longitude + 180) * {2**finest} / 360 AS INTEGER), "
        f"CAST((latitude + 90) * {2**finest} / 360 AS INTEGER), 0, count(*), "
        "sum(CAST(longitude * 1000000 AS INTEGER)), sum(CAST(latitude * 1000000 AS INTEGER)) "
        f"FROM points WHERE {owned} AND longitude IS NOT NULL GROUP BY 1, 2, 3, 4"
    )
    for level in CELL_LEVELS:
        if level != finest:
            shift = finest - level
            yield (
                f"INSERT INTO point_cells {columns} SELECT {level}, organization_id, "
                f"x >> {shift}, y >> {shift}, 0, sum(points), sum(longitude_sum), "
                f"sum(latitude_sum) FROM point_cells WHERE level = {finest} AND {owned} "
                "GROUP BY 1, 2, 3, 4"
            )


def conditions(wanted: Mapping[str, Any]) -> Iterator[ColumnElement[bool]]:
    """On `POINT_COUNTS`: each of `COUNTED` that is not None has that value."""
    for name in COUNTED:
        if wanted.get(name) is not None:
            yield _C[name] == wanted[name]
