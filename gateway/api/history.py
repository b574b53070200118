"""What happened, from the journal: events and calls, as JSON, CSV or a batch of CloudEvents."""

import asyncio
import contextlib
import csv
import io
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Request, Response
from pydantic import AwareDatetime, Field

from gateway.api.bodies import Body, Text
from gateway.api.context import Context, CurrentContext, CurrentPrincipal
from gateway.api.services import CurrentServices, Services
from gateway.api.shapes import Shape, answer, page_shape
from gateway.bus.messages import TYPE_PREFIX, CloudEvent, cloud_event_object, rfc3339
from registry import alarms, journal, units
from registry.alarms import Acknowledged
from registry.database import Database
from registry.errors import DatabaseAway, NotFound
from registry.journal import Call, Event, Scope, Wanted
from registry.paging import DEFAULT_LIMIT, MAX_LIMIT, Page, encode_cursor
from registry.partition import DISPATCH, Principal

router = APIRouter(tags=["events"])

CSV = "text/csv"
BATCH = "application/cloudevents-batch+json"
MOST_ROWS = 50_000
"""The most rows of one CSV file; whoever wants more asks by time."""
STORED_WITHIN_S = 5.0
ASK_AGAIN_S = 0.1
_FORMULA = ("=", "+", "-", "@", "\t", "\r")

Id = Annotated[Text, Field(max_length=300)]


class CallQuery(Body):
    """channel, patch: ids. talker: ``{system_id}/{address}`` or ``user/{id}``. unit: id; whatever
    was said from any of the addresses that it has now. since, until: from then on, and before then,
    by when the call began."""

    channel: Id | None = None
    patch: Id | None = None
    talker: Id | None = None
    unit: Id | None = None
    emergency: bool | None = None
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT
    cursor: Annotated[str, Field(max_length=200)] | None = None


@router.get("/calls")
async def list_calls(
    query: Annotated[CallQuery, Query()],
    request: Request,
    context: CurrentContext,
    services: CurrentServices,
    principal: CurrentPrincipal,
) -> Response:
    """Who talked, where, how long, carried to whom, and why it ended; newest first."""
    store = _store(services)
    scope = await _scope(context, principal)
    talkers: tuple[str, ...] | None = None
    if (unit_id := query.unit) is not None:
        unit = await context.database.read(lambda c: units.get(c, principal, unit_id))
        talkers = tuple(f"{each.system_id}/{each.address}" for each in unit.addresses)
    wanted = Wanted(
        subject=query.channel,
        patch=query.patch,
        talker=query.talker,
        talkers=talkers,
        emergency=query.emergency,
        since=query.since,
        until=query.until,
    )

    async def read(limit: int, cursor: str | None) -> Page[Call]:
        return await store.read(
            lambda c: journal.read_calls(c, scope, wanted, limit=limit, cursor=cursor)
        )

    if _accepts(request, CSV):
        calls = await _all(read, query.cursor)
        return _csv("calls", _CALL_COLUMNS, (_call_row(call) for call in calls))
    return answer(page_shape(await read(query.limit, query.cursor), call_shape))


async def past_events(
    request: Request,
    context: Context,
    services: Services,
    principal: Principal,
    wanted: Wanted,
    limit: int,
    cursor: str | None,
) -> Response:
    """Stored events, newest first, in the form that the caller accepts."""
    store = _store(services)
    scope = await _scope(context, principal)

    async def read(limit: int, cursor: str | None) -> Page[Event]:
        return await store.read(
            lambda c: journal.read_events(c, scope, wanted, limit=limit, cursor=cursor)
        )

    if _accepts(request, CSV):
        events = await _all(read, cursor)
        return _csv("events", _EVENT_COLUMNS, (_event_row(event) for event in events))
    page = await read(limit, cursor)
    shapes = await _shapes(store, page.items)
    if _accepts(request, BATCH):
        headers = {"Link": f'<?cursor={page.next}>; rel="next"'} if page.next else None
        return answer(shapes, headers=headers, media_type=BATCH)
    return answer({"items": shapes, "next": page.next, "total": page.total})


async def latest_events(
    context: Context,
    services: Services,
    principal: Principal,
    wanted: Wanted,
    limit: int,
    remembered: Sequence[Mapping[str, Any]],
) -> Response:
    """What this node remembers, and where that is less than asked for, what the journal has below
    it. remembered: CloudEvents, newest first, that the caller may see."""
    items = [dict(each) for each in remembered[:limit]]
    following, total = None, len(remembered)
    with contextlib.suppress(DatabaseAway):
        if len(items) < limit:
            store, scope = _store(services), await _scope(context, principal)
            page = await store.read(
                lambda c: journal.read_events(c, scope, wanted, limit=limit, cursor=None)
            )
            known = {(each["source"], each["id"]) for each in items}
            older = [e for e in page.items if (e.source, e.id) not in known]
            shown = older[: limit - len(items)]
            items += [event_shape(each) for each in shown]
            total = max(page.total, len(items))
            if shown and (page.next is not None or len(shown) < len(older)):
                following = encode_cursor(str(shown[-1].number))
    items = await _seen_to(services, items)
    return answer({"items": items, "next": following, "total": total})


async def _seen_to(services: Services, items: list[Shape]) -> list[Shape]:
    """With who saw to which alarm; while the journal is away nobody can say."""
    types = {f"{TYPE_PREFIX}{each}" for each in journal.ALARMS}
    keys = [(each["source"], each["id"]) for each in items if each["type"] in types]
    if not keys or services.history is None:
        return items
    try:
        found = await services.history.read(lambda c: alarms.acknowledgements(c, keys))
    except DatabaseAway:
        return items
    return [with_acknowledged(e, found.get((e["source"], e["id"]))) for e in items]


def _store(services: Services) -> Database:
    if services.history is None:
        raise DatabaseAway("this node keeps no history")
    return services.history


async def _scope(context: Context, principal: Principal) -> Scope:
    return await context.database.read(lambda c: journal.scope_of(c, principal))


async def _all(
    read: Callable[[int, str | None], Awaitable[Page[Any]]], cursor: str | None
) -> list[Any]:
    rows: list[Any] = []
    while len(rows) < MOST_ROWS:
        page = await read(MAX_LIMIT, cursor)
        rows += page.items
        if (cursor := page.next) is None:
            break
    return rows[:MOST_ROWS]


def wants_a_file(request: Request) -> bool:
    """Whether the caller asks for a form that only stored events are given in."""
    return _accepts(request, CSV) or _accepts(request, BATCH)


def _accepts(request: Request, media_type: str) -> bool:
    return media_type in request.headers.get("accept", "")


def call_shape(call: Call) -> Shape:
    return {
        "id": call.key,
        "channel": call.channel_id,
        "patch": call.patch_id or None,
        "talker": call.talker,
        "talker_alias": call.talker_alias,
        "emergency": call.emergency,
        "encrypted": call.encrypted,
        "started_at": rfc3339(call.started_at),
        "ended_at": _time(call.ended_at),
        "duration_s": call.duration_s,
        "outcome": call.outcome,
        "bridged_to": list(call.bridged_to),
        "end_reason": call.end_reason or None,
    }


def event_shape(event: Event, acknowledged: Acknowledged | None = None) -> Shape:
    """As the CloudEvent that it was on the wire; an alarm that somebody saw to says so."""
    shape = cloud_event_object(
        CloudEvent(
            id=event.id,
            source=event.source,
            type=event.type,
            subject=event.subject,
            time=rfc3339(event.time),
            epoch=event.epoch,
            sequence=event.sequence,
            uptime_ms=event.uptime_ms,
            data=event.data,
        )
    )
    return with_acknowledged(shape, acknowledged)


def with_acknowledged(shape: Shape, acknowledged: Acknowledged | None) -> Shape:
    """Extension attributes of CloudEvents have short names and plain values."""
    if acknowledged is None:
        return shape
    said = {"acknowledgedat": rfc3339(acknowledged.at), "acknowledgedby": acknowledged.by_name}
    return {**shape, **said}


async def _shapes(store: Database, events: Sequence[Event]) -> list[Shape]:
    keys = [(each.source, each.id) for each in events if journal.is_alarm(each)]
    found = await store.read(lambda c: alarms.acknowledgements(c, keys)) if keys else {}
    return [event_shape(each, found.get((each.source, each.id))) for each in events]


@router.post("/alarms/{event_id}/acknowledge")
async def acknowledge_alarm(
    event_id: str,
    context: CurrentContext,
    services: CurrentServices,
    principal: CurrentPrincipal,
) -> Response:
    """Say that you see to an alarm, which is an event, by its id. The first to say it stays; it is
    written to the audit. Needs the role dispatcher or admin where it belongs. 503 where it was
    heard a moment ago and is not stored yet."""
    store = _store(services)
    scope = await _scope(context, principal)
    give_up_s = time.monotonic() + STORED_WITHIN_S
    while True:
        try:
            event, acknowledged = await store.read(lambda c: alarms.get(c, scope, event_id))
            break
        except NotFound:
            if not _heard(services, principal, event_id):
                raise
        if time.monotonic() > give_up_s:
            raise DatabaseAway("this alarm was heard, and is not stored yet")
        await asyncio.sleep(ASK_AGAIN_S)
    if acknowledged is None:
        await context.database.write(lambda c: alarms.note(c, principal, event))
        acknowledged = await store.write(lambda c: alarms.acknowledge(c, principal, event))
    return answer(event_shape(event, acknowledged))


def _heard(services: Services, principal: Principal, event_id: str) -> bool:
    """Whether this node remembers the event: people see it before the journal has it."""
    heard = services.feed.recent(lambda item: principal.may(DISPATCH, item.org))
    return any(item.payload["id"] == event_id for item in heard)


def _time(at: datetime | None) -> str | None:
    return rfc3339(at) if at is not None else None


_CALL_COLUMNS = (
    *("started_at", "ended_at", "duration_s", "channel", "talker", "talker_alias", "outcome"),
    *("bridged_to", "end_reason", "emergency", "encrypted", "patch", "id"),
)
_EVENT_COLUMNS = ("time", "type", "subject", "source", "epoch", "sequence", "data", "id")


def _call_row(call: Call) -> list[Any]:
    shape = {**call_shape(call), "bridged_to": " ".join(call.bridged_to)}
    return [shape[name] for name in _CALL_COLUMNS]


def _event_row(event: Event) -> list[Any]:
    shape = {
        **event_shape(event),
        "type": event.type,
        "data": msgspec.json.encode(event.data).decode(),
    }
    return [shape[name] for name in _EVENT_COLUMNS]


def _csv(name: str, columns: Iterable[str], rows: Iterable[list[Any]]) -> Response:
    """With a byte order mark, by which spreadsheets know UTF-8."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows([_cell(value) for value in row] for row in rows)
    headers = {"Content-Disposition": f'attachment; filename="{name}.csv"'}
    content = text.getvalue().encode("utf-8-sig", "replace")
    return Response(content, media_type=f"{CSV}; charset=utf-8", headers=headers)


def _cell(value: Any) -> Any:
    """What people wrote must not be a formula in somebody's spreadsheet."""
    if value is None:
        return ""
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value
