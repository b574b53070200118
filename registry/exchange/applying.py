"""What was planned for a staged file, written to the registry."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import msgspec
from sqlalchemy import Connection, bindparam, func, select, update

from registry import sharing
from registry.errors import VersionMismatch
from registry.exchange.bulk import insert_rows, narrow_cache, stored
from registry.exchange.staging import GOOD, Staging
from registry.identity import new_id, now
from registry.models import CHANGES, ORGANIZATIONS, POINT_COUNTS, POINTS
from registry.partition import Principal
from registry.point_counts import counted_at_once

_P = POINTS.c
AT_ONCE = 10_000
AT_ONCE_COPIED = 100_000
"""Rows of one COPY: PostgreSQL counts the points of each statement in one go."""
ASKED_EVERY = 5_000
COUNTING_IS_QUICKER_BY = 8
"""So many points can be counted again in the time in which one is written and counted."""
_CREATED = "created JOIN rows USING (n) JOIN owners USING (owner)"

NEW_POINT: Mapping[str, str] = {
    "id": "created.id",
    "version": "1",
    "code": "code",
    "name": "name",
    "place": "ifnull(place, '')",
    "organization_id": "organization_id",
    "home_id": "home_id",
    "assigned_by": "owners.assigned_by",
    "longitude": "longitude",
    "latitude": "latitude",
    "category": "ifnull(category, 9)",
    "ownership": "ifnull(ownership, 'other')",
    "host": "host",
    "channel_number": "channel_number",
    "masked": "ifnull(masked, 0)",
    "attributes": "ifnull(attributes, '{}')",
    "profiles": "'[]'",
    "capabilities": "'[]'",
    "status": "'unknown'",
    "status_reason": "''",
    "status_since": ":at",
    "created_at": ":at",
    "updated_at": ":at",
}
"""Each column of a new point, in the staging file's SQL."""

_RECORDED = ("code", "name", "place", "longitude", "latitude")
"""What the record of a new point says of it. The rest is in the point, and in what each later
change says was there before; see docs/decisions/009-imports.md."""
_DETAILS = ", ".join(f"'{field}', {NEW_POINT[field]}" for field in _RECORDED)
_CHANGE: Mapping[str, str] = {
    "id": "new_id()",
    "at": ":at",
    "user_id": ":user_id",
    "user_name": ":user_name",
    "action": "'create'",
    "kind": "'point'",
    "object_id": "created.id",
    "organization_path": "path",
    "details": f"json_object({_DETAILS})",
}
_CHANGE_BY_TOKEN = {
    **_CHANGE,
    "details": f"json_set({_CHANGE['details']}, '$.token', json(:token))",
}


def apply(
    connection: Connection, principal: Principal, staging: Staging, keep_on: Callable[[], None]
) -> None:
    """Write what is planned, with a record of each point's change. keep_on: called now and then;
    raises to stop.

    Raises: VersionMismatch for a point that was changed since it was looked at.
    """
    with _counted(connection, staging):
        _update(connection, principal, staging, keep_on)
        _create(connection, principal, staging, keep_on)
        # Counting needs room of its own.
        narrow_cache(connection)


def _counted(connection: Connection, staging: Staging) -> AbstractContextManager[None]:
    """Points are counted one by one, or all again where that is quicker."""
    counts = staging.counts()
    known = connection.scalar(select(func.sum(POINT_COUNTS.c.points))) or 0
    if (counts["create"] + counts["update"]) * COUNTING_IS_QUICKER_BY < known:
        return contextlib.nullcontext()
    return counted_at_once(connection, connection.scalars(select(ORGANIZATIONS.c.id)).all())


def _update(
    connection: Connection, principal: Principal, staging: Staging, keep_on: Callable[[], None]
) -> None:
    changed = False
    for chunk in staging.planned_updates(AT_ONCE):
        keep_on()
        changed = True
        _update_all(connection, chunk)
        _record_updates(connection, principal, chunk)
    if changed:
        sharing.end_stale(connection, principal)


def _create(
    connection: Connection, principal: Principal, staging: Staging, keep_on: Callable[[], None]
) -> None:
    staging.db.create_function("new_id", 0, new_id)
    is_sqlite = connection.dialect.name == "sqlite"
    at_once = AT_ONCE if is_sqlite else AT_ONCE_COPIED
    # Owner by owner, as the indexes of the registry are: SQLite is a tenth quicker so.
    order = "owner, n" if is_sqlite else "n"
    change = _CHANGE_BY_TOKEN if principal.token else _CHANGE
    for first in range(1, staging.total + 1, at_once):
        at = now()
        shared = {
            "first": first,
            "last": first + at_once - 1,
            "user_id": principal.user_id,
            "user_name": principal.name,
            "token": msgspec.json.encode(principal.by.get("token")).decode(),
        }
        for table, columns, moment in (
            (POINTS, NEW_POINT, stored(connection, at, _P.created_at)),
            (CHANGES, change, stored(connection, at, CHANGES.c.at)),
        ):
            rows = staging.db.execute(
                f"SELECT {', '.join(columns.values())} FROM {_CREATED}"
                f" WHERE n BETWEEN :first AND :last AND {GOOD} ORDER BY {order}",
                {**shared, "at": moment},
            )
            insert_rows(connection, table, tuple(columns), _asking(rows, keep_on))


def _asking(rows: Iterable[Any], keep_on: Callable[[], None]) -> Iterator[Any]:
    for number, row in enumerate(rows):
        if number % ASKED_EVERY == 0:
            keep_on()
        yield row


def _update_all(connection: Connection, chunk: Sequence[Mapping[str, Any]]) -> None:
    by_fields: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for each in chunk:
        fields = tuple(sorted(each["values"]))
        values = {f"new_{field}": each["values"][field] for field in fields}
        row = {"of": each["id"], "read": each["version"], **values}
        by_fields.setdefault(fields, []).append(row)
    for fields, rows in by_fields.items():
        statement = (
            update(POINTS)
            .where(_P.id == bindparam("of"), _P.version == bindparam("read"))
            .values(
                version=_P.version + 1,
                updated_at=now(),
                **{field: bindparam(f"new_{field}") for field in fields},
            )
        )
        if connection.execute(statement, rows).rowcount != len(rows):
            raise VersionMismatch("point", rows[0]["read"], rows[0]["read"] + 1)


def _record_updates(
    connection: Connection, principal: Principal, chunk: Sequence[Mapping[str, Any]]
) -> None:
    at = stored(connection, now(), CHANGES.c.at)
    rows = [
        (
            *(new_id(), at, principal.user_id, principal.name, "update", "point"),
            *(each["id"], each["path"]),
            msgspec.json.encode({**each["changed"], **principal.by}).decode(),
        )
        for each in chunk
    ]
    insert_rows(connection, CHANGES, tuple(_CHANGE), rows)
