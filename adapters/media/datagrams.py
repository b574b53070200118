"""RTP and RTCP over UDP: a pair of ports, and who may send to it."""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import cast

from adapters.errors import Busy, ProtocolViolation
from adapters.media.reorder import ReorderWindow

_PORT_ATTEMPTS = 64
_RECEIVE_BUFFER_BYTES = 1 << 20

OnDatagram = Callable[[bytes], None]


class PortPair:
    """An even port for RTP and the odd one above it for RTCP, on one local address.

    packets: RTP packets taken. foreign: datagrams from somebody else than the camera, which are
    dropped. bad: datagrams that are no packets. RTP comes in order, as far as a small window can
    bring it in order.
    """

    def __init__(self, on_rtp: OnDatagram, on_rtcp: OnDatagram) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_rtp = on_rtp
        self._on_rtcp = on_rtcp
        self._window = ReorderWindow()
        self._rtp = _Port(self, self._take_rtp)
        self._rtcp = _Port(self, self._take_rtcp)
        self.numbers = (0, 0)
        self.packets = 0
        self.foreign = 0
        self.bad = 0

    async def open(self, host: str) -> None:
        """host: the local address. Raises: Busy when no pair is free."""
        first, second = _bound_pair(host)
        self.numbers = first.getsockname()[1], second.getsockname()[1]
        try:
            await self._loop.create_datagram_endpoint(lambda: self._rtp, sock=first)
            await self._loop.create_datagram_endpoint(lambda: self._rtcp, sock=second)
        except BaseException:
            first.close()
            second.close()
            self.close()
            raise

    def expect(self, hosts: frozenset[str], ports: tuple[int, int] | None) -> None:
        """Take datagrams from these hosts only. ports: the camera's, where it announced them;
        until one comes from there, the first port that is heard counts, since some cameras
        announce one and use another."""
        self._rtp.expect(hosts, ports[0] if ports else 0)
        self._rtcp.expect(hosts, ports[1] if ports else 0)

    def greet(self, host: str, packet: bytes, report: bytes) -> None:
        """Send something from both ports, which opens the way back through a firewall."""
        self._rtp.send(packet, host)
        self._rtcp.send(report, host)

    def close(self) -> None:
        self._rtp.close()
        self._rtcp.close()

    def _take_rtp(self, data: bytes) -> None:
        self.packets += 1
        try:
            ready = self._window.push(data, self._loop.time())
        except ProtocolViolation:
            self.bad += 1
            return
        for packet in ready:
            self._on_rtp(packet)

    def _take_rtcp(self, data: bytes) -> None:
        self._on_rtcp(data)


class _Port(asyncio.DatagramProtocol):
    def __init__(self, pair: PortPair, take: OnDatagram) -> None:
        self._pair = pair
        self._take = take
        self._transport: asyncio.DatagramTransport | None = None
        self._hosts: frozenset[str] = frozenset()
        self._announced = 0
        self._heard = 0

    def expect(self, hosts: frozenset[str], port: int) -> None:
        self._hosts, self._announced, self._heard = hosts, port, 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        host, port = address[0], address[1]
        if host not in self._hosts:
            self._pair.foreign += 1
            return
        if port != self._heard:
            if self._heard and (self._heard == self._announced or port != self._announced):
                self._pair.foreign += 1
                return
            self._heard = port
        self._take(data)

    def error_received(self, error: Exception) -> None:
        """A port that is closed at the other end; silence tells soon enough."""

    def send(self, data: bytes, host: str) -> None:
        port = self._announced or self._heard
        if self._transport is not None and port and not self._transport.is_closing():
            self._transport.sendto(data, (host, port))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()
            self._transport = None


def _bound_pair(host: str) -> tuple[socket.socket, socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for _ in range(_PORT_ATTEMPTS):
        with contextlib.ExitStack() as stack:
            one = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
            other = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
            try:
                one.bind((host, 0))
                port = one.getsockname()[1]
                other.bind((host, port ^ 1))
            except OSError:
                continue
            for sock in (one, other):
                sock.setblocking(False)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
            stack.pop_all()
            return (one, other) if port % 2 == 0 else (other, one)
    raise Busy("no pair of UDP ports is free here")
