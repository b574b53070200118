"""The journal: events and calls, written in batches and read within the reader's partition.

Its tables have steps of their own; on SQLite they are a file, `journal.db`, beside the registry's.
Organisations are named by id: paths change, and here is no transaction to follow them.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, delete, func, select, true
from sqlalchemy.dialects import postgresql, sqlite

from registry import migrations
from registry.database import Database, beside
from registry.errors import Invalid
from registry.identity import parse_id
from registry.models import CHANNELS, ORGANIZATIONS, POINTS, SYSTEMS
from registry.models.journal import JOURNAL_CALLS, JOURNAL_EVENTS, JOURNAL_POSITIONS
from registry.paging import MAX_LIMIT, AnyRow, Page, decode_cursor, encode_cursor
from registry.partition import SEE_CHANNELS, Principal, top_paths, within_any

_E = JOURNAL_EVENTS.c
_C = JOURNAL_CALLS.c
_P = JOURNAL_POSITIONS.c
FILE = "journal.db"
LINEAGE = migrations.Lineage(
    location="registry:journal_migrations", version_table="journal_version"
)
MOST_IDS = 60_000


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A CloudEvent as it was stored. number: order of storing, 0 before it is."""

    id: str
    source: str
    type: str
    subject: str
    organization_id: str
    time: datetime
    received_at: datetime
    epoch: str
    sequence: int
    uptime_ms: int
    late: bool
    data: Mapping[str, Any]
    number: int = 0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Somebody's talk: who, where, how long, bridged to whom, why ended. duration_s: seconds."""

    key: str
    channel_id: str
    organization_id: str
    patch_id: str
    talker: str
    talker_alias: str
    emergency: bool
    encrypted: bool
    started_at: datetime
    ended_at: datetime | None
    duration_s: float | None
    outcome: str
    end_reason: str
    bridged_to: tuple[str, ...]
    number: int = 0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Whose history somebody may read. ids: of organisations, when it is not everything."""

    everything: bool
    ids: frozenset[str]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """since, until: from then on, and before then, by the event's own time."""

    subject: str | None = None
    type: str | None = None
    talker: str | None = None
    patch: str | None = None
    emergency: bool | None = None
    since: datetime | None = None
    until: datetime | None = None


def open_store(registry_url: str, **options: Any) -> Database:
    """The journal's own database, beside the registry's. Raises: DatabaseUnusable."""
    return Database(beside(registry_url, FILE), **{"readers": 2, "lineage": LINEAGE, **options})


# --- writing --------------------------------------------------------------------------------------


def organization_ids(connection: Connection, paths: Iterable[str]) -> dict[str, str]:
    """The ids of the organisations that have these paths now. connection: of the registry."""
    wanted = select(ORGANIZATIONS.c.path, ORGANIZATIONS.c.id).where(
        ORGANIZATIONS.c.path.in_(sorted(set(paths)))
    )
    return {row.path: row.id for row in connection.execute(wanted)}


def owners(connection: Connection, subjects: Iterable[str]) -> dict[str, str]:
    """The ids of the organisations that own these channels, systems and points. connection: of
    the registry."""
    wanted = sorted({each for each in subjects if parse_id(each) == each})
    found: dict[str, str] = {}
    for table in (CHANNELS, SYSTEMS, POINTS) if wanted else ():
        rows = select(table.c.id, table.c.organization_id).where(table.c.id.in_(wanted))
        found |= {row.id: row.organization_id for row in connection.execute(rows)}
    return found


def store(
    connection: Connection,
    events: Sequence[Event],
    calls: Sequence[Call],
    positions: Mapping[str, tuple[str, int]],
) -> None:
    """Write a batch, in order. Events that are there already are left as they are; a call that is
    becomes what is known of it now. positions: by system, (epoch, sequence)."""
    if events:
        rows = [_without_number(event) for event in events]
        statement = _insert(connection, JOURNAL_EVENTS)
        connection.execute(statement.on_conflict_do_nothing(), rows)
    if calls:
        rows = [{**_without_number(c), "bridged_to": list(c.bridged_to)} for c in calls]
        statement = _insert(connection, JOURNAL_CALLS)
        changed = {
            name: statement.excluded[name]
            for name in rows[0]
            if name not in ("key", "channel_id", "started_at")
        }
        connection.execute(
            statement.on_conflict_do_update(index_elements=["key"], set_=changed), rows
        )
    if positions:
        statement = _insert(connection, JOURNAL_POSITIONS)
        kept = {name: statement.excluded[name] for name in ("epoch", "sequence")}
        connection.execute(
            statement.on_conflict_do_update(index_elements=["system_id"], set_=kept),
            [
                {"system_id": system, "epoch": epoch, "sequence": sequence}
                for system, (epoch, sequence) in positions.items()
            ],
        )


def _without_number(row: Event | Call) -> dict[str, Any]:
    return {
        field.name: getattr(row, field.name)
        for field in dataclasses.fields(row)
        if field.name != "number"
    }


def _insert(connection: Connection, table: Table) -> Any:
    kind = postgresql if connection.dialect.name == "postgresql" else sqlite
    return kind.insert(table)


def positions(connection: Connection) -> dict[str, tuple[str, int]]:
    """How far each system's events are stored: (epoch, sequence)."""
    found = connection.execute(select(_P.system_id, _P.epoch, _P.sequence))
    return {row.system_id: (row.epoch, row.sequence) for row in found}


def forget(
    connection: Connection, *, events_before: datetime, calls_before: datetime, most: int = 5000
) -> int:
    """Remove what is older than its time, at most so many of each; how many went."""
    gone = 0
    for table, column, before in (
        (JOURNAL_EVENTS, _E.received_at, events_before),
        (JOURNAL_CALLS, _C.started_at, calls_before),
    ):
        old = select(table.c.number).where(column < before).order_by(table.c.number).limit(most)
        gone += connection.execute(delete(table).where(table.c.number.in_(old))).rowcount
    return gone


# --- reading --------------------------------------------------------------------------------------


def scope_of(connection: Connection, principal: Principal) -> Scope:
    """Whose history the principal may read now. connection: of the registry."""
    tops = top_paths(principal, SEE_CHANNELS)
    if tops == ("",):
        return Scope(everything=True, ids=frozenset())
    if not tops:
        return Scope(everything=False, ids=frozenset())
    found = connection.scalars(
        select(ORGANIZATIONS.c.id).where(within_any(ORGANIZATIONS.c.path, tops)).limit(MOST_IDS)
    )
    return Scope(everything=False, ids=frozenset(found))


def read_events(
    connection: Connection, scope: Scope, wanted: Wanted, *, limit: int, cursor: str | None
) -> Page[Event]:
    """Newest first. Raises: Invalid."""
    conditions = [_within(_E.organization_id, scope)]
    for column, value in ((_E.subject, wanted.subject), (_E.type, wanted.type)):
        if value is not None:
            conditions.append(column == value)
    conditions += _times(_E.time, wanted)

    def read(row: AnyRow) -> Event:
        return Event(**row._mapping)

    return _page(connection, JOURNAL_EVENTS, conditions, read, limit, cursor)


def read_calls(
    connection: Connection, scope: Scope, wanted: Wanted, *, limit: int, cursor: str | None
) -> Page[Call]:
    """Newest first. Raises: Invalid."""
    conditions = [_within(_C.organization_id, scope)]
    for column, value in (
        (_C.channel_id, wanted.subject),
        (_C.talker, wanted.talker),
        (_C.patch_id, wanted.patch),
        (_C.emergency, wanted.emergency),
    ):
        if value is not None:
            conditions.append(column == value)
    conditions += _times(_C.started_at, wanted)

    def read(row: AnyRow) -> Call:
        return Call(**{**row._mapping, "bridged_to": tuple(row.bridged_to)})

    return _page(connection, JOURNAL_CALLS, conditions, read, limit, cursor)


def _within(column: ColumnElement[str], scope: Scope) -> ColumnElement[bool]:
    return true() if scope.everything else column.in_(sorted(scope.ids))


def _times(column: ColumnElement[datetime], wanted: Wanted) -> list[ColumnElement[bool]]:
    conditions = []
    if wanted.since is not None:
        conditions.append(column >= wanted.since)
    if wanted.until is not None:
        conditions.append(column < wanted.until)
    return conditions


def _page(
    connection: Connection,
    table: Table,
    conditions: list[ColumnElement[bool]],
    read: Any,
    limit: int,
    cursor: str | None,
) -> Page[Any]:
    if not 1 <= limit <= MAX_LIMIT:
        raise Invalid.at("limit", f"must be 1 to {MAX_LIMIT}")
    number: ColumnElement[int] = table.c.number
    total = connection.scalar(select(func.count()).select_from(table).where(*conditions)) or 0
    rows: Select[Any] = select(table).where(*conditions)
    if cursor is not None:
        position = decode_cursor(cursor)
        if not position.isdecimal() or len(position) > 18:
            raise Invalid.at("cursor", "is not one that a list of ours gave")
        rows = rows.where(number < int(position))
    found = connection.execute(rows.order_by(number.desc()).limit(limit + 1)).all()
    more = len(found) > limit
    return Page(
        items=tuple(read(row) for row in found[:limit]),
        next=encode_cursor(str(found[limit - 1].number)) if more else None,
        total=total,
    )
