"""An RTSP 1.0 session over one TCP connection, packets interleaved with it (RFC 2326)."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable, Mapping

from adapters.errors import (
    AdapterError,
    AuthenticationFailed,
    Busy,
    NotSupported,
    ProtocolViolation,
    TimedOut,
    Unreachable,
    reason_of,
)
from adapters.events import RtspSource
from adapters.media import wire
from adapters.media.address import RtspAddress, parse_address
from adapters.media.digest import Credentials
from adapters.media.link import RtspLink
from adapters.media.sdp import Media, SessionDescription, control_url, parse_sdp

MAX_REDIRECTS = 3


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RtspLimits:
    """How long a peer may take. silence_s: a playing stream without a packet for so long is over.
    farewell_s: how long the answer to TEARDOWN is awaited."""

    connect_s: float = 5.0
    request_s: float = 5.0
    silence_s: float = 10.0
    farewell_s: float = 0.5


class RtspSession:
    """One client session. Use `open_session`.

    on_lost(error) is called once, when the stream cannot go on.
    """

    def __init__(self, source: RtspSource, limits: RtspLimits) -> None:
        self.address: RtspAddress = parse_address(source.url)
        username = source.username or self.address.username
        password = source.password.reveal() if source.username else self.address.password
        self._has_credentials = bool(username)
        self._credentials = Credentials(username, password)
        self._accepted = False
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._link: RtspLink | None = None
        self._cseq = 0
        self._public: frozenset[str] = frozenset()
        self._session: wire.Session | None = None
        self._base = self.address.url
        self._aggregate = self.address.url
        self._timer: asyncio.TimerHandle | None = None
        self._next_alive_s = 0.0
        self._lost = False
        self._on_packet: Callable[[int, bytes], None] = lambda channel, payload: None
        self.on_lost: Callable[[AdapterError], None] = lambda error: None

    def deliver(self, on_packet: Callable[[int, bytes], None]) -> None:
        """Call on_packet(channel, payload) for every interleaved packet from now on."""
        self._on_packet = on_packet
        if self._link is not None:
            self._link.on_packet = on_packet

    # --- requests -----------------------------------------------------------------------------

    async def connect(self) -> None:
        """Raises: Unreachable, TimedOut, NotSupported (rtsps)."""
        location = self.address.location
        if self.address.scheme != "rtsp":
            raise NotSupported(f"{self.address.scheme} is not read natively", device=location)
        try:
            async with asyncio.timeout(self._limits.connect_s):
                _, self._link = await self._loop.create_connection(
                    lambda: RtspLink(location), self.address.host, self.address.port
                )
        except TimeoutError:
            text = f"no connection within {self._limits.connect_s:g} s"
            raise TimedOut(text, device=location) from None
        except OSError as error:
            text = f"no connection: {reason_of(error)}"
            raise Unreachable(text, device=location) from None
        self._link.on_packet = self._on_packet
        self._link.on_lost = self._fail

    async def options(self) -> None:
        """Learn what the server offers. One that does not know OPTIONS is no error."""
        response = await self._request("OPTIONS", self._base)
        words = response.header("public").replace(",", " ").upper().split()
        self._public = frozenset(words)

    async def describe(self) -> SessionDescription:
        """The tracks. Raises: AuthenticationFailed, Busy, ProtocolViolation, TimedOut …"""
        for _ in range(MAX_REDIRECTS + 1):
            response = await self._request("DESCRIBE", self._base, {"Accept": "application/sdp"})
            if response.status not in (301, 302, 303, 307, 308):
                break
            self._base = self._redirected(response.header("location"))
        self._check("DESCRIBE", response)
        description = parse_sdp(response.body)
        announced = response.header("content-base") or response.header("content-location")
        if announced.lower().startswith("rtsp://"):
            self._base = parse_address(announced).url
        self._aggregate = control_url(self._base, description.control)
        return description

    async def setup(self, media: Media) -> int:
        """Ask for a track over this connection; gives the channel its packets come on."""
        url = control_url(self._aggregate, media.control)
        headers = {"Transport": "RTP/AVP/TCP;unicast;interleaved=0-1"}
        response = await self._request("SETUP", url, headers)
        if response.status == 461:
            raise NotSupported("it does not send over TCP", device=self.address.location)
        self._check("SETUP", response)
        transport = response.header("transport")
        channel = wire.agreed_channel(transport)
        if channel is None and "tcp" not in transport.lower() and transport:
            raise NotSupported("it does not send over TCP", device=self.address.location)
        self._session = wire.parse_session(response.header("session"))
        return channel or 0

    async def play(self) -> None:
        """Start the packets, the signs of life, and the watch for silence."""
        response = await self._request("PLAY", self._aggregate, {"Range": "npt=0.000-"})
        self._check("PLAY", response)
        self._next_alive_s = self._loop.time() + self._alive_period_s()
        self._tick()

    # --- what runs beside ---------------------------------------------------------------------

    def _alive_period_s(self) -> float:
        return min(30.0, (self._session.timeout_s if self._session else 60) / 2)

    def _tick(self) -> None:
        """Every quarter of the silence limit: is it still there, is a sign of life due?"""
        assert self._link is not None
        now_s = self._loop.time()
        silent_s = now_s - self._link.last_heard_s
        if silent_s >= self._limits.silence_s:
            text = f"nothing came for {silent_s:.0f} s"
            self._fail(TimedOut(text, device=self.address.location))
            return
        if now_s >= self._next_alive_s:
            self._next_alive_s = now_s + self._alive_period_s()
            method = "GET_PARAMETER" if "GET_PARAMETER" in self._public else "OPTIONS"
            self._link.tell(self._encode(method, self._aggregate, {}))
        self._timer = self._loop.call_later(self._limits.silence_s / 4, self._tick)

    def _fail(self, error: AdapterError) -> None:
        if not self._lost:
            self._lost = True
            self.on_lost(error)

    async def aclose(self) -> None:
        """Say farewell where a session is open, then close; nothing is left behind."""
        self._lost = True
        if self._timer is not None:
            self._timer.cancel()
        link, self._link = self._link, None
        if link is None or link.transport is None:
            return
        try:
            if self._session is not None:
                ended = self._encode("TEARDOWN", self._aggregate, {})
                with contextlib.suppress(TimeoutError, AdapterError):
                    async with asyncio.timeout(self._limits.farewell_s):
                        await link.ask(self._cseq, ended)
            link.transport.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._limits.farewell_s):
                    await asyncio.shield(link.closed)
        finally:
            link.abort()

    # --- one exchange -------------------------------------------------------------------------

    def _encode(self, method: str, url: str, headers: Mapping[str, str]) -> bytes:
        self._cseq += 1
        lines = dict(headers)
        answer = self._credentials.authorization(method, url)
        if answer is not None:
            lines["Authorization"] = answer
        if self._session is not None:
            lines["Session"] = self._session.id
        return wire.request(method, url, self._cseq, lines)

    async def _request(
        self, method: str, url: str, headers: Mapping[str, str] | None = None
    ) -> wire.Response:
        for _ in range(3):
            answered = self._credentials.answered
            response = await self._exchange(method, url, headers or {})
            if response.status != 401:
                self._accepted = self._accepted or answered
                return response
            self._take_challenge(response, answered)
            if "close" in response.header("connection").lower():
                await self._reconnect()
        raise AuthenticationFailed("it refuses every sign-in", device=self.address.location)

    async def _exchange(self, method: str, url: str, headers: Mapping[str, str]) -> wire.Response:
        if self._link is None:
            raise Unreachable("the connection is closed", device=self.address.location)
        data = self._encode(method, url, headers)
        cseq = self._cseq
        try:
            async with asyncio.timeout(self._limits.request_s):
                return await self._link.ask(cseq, data)
        except TimeoutError:
            if self._link is not None and self._link.babbled:
                text = "it does not answer in RTSP"
                raise ProtocolViolation(text, device=self.address.location) from None
            text = f"no answer to {method} within {self._limits.request_s:g} s"
            raise TimedOut(text, device=self.address.location) from None
        finally:
            if self._link is not None:
                self._link.forget(cseq)

    def _take_challenge(self, response: wire.Response, answered: bool) -> None:
        """One password is tried once: again only when a nonce that was accepted went stale."""
        location = self.address.location
        if not self._has_credentials:
            raise AuthenticationFailed("it asks for a name and password", device=location)
        stale = self._credentials.take(response.headers.get("www-authenticate", ()))
        if answered and not (stale or self._accepted):
            raise AuthenticationFailed("it refused the name or password", device=location)
        self._accepted = False

    async def _reconnect(self) -> None:
        if self._link is not None:
            self._link.on_lost = lambda error: None
            self._link.abort()
        await self.connect()

    def _redirected(self, location: str) -> str:
        target = parse_address(location)
        if (target.host, target.port) != (self.address.host, self.address.port):
            # Our credentials never follow an address that a device announces.
            text = f"it redirects to {target.location}; register that address instead"
            raise ProtocolViolation(text, device=self.address.location)
        return target.url

    def _check(self, method: str, response: wire.Response) -> None:
        status, location = response.status, self.address.location
        if 200 <= status < 300:
            return
        text = f"it answered {method} with {status} {response.reason}".rstrip()
        if status == 403:
            raise AuthenticationFailed(text, device=location)
        if status in (453, 503):
            raise Busy(text, device=location)
        raise ProtocolViolation(text, device=location)


@contextlib.asynccontextmanager
async def open_session(
    source: RtspSource, limits: RtspLimits | None = None
) -> AsyncIterator[RtspSession]:
    """Connect; on leaving say farewell and close. Raises: AdapterError."""
    session = RtspSession(source, limits or RtspLimits())
    try:
        await session.connect()
        yield session
    finally:
        await session.aclose()
