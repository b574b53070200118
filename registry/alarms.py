"""Alarms of the journal: events that somebody should see to, and who has. Whoever reads an event
reads this of it; a dispatcher of its organisation acknowledges it, the first one for all."""

import dataclasses
from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection, select, update

from registry import rows
from registry.errors import NotFound
from registry.identity import now
from registry.journal import Event, Scope, within_scope
from registry.models import ORGANIZATIONS
from registry.models.journal import JOURNAL_ALARMS, JOURNAL_EVENTS
from registry.partition import DISPATCH, Principal, require

_A = JOURNAL_ALARMS.c
_E = JOURNAL_EVENTS.c
Key = tuple[str, str]
"""Source and id."""
_KINDS = {"point": "point", "system": "system"}
_AT_ONCE = 5000


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledged:
    """Who saw to an alarm, and when."""

    at: datetime
    by_id: str
    by_name: str


def get(connection: Connection, scope: Scope, event_id: str) -> tuple[Event, Acknowledged | None]:
    """An alarm by its event's id. connection: of the journal. Raises: NotFound where there is
    none in the scope."""
    found = connection.execute(
        select(JOURNAL_EVENTS, _A.acknowledged_at, _A.acknowledged_by_id, _A.acknowledged_by_name)
        .join_from(JOURNAL_ALARMS, JOURNAL_EVENTS, (_E.source == _A.source) & (_E.id == _A.id))
        .where(_A.id == event_id, within_scope(scope))
        .order_by(_E.number)
    ).first()
    if found is None:
        raise NotFound("alarm", event_id)
    event = Event(**{each.name: found._mapping[each] for each in JOURNAL_EVENTS.columns})
    return event, _read(found)


def acknowledgements(connection: Connection, keys: Iterable[Key]) -> dict[Key, Acknowledged]:
    """Which of these events somebody saw to. connection: of the journal."""
    wanted = set(keys)
    ids = sorted({event_id for _, event_id in wanted})
    found: dict[Key, Acknowledged] = {}
    for at in range(0, len(ids), _AT_ONCE):
        part = ids[at : at + _AT_ONCE]
        for row in connection.execute(
            select(JOURNAL_ALARMS).where(_A.id.in_(part), _A.acknowledged_at.is_not(None))
        ):
            acknowledged = _read(row)
            if acknowledged is not None and (row.source, row.id) in wanted:
                found[(row.source, row.id)] = acknowledged
    return found


def note(connection: Connection, principal: Principal, event: Event) -> None:
    """Write down that somebody sees to it. connection: of the registry. Needs `dispatcher` or
    `admin` where it belongs. Raises: Forbidden."""
    path = connection.scalar(
        select(ORGANIZATIONS.c.path).where(ORGANIZATIONS.c.id == event.organization_id)
    )
    require(principal, DISPATCH, path or "")
    kind = _KINDS.get(event.type.partition(".")[0], "channel")
    details = {"event": event.id, "type": event.type}
    rows.record(connection, principal, "acknowledge", kind, event.subject[:36], path or "", details)


def acknowledge(connection: Connection, principal: Principal, event: Event) -> Acknowledged:
    """connection: of the journal. Who was first, if not the principal."""
    mine = (_A.id == event.id) & (_A.source == event.source)
    connection.execute(
        update(JOURNAL_ALARMS)
        .where(mine, _A.acknowledged_at.is_(None))
        .values(
            acknowledged_at=now(),
            acknowledged_by_id=principal.user_id,
            acknowledged_by_name=principal.name[:100],
        )
    )
    acknowledged = _read(connection.execute(select(JOURNAL_ALARMS).where(mine)).one_or_none())
    if acknowledged is None:
        raise NotFound("alarm", event.id)
    return acknowledged


def _read(row: object) -> Acknowledged | None:
    at = getattr(row, "acknowledged_at", None)
    if at is None:
        return None
    by_id, by_name = (
        getattr(row, "acknowledged_by_id", ""),
        getattr(row, "acknowledged_by_name", ""),
    )
    return Acknowledged(at=at, by_id=by_id, by_name=by_name)
