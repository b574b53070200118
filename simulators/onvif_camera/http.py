"""A small HTTP/1.1 server on asyncio: hundreds of devices, each with its own address.

It knows what ONVIF clients send: keep-alive, Content-Length bodies, Expect. Requests of one
connection are answered in order. Source: RFC 9112.
"""

import asyncio
import dataclasses
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, cast

from simulators.rtsp_camera.listener import Listener

MAX_HEAD_BYTES: Final = 16_384
MAX_BODY_BYTES: Final = 262_144

_REASONS: Final = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    405: "Method Not Allowed",
    411: "Length Required",
    413: "Content Too Large",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
}
_REQUEST_LINE: Final = re.compile(rb"([A-Z]{3,10}) (\S+) HTTP/1\.([01])")
_LENGTH: Final = re.compile(r"[0-9]{1,9}")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """One request. Header names are in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    keep_alive: bool

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class HttpResponse:
    """status, body and its media type. raw: sent as it is, in place of a response. closes: the
    connection is broken off after it."""

    status: int = 200
    body: bytes = b""
    media_type: str = "application/soap+xml; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()
    raw: bytes | None = None
    closes: bool = False


NO_ANSWER: Final = HttpResponse(raw=b"")
Handler = Callable[[HttpRequest], HttpResponse | Awaitable[HttpResponse]]


class HttpError(Exception):
    """The bytes are no request that can be read; answered with the status, then closed."""

    def __init__(self, status: int) -> None:
        super().__init__(_REASONS[status])
        self.status = status


def next_request(buffer: bytes | bytearray) -> tuple[HttpRequest | None, int]:
    """Take the first request off a buffer: (request, bytes used), (None, 0) when incomplete.

    Raises: HttpError.
    """
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        if len(buffer) > MAX_HEAD_BYTES:
            raise HttpError(431)
        return None, 0
    first, *lines = bytes(buffer[:end]).split(b"\r\n")
    match = _REQUEST_LINE.fullmatch(first)
    if match is None:
        raise HttpError(400)
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.decode("latin-1").partition(":")
        if not colon:
            raise HttpError(400)
        headers[name.strip().lower()] = value.strip()
    if "transfer-encoding" in headers:
        raise HttpError(411)
    length = headers.get("content-length", "0")
    if not _LENGTH.fullmatch(length):
        raise HttpError(400)
    if int(length) > MAX_BODY_BYTES:
        raise HttpError(413)
    used = end + 4 + int(length)
    if len(buffer) < used:
        return None, 0
    wish = headers.get("connection", "").lower()
    request = HttpRequest(
        method=match[1].decode(),
        target=match[2].decode("latin-1"),
        headers=headers,
        body=bytes(buffer[end + 4 : used]),
        keep_alive=wish == "keep-alive" or (match[3] == b"1" and wish != "close"),
    )
    return request, used


def format_response(response: HttpResponse, *, keep_alive: bool) -> bytes:
    if response.raw is not None:
        return response.raw
    lines = [f"HTTP/1.1 {response.status} {_REASONS[response.status]}"]
    lines += [f"{name}: {value}" for name, value in response.headers]
    if response.body:
        lines.append(f"Content-Type: {response.media_type}")
    lines += [f"Content-Length: {len(response.body)}"]
    if not keep_alive:
        lines.append("Connection: close")
    return "\r\n".join((*lines, "", "")).encode("latin-1") + response.body


class HttpConnection(asyncio.Protocol):
    """One connection: reads requests, hands them to the handler, answers one after another.

    dead_after: it answers no more after so many answers, without a word; 0 never.
    """

    def __init__(self, listener: Listener, handler: Handler, dead_after: int = 0) -> None:
        self._dead_after = dead_after
        self._answers = 0
        self._listener = listener
        self._handler = handler
        self._buffer = bytearray()
        self._continued = False
        self._pending: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._listener.transports.add(self._transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._listener.transports.discard(self._transport)
        if self._pending is not None:
            self._pending.cancel()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) > MAX_HEAD_BYTES + MAX_BODY_BYTES:
            self._transport.abort()
            return
        self._serve()

    def _serve(self) -> None:
        while self._buffer and self._pending is None and not self._transport.is_closing():
            try:
                request, used = next_request(self._buffer)
            except HttpError as error:
                response = HttpResponse(status=error.status)
                self._transport.write(format_response(response, keep_alive=False))
                self._transport.close()
                return
            if request is None:
                self._encourage()
                return
            del self._buffer[:used]
            self._continued = False
            answer = self._handler(request)
            if isinstance(answer, HttpResponse):
                self._answer(request, answer)
            else:
                self._pending = asyncio.ensure_future(self._later(request, answer))

    async def _later(self, request: HttpRequest, answer: Awaitable[HttpResponse]) -> None:
        try:
            response = await answer
        except Exception:
            self._transport.abort()
            raise
        finally:
            self._pending = None
        self._answer(request, response)
        self._serve()

    def _answer(self, request: HttpRequest, response: HttpResponse) -> None:
        self._answers += 1
        if self._dead_after and self._answers > self._dead_after:
            return
        self._transport.write(format_response(response, keep_alive=request.keep_alive))
        if response.closes:
            self._transport.abort()
        elif not request.keep_alive and response.raw is None:
            self._transport.close()

    def _encourage(self) -> None:
        """Send 100 Continue once to a client that waits for it before its body."""
        head, found, _ = bytes(self._buffer).partition(b"\r\n\r\n")
        if found and not self._continued and b"100-continue" in head.lower():
            self._continued = True
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
