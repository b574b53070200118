"""Live view as a whole: tickets in, sessions out, one relay for each point and profile."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Coroutine
from types import TracebackType
from typing import Self

from adapters.base import AccessUnit, MediaSource, TrackFormat
from adapters.errors import AdapterError
from adapters.media import ThreadSlots
from gateway.live.counters import LiveCounters
from gateway.live.errors import LimitReached, RightLost, TicketInvalid
from gateway.live.frames import Entry, Message
from gateway.live.relay import Relay, Timing
from gateway.live.rights import Allowed, RightsWatch, View
from gateway.live.settings import LiveSettings
from gateway.live.tickets import KnownProfile, Ticket, TicketBook
from gateway.live.viewer import Viewer

OpenMedia = Callable[[str, str], Awaitable[MediaSource]]
"""(point_id, profile) to where its stream can be had. Raises: NoSource, AdapterError."""

Key = tuple[str, str]


class LiveSession:
    """A redeemed ticket: `async with session:` views its stream. Ends with ViewClosed.

    transport: ``frames``, ``fmp4`` or ``mjpeg``.
    """

    def __init__(self, service: "LiveService", ticket: Ticket, transport: str) -> None:
        self._service = service
        self._as_fmp4 = transport == "fmp4"
        self.user_id = ticket.user_id
        self.point_id = ticket.point_id
        self.profile = ticket.profile
        self.transport = transport
        self.viewer = Viewer(service.settings.max_waiting_units)

    async def __aenter__(self) -> Self:
        self._service.enter(self)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._service.leave(self)

    async def take(self) -> list[Message]:
        """Everything that waits, as WebSocket messages. Raises: ViewClosed when it is over."""
        entries = await self.viewer.take()
        if self._as_fmp4:
            return [message for entry in entries for message in entry.fmp4()]
        return [message for entry in entries for message in entry.frames()]

    async def take_entries(self) -> list[Entry]:
        """Everything that waits, not written yet. Raises: ViewClosed when it is over."""
        return await self.viewer.take()

    @property
    def closed(self) -> asyncio.Event:
        """Set as soon as the view is to end."""
        return self.viewer.closed


class LiveService:
    """`async with LiveService(open_media, allowed) as live:` serves until it is left.

    open_media: describes the stream of a point and profile. allowed: whether a user may see a
    point now. evidence: told, with the point, None when its stream opens and the error when it
    does not. clock, sleep, chance: injected for tests.
    """

    def __init__(
        self,
        open_media: OpenMedia,
        allowed: Allowed,
        *,
        evidence: Callable[[str, AdapterError | None], None] = lambda _point, _error: None,
        settings: LiveSettings | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.settings = settings or LiveSettings()
        self.counters = LiveCounters()
        self._open_media = open_media
        self._evidence = evidence
        self._timing = Timing(clock=clock, sleep=sleep, chance=chance)
        self._book = TicketBook(
            lifetime_s=self.settings.ticket_s, limit=self.settings.max_tickets, clock=clock
        )
        self._rights = RightsWatch(
            allowed,
            views=lambda: (_view_of(session) for session in self._sessions),
            close=self._close_view,
            settings=self.settings,
            clock=clock,
            sleep=sleep,
        )
        self._slots = ThreadSlots(self.settings.pyav_threads)
        self._sessions: set[LiveSession] = set()
        self._relays: dict[Key, Relay] = {}
        self._runs: dict[Key, asyncio.Task[None]] = {}
        self._lingers: dict[Key, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._start(self._rights.run(), "live-rights")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for session in tuple(self._sessions):
            session.viewer.close(1001, "the gateway is stopping")
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- what the API calls -------------------------------------------------------------------

    def issue(
        self, user_id: str, point_id: str, profile: str, known: KnownProfile | None = None
    ) -> Ticket:
        """A ticket for a user whose right has been checked. Raises: LimitReached."""
        ticket = self._book.issue(user_id, point_id, profile, known)
        self.counters.tickets_issued += 1
        return ticket

    async def redeem(self, token: str, transport: str) -> LiveSession:
        """Take a ticket for a stream. transport: ``frames``, ``fmp4``, ``mjpeg``.

        Raises: TicketInvalid, RightLost, RightsUnknown, LimitReached.
        """
        try:
            ticket = self._book.redeem(token)
        except TicketInvalid:
            self.counters.tickets_refused += 1
            raise
        if len(self._sessions) >= self.settings.max_viewers:
            raise LimitReached(f"{self.settings.max_viewers} streams are open already")
        await self._rights.admit((ticket.user_id, ticket.point_id))
        return LiveSession(self, ticket, transport)

    def keyframe(self, point_id: str, profile: str) -> tuple[TrackFormat, AccessUnit] | None:
        """The latest keyframe of a stream that is being viewed, else None."""
        relay = self._relays.get((point_id, profile))
        return relay.keyframe() if relay else None

    def readers(self) -> dict[Key, str]:
        """Who reads each open upstream: ``native``, ``pyav``, ``adapter``; empty while opening."""
        return {key: relay.reader for key, relay in self._relays.items()}

    @property
    def viewers(self) -> int:
        return len(self._sessions)

    # --- sessions and relays ------------------------------------------------------------------

    def enter(self, session: LiveSession) -> None:
        """A session begins to view."""
        self._sessions.add(session)
        self.counters.sessions_opened += 1
        key = session.point_id, session.profile
        relay = self._relays.get(key) or self._open(key)
        # One that has ended tells so to whoever comes, until its time is over.
        if key in self._lingers and not relay.ended:
            self._lingers.pop(key).cancel()
        relay.join(session.viewer)

    def leave(self, session: LiveSession) -> None:
        """A session has ended; the last one leaves its relay to linger."""
        self._sessions.discard(session)
        self.counters.sessions_closed += 1
        key = session.point_id, session.profile
        relay = self._relays.get(key)
        if relay is None:
            return
        relay.leave(session.viewer)
        if not relay.viewers and key not in self._lingers:
            self._lingers[key] = self._start(self._linger(key), f"live-linger {key}")

    def _open(self, key: Key) -> Relay:
        relay = Relay(
            lambda: self._open_media(*key),
            settings=self.settings,
            timing=self._timing,
            counters=self.counters,
            slots=self._slots,
            name="/".join(key),
            evidence=lambda error: self._evidence(key[0], error),
        )
        self._relays[key] = relay
        self._runs[key] = self._start(relay.run(), f"live-relay {key}")
        return relay

    async def _linger(self, key: Key) -> None:
        await self._timing.sleep(self.settings.linger_s)
        del self._lingers[key], self._relays[key]
        # Whoever opens the same stream now gets a new relay, while this one says farewell.
        self._runs.pop(key).cancel()

    def _start(self, work: Coroutine[None, None, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _close_view(self, view: View, reason: str) -> None:
        for session in self._sessions:
            if _view_of(session) == view and not session.closed.is_set():
                self.counters.rights_lost += 1
                session.viewer.close(RightLost.code, reason, at_once=True)


def _view_of(session: LiveSession) -> View:
    return session.user_id, session.point_id
