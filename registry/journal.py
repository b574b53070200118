"""The journal: events and calls, written in batches and read within the reader's partition.

Its tables have steps of their own; on SQLite they are a file, `journal.db`, beside the registry's.
Organisations are named by id: paths change, and here is no transaction to follow them.

By a share somebody reads what happened since it began, for as long as it holds: as viewing goes,
so does history. What came in before is not theirs by the journal's own clock, and what says of
itself that it happened before is not by the writer's.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    String,
    Table,
    case,
    delete,
    func,
    literal,
    or_,
    select,
    true,
    tuple_,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.types import TypeEngine

from registry import migrations
from registry.database import Database, beside
from registry.errors import Invalid
from registry.identity import now, parse_id
from registry.models import CHANNELS, ORGANIZATIONS, POINTS, SYSTEMS
from registry.models.base import UtcDateTime
from registry.models.journal import (
    JOURNAL_ALARMS,
    JOURNAL_CALLS,
    JOURNAL_EVENTS,
    JOURNAL_POSITIONS,
)
from registry.paging import MAX_LIMIT, AnyRow, Page, decode_cursor, encode_cursor
from registry.partition import (
    SEE_CHANNELS,
    Principal,
    given_shares,
    lies_within,
    receives,
    top_paths,
    within_any,
)

_E = JOURNAL_EVENTS.c
_C = JOURNAL_CALLS.c
_A = JOURNAL_ALARMS.c
_P = JOURNAL_POSITIONS.c
ALARMS = frozenset(
    {
        *("emergency.raised", "emergency.undelivered", "member.suspended", "system.alarm"),
        *("point.alarm", "point.tamper", "point.signal_lost"),
    }
)
"""Types of events that somebody should see to."""
FILE = "journal.db"
LINEAGE = migrations.Lineage(
    location="registry:journal_migrations", version_table="journal_version"
)
MOST_IDS = 40_000
MOST_WINDOWS = 2_000
"""A statement of PostgreSQL takes 65,535 values, of which a window is seven."""


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
class Window:
    """What a share shows of one organisation's history. subject: id of the one point, empty for
    its points and channels. since: when the share began."""

    organization_id: str
    subject: str
    since: datetime


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Whose history somebody may read. ids: of organisations, when it is not everything. shown:
    what they may read beside, by shares that hold now."""

    everything: bool
    ids: frozenset[str]
    shown: tuple[Window, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """talkers: any of them. since, until: from then on, and before then, by the event's own time.
    acknowledged: alarms alone, those that somebody has seen to or those that nobody has."""

    subject: str | None = None
    type: str | None = None
    talker: str | None = None
    talkers: tuple[str, ...] | None = None
    patch: str | None = None
    emergency: bool | None = None
    acknowledged: bool | None = None
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
        _store_alarms(connection, [event for event in events if is_alarm(event)])
    if calls:
        at = now()
        rows = [
            {**_without_number(c), "bridged_to": list(c.bridged_to), "stored_at": at} for c in calls
        ]
        statement = _insert(connection, JOURNAL_CALLS)
        changed = {
            name: statement.excluded[name]
            for name in rows[0]
            if name not in ("key", "channel_id", "started_at", "stored_at")
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


def is_alarm(event: Event) -> bool:
    """Whether somebody should see to it. What only says that it is over is none."""
    return event.type in ALARMS and event.data.get("active") is not False


def _store_alarms(connection: Connection, alarms: Sequence[Event]) -> None:
    if not alarms:
        return
    rows = [
        {
            "id": each.id,
            "source": each.source,
            "received_at": each.received_at,
            "acknowledged_by_id": "",
            "acknowledged_by_name": "",
        }
        for each in alarms
    ]
    connection.execute(_insert(connection, JOURNAL_ALARMS).on_conflict_do_nothing(), rows)


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
    connection.execute(delete(JOURNAL_ALARMS).where(_A.received_at < events_before))
    return gone


# --- reading --------------------------------------------------------------------------------------


def scope_of(connection: Connection, principal: Principal) -> Scope:
    """Whose history the principal may read now. connection: of the registry."""
    tops = top_paths(principal, SEE_CHANNELS)
    if tops == ("",):
        return Scope(everything=True, ids=frozenset())
    ids: frozenset[str] = frozenset()
    if tops:
        wanted = select(ORGANIZATIONS.c.id).where(within_any(ORGANIZATIONS.c.path, tops))
        ids = frozenset(connection.scalars(wanted.limit(MOST_IDS)))
    shown = _windows(connection, principal) if receives(principal) else ()
    foreign = tuple(each for each in shown if each.organization_id not in ids)
    return Scope(everything=False, ids=ids, shown=foreign)


def _windows(connection: Connection, principal: Principal) -> tuple[Window, ...]:
    """What shares that hold now show; of several of the same, since the first began."""
    given = given_shares(principal)
    since = func.min(given.c.starts_at, type_=given.c.starts_at.type).label("since")
    subtrees = (
        select(ORGANIZATIONS.c.id, literal("").label("subject"), since)
        .join(given, lies_within(ORGANIZATIONS.c.path, given.c.owner_path))
        .where(given.c.point_id.is_(None))
        .group_by(ORGANIZATIONS.c.id)
    )
    alone = (
        select(given.c.owner_id, given.c.point_id, since)
        .join_from(given, POINTS, POINTS.c.id == given.c.point_id)
        .where(POINTS.c.organization_id == given.c.owner_id)
        .group_by(given.c.owner_id, given.c.point_id)
    )
    found: list[Window] = []
    for wanted in (subtrees, alone):
        rows = connection.execute(wanted.limit(MOST_WINDOWS - len(found)))
        found += [Window(organization_id=o, subject=subject, since=s) for o, subject, s in rows]
    return tuple(found)


def read_events(
    connection: Connection, scope: Scope, wanted: Wanted, *, limit: int, cursor: str | None
) -> Page[Event]:
    """Newest first. Raises: Invalid."""
    conditions = [within_scope(scope)]
    for column, value in ((_E.subject, wanted.subject), (_E.type, wanted.type)):
        if value is not None:
            conditions.append(column == value)
    if wanted.acknowledged is not None:
        seen_to = _A.acknowledged_at.is_not(None)
        alarms = select(_A.source, _A.id).where(seen_to if wanted.acknowledged else ~seen_to)
        conditions.append(tuple_(_E.source, _E.id).in_(alarms))
    conditions += _times(_E.time, wanted)

    def read(row: AnyRow) -> Event:
        return Event(**row._mapping)

    return _page(connection, JOURNAL_EVENTS, conditions, read, limit, cursor)


def read_calls(
    connection: Connection, scope: Scope, wanted: Wanted, *, limit: int, cursor: str | None
) -> Page[Call]:
    """Newest first. Raises: Invalid."""
    conditions = [_within(JOURNAL_CALLS, scope, None, _shown_call)]
    for column, value in (
        (_C.channel_id, wanted.subject),
        (_C.talker, wanted.talker),
        (_C.patch_id, wanted.patch),
        (_C.emergency, wanted.emergency),
    ):
        if value is not None:
            conditions.append(column == value)
    if wanted.talkers is not None:
        conditions.append(_C.talker.in_(wanted.talkers))
    conditions += _times(_C.started_at, wanted)

    def read(row: AnyRow) -> Call:
        known = {name: value for name, value in row._mapping.items() if name != "stored_at"}
        return Call(**{**known, "bridged_to": tuple(row.bridged_to)})

    return _page(connection, JOURNAL_CALLS, conditions, read, limit, cursor)


def within_scope(scope: Scope) -> ColumnElement[bool]:
    """SQL: the event may be read."""
    return _within(JOURNAL_EVENTS, scope, _E.subject, _shown_event)


def _within(
    table: Table,
    scope: Scope,
    subject: ColumnElement[str] | None,
    shown_since: Callable[[ColumnElement[datetime]], ColumnElement[bool]],
) -> ColumnElement[bool]:
    """SQL: it is of an organisation in scope, or a share shows it. subject: where it says which
    point it is of, None where no point has any. shown_since: whether it is in the time of a share
    that began then. Most rows are in question for no share at all, so that is asked first."""
    if scope.everything:
        return true()
    owner = table.c.organization_id
    own = owner.in_(sorted(scope.ids))
    if not scope.shown:
        return own
    wholes = {each.organization_id: each.since for each in scope.shown if not each.subject}
    alone = {each.subject: each for each in scope.shown if each.subject}
    shown: list[ColumnElement[bool]] = [own]
    if wholes:
        since = _by(owner, wholes, UtcDateTime())
        shown.append(owner.in_(sorted(wholes)) & shown_since(since))
    if subject is not None and alone:
        since = _by(subject, {key: each.since for key, each in alone.items()}, UtcDateTime())
        theirs = _by(subject, {k: each.organization_id for k, each in alone.items()}, String())
        shown.append(subject.in_(sorted(alone)) & (owner == theirs) & shown_since(since))
    return or_(*shown)


def _by(
    column: ColumnElement[str], values: Mapping[str, Any], kind: TypeEngine[Any]
) -> ColumnElement[Any]:
    """SQL: the value for what stands in a column; most of it has one of a few values."""
    keys: dict[Any, list[str]] = {}
    for key, value in values.items():
        keys.setdefault(value, []).append(key)
    return case(*((column.in_(each), literal(value, kind)) for value, each in keys.items()))


def _shown_event(since: ColumnElement[datetime]) -> ColumnElement[bool]:
    """What came through an outbox may be older than it came. What a system says of itself, of its
    units and their texts, is no channel's and no point's."""
    in_time = (_E.received_at >= since) & or_(_E.late.is_(False), _E.time >= since)
    return in_time & _E.source.not_like(literal("%/") + _E.subject)


def _shown_call(since: ColumnElement[datetime]) -> ColumnElement[bool]:
    return (_C.started_at >= since) & (func.coalesce(_C.stored_at, _C.started_at) >= since)


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
