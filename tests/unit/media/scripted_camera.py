"""An RTSP server that says what a test tells it to, on a real socket of loopback."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable, Sequence


async def until(condition: Callable[[], object], timeout_s: float = 5.0) -> None:
    """Return as soon as the condition holds. Raises: TimeoutError."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - the condition is that of many different things
            await asyncio.sleep(0.002)


SDP = (
    "v=0\r\ns=Scripted\r\na=control:*\r\nm=video 0 RTP/AVP 96\r\n"
    "a=rtpmap:96 H264/90000\r\na=control:trackID=1\r\n"
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request as it came. number: of this method, from 1."""

    method: str
    url: str
    headers: dict[str, str]
    number: int

    def answer(self, status: str = "200 OK", headers: Sequence[str] = (), body: str = "") -> bytes:
        lines = [f"RTSP/1.0 {status}", f"CSeq: {self.headers['cseq']}", *headers]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


Script = Callable[[Asked], bytes | None]
"""The answer; None falls back to that of a polite camera."""


class ScriptedCamera:
    """asked: all requests. connections: how many were made. packets: RTP sent after PLAY."""

    def __init__(
        self, script: Script | None = None, packets: Sequence[bytes] = (), sdp: str = SDP
    ) -> None:
        self._script = script
        self._packets = packets
        self._sdp = sdp
        self._counts: dict[str, int] = {}
        self._writers: set[asyncio.StreamWriter] = set()
        self.asked: list[Asked] = []
        self.connections = 0
        self.port = 0

    @property
    def url(self) -> str:
        return f"rtsp://127.0.0.1:{self.port}/live"

    def methods(self) -> list[str]:
        return [asked.method for asked in self.asked]

    def drop(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                start, *lines = head.strip().split("\r\n")
                method, url, _ = start.split(" ")
                pairs = (line.partition(":") for line in lines)
                headers = {name.lower(): value.strip() for name, _, value in pairs}
                self._counts[method] = self._counts.get(method, 0) + 1
                asked = Asked(method=method, url=url, headers=headers, number=self._counts[method])
                self.asked.append(asked)
                answer = self._script(asked) if self._script else None
                writer.write(answer if answer is not None else self.politely(asked))
        writer.close()

    def politely(self, asked: Asked) -> bytes:
        if asked.method == "OPTIONS":
            return asked.answer(headers=["Public: DESCRIBE, SETUP, PLAY, TEARDOWN"])
        if asked.method == "DESCRIBE":
            return asked.answer(body=self._sdp)
        if asked.method == "SETUP":
            transport = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1"
            return asked.answer(headers=[transport, "Session: 42;timeout=60"])
        if asked.method == "PLAY":
            frames = [b"$\0" + len(data).to_bytes(2, "big") + data for data in self._packets]
            return asked.answer() + b"".join(frames)
        return asked.answer()


@contextlib.asynccontextmanager
async def camera(
    script: Script | None = None, packets: Sequence[bytes] = (), sdp: str = SDP
) -> AsyncIterator[ScriptedCamera]:
    it = ScriptedCamera(script, packets, sdp)
    tasks: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        await it.serve(reader, writer)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    it.port = server.sockets[0].getsockname()[1]
    try:
        yield it
    finally:
        server.close()
        it.drop()
        await asyncio.gather(*tasks, return_exceptions=True)
