"""Hearing ONVIF devices say hello: the multicast group of WS-Discovery, and nothing is sent."""

import asyncio
import contextlib
import logging
import socket
import struct
from collections.abc import AsyncIterator

from adapters.errors import InvalidSettings, ProtocolViolation
from adapters.events import Found, Scope
from adapters.onvif import ws_discovery
from adapters.onvif.discovery import own_interfaces

_LOG = logging.getLogger(__name__)

_HELD = 2_048
_LARGEST = 65_535
_IP_MULTICAST_ALL = 49  # Linux; the socket module has no name for it


async def announcements(scope: Scope) -> AsyncIterator[Found]:
    """Every Hello of an ONVIF device that is heard, as it comes, until closed.

    scope.interfaces: our own IPv4 addresses to listen on, loopback allowed; empty for all that
    are up. scope.port: of the group, 0 for the standard one. What comes too fast is dropped and
    counted in a log line at the end.
    Raises: InvalidSettings for an interface that is not ours, or where the port cannot be had.
    """
    heard: asyncio.Queue[Found] = asyncio.Queue(_HELD)
    dropped = 0

    def readable() -> None:
        nonlocal dropped
        try:
            data, sender = sock.recvfrom(_LARGEST)
            found = ws_discovery.hello(data, sender[0])
        except (OSError, ProtocolViolation):
            return
        if found is None:
            return
        try:
            heard.put_nowait(found)
        except asyncio.QueueFull:
            dropped += 1

    loop = asyncio.get_running_loop()
    with contextlib.closing(_group_socket(scope)) as sock:
        loop.add_reader(sock, readable)
        try:
            while True:
                yield await heard.get()
        finally:
            loop.remove_reader(sock)
            if dropped:
                _LOG.warning("announcements dropped: %d", dropped)


def _group_socket(scope: Scope) -> socket.socket:
    """Bound to the group's address and not to ours, so that it takes no Probe that is sent to
    another program of this machine."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    port = scope.port or ws_discovery.PORT
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((ws_discovery.GROUP, port))
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_IP, _IP_MULTICAST_ALL, struct.pack("i", 0))
        for interface in scope.interfaces or own_interfaces():
            group = socket.inet_aton(ws_discovery.GROUP)
            member = group + socket.inet_aton(interface)
            try:
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
            except OSError:
                # One of all that are up may have gone, or two addresses be of one interface.
                if scope.interfaces:
                    raise
    except OSError as error:
        sock.close()
        raise InvalidSettings(
            f"announcements cannot be heard on UDP port {port}: {error.strerror or error}; name "
            "IPv4 addresses of this machine, and look who has the port"
        ) from None
    return sock
