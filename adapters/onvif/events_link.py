"""One HTTP connection for long polls: a fifth of what a general client takes for each.

It speaks what a poll needs of HTTP/1.1: one POST after another, an answer with a length, in chunks
or up to the end of the connection. Source: RFC 9112.
"""

import asyncio
import contextlib
import dataclasses
import time

from yarl import URL

from adapters.errors import ProtocolViolation, Unreachable, reason_of

_HEAD_BYTES = 32_768
_OPEN_FOR_S = 2.0
"""Cameras close idle connections after 5 s or so: one that waited longer is not used again."""


@dataclasses.dataclass(frozen=True, slots=True)
class Reply:
    """challenges: its WWW-Authenticate headers."""

    status: int
    body: bytes
    challenges: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class _Head:
    status: int
    length: int | None
    chunked: bool
    closes: bool
    challenges: tuple[str, ...]


class PollLink:
    """To one device. limit_bytes: of an answer's body."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._where: tuple[str, int] | None = None
        self._used_s = 0.0

    async def post(self, url: URL, headers: str, body: bytes, limit_s: float) -> Reply:
        """headers: lines that end with CRLF. One call at a time; without TLS.

        Raises: Unreachable, ProtocolViolation, ConnectionError, TimeoutError.
        """
        request = (
            f"POST {url.raw_path_qs} HTTP/1.1\r\nHost: {url.host_port_subcomponent}\r\n{headers}"
            f"Content-Length: {len(body)}\r\n\r\n"
        ).encode() + body
        try:
            async with asyncio.timeout(limit_s):
                return await self._exchange(url, request)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None

    async def _exchange(self, url: URL, request: bytes) -> Reply:
        where = (url.raw_host or "", url.port or 80)
        idle_s = time.monotonic() - self._used_s
        if where != self._where or idle_s > _OPEN_FOR_S:
            self.close()
        kept = self._streams is not None
        reader, writer = self._streams or await self._open(where)
        writer.write(request)
        try:
            head = await self._head(reader)
        except asyncio.IncompleteReadError as error:
            if not kept or error.partial:
                raise ConnectionResetError from None
            # It closed a kept connection just as we used it: HTTP asks us to try a fresh one.
            self.close()
            reader, writer = await self._open(where)
            writer.write(request)
            head = await self._head(reader)
        reply = Reply(head.status, await self._body(reader, head), head.challenges)
        self._used_s = time.monotonic()
        if head.closes:
            self.close()
        return reply

    async def _open(
        self, where: tuple[str, int]
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            self._streams = await asyncio.open_connection(*where, limit=_HEAD_BYTES)
        except OSError as error:
            raise Unreachable(f"no connection to it: {reason_of(error)}") from None
        self._where = where
        return self._streams

    async def _head(self, reader: asyncio.StreamReader) -> _Head:
        while True:
            try:
                head = read_head(await reader.readuntil(b"\r\n\r\n"))
            except asyncio.LimitOverrunError:
                raise ProtocolViolation("it answered a poll with no HTTP") from None
            if head.status >= 200:
                return head

    async def _body(self, reader: asyncio.StreamReader, head: _Head) -> bytes:
        try:
            if head.chunked:
                return await self._chunks(reader)
            if head.length is None:
                return self._checked(await reader.read(self._limit_bytes + 1))
            return await reader.readexactly(self._within(head.length))
        except asyncio.IncompleteReadError:
            raise ConnectionResetError from None

    async def _chunks(self, reader: asyncio.StreamReader) -> bytes:
        body = bytearray()
        while size := chunk_size(await reader.readuntil(b"\r\n")):
            self._within(len(body) + size)
            body += await reader.readexactly(size)
            await reader.readexactly(2)
        while await reader.readuntil(b"\r\n") != b"\r\n":
            pass
        return bytes(body)

    def _within(self, size: int) -> int:
        if size > self._limit_bytes:
            raise ProtocolViolation(f"its answer is larger than {self._limit_bytes} bytes")
        return size

    def _checked(self, body: bytes) -> bytes:
        self._within(len(body))
        return body


def read_head(data: bytes) -> _Head:
    """The head of an answer up to its blank line. Raises: ProtocolViolation."""
    first, *lines = data.decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    code = rest[:3]
    if not version.startswith("HTTP/1.") or not (code.isascii() and code.isdecimal()):
        raise ProtocolViolation("it answered a poll with no HTTP")
    length: int | None = None
    chunked, closes = False, version == "HTTP/1.0"
    challenges: list[str] = []
    for line in lines:
        name, _, value = line.partition(":")
        match name.strip().lower():
            case "content-length":
                length = _number(value.strip(), 10)
            case "transfer-encoding":
                chunked = value.strip().lower().endswith("chunked")
            case "connection":
                closes = "close" in value.lower() or (closes and "keep" not in value.lower())
            case "www-authenticate":
                challenges.append(value.strip())
    if length is None and not chunked:
        closes = True
    return _Head(int(code), length, chunked, closes, tuple(challenges))


def chunk_size(line: bytes) -> int:
    """Raises: ProtocolViolation."""
    return _number(line.decode("latin-1").partition(";")[0].strip(), 16)


def _number(text: str, base: int) -> int:
    with contextlib.suppress(ValueError):
        if text.isascii() and text.isalnum() and len(text) <= 12:
            return int(text, base)
    raise ProtocolViolation("it answered a poll with no HTTP")
