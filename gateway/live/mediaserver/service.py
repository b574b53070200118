"""External media servers: addresses handed out, readers watched, streams fed to them."""

import asyncio
import contextlib
import dataclasses
import hashlib
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Self

import aiohttp
import structlog

from gateway.live.errors import NoSource, RightsUnknown
from gateway.live.mediaserver.control import ControlApi
from gateway.live.mediaserver.errors import MediaServerError
from gateway.live.mediaserver.feed import FeedServer
from gateway.live.mediaserver.grants import GrantBook
from gateway.live.mediaserver.keys import KeyRing
from gateway.live.mediaserver.server import MediaPath, MediaServer
from gateway.live.mediaserver.settings import MediaServerSettings
from gateway.live.mediaserver.wire import Offer, Reader
from gateway.live.rights import Allowed, RightsWatch, View
from gateway.live.service import LiveService
from gateway.live.tickets import Ticket
from gateway.live.variants import StreamKey
from gateway.live.viewer import Viewer
from gateway.live.viewings import Told

LOOK_EVERY_S = 2.0
KEEP_IDLE_S = 30.0
ANSWER_S = 2.0

log = structlog.get_logger(__name__)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Handed:
    """Where a stream can be had at a media server, by transport. token: what `whep` and `hls`
    need as ``Authorization: Bearer``; `rtsp` carries it. Without a server both are empty, and
    reason is why."""

    urls: dict[str, str] = dataclasses.field(default_factory=dict)
    token: str = dataclasses.field(default="", repr=False)
    reason: str = ""


@dataclasses.dataclass(slots=True, kw_only=True)
class MediaServerCounters:
    """handed: tickets that named a media server; fallen_back: that could not. kicked: sessions
    that were disconnected; replayed: those of them that showed a ticket which another has."""

    handed: int = 0
    fallen_back: int = 0
    opened: int = 0
    closed: int = 0
    kicked: int = 0
    replayed: int = 0


class MediaServers:
    """`async with MediaServers(...) as servers:` watches until it is left.

    live: where the streams come from. keys: what signs. node: this node's name. allowed: whether
    a user may look now. unmasked: whether a point may be handed to a media server now. opened,
    closed: told of each view there. clock: monotonic seconds, the same as `live` has.
    """

    def __init__(
        self,
        settings: MediaServerSettings,
        *,
        live: LiveService,
        keys: KeyRing,
        node: str,
        allowed: Allowed,
        unmasked: Callable[[str], Awaitable[bool]],
        opened: Told = lambda _viewing: None,
        closed: Told = lambda _viewing: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.counters = MediaServerCounters()
        self.servers: list[MediaServer] = []
        self.keys = keys
        self._settings = settings
        self._live = live
        self._unmasked = unmasked
        self._allowed_at_all = allowed
        self._opened = opened
        self._closed = closed
        self._clock = clock
        self._owner = f"h{hashlib.sha256(node.encode()).hexdigest()[:10]}-"
        self._book = GrantBook(self._owner)
        self._rights = RightsWatch(
            self._allowed,
            views=lambda: {grant.view for grant in self._book.running()},
            close=self._close_view,
            settings=live.settings,
            clock=clock,
            sleep=sleep,
        )
        self.feed = FeedServer(self._open_stream, host=settings.feed_bind, port=settings.feed_port)
        self._stack = contextlib.AsyncExitStack()
        self._nudges: dict[str, asyncio.Event] = {}

    async def __aenter__(self) -> Self:
        """Raises: OSError where the feed's address cannot be listened on."""
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(self.feed)
            timeout = aiohttp.ClientTimeout(total=None, connect=2.0)
            session = await stack.enter_async_context(aiohttp.ClientSession(timeout=timeout))
            for url, offer in self._settings.servers:
                self.servers.append(self._server(url, offer, session))
            stack.push_async_callback(self._leave)
            tasks = await stack.enter_async_context(_Tasks())
            tasks.start(self._rights.run(), "media-server-rights")
            for server in self.servers:
                self._nudges[server.url] = asyncio.Event()
                tasks.start(self._watch(server), f"media-server {server.url}")
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    def _server(self, url: str, offer: Offer, session: aiohttp.ClientSession) -> MediaServer:
        return MediaServer(
            ControlApi(url, self.keys.control_token, session),
            offer=offer,
            owner=self._owner,
            keys=self.keys,
            feed=self._settings.feed_base(self.feed.port),
            clock=self._clock,
        )

    async def _leave(self) -> None:
        for server in self.servers:
            self._tell_closed(server, "the gateway is stopping")
            if server.ready:
                await server.leave()

    # --- what the API calls -------------------------------------------------------------------

    def hand_out(self, ticket: Ticket) -> Handed:
        """Where else the stream of a ticket can be had: not asked for a masked point."""
        key = StreamKey(point_id=ticket.point_id, profile=ticket.profile)
        reason = "no media server is set"
        for server in self._in_order(key):
            reason = server.reason
            if not server.ready:
                continue
            self.counters.handed += 1
            return self._handed(server, server.path(key), ticket)
        self.counters.fallen_back += 1
        return Handed(reason=f"the media server is away: {reason}")

    def _handed(self, server: MediaServer, path: MediaPath, ticket: Ticket) -> Handed:
        self._book.add(ticket, server.url, path.name)
        left_s = max(1.0, ticket.deadline_s - self._clock())
        token = self.keys.reader_token(ticket.id, path.name, left_s)
        offer, urls = server.offer, {}
        if offer.whep:
            urls["whep"] = f"{offer.whep}/{path.name}/whep"
        if offer.hls:
            urls["hls"] = f"{offer.hls}/{path.name}/index.m3u8"
        if offer.rtsp:
            urls["rtsp"] = f"{offer.rtsp}/{path.name}?token={token}"
        return Handed(urls=urls, token=token)

    def _in_order(self, key: StreamKey) -> Iterable[MediaServer]:
        """The same stream goes to the same server while that is there: its camera is read once."""

        def weight(server: MediaServer) -> bytes:
            return hashlib.sha256(f"{server.url} {key.name}".encode()).digest()

        return sorted(self.servers, key=weight)

    def used_here(self, ticket_id: str) -> None:
        """A ticket opened one of our own streams: at a media server it opens none any more."""
        if self._book.end(ticket_id, "its ticket opened another stream"):
            self._nudge()

    @property
    def origins(self) -> list[str]:
        """Where browsers go for what is handed out."""
        return sorted({url for each in self.servers for url in (each.offer.whep, each.offer.hls)})

    @property
    def readers(self) -> int:
        return len(self._book.running())

    # --- what media servers read --------------------------------------------------------------

    async def _open_stream(self, asked: str) -> AbstractAsyncContextManager[Viewer]:
        """Raises: NoSource, RightsUnknown."""
        for server in self.servers:
            path = server.fed(asked)
            if path is not None and path.name in self._book.wanted(self._clock()):
                await self._may_be_fed(path.key.point_id)
                return self._live.tap(path.key)
        raise NoSource("nobody may watch this")

    async def _may_be_fed(self, point_id: str) -> None:
        try:
            async with asyncio.timeout(ANSWER_S):
                unmasked = await self._unmasked(point_id)
        except Exception:
            raise RightsUnknown("whether the point is masked cannot be asked now") from None
        if not unmasked:
            raise NoSource("a masked point is not handed to a media server")

    # --- the watch ----------------------------------------------------------------------------

    async def _watch(self, server: MediaServer) -> None:
        nudge = self._nudges[server.url]
        while True:
            # Before the first look too: a server asks us for our keys, so we have to be up.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    await nudge.wait()
            nudge.clear()
            try:
                await self._look(server)
            except Exception as error:  # nobody would be disconnected any more without a watch
                log.exception("media_server.look_failed", error=type(error).__name__)

    async def _look(self, server: MediaServer) -> None:
        readers = await server.look()
        if readers is not None:
            await self._judge(server, readers)
        elif server.lost:
            self._tell_closed(server, "the media server is away")
        self._tidy(server)

    async def _judge(self, server: MediaServer, readers: Sequence[Reader]) -> None:
        judgement = self._book.judge(server.url, readers, self._clock())
        for grant in judgement.opened:
            self._live.withdraw(grant.ticket.token)
            self.counters.opened += 1
            self._opened(grant.viewing(self._clock()))
        for viewing in judgement.closed:
            self.counters.closed += 1
            self._closed(viewing)
        self.counters.replayed += judgement.replays
        for reader, reason in judgement.kicks:
            self.counters.kicked += 1
            log.warning(
                "media_server.kicked",
                server=server.url,
                transport=reader.transport,
                ticket=reader.ticket_id,
                reason=reason,
            )
            with contextlib.suppress(MediaServerError):  # it is seen again with the next look
                await server.api.kick(reader)

    def _tidy(self, server: MediaServer) -> None:
        """Nothing is fed that nobody may watch, and a path that nobody wanted for a while gets
        another name the next time."""
        now_s = self._clock()
        wanted = self._book.wanted(now_s)
        for path in tuple(server.paths.values()):
            if path.name in wanted:
                path.wanted_s = now_s
                continue
            self.feed.disconnect(f"{server.secret}/{path.fed_as}")
            if now_s - path.wanted_s >= KEEP_IDLE_S:
                del server.paths[path.key]

    def _tell_closed(self, server: MediaServer, reason: str) -> None:
        for viewing in self._book.close_all(server.url, self._clock(), reason):
            self.counters.closed += 1
            self._closed(viewing)

    async def _allowed(self, view: View) -> bool:
        return await self._allowed_at_all(view) and await self._unmasked(view.point_id)

    def _close_view(self, view: View, reason: str) -> None:
        if self._book.end_view(view, reason):
            self._nudge()

    def _nudge(self) -> None:
        for nudge in self._nudges.values():
            nudge.set()


class _Tasks:
    """Tasks that end with their block."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, work: Coroutine[None, None, None], name: str) -> None:
        self._tasks.append(asyncio.create_task(work, name=name))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
