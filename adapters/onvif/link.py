"""One HTTP connection for calls in a row: under half of what a general client takes for each.

It speaks what a SOAP call needs of HTTP/1.1 without TLS: one POST after another, an answer with a
length, in chunks or up to the end of the connection. Source: RFC 9112.
"""

import asyncio
import contextlib
import dataclasses
import re
import socket
import time

from yarl import URL

from adapters.errors import ProtocolViolation, Unreachable, reason_of

_HEAD_BYTES = 32_768
_START = b"HTTP/"
_STATUS = re.compile("[1-5][0-9]{2}")
_AT_ONCE_S = 0.5
"""A kept connection that breaks within it was closed before our call came."""
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


class NoHttp(ProtocolViolation):
    """What came is no answer of HTTP."""

    def __init__(self) -> None:
        super().__init__("it answered with no HTTP")


class HttpLink:
    """To one device. limit_bytes: of an answer's body. busy: whether a call is under way."""

    def __init__(self, limit_bytes: int) -> None:
        self.busy = False
        self._limit_bytes = limit_bytes
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._where: tuple[str, int] | None = None
        self._used_s = 0.0

    async def post(self, url: URL, headers: str, body: bytes, limit_s: float) -> Reply:
        """headers: lines that end with CRLF. One call at a time; without TLS.

        Raises: Unreachable, ProtocolViolation, NoHttp, ConnectionError, TimeoutError.
        """
        self.busy = True
        request = (
            f"POST {url.raw_path_qs} HTTP/1.1\r\nHost: {url.host_port_subcomponent}\r\n{headers}"
            f"Content-Length: {len(body)}\r\n\r\n"
        ).encode() + body
        try:
            async with asyncio.timeout(limit_s):
                return await self._exchange(url, request)
        except asyncio.IncompleteReadError:
            self.close()
            raise ConnectionResetError from None
        except BaseException:
            self.close()
            raise
        finally:
            self.busy = False

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None

    async def _exchange(self, url: URL, request: bytes) -> Reply:
        where = (url.raw_host or "", url.port or 80)
        idle_s = time.monotonic() - self._used_s
        if where != self._where or idle_s > _OPEN_FOR_S or self._ended():
            self.close()
        kept, began_s = self._streams is not None, time.monotonic()
        reader, writer = self._streams or await self._open(where)
        writer.write(request)
        try:
            head = await self._head(reader)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            begun = isinstance(error, asyncio.IncompleteReadError) and error.partial
            if not kept or begun or time.monotonic() - began_s > _AT_ONCE_S:
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

    def _ended(self) -> bool:
        return self._streams is not None and self._streams[0].at_eof()

    async def _open(
        self, where: tuple[str, int]
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            self._streams = await asyncio.open_connection(*where, limit=_HEAD_BYTES)
        except socket.gaierror:
            raise Unreachable("this name is not known to the name server") from None
        except OSError as error:
            raise Unreachable(f"no connection to it: {reason_of(error)}") from None
        self._where = where
        return self._streams

    async def _head(self, reader: asyncio.StreamReader) -> _Head:
        while True:
            try:
                start = await reader.readexactly(len(_START))
                if start != _START:  # at once: junk has no end to wait for
                    raise NoHttp
                head = read_head(start + await reader.readuntil(b"\r\n\r\n"))
            except asyncio.LimitOverrunError:
                raise NoHttp from None
            if head.status >= 200:
                return head

    async def _body(self, reader: asyncio.StreamReader, head: _Head) -> bytes:
        if head.chunked:
            return await self._chunks(reader)
        if head.length is not None:
            return await reader.readexactly(self._within(head.length))
        body = bytearray()
        while part := await reader.read(65_536):
            body += part
            self._within(len(body))
        return bytes(body)

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


def read_head(data: bytes) -> _Head:
    """The head of an answer up to its blank line. Raises: NoHttp."""
    first, *lines = data.decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    code = rest.partition(" ")[0]
    if not version.startswith("HTTP/1.") or not _STATUS.fullmatch(code):
        raise NoHttp
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
    """Raises: NoHttp."""
    return _number(line.decode("latin-1").partition(";")[0].strip(), 16)


def _number(text: str, base: int) -> int:
    with contextlib.suppress(ValueError):
        if text.isascii() and text.isalnum() and len(text) <= 12:
            return int(text, base)
    raise NoHttp
