"""What media servers read from us: an RTSP server that knows nobody but them.

A media server is never told where a camera is, nor its password: it reads from here, with a secret
that only its own configuration has, and only what somebody may watch just now. RTP goes within
the connection only.
"""

import asyncio
import contextlib
import random
import secrets
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import NamedTuple, Self
from urllib.parse import urlsplit

import structlog

from adapters.base import TrackFormat
from adapters.errors import NotSupported
from gateway.live.errors import LiveRefused
from gateway.live.frames import Entry, LiveFormat, LiveUnit
from gateway.live.mediaserver import rtp
from gateway.live.viewer import ViewClosed, Viewer

OpenStream = Callable[[str], Awaitable[AbstractAsyncContextManager[Viewer]]]
"""The stream of a secret and a name, ``secret/name``. Raises: LiveRefused where there is none
(any more)."""

REQUEST_S = 60.0
FORMATS_S = 8.0
MAX_HEAD_BYTES = 8 * 1024
MAX_CONNECTIONS = 2_000
METHODS = "OPTIONS, DESCRIBE, SETUP, PLAY, GET_PARAMETER, TEARDOWN"

log = structlog.get_logger(__name__)


class Request(NamedTuple):
    """headers: names in lower case."""

    method: str
    url: str
    headers: dict[str, str]

    @property
    def stream(self) -> str:
        """What is asked for: a secret, a slash, and a name."""
        return "/".join(urlsplit(self.url).path.strip("/").split("/")[:2])


class BadRequest(Exception):
    pass


class FeedServer:
    """`async with FeedServer(open_stream, host, port):` serves until it is left.

    port: 0 for any that is free; it is told afterwards. refused: how many connections asked for
    what they may not have.
    """

    def __init__(self, open_stream: OpenStream, *, host: str, port: int) -> None:
        self._open_stream = open_stream
        self._host = host
        self.port = port
        self.refused = 0
        self._connections: dict[asyncio.Task[None], str] = {}
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        """Raises: OSError where the address cannot be listened on."""
        self._server = await asyncio.start_server(
            self._serve, self._host, self.port, limit=MAX_HEAD_BYTES
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        tasks = list(self._connections)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def reading(self) -> int:
        """How many streams are being read."""
        return sum(bool(reading) for reading in self._connections.values())

    def disconnect(self, asked: str) -> None:
        """Whoever reads this stream loses it at once."""
        for task, reading in self._connections.items():
            if reading == asked:
                task.cancel()

    def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= MAX_CONNECTIONS:
            writer.close()
            return
        task = asyncio.create_task(self._run(reader, writer), name="media-feed")
        self._connections[task] = ""

        def ended(done: asyncio.Task[None]) -> None:
            self._connections.pop(done, None)
            writer.transport.abort()  # also of one that was cancelled before it began

        task.add_done_callback(ended)

    async def _run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await Connection(reader, writer, self._described).run()
        except (BadRequest, OSError, TimeoutError, ViewClosed, asyncio.IncompleteReadError):
            pass
        except NotSupported as error:
            log.warning("media_server.stream_not_carried", reason=error.message)

    async def _described(self, asked: str) -> AbstractAsyncContextManager[Viewer]:
        """The stream a connection asks for; whoever had it before loses it: one reads at a time.
        Raises: LiveRefused."""
        try:
            stream = await self._open_stream(asked)
        except LiveRefused:
            self.refused += 1
            raise
        me = asyncio.current_task()
        for task, reading in self._connections.items():
            if reading == asked and task is not me:
                task.cancel()
        assert me is not None
        self._connections[me] = asked
        return stream


class Connection:
    """One reader, from its first request to its last."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        describe: OpenStream,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._describe = describe
        self._session = secrets.token_hex(8)
        self._tracks: list[TrackFormat] = []
        self._packetisers: dict[int, rtp.Packetiser] = {}
        self._early: list[Entry] = []
        self._viewer: Viewer | None = None

    async def run(self) -> None:
        """Until either side ends. Raises: BadRequest, ViewClosed, NotSupported, OSError."""
        async with contextlib.AsyncExitStack() as stack:
            while True:
                async with asyncio.timeout(REQUEST_S):
                    request = await self._next_request()
                if request.method == "PLAY" and self._packetisers:
                    self._answer(request, 200, Session=self._session)
                    await self._play()
                    return
                if request.method == "TEARDOWN":
                    self._answer(request, 200)
                    return
                await self._handle(request, stack)

    async def _handle(self, request: Request, stack: contextlib.AsyncExitStack) -> None:
        match request.method:
            case "OPTIONS":
                self._answer(request, 200, Public=METHODS)
            case "GET_PARAMETER":
                self._answer(request, 200)
            case "DESCRIBE" if self._viewer is None:
                await self._on_describe(request, stack)
            case "SETUP" if self._tracks:
                self._on_setup(request)
            case "DESCRIBE" | "SETUP" | "PLAY":
                self._answer(request, 455)
            case _:
                self._answer(request, 501)

    async def _on_describe(self, request: Request, stack: contextlib.AsyncExitStack) -> None:
        try:
            stream = await self._describe(request.stream)
        except LiveRefused:
            self._answer(request, 404)
            return
        self._viewer = await stack.enter_async_context(stream)
        try:
            async with asyncio.timeout(FORMATS_S):
                await self._learn_formats(self._viewer)
        except TimeoutError:
            self._answer(request, 503)
            raise
        sdp = rtp.describe(self._tracks, "Hutong")
        base = request.url.rstrip("/") + "/"
        self._answer(request, 200, sdp, **{"Content-Base": base})

    async def _learn_formats(self, viewer: Viewer) -> None:
        """Take what comes up to the first picture: it tells of every track before."""
        formats: dict[int, TrackFormat] = {}
        while not any(isinstance(entry, LiveUnit) and entry.video for entry in self._early):
            for entry in await viewer.take():
                self._early.append(entry)
                if isinstance(entry, LiveFormat) and rtp.carries(entry.track):
                    formats[entry.track.track] = entry.track
        self._tracks = sorted(formats.values(), key=lambda track: track.kind != "video")
        if not any(track.kind == "video" for track in self._tracks):
            raise NotSupported("the stream's codec is none that a media server is handed")

    def _on_setup(self, request: Request) -> None:
        _, _, text = urlsplit(request.url).path.rpartition("track=")
        offered = request.headers.get("transport", "")
        if not text.isdigit() or int(text) >= len(self._tracks):
            self._answer(request, 404)
        elif "/TCP" not in offered.upper():
            self._answer(request, 461)
        else:
            number = int(text)
            channel, track = number * 2, self._tracks[number]
            ssrc = random.getrandbits(32)
            self._packetisers[track.track] = rtp.Packetiser(track, channel=channel, ssrc=ssrc)
            transport = f"RTP/AVP/TCP;unicast;interleaved={channel}-{channel + 1};ssrc={ssrc:08X}"
            session = f"{self._session};timeout={int(REQUEST_S)}"
            self._answer(request, 200, Transport=transport, Session=session)

    # --- playing --------------------------------------------------------------------------------

    async def _play(self) -> None:
        """Send, and answer what is asked meanwhile, until either ends."""
        sending = asyncio.create_task(self._send(), name="media-feed-send")
        hearing = asyncio.create_task(self._hear(), name="media-feed-hear")
        try:
            await asyncio.wait({sending, hearing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, hearing):
                task.cancel()
            ended = await asyncio.gather(sending, hearing, return_exceptions=True)
        for error in ended:
            if isinstance(error, Exception):
                raise error

    async def _send(self) -> None:
        assert self._viewer is not None
        entries, self._early = self._early, []
        while True:
            for entry in entries:
                if isinstance(entry, LiveUnit):
                    packetiser = self._packetisers.get(entry.unit.track)
                    if packetiser is not None:
                        self._writer.write(packetiser.pack(entry.unit))
                elif isinstance(entry, LiveFormat) and not self._follows(entry):
                    return  # the media server reads anew and is told of the new codec
            await self._writer.drain()
            entries = await self._viewer.take()

    def _follows(self, entry: LiveFormat) -> bool:
        packetiser = self._packetisers.get(entry.track.track)
        return packetiser is None or packetiser.follow(entry.track)

    async def _hear(self) -> None:
        while True:
            request = await self._next_request()
            if request.method in ("OPTIONS", "GET_PARAMETER"):
                self._answer(request, 200, Session=self._session)
            elif request.method == "TEARDOWN":
                self._answer(request, 200, Session=self._session)
                return
            else:
                self._answer(request, 455)

    # --- the wire -------------------------------------------------------------------------------

    async def _next_request(self) -> Request:
        """The next request; packets that are interleaved with it are reports, and passed over."""
        while (first := await self._reader.readexactly(1)) == b"$":
            head = await self._reader.readexactly(3)
            await self._reader.readexactly(int.from_bytes(head[1:], "big"))
        try:
            return parse_request(first + await self._reader.readuntil(b"\r\n\r\n"))
        except asyncio.LimitOverrunError:
            raise BadRequest from None

    def _answer(self, request: Request, status: int, body: bytes = b"", **headers: str) -> None:
        reason = {200: "OK", 404: "Not Found", 455: "Method Not Valid in This State"}
        lines = [f"RTSP/1.0 {status} {reason.get(status, 'Refused')}"]
        lines.append(f"CSeq: {request.headers.get('cseq', '0')}")
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if body:
            lines += ["Content-Type: application/sdp", f"Content-Length: {len(body)}"]
        self._writer.write(("\r\n".join(lines) + "\r\n\r\n").encode() + body)


def parse_request(head: bytes) -> Request:
    """head: up to and with its blank line. Raises: BadRequest; a body is none of ours."""
    try:
        first, *lines = head.decode("ascii").strip().split("\r\n")
        method, url, version = first.split(" ")
    except ValueError:
        raise BadRequest from None
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
        if not colon:
            raise BadRequest
    if not version.startswith("RTSP/1.") or headers.get("content-length", "0") != "0":
        raise BadRequest
    return Request(method, url, headers)
