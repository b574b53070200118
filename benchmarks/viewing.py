"""Viewers that cost as little as they can: what they use is not the relay's.

A browser does far more; here only the send time in each picture is looked for.
"""

import asyncio
import base64
import contextlib
import hashlib
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import cast
from urllib.parse import urlsplit

import aiohttp

from simulators.clips import read_wall_clock_ns

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_AT_ONCE, _ROWS = 50, 8
STARTUP_S = 60.0


class WebSocketViewer(asyncio.Protocol):
    """Reads the frames WebSocket. picture: called with the delay of each picture in ms."""

    def __init__(self, path: str, picture: Callable[[float], None]) -> None:
        self._path = path
        self._picture = picture
        self._data = bytearray()
        self._upgraded = False
        self.first = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport = cast(asyncio.Transport, transport)
        key = base64.b64encode(os.urandom(16)).decode()
        transport.write(
            f"GET {self._path} HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {key}\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        now_ns = time.time_ns()
        self._data += data
        if not self._upgraded:
            end = self._data.find(b"\r\n\r\n")
            if end < 0:
                return
            self._upgraded = True
            del self._data[: end + 4]
        self._read(now_ns)

    def _read(self, now_ns: int) -> None:
        data, at = self._data, 0
        while len(data) - at >= 2:
            size, head = data[at + 1], 2
            if size == 126:
                size, head = int.from_bytes(data[at + 2 : at + 4], "big"), 4
            elif size == 127:
                size, head = int.from_bytes(data[at + 2 : at + 10], "big"), 10
            if len(data) - at < head + size:
                break
            if data[at] == 0x82:
                self._told(bytes(data[at + head : at + head + min(size, 400)]), now_ns)
            elif data[at] & 0x0F == 9 and self.transport is not None:
                self.transport.write(b"\x8a\x80\0\0\0\0")
            at += head + size
        del data[:at]

    def _told(self, beginning: bytes, now_ns: int) -> None:
        if not self.first.done():
            self.first.set_result(None)
        sent_ns = read_wall_clock_ns(beginning)
        if sent_ns is not None:
            self._picture((now_ns - sent_ns) / 1e6)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.first.done():
            self.first.set_exception(ConnectionError("the view ended before a picture"))


class HttpViewer(asyncio.Protocol):
    """Reads the body of an HTTP answer and throws it away."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.first = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport = cast(asyncio.Transport, transport)
        transport.write(f"GET {self._path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())

    def data_received(self, data: bytes) -> None:
        if not self.first.done() and len(data) > 500:
            self.first.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.first.done():
            self.first.set_exception(ConnectionError("the answer ended before a picture"))


@contextlib.asynccontextmanager
async def viewing(
    urls: Sequence[str], picture: Callable[[float], None] | None = None
) -> AsyncIterator[None]:
    """View all of these, a connection each, once each of them has shown something.

    picture: gets delays of WebSocket views; None for plain HTTP.
    """
    gate = asyncio.Semaphore(_AT_ONCE)
    made: list[WebSocketViewer | HttpViewer] = []

    async def open_one(url: str) -> None:
        parts = urlsplit(url)
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        loop = asyncio.get_running_loop()
        async with gate:
            _, viewer = await loop.create_connection(
                lambda: WebSocketViewer(path, picture) if picture else HttpViewer(path),
                parts.hostname or "",
                parts.port or 0,
            )
            made.append(viewer)
            await viewer.first

    try:
        async with asyncio.timeout(STARTUP_S), asyncio.TaskGroup() as group:
            for url in urls:
                group.create_task(open_one(url))
        yield
    finally:
        for viewer in made:
            if viewer.transport is not None:
                viewer.transport.abort()
        await asyncio.sleep(0)


async def open_and_close(address: str, cameras: int, times: int) -> None:
    """Open so many views one after the other in a few rows, each until its first picture; one of
    each camera stays, so that none waits for a keyframe."""
    loop = asyncio.get_running_loop()
    turns = iter(range(times))

    async def row_of_views(http: aiohttp.ClientSession) -> None:
        for turn in turns:
            async with http.get(f"http://{address}/ticket/{turn % cameras}") as answer:
                path = await answer.json()
            host, _, port = address.partition(":")
            transport, viewer = await loop.create_connection(
                lambda path=path: WebSocketViewer(path, lambda _: None), host, int(port)
            )
            async with asyncio.timeout(STARTUP_S):
                await viewer.first
            transport.abort()

    async with aiohttp.ClientSession() as http:
        kept = []
        for camera in range(cameras):
            async with http.get(f"http://{address}/ticket/{camera}") as answer:
                kept.append(f"ws://{address}{await answer.json()}")
        async with viewing(kept, lambda _: None), asyncio.TaskGroup() as group:
            for _ in range(_ROWS):
                group.create_task(row_of_views(http))


class BareServer(asyncio.Protocol):
    """The least that a WebSocket server can do: everybody gets the same bytes."""

    def __init__(self, everybody: "set[asyncio.Transport]") -> None:
        self._everybody = everybody
        self._head = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._head += data
        if self._transport is None or b"\r\n\r\n" not in self._head:
            return
        key = self._head.split(b"Sec-WebSocket-Key: ")[-1].split(b"\r\n")[0]
        accept = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
        self._transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        self._everybody.add(self._transport)
        self._head = b""

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self._everybody.discard(self._transport)
