"""What happens, as lists and as server-sent events; only what the caller's roles show."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Annotated

import msgspec
from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import Field

from gateway.access.errors import AccessError
from gateway.api.bodies import Body, Text
from gateway.api.context import CurrentPrincipal, CurrentToken, current_context
from gateway.api.services import CurrentServices
from gateway.api.shapes import answer
from gateway.interop.feed import Feed, Item
from registry.errors import DatabaseAway
from registry.partition import SEE_CHANNELS, Principal

router = APIRouter(prefix="/events", tags=["events"])

HEARTBEAT_S = 10.0
RIGHTS_EVERY_S = 2.0
RIGHTS_UNKNOWN_FOR_S = 60.0


class EventQuery(Body):
    """channel, point: ids. type: such as ``floor.taken``."""

    channel: Text | None = None
    point: Text | None = None
    type: Annotated[Text, Field(max_length=100)] | None = None
    limit: Annotated[int, Field(ge=1, le=500)] = 50


def sees(principal: Principal) -> Callable[[str], bool]:
    """Whether an organisation's events may be shown to the principal: the registry's own rule."""
    return lambda path: principal.may(SEE_CHANNELS, path)


@router.get("")
async def list_events(
    query: Annotated[EventQuery, Query()],
    services: CurrentServices,
    principal: CurrentPrincipal,
) -> Response:
    """The latest events, newest first, as CloudEvents; as far back as this node remembers."""
    wanted = {each for each in (query.channel, query.point) if each}
    found = [
        item.payload
        for item in reversed(services.feed.recent(sees(principal)))
        if (not wanted or item.id in wanted)
        and (query.type is None or item.payload["type"] == f"hutong.{query.type}")
    ]
    return answer({"items": found[: query.limit], "next": None, "total": len(found)})


@router.get("/stream")
async def stream(
    request: Request,
    services: CurrentServices,
    principal: CurrentPrincipal,
    token: CurrentToken,
    last_event_id: Annotated[str | None, Header(max_length=100)] = None,
) -> StreamingResponse:
    """Server-sent events: `event` (a CloudEvent), and `channel`, `patch`, `point` for states.

    `Last-Event-ID` resumes where a reader stopped. Ends within 5 s of losing the right.
    """
    after = _after(services.feed, last_event_id)
    rights = _Rights(request, token, principal)
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

    def __init__(self, request: Request, token: str, principal: Principal) -> None:
        self._context = current_context(request)
        self._token = token
        self._principal = principal
        self._loop = asyncio.get_running_loop()
        self._confirmed_s = self._loop.time()

    def sees(self, path: str) -> bool:
        return self._principal.may(SEE_CHANNELS, path)

    async def last(self) -> bool:
        """Ask again; False when the reader must go."""
        try:
            self._principal = await self._context.access.authenticate(self._token)
        except AccessError:
            return False
        except DatabaseAway:
            return self._loop.time() - self._confirmed_s < RIGHTS_UNKNOWN_FOR_S
        self._confirmed_s = self._loop.time()
        return True


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
