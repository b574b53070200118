"""Live view as a whole: tickets in, sessions out, one relay for each form of a stream."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from adapters.base import AccessUnit, MediaItem, MediaSource, PacketSource, TrackFormat
from adapters.errors import AdapterError
from adapters.media import ThreadSlots
from gateway.live.counters import LiveCounters
from gateway.live.errors import CameraBusy, LimitReached, NotOffered, RightLost, TicketInvalid
from gateway.live.frames import Entry, Message
from gateway.live.relay import Relay, Timing
from gateway.live.rights import Allowed, RightsWatch, View
from gateway.live.settings import LiveSettings
from gateway.live.tickets import KnownProfile, Ticket, TicketBook
from gateway.live.variants import StreamKey, Transform, transformed
from gateway.live.viewer import Viewer
from gateway.live.viewings import Told, Viewing

OpenMedia = Callable[[str, str], Awaitable[MediaSource]]
"""(point_id, profile) to where its stream can be had. Raises: NoSource, AdapterError."""

JPEG_NOTICE = "transcoded to JPEG, at most 5 pictures a second"


class LiveSession:
    """A redeemed ticket: `async with session:` views its stream. Ends with ViewClosed.

    transport: ``frames``, ``fmp4``, ``mjpeg`` or ``whep``.
    """

    def __init__(
        self, service: "LiveService", ticket: Ticket, key: StreamKey, transport: str
    ) -> None:
        self._service = service
        self._as_fmp4 = transport == "fmp4"
        self.ticket = ticket
        self.key = key
        self.transport = transport
        self.viewer = Viewer(service.settings.max_waiting_units)
        self.opened_at = datetime.now(UTC)
        self.opened_s = 0.0

    @property
    def view(self) -> View:
        return View(
            user_id=self.ticket.user_id,
            point_id=self.key.point_id,
            clear=self.key.clear,
            token_id=self.ticket.token_id,
        )

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

    def write_through(self, write: Callable[[bytes], bool]) -> None:
        """Hand WebSocket frames over as soon as they are there; see `Viewer.write_through`."""
        as_fmp4 = self._as_fmp4
        self.viewer.write_through(lambda entry: write(entry.wire(fmp4=as_fmp4)))

    async def take_wire(self) -> list[bytes]:
        """Everything that waits, as WebSocket frames. Raises: ViewClosed when it is over."""
        return [entry.wire(fmp4=self._as_fmp4) for entry in await self.viewer.take()]

    async def take_entries(self) -> list[Entry]:
        """Everything that waits, not written yet. Raises: ViewClosed when it is over."""
        return await self.viewer.take()

    @property
    def closed(self) -> asyncio.Event:
        """Set as soon as the view is to end."""
        return self.viewer.closed


class LiveService:
    """`async with LiveService(open_media, allowed) as live:` serves until it is left.

    open_media: describes the stream of a point and profile. allowed: whether a user may look at a
    point so now. evidence: told, with the point, None when its stream opens and the error when it
    does not. ask_keyframe: has the camera of a point go on with a keyframe in a profile; raises
    AdapterError where it cannot. masking: the transform that masks the pictures of a point;
    without it, what would have to be masked is refused. jpeg: makes single pictures of a stream;
    without it there are none. opened, closed: told of each view by a person. clock, sleep, chance:
    injected for tests.
    """

    def __init__(
        self,
        open_media: OpenMedia,
        allowed: Allowed,
        *,
        evidence: Callable[[str, AdapterError | None], None] = lambda _point, _error: None,
        ask_keyframe: Callable[[str, str], Awaitable[None]] | None = None,
        masking: Callable[[str], Transform] | None = None,
        jpeg: Transform | None = None,
        opened: Told = lambda _viewing: None,
        closed: Told = lambda _viewing: None,
        settings: LiveSettings | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.settings = settings or LiveSettings()
        self.counters = LiveCounters()
        self._open_media = open_media
        self._evidence = evidence
        self._ask_keyframe = ask_keyframe
        self._masking = masking
        self._jpeg = jpeg
        self._opened = opened
        self._closed = closed
        self._timing = Timing(clock=clock, sleep=sleep, chance=chance)
        self._book = TicketBook(
            lifetime_s=self.settings.ticket_s, limit=self.settings.max_tickets, clock=clock
        )
        self._rights = RightsWatch(
            allowed,
            views=lambda: (session.view for session in self._sessions),
            close=self._close_view,
            settings=self.settings,
            clock=clock,
            sleep=sleep,
        )
        self._slots = ThreadSlots(self.settings.pyav_threads)
        self._sessions: set[LiveSession] = set()
        self._relays: dict[StreamKey, Relay] = {}
        self._runs: dict[StreamKey, asyncio.Task[None]] = {}
        self._lingers: dict[StreamKey, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False

    async def __aenter__(self) -> Self:
        self._start(self._rights.run(), "live-rights")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping = True
        for session in tuple(self._sessions):
            session.viewer.close(1001, "the gateway is stopping")
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- what the API calls -------------------------------------------------------------------

    @property
    def masks(self) -> bool:
        """Whether a masked point can be shown at all to who may not see it in clear."""
        return self._masking is not None

    def issue(
        self,
        user_id: str,
        point_id: str,
        profile: str,
        known: KnownProfile | None = None,
        *,
        clear: bool = True,
        purpose: str = "",
        token_id: str = "",
    ) -> Ticket:
        """A ticket for a user whose right has been checked. clear: the picture is shown as it is,
        since the point has no masks or the user may see past them. token_id: of the access token
        by which they ask, if any; the view ends with it.

        Raises: LimitReached; CameraBusy; NotOffered for what has to be masked where nothing masks.
        """
        relay = self._relays.get(StreamKey(point_id=point_id, profile=profile))
        if relay is not None and relay.busy:
            raise CameraBusy(f"the camera bears no more sessions: {relay.busy}")
        if not clear and self._masking is None:
            raise NotOffered("this point is masked, and nothing here can mask it")
        ticket = self._book.issue(
            user_id, point_id, profile, known, clear=clear, purpose=purpose, token_id=token_id
        )
        self.counters.tickets_issued += 1
        return ticket

    async def redeem(self, token: str, transport: str, codec: str | None = None) -> LiveSession:
        """Take a ticket for a stream. transport: ``frames``, ``fmp4``, ``mjpeg``, ``whep``.
        codec: ``jpeg`` for single pictures, which ``mjpeg`` always has; None as it comes.

        Raises: TicketInvalid, RightLost, RightsUnknown, LimitReached, NotOffered.
        """
        try:
            ticket = self._book.redeem(token)
        except TicketInvalid:
            self.counters.tickets_refused += 1
            raise
        if len(self._sessions) >= self.settings.max_viewers:
            raise LimitReached(f"{self.settings.max_viewers} streams are open already")
        if codec not in (None, "jpeg"):
            raise NotOffered("streams are transcoded to jpeg only")
        key = StreamKey(
            point_id=ticket.point_id,
            profile=ticket.profile,
            clear=ticket.clear,
            jpeg=codec == "jpeg" or transport == "mjpeg",
        )
        if key.jpeg and self._jpeg is None:
            raise NotOffered("pictures are not transcoded here")
        session = LiveSession(self, ticket, key, transport)
        await self._rights.admit(session.view)
        return session

    def keyframe(
        self, point_id: str, profile: str, *, clear: bool = True
    ) -> tuple[TrackFormat, AccessUnit] | None:
        """The latest keyframe of a stream that is being viewed, else None. clear: as it comes from
        the camera; else as it is shown masked."""
        key = StreamKey(point_id=point_id, profile=profile, clear=clear)
        relay = self._relays.get(key)
        return relay.keyframe() if relay else None

    def ask_keyframe(self, point_id: str, profile: str) -> None:
        """Have a camera that is being viewed go on with a keyframe soon, where it can."""
        key = StreamKey(point_id=point_id, profile=profile)
        relay = self._relays.get(key)
        if relay is not None and not self._stopping:
            self._start(relay.ask_keyframe(), f"live-ask {key.name}")

    @contextlib.asynccontextmanager
    async def tap(self, key: StreamKey) -> AsyncIterator[Viewer]:
        """View a stream for another use than showing it to one person; whose right that is, is
        watched elsewhere. Who falls behind skips to a keyframe, as people do."""
        viewer = Viewer(self.settings.max_tapped_units)
        self._join(key, viewer)
        try:
            yield viewer
        finally:
            self._part(key, viewer)

    def withdraw(self, token: str) -> None:
        """A ticket is used up elsewhere."""
        with contextlib.suppress(TicketInvalid):
            self._book.redeem(token)

    def readers(self) -> dict[tuple[str, str], str]:
        """Who reads each open upstream, by point and profile: ``native``, ``pyav``, ``adapter``;
        empty while opening."""
        return {
            (key.point_id, key.profile): relay.reader
            for key, relay in self._relays.items()
            if key.parent is None
        }

    @property
    def viewers(self) -> int:
        return len(self._sessions)

    # --- sessions and relays ------------------------------------------------------------------

    def enter(self, session: LiveSession) -> None:
        """A session begins to view."""
        self._sessions.add(session)
        self.counters.sessions_opened += 1
        session.opened_at, session.opened_s = datetime.now(UTC), self._timing.clock()
        self._opened(self._viewing(session))
        self._join(session.key, session.viewer)

    def leave(self, session: LiveSession) -> None:
        """A session has ended; the last one leaves its relay to linger."""
        self._sessions.discard(session)
        self.counters.sessions_closed += 1
        self._part(session.key, session.viewer)
        over = session.viewer.over
        self._closed(self._viewing(session, over.reason if over else "the viewer left"))

    def _viewing(self, session: LiveSession, ended: str | None = None) -> Viewing:
        ticket, key = session.ticket, session.key
        return Viewing(
            id=ticket.id,
            user_id=ticket.user_id,
            point_id=key.point_id,
            profile=key.profile,
            transport=session.transport,
            clear=key.clear,
            jpeg=key.jpeg,
            purpose=ticket.purpose,
            opened_at=session.opened_at,
            seconds=self._timing.clock() - session.opened_s,
            ended=ended,
            token_id=ticket.token_id,
        )

    def _join(self, key: StreamKey, viewer: Viewer) -> None:
        relay = self._relays.get(key) or self._open(key)
        # One that has ended tells so to whoever comes, until its time is over.
        if key in self._lingers and not relay.ended:
            self._lingers.pop(key).cancel()
        relay.join(viewer)

    def _part(self, key: StreamKey, viewer: Viewer) -> None:
        relay = self._relays.get(key)
        if relay is None:
            return
        relay.leave(viewer)
        if not relay.viewers and key not in self._lingers and not self._stopping:
            self._lingers[key] = self._start(self._linger(key), f"live-linger {key.name}")

    def _open(self, key: StreamKey) -> Relay:
        parent = key.parent

        async def open_source() -> MediaSource:
            if parent is None:
                return await self._open_media(key.point_id, key.profile)
            transform = self._transform(key)
            return PacketSource(open=lambda: self._tap(parent, transform))

        asks = self._ask_keyframe if parent is None else None
        relay = Relay(
            open_source,
            settings=self.settings,
            timing=self._timing,
            counters=self.counters,
            slots=self._slots,
            name=key.name,
            evidence=(lambda error: self._evidence(key.point_id, error))
            if parent is None
            else (lambda _error: None),
            notice=None if parent is None else JPEG_NOTICE if key.jpeg else "",
            ask=(lambda: asks(key.point_id, key.profile)) if asks else None,
        )
        self._relays[key] = relay
        self._runs[key] = self._start(relay.run(), f"live-relay {key.name}")
        return relay

    def _transform(self, key: StreamKey) -> Transform:
        made = self._jpeg if key.jpeg else self._masking and self._masking(key.point_id)
        if made is None:
            raise NotOffered("this form of the stream is not made here")
        return made

    @contextlib.asynccontextmanager
    async def _tap(
        self, parent: StreamKey, transform: Transform
    ) -> AsyncIterator[AsyncIterator[MediaItem]]:
        """View a relay to make another of it."""
        async with self.tap(parent) as viewer, transformed(viewer, transform) as items:
            yield items

    async def _linger(self, key: StreamKey) -> None:
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
            if session.view == view and not session.closed.is_set():
                self.counters.rights_lost += 1
                session.viewer.close(RightLost.code, reason, at_once=True)
