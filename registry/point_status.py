"""What agents see of points, written as it is: nobody's edit."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ARRAY, BindParameter, Connection, Text, bindparam, cast, func, or_
from sqlalchemy import update as sql_update
from sqlalchemy.types import TypeEngine

from registry.models import POINTS
from registry.sources import storable

_P = POINTS.c


def set_status(connection: Connection, updates: Iterable[tuple[str, str, datetime, str]]) -> int:
    """Write what agents saw: (point id, status, since, reason) each. How many rows that changed.

    No version is counted up and nothing recorded: this is nobody's edit. Points that are gone,
    or already say so, are passed over.
    """
    latest = {
        point_id: {"of": point_id, "now": status, "at": since, "why": storable(reason, 2000)}
        for point_id, status, since, reason in updates
    }
    if not latest:
        return 0
    if connection.dialect.name == "postgresql":
        return _set_status_at_once(connection, list(latest.values()))
    statement = (
        sql_update(POINTS)
        .where(
            _P.id == bindparam("of"),
            or_(_P.status != bindparam("now"), _P.status_reason != bindparam("why")),
        )
        .values(
            status=bindparam("now"), status_since=bindparam("at"), status_reason=bindparam("why")
        )
    )
    return connection.execute(statement, list(latest.values())).rowcount


def _set_status_at_once(connection: Connection, batch: Sequence[Mapping[str, Any]]) -> int:
    """In one statement, which PostgreSQL counts at once."""

    def all_of(name: str, kind: TypeEngine[Any]) -> BindParameter[Any]:
        return bindparam(None, [each[name] for each in batch], ARRAY(kind))

    said = (
        func.unnest(
            all_of("of", _P.id.type),
            all_of("now", Text()),
            all_of("at", _P.status_since.type),
            all_of("why", Text()),
        )
        .table_valued("of", "now", "at", "why")
        .render_derived(name="said")
    )
    now_, at, why = said.c.now, said.c.at, said.c.why
    statement = (
        sql_update(POINTS)
        .where(
            _P.id == cast(said.c.of, _P.id.type), or_(_P.status != now_, _P.status_reason != why)
        )
        .values(status=now_, status_since=cast(at, _P.status_since.type), status_reason=why)
    )
    return connection.execute(statement).rowcount
