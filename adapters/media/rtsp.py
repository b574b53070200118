"""An RTSP 1.0 session (RFC 2326): what it has, which tracks we want, play, and farewell."""

import asyncio
import contextlib
import ipaddress
import secrets
import struct
from collections.abc import AsyncIterator, Callable

from adapters.errors import (
    AdapterError,
    AuthenticationFailed,
    Busy,
    NotSupported,
    ProtocolViolation,
    TimedOut,
    Unreachable,
)
from adapters.events import RtspSource
from adapters.media import wire
from adapters.media.address import RtspAddress, parse_address
from adapters.media.client import RtspClient
from adapters.media.datagrams import PortPair
from adapters.media.digest import Credentials
from adapters.media.limits import RtspLimits
from adapters.media.rtcp import receiver_report
from adapters.media.sdp import Media, SessionDescription, control_url, parse_sdp

MAX_REDIRECTS = 3
_REDIRECTS = frozenset({301, 302, 303, 305, 307, 308})
_MEANINGS = {
    400: "the camera does not understand it",
    403: "this user may not see it",
    404: "there is no stream at this path",
    406: "it has nothing that can be read here",
    453: "it has no bandwidth left",
    454: "it has ended the session",
    455: "it is not ready for that",
    461: "it sends neither over TCP nor over UDP, or not encrypted",
    500: "the camera has failed",
    503: "it is overloaded, or has no session left",
}
_REPORT_S = 5.0


class RtspSession:
    """One client session. Use `open_session`.

    transport: ``tcp`` or ``udp``, final after the first `setup`; ``tcp`` with rtsps.
    on_lost(error) is called once, when the stream cannot go on.
    """

    def __init__(self, source: RtspSource, limits: RtspLimits) -> None:
        self.address: RtspAddress = parse_address(source.url)
        self._encrypted = self.address.scheme == "rtsps"
        self.transport = "udp" if source.transport == "udp" and not self._encrypted else "tcp"
        self.on_lost: Callable[[AdapterError], None] = lambda error: None
        username = source.username or self.address.username
        password = source.password.reveal() if source.username else self.address.password
        basic = source.allow_basic or self._encrypted
        self._own_hosts = frozenset({self.address.host})
        self._credentials = Credentials(username, password, basic=basic)
        self._pin = source.certificate_sha256
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._client = RtspClient(self.address, self._credentials, limits, self._pin)
        self._public: frozenset[str] = frozenset()
        self._session: wire.Session | None = None
        self._base = self.address.url
        self._aggregate = self.address.url
        self._tracks: list[str] = []
        self._pairs: list[PortPair] = []
        self._ssrc = secrets.randbits(32)
        self._timer: asyncio.TimerHandle | None = None
        self._next_alive_s = self._next_report_s = self._last_packet_s = 0.0
        self._seen_packets = 0
        self._lost = False
        self._handlers: wire.Handlers = {}

    @property
    def location(self) -> str:
        """Host and port of whoever we talk to now."""
        return self._client.location

    @property
    def foreign(self) -> int:
        """Datagrams that came from somebody else."""
        return sum(pair.foreign for pair in self._pairs)

    def deliver(self, handlers: wire.Handlers) -> None:
        """Give packets to the handlers of their channels from now on. A track's RTCP comes on the
        channel after its RTP, over UDP too."""
        self._handlers = handlers
        self._client.deliver(handlers)

    def _deliver(self, channel: int, data: bytes) -> None:
        if handler := self._handlers.get(channel):
            handler(data)

    # --- requests -----------------------------------------------------------------------------

    async def connect(self) -> None:
        """Raises: Unreachable, TimedOut, InvalidSettings (certificate)."""
        self._client.on_lost = self._fail
        await self._client.connect()
        if self._client.address.host == self.address.host:
            # A camera that is known by name may call itself by the address that we reached.
            self._own_hosts |= {self._client.endpoints()[1]}

    async def options(self) -> None:
        """Learn what the server offers. One that does not know OPTIONS is no error."""
        response = await self._client.request("OPTIONS", self._base)
        words = response.header("public").replace(",", " ").upper().split()
        self._public = frozenset(words)

    async def describe(self) -> SessionDescription:
        """The tracks. Raises: AuthenticationFailed, Busy, ProtocolViolation, TimedOut …"""
        headers = {"Accept": "application/sdp"}
        for _ in range(MAX_REDIRECTS + 1):
            response = await self._client.request("DESCRIBE", self._base, headers)
            if response.status not in _REDIRECTS:
                break
            await self.follow(response.header("location"))
        self._check("DESCRIBE", response)
        description = parse_sdp(response.body)
        announced = response.header("content-base") or response.header("content-location")
        if announced.lower().startswith(("rtsp://", "rtsps://")):
            self._base = parse_address(announced).url
        self._aggregate = control_url(self._base, description.control)
        return description

    async def setup(self, media: Media) -> int:
        """Ask for a track; gives the channel its packets come on, and its RTCP on the next.

        The first track decides the transport: one that the camera does not have is followed by
        the other. Raises: NotSupported when it has neither.
        """
        url = control_url(self._aggregate, media.control)
        channel = 2 * len(self._tracks)
        response, pair = await self._ask_setup(url, channel)
        # With rtsps only TCP is encrypted, and nobody who asks for that wants less.
        if response.status == 461 and not self._tracks and not self._encrypted:
            self.transport = "tcp" if self.transport == "udp" else "udp"
            response, pair = await self._ask_setup(url, channel)
        self._check("SETUP", response)
        agreed = wire.parse_transport(response.header("transport"))
        if agreed.tcp is not None and agreed.tcp != (pair is None):
            raise NotSupported("it answers with another transport than asked", device=self.location)
        self._session = wire.parse_session(response.header("session"))
        self._client.session = self._session.id
        self._tracks.append(url)
        if pair is None:
            return agreed.channels[0] if agreed.channels else channel
        self._expect(pair, agreed)
        return channel

    async def _ask_setup(self, url: str, channel: int) -> tuple[wire.Response, PortPair | None]:
        if self.transport == "tcp":
            wanted = f"RTP/AVP/TCP;unicast;interleaved={channel}-{channel + 1}"
            return await self._client.request("SETUP", url, {"Transport": wanted}), None
        pair = PortPair(
            lambda data: self._deliver(channel, data),
            lambda data: self._deliver(channel + 1, data),
        )
        self._pairs.append(pair)
        await pair.open(self._client.endpoints()[0])
        first, second = pair.numbers
        wanted = f"RTP/AVP;unicast;client_port={first}-{second}"
        response = await self._client.request("SETUP", url, {"Transport": wanted})
        if not 200 <= response.status < 300:
            self._pairs.remove(pair)
            pair.close()
        return response, pair

    def _expect(self, pair: PortPair, agreed: wire.Transport) -> None:
        """From whom datagrams are taken: the host we talk to, and an address it announced that
        cannot be ours."""
        peer = self._client.endpoints()[1]
        hosts = {peer}
        with contextlib.suppress(ValueError):
            announced = ipaddress.ip_address(agreed.source)
            if not (announced.is_loopback or announced.is_unspecified or announced.is_multicast):
                hosts.add(str(announced))
        pair.expect(frozenset(hosts), agreed.server_ports)

    async def play(self) -> None:
        """Start the packets, the signs of life, and the watch for silence."""
        response = await self._client.request("PLAY", self._aggregate, {"Range": "npt=0.000-"})
        if response.status == 457:
            # Some live servers know no ranges.
            response = await self._client.request("PLAY", self._aggregate)
        if response.status in (404, 459) and self._aggregate not in self._tracks:
            # No aggregate control here: each track is played by itself.
            for track in self._tracks:
                response = await self._client.request("PLAY", track)
                self._check("PLAY", response)
        self._check("PLAY", response)
        if timed := response.header("session"):
            self._session = wire.parse_session(timed)._replace(id=self._client.session)
        now_s = self._loop.time()
        self._next_alive_s = now_s + self._alive_period_s()
        self._last_packet_s = self._next_report_s = now_s
        self._tick()

    # --- what runs beside ---------------------------------------------------------------------

    def _alive_period_s(self) -> float:
        return min(30.0, (self._session.timeout_s if self._session else 60) / 2)

    def _tick(self) -> None:
        """Is it still sending, is a sign of life due?"""
        now_s = self._loop.time()
        packets = self._client.packets + sum(pair.packets for pair in self._pairs)
        if packets != self._seen_packets:
            self._seen_packets, self._last_packet_s = packets, now_s
        silent_s = now_s - self._last_packet_s
        if silent_s >= self._limits.silence_s:
            foreign = f", and {self.foreign} from somebody else" if self.foreign else ""
            text = f"nothing came for {silent_s:.0f} s{foreign}"
            self._fail(TimedOut(text, device=self.location))
            return
        if now_s >= self._next_alive_s:
            self._next_alive_s = now_s + self._alive_period_s()
            self._say_alive()
        if self._pairs and now_s >= self._next_report_s:
            self._next_report_s = now_s + _REPORT_S
            self._greet()
        pause_s = min(self._limits.silence_s / 4, self._alive_period_s() / 2)
        self._timer = self._loop.call_later(pause_s, self._tick)

    def _say_alive(self) -> None:
        method = "GET_PARAMETER" if "GET_PARAMETER" in self._public else "OPTIONS"
        self._client.post(method, self._aggregate, self._heard_alive)

    def _heard_alive(self, response: wire.Response) -> None:
        if response.status == 454:
            text = f"it answered 454: {_MEANINGS[454]}"
            self._fail(Unreachable(text, device=self.location))
        elif response.status >= 400 and "GET_PARAMETER" in self._public:
            # Offered, but not meant: ask with what every server knows, and at once.
            self._public -= {"GET_PARAMETER"}
            self._say_alive()

    def _greet(self) -> None:
        """Opens the way back through firewalls, and keeps it and the session open."""
        with contextlib.suppress(AdapterError):
            host = self._client.endpoints()[1]
            empty = struct.pack(">BBHII", 0x80, 0, 0, 0, self._ssrc)
            for pair in self._pairs:
                pair.greet(host, empty, receiver_report(self._ssrc))

    def _fail(self, error: AdapterError) -> None:
        if not self._lost:
            self._lost = True
            self.on_lost(error)

    async def aclose(self) -> None:
        """Say farewell where a session is open, then close; nothing is left behind."""
        self._lost = True
        if self._timer is not None:
            self._timer.cancel()
        try:
            await self._client.aclose(self._aggregate if self._session is not None else "")
        finally:
            for pair in self._pairs:
                pair.close()

    # --- answers ------------------------------------------------------------------------------

    async def follow(self, location: str) -> None:
        """Go where it redirects. Our name and password go along to the same host only, and never
        from an encrypted connection to an open one."""
        if location.startswith("/"):
            location = f"{self._client.address.scheme}://{self.location}{location}"
        target = parse_address(location)
        here = self._client.address
        if target.host != here.host and _is_inward(target.host) and not _is_inward(here.host):
            text = f"it redirects to {target.location}, which is this machine or its own link"
            raise ProtocolViolation(text, device=self.location)
        self._base = target.url
        if (target.scheme, target.host, target.port) == (here.scheme, here.host, here.port):
            return
        open_now = target.scheme == "rtsp" and self._encrypted
        ours = target.host in self._own_hosts
        trusted = ours and not open_now
        await self._client.aclose()
        credentials = self._credentials if trusted else None
        pin = self._pin if ours else ""
        self._client = RtspClient(target, credentials, self._limits, pin)
        self._client.deliver(self._handlers)
        await self.connect()

    def _check(self, method: str, response: wire.Response) -> None:
        status = response.status
        if 200 <= status < 300:
            return
        meaning = _MEANINGS.get(status)
        text = f"it answered {method} with {status} {response.reason}".rstrip()
        text = f"{text}: {meaning}" if meaning else text
        if status == 403:
            raise AuthenticationFailed(text, device=self.location)
        if status in (453, 503):
            raise Busy(text, device=self.location)
        if status == 454:
            raise Unreachable(text, device=self.location)
        if status == 461:
            raise NotSupported(text, device=self.location)
        raise ProtocolViolation(text, device=self.location)


def _is_inward(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_link_local or address.is_unspecified


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
