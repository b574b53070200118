"""TCP ports of simulated devices: listening, switched off, and kept while off."""

import asyncio
import contextlib
import resource
import socket
import ssl
from collections.abc import Callable
from typing import Final

_SPARE_FILES: Final = 256
_BACKLOG: Final = 128


class Listener:
    """One TCP address of a device.

    While closed by `off` a connection is refused, and the port stays reserved: nobody else on
    the machine is given it. port: 0 takes a free one, known after `on`.
    """

    def __init__(
        self,
        host: str,
        port: int,
        factory: Callable[[], asyncio.BaseProtocol],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._tls = tls
        self.host = host
        self.port = port
        self.transports: set[asyncio.Transport] = set()
        self._factory = factory
        self._server: asyncio.Server | None = None
        self._held: socket.socket | None = None
        self._opening = asyncio.Lock()
        self._wanted = False

    async def on(self) -> None:
        """Listen. Raises: OSError that names the address."""
        self._wanted = True
        async with self._opening:
            if self._server is not None or not self._wanted:
                return
            sock = _bound(self.host, self.port)
            self.port = sock.getsockname()[1]
            loop = asyncio.get_running_loop()
            try:
                self._server = await loop.create_server(
                    self._factory, sock=sock, backlog=_BACKLOG, ssl=self._tls
                )
            except BaseException:
                sock.close()
                raise
            self._release()
            if not self._wanted:  # switched off meanwhile
                self.off()

    def off(self) -> None:
        """Drop every connection and refuse new ones."""
        self._wanted = False
        if self._server is not None:
            self._stop()
            with contextlib.suppress(OSError):  # then `on` says who else took the port
                self._held = _bound(self.host, self.port)

    def close(self) -> None:
        """Drop every connection and give the port back."""
        self._wanted = False
        self._stop()
        self._release()

    def _stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for transport in tuple(self.transports):
            transport.abort()

    def _release(self) -> None:
        if self._held is not None:
            self._held.close()
            self._held = None


def _bound(host: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setblocking(False)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        text = f"a simulated camera cannot use {host}:{port}: {error.strerror}"
        raise OSError(error.errno, text) from None
    return sock


def allow_open_files(count: int) -> None:
    """Raise this process's soft limit of open files to hold `count` sockets more, if it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + _SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        limit = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, limit), hard))
