"""What happens, as lists and as server-sent events; only what the caller's roles show."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from typing import Annotated

import msgspec
from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import AwareDatetime, Field

from gateway.access.errors import AccessError
from gateway.api.bodies import Body, Text
from gateway.api.context import Context, CurrentContext, CurrentPrincipal, CurrentToken
from gateway.api.history import latest_events, past_events, wants_a_file
from gateway.api.services import CurrentServices
from gateway.interop.feed import Feed, Item
from registry import shares
from registry.errors import DatabaseAway
from registry.identity import now
from registry.journal import Wanted
from registry.partition import SEE_CHANNELS, Principal, receives, top_paths
from registry.shares import Shown

router = APIRouter(prefix="/events", tags=["events"])

HEARTBEAT_S = 10.0
RIGHTS_EVERY_S = 2.0
RIGHTS_UNKNOWN_FOR_S = 60.0


class EventQuery(Body):
    """channel, point: ids. type: such as ``floor.taken``. acknowledged: alarms alone, those that
    somebody saw to or those that nobody has. since, until: from then on, and before then, in the
    journal."""

    channel: Text | None = None
    point: Text | None = None
    type: Annotated[Text, Field(max_length=100)] | None = None
    acknowledged: bool | None = None
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    limit: Annotated[int, Field(ge=1, le=500)] = 50
    cursor: Annotated[str, Field(max_length=200)] | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What somebody may hear of, by the registry's own rules: by a role all of an organisation; by
    a share of a subtree its channels and points, by a share of a point that point alone, and of
    both what came since the share began."""

    principal: Principal
    shown: Shown

    def sees(self, item: Item) -> bool:
        if self.principal.may(SEE_CHANNELS, item.org):
            return True
        if item.family not in ("channels", "points"):
            return False
        point_id = item.id if item.family == "points" else None
        return self.shown.covers(item.org, point_id, now(), item.heard_at)

    def holds_all_of(self, before: "Sight") -> bool:
        """Whether nothing was lost since then."""
        at = now()
        may = self.principal.may
        return (
            all(may(SEE_CHANNELS, top) for top in top_paths(before.principal, SEE_CHANNELS))
            and all(
                may(SEE_CHANNELS, path) or self.shown.covers(path, None, at)
                for path in before.shown.subtrees
            )
            and all(
                may(SEE_CHANNELS, path) or self.shown.covers(path, point_id, at)
                for path, point_id in before.shown.points
            )
        )


async def sight_of(context: Context, principal: Principal) -> Sight:
    """Raises: DatabaseAway where shares could show something and nobody can say."""
    if not receives(principal):
        return Sight(principal=principal, shown=Shown())
    shown = await context.database.read(lambda c: shares.shown(c, principal))
    return Sight(principal=principal, shown=shown)


@router.get("")
async def list_events(
    query: Annotated[EventQuery, Query()],
    request: Request,
    context: CurrentContext,
    services: CurrentServices,
    principal: CurrentPrincipal,
) -> Response:
    """Events, newest first, as CloudEvents: what this node remembers, which knows the last
    milliseconds, and below that the journal. Asked for by time, by cursor, as CSV or as a batch of
    CloudEvents, all of them come from the journal."""
    asks_by_alarm = query.acknowledged is not None
    if query.since or query.until or query.cursor or asks_by_alarm or wants_a_file(request):
        wanted_past = Wanted(
            subject=query.channel or query.point,
            type=query.type,
            acknowledged=query.acknowledged,
            since=query.since,
            until=query.until,
        )
        return await past_events(
            request, context, services, principal, wanted_past, query.limit, query.cursor
        )
    sight = await sight_of(context, principal)
    asked = {each for each in (query.channel, query.point) if each}
    remembered = [
        item.payload
        for item in reversed(services.feed.recent(sight.sees))
        if (not asked or item.id in asked)
        and (query.type is None or item.payload["type"] == f"hutong.{query.type}")
    ]
    wanted = Wanted(subject=query.channel or query.point, type=query.type)
    return await latest_events(context, services, principal, wanted, query.limit, remembered)


@router.get("/stream")
async def stream(
    context: CurrentContext,
    services: CurrentServices,
    principal: CurrentPrincipal,
    token: CurrentToken,
    last_event_id: Annotated[str | None, Header(max_length=100)] = None,
) -> StreamingResponse:
    """Server-sent events: `event` (a CloudEvent), and `channel`, `patch`, `point` for states.

    `Last-Event-ID` resumes where a reader stopped. Ends within 5 s of losing a right, a share
    included; whoever comes again gets what is left.
    """
    after = _after(services.feed, last_event_id)
    rights = _Rights(context, token, await sight_of(context, principal))
    return StreamingResponse(
        _messages(services.feed, rights, after),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


def _after(feed: Feed, last_event_id: str | None) -> int | None:
    epoch, _, number = (last_event_id or "").partition("-")
    return int(number) if epoch == feed.epoch and number.isdecimal() else None


class _Rights:
    """Who reads, asked again every few seconds; for a minute nobody being able to say is no."""

    def __init__(self, context: Context, token: str, sight: Sight) -> None:
        self._context = context
        self._token = token
        self._sight = sight
        self._loop = asyncio.get_running_loop()
        self._confirmed_s = self._loop.time()

    def sees(self, item: Item) -> bool:
        return self._sight.sees(item)

    async def last(self) -> bool:
        """Ask again; False when the reader must go."""
        try:
            principal = await self._context.access.authenticate(self._token)
            sight = await sight_of(self._context, principal)
        except AccessError:
            return False
        except DatabaseAway:
            # What a share shows ends at its end all the same.
            known = self._sight.holds_all_of(self._sight)
            return known and self._loop.time() - self._confirmed_s < RIGHTS_UNKNOWN_FOR_S
        lost = not sight.holds_all_of(self._sight)
        self._sight = sight
        self._confirmed_s = self._loop.time()
        return not lost


async def _messages(feed: Feed, rights: _Rights, after: int | None) -> AsyncIterator[bytes]:
    yield b"retry: 2000\n\n"
    items = feed.listen(rights.sees, after)
    waiting = asyncio.ensure_future(anext(items))
    loop = asyncio.get_running_loop()
    checked_s = spoke_s = loop.time()
    try:
        while True:
            await asyncio.wait([waiting], timeout=RIGHTS_EVERY_S)
            now_s = loop.time()
            if now_s - checked_s >= RIGHTS_EVERY_S:
                checked_s = now_s
                if not await rights.last():
                    return
            if waiting.done():
                yield _message(feed, waiting.result())
                spoke_s = now_s
                waiting = asyncio.ensure_future(anext(items))
            elif now_s - spoke_s >= HEARTBEAT_S:
                yield b": still here\n\n"
                spoke_s = now_s
    finally:
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await items.aclose()


def _message(feed: Feed, item: Item) -> bytes:
    head = f"id: {feed.epoch}-{item.number}\nevent: {item.kind}\ndata: ".encode()
    return head + msgspec.json.encode(item.payload) + b"\n\n"
