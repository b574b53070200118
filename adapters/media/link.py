"""The TCP connection beneath an RTSP session."""

import asyncio
from collections.abc import Callable
from typing import cast

from adapters.errors import AdapterError, ProtocolViolation, Unreachable
from adapters.media import wire

_MAX_UNSENT_BYTES = 64 * 1024


class RtspLink(asyncio.Protocol):
    """Hands packets out, and answers to whoever waits for them.

    location: host and port, for messages. on_lost(error): told when the connection breaks.
    """

    def __init__(self, location: str) -> None:
        loop = asyncio.get_running_loop()
        self._location = location
        self._loop = loop
        self._reader = wire.WireReader()
        self._waiting: dict[int, asyncio.Future[wire.Response]] = {}
        self._understood = False
        self._heard_bytes = 0
        self.transport: asyncio.Transport | None = None
        self.closed: asyncio.Future[None] = loop.create_future()
        self.handlers: wire.Handlers = {}
        self.on_lost: Callable[[AdapterError], None] = lambda error: None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none of asyncio's classes.
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._heard_bytes += len(data)
        try:
            for message in self._reader.feed(data, self.handlers):
                if not isinstance(message, wire.Interleaved):
                    self._understood = True
                    self._text(message)
            if self._reader.junk_bytes and not self._understood:
                raise ProtocolViolation("it does not answer in RTSP")
        except ProtocolViolation as error:
            self._fail(ProtocolViolation(error.message, device=self._location))
            self.abort()

    def _text(self, message: wire.Response | wire.ServerRequest) -> None:
        if isinstance(message, wire.Response):
            waiter = self._waiting.pop(message.cseq, None)
            if waiter is None and message.cseq < 0 and len(self._waiting) == 1:
                # Some cameras leave CSeq out; there is only one question it can answer.
                waiter = self._waiting.popitem()[1]
            if waiter is not None and not waiter.done():
                waiter.set_result(message)
        else:
            self._answer(message)

    def _answer(self, asked: wire.ServerRequest) -> None:
        if self.transport is None:
            return
        if self.transport.get_write_buffer_size() > _MAX_UNSENT_BYTES:
            raise ProtocolViolation("it asks and asks, and reads no answer")
        cseq = next(iter(asked.headers.get("cseq", ())), "0")
        self.transport.write(wire.reply(cseq))
        if asked.method == "REDIRECT":
            self._fail(Unreachable("it asks to be read elsewhere", device=self._location))

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(Unreachable("the connection broke", device=self._location))
        if not self.closed.done():
            self.closed.set_result(None)

    def _fail(self, error: AdapterError) -> None:
        for waiter in self._waiting.values():
            if not waiter.done():
                waiter.set_exception(error)
        self._waiting.clear()
        self.on_lost(error)

    def ask(self, cseq: int, data: bytes) -> "asyncio.Future[wire.Response]":
        """Send a request; its answer arrives in the future."""
        waiter: asyncio.Future[wire.Response] = self._loop.create_future()
        if self.transport is None or self.transport.is_closing():
            waiter.set_exception(Unreachable("the connection broke", device=self._location))
        else:
            self._waiting[cseq] = waiter
            self.transport.write(data)
        return waiter

    def forget(self, cseq: int) -> None:
        self._waiting.pop(cseq, None)

    @property
    def packets(self) -> int:
        """Interleaved packets so far."""
        return self._reader.packets

    @property
    def babbled(self) -> bool:
        """Whether it spoke, and nothing of it made sense."""
        return self._heard_bytes > 0 and not self._understood

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()
