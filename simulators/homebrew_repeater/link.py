"""The UDP socket between a repeater and its master."""

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Callable
from types import TracebackType
from typing import Self

from simulators.homebrew_repeater import wire

MAX_WAITING = 64
ATTEMPTS = 3


class SignInError(Exception):
    """There is no session with the master: one of the classes below."""


class MasterSilent(SignInError):
    """No answer, or nobody listens."""


class Refused(SignInError):
    """MSTNAK: it does not know us, or the passphrase is wrong."""


class MasterClosed(SignInError):
    """MSTCL: it goes down."""


class Link(asyncio.DatagramProtocol):
    """A socket connected to the master; use as an async context manager.

    voice: gets each DMRD. malformed: gets why a datagram was dropped. attempt: where the master's
    name has several addresses, each attempt takes the next.
    """

    def __init__(
        self,
        master: tuple[str, int],
        voice: Callable[[bytes], None],
        malformed: Callable[[str], None],
        *,
        attempt: int = 0,
    ) -> None:
        self._attempt = attempt
        self._master = master
        self._voice = voice
        self._malformed = malformed
        self._transport: asyncio.DatagramTransport | None = None
        self._inbox: asyncio.Queue[wire.MasterMessage | SignInError] = asyncio.Queue(MAX_WAITING)

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        address = await self._address(loop)
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, remote_addr=address)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._transport is not None:
            self._transport.close()

    async def _address(self, loop: asyncio.AbstractEventLoop) -> tuple[str, int]:
        """Raises: OSError if the name is not known."""
        host, port = self._master
        with contextlib.suppress(ValueError):
            ipaddress.ip_address(host)
            return host, port
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        return str(found[self._attempt % len(found)][4][0]), port

    def send(self, datagram: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(datagram)

    def abort(self) -> None:
        """The socket is gone at once."""
        if self._transport is not None:
            self._transport.abort()
        while not self._inbox.empty():
            self._inbox.get_nowait()
        self._put(MasterSilent("unplugged"))

    async def ask(self, datagram: bytes, reply_s: float) -> bytes:
        """Send until it is acknowledged; the 4 bytes after RPTACK.

        Raises: MasterSilent, Refused, MasterClosed.
        """
        for _ in range(ATTEMPTS):
            self.send(datagram)
            try:
                async with asyncio.timeout(reply_s):
                    return await self._next(wire.MasterWord.ACK)
            except TimeoutError:
                continue
        what = datagram[:4].decode()
        raise MasterSilent(f"{self._master[0]}:{self._master[1]} does not answer {what}")

    async def heard_pong(self, within_s: float) -> bool:
        """Wait for exactly that long; True if a pong came.

        Raises: Refused, MasterClosed.
        """
        heard = False
        try:
            async with asyncio.timeout(within_s):
                while True:
                    await self._next(wire.MasterWord.PONG)
                    heard = True
        except TimeoutError:
            return heard

    async def _next(self, word: wire.MasterWord) -> bytes:
        """The body of the next message with that word."""
        while True:
            message = await self._inbox.get()
            if isinstance(message, SignInError):
                raise message
            if message.word is wire.MasterWord.NAK:
                raise Refused(f"{self._master[0]}:{self._master[1]} refuses us (MSTNAK)")
            if message.word is wire.MasterWord.CLOSE:
                raise MasterClosed(f"{self._master[0]}:{self._master[1]} goes down (MSTCL)")
            if message.word is word:
                return message.body

    def _put(self, message: wire.MasterMessage | SignInError) -> None:
        if self._inbox.full():
            self._malformed("more control messages than can be read")
            return
        self._inbox.put_nowait(message)

    # --- asyncio.DatagramProtocol ---------------------------------------------------------------

    def datagram_received(self, data: bytes, addr: object) -> None:
        if data.startswith(b"DMRD"):
            self._voice(data)
            return
        try:
            message = wire.read_master(data)
        except wire.MalformedPacket as error:
            self._malformed(str(error))
            return
        self._put(message)

    def error_received(self, exc: Exception) -> None:
        """ICMP: nobody listens there (any more)."""
        self._put(MasterSilent(f"nobody listens at {self._master[0]}:{self._master[1]}"))
