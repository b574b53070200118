"""Finding ONVIF devices: WS-Discovery by multicast on chosen interfaces, by unicast in subnets."""

import asyncio
import contextlib
import ipaddress
import logging
import socket
import struct
from collections.abc import AsyncIterator, Iterable, Iterator

from adapters.errors import InvalidSettings, ProtocolViolation
from adapters.events import Found, Scope
from adapters.onvif import ws_discovery

_LOG = logging.getLogger(__name__)

MAX_SUBNET_HOSTS = 65_536
PROBES_PER_S = 500
"""Unicast probes: a switch with a small address table survives this, a /16 takes 131 s."""

_BURST = 10
_ANSWERS_HELD = 8_192
_REPEAT_AFTER_S = (0.0, 0.2)  # UDP: said twice, as WS-Discovery wants
_SIOCGIFADDR = 0x8915


class _Answers(asyncio.DatagramProtocol):
    """Queues datagrams with their sender; what does not fit is dropped and counted."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[tuple[bytes, str] | None] = asyncio.Queue()
        self.dropped = 0

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if self._queue.qsize() < _ANSWERS_HELD:
            self._queue.put_nowait((data, addr[0]))
        else:
            self.dropped += 1

    def end(self) -> None:
        self._queue.put_nowait(None)

    async def all(self) -> AsyncIterator[tuple[bytes, str]]:
        """Answers as they come, until `end`."""
        while (answer := await self._queue.get()) is not None:
            yield answer


async def discover(scope: Scope) -> AsyncIterator[Found]:
    """ONVIF devices in scope, each endpoint reference once, as they answer.

    scope.interfaces: our own IPv4 addresses to multicast from, loopback allowed; empty for all
    that are up, unless only subnets are asked for. Ends `timeout_s` after the last probe.
    Raises: InvalidSettings for an interface that is not ours or a subnet that is none.
    """
    port = scope.port or ws_discovery.PORT
    targets = _hosts(scope.subnets)
    interfaces = scope.interfaces or (() if scope.subnets else own_interfaces())
    answers = _Answers()
    async with contextlib.AsyncExitStack() as stack:
        multicast = [
            await _open(stack, answers, _multicast_socket(interface)) for interface in interfaces
        ]
        unicast = await _open(stack, answers, _plain_socket()) if scope.subnets else None
        probing = asyncio.create_task(_probe(multicast, unicast, targets, port, scope.timeout_s))
        probing.add_done_callback(lambda _: answers.end())
        stack.push_async_callback(_end, probing)
        async for found in _distinct(answers):
            yield found
        await probing
    if answers.dropped:
        _LOG.warning("discovery answers dropped: %d", answers.dropped)


async def _distinct(answers: _Answers) -> AsyncIterator[Found]:
    seen: set[str] = set()
    async for data, sender in answers.all():
        try:
            matches = ws_discovery.probe_matches(data, sender)
        except ProtocolViolation as junk:
            _LOG.info("discovery answer of %s not read: %s", sender, junk.message)
            continue
        for found in matches:
            key = (found.endpoint_reference or found.endpoint).lower().removeprefix("urn:")
            if key not in seen:
                seen.add(key)
                yield found


async def _probe(
    multicast: list[asyncio.DatagramTransport],
    unicast: asyncio.DatagramTransport | None,
    targets: Iterable[str],
    port: int,
    timeout_s: float,
) -> None:
    """Ask everybody, then give the answers timeout_s."""
    message = ws_discovery.probe()
    for pause_s in _REPEAT_AFTER_S if multicast else ():
        await asyncio.sleep(pause_s)
        for transport in multicast:
            transport.sendto(message, (ws_discovery.GROUP, port))
    if unicast is not None:
        for number, host in enumerate(targets, 1):
            unicast.sendto(message, (host, port))
            if number % _BURST == 0:
                await asyncio.sleep(_BURST / PROBES_PER_S)
    await asyncio.sleep(timeout_s)


async def _end(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, OSError):
        await task


async def _open(
    stack: contextlib.AsyncExitStack, answers: _Answers, sock: socket.socket
) -> asyncio.DatagramTransport:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: answers, sock=sock)
    stack.callback(transport.close)
    return transport


def _multicast_socket(interface: str) -> socket.socket:
    sock = _plain_socket()
    try:
        sock.bind((interface, 0))
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(interface))
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
    except OSError:
        sock.close()
        raise InvalidSettings(
            f"{interface!r} is not an IPv4 address of this machine; give one of its own"
        ) from None
    return sock


def _plain_socket() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    # A thousand cameras answer one probe within half a second.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
    return sock


def _hosts(subnets: Iterable[str]) -> Iterator[str]:
    networks = []
    for subnet in subnets:
        try:
            networks.append(ipaddress.IPv4Network(subnet, strict=False))
        except ValueError:
            raise InvalidSettings(f"{subnet!r} is not an IPv4 subnet such as 10.1.2.0/24") from None
    if sum(network.num_addresses for network in networks) > MAX_SUBNET_HOSTS:
        raise InvalidSettings(f"these subnets hold more than {MAX_SUBNET_HOSTS} addresses")
    return (str(host) for network in networks for host in network.hosts())


def own_interfaces() -> tuple[str, ...]:
    """The first IPv4 address of every interface that has one; loopback included."""
    try:
        import fcntl
    except ImportError:  # not on Linux: the system picks one
        return ("0.0.0.0",)
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _, name in socket.if_nameindex():
            request = struct.pack("256s", name.encode()[:15])
            with contextlib.suppress(OSError):
                answer = fcntl.ioctl(sock.fileno(), _SIOCGIFADDR, request)
                found.append(socket.inet_ntoa(answer[20:24]))
    return tuple(dict.fromkeys(found))
