"""A socket that is read and written in one go each, whatever pieces paho asks for."""

import contextlib
import socket
import ssl
from typing import Any

import paho.mqtt.client as mqtt

READ_BYTES = 65_536


class BufferedSocket:
    """What paho takes for its socket, which does not block. paho reads a packet in three pieces,
    and writes each by itself: with a system call for every piece a message took three times as
    long. Everything that is not here is the socket's own.
    """

    def __init__(self, own: socket.socket) -> None:
        self._own = own
        self._came = memoryview(b"")
        self._going = bytearray()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)

    def fileno(self) -> int:
        return self._own.fileno()

    @property
    def waiting(self) -> bool:
        """Is there something to read of which the system says nothing any more?"""
        if self._came:
            return True
        return isinstance(self._own, ssl.SSLSocket) and self._own.pending() > 0

    @property
    def unwritten_bytes(self) -> int:
        return len(self._going)

    def recv(self, size: int) -> bytes:
        """Raises: BlockingIOError where nothing came, OSError."""
        if not self._came:
            self._came = memoryview(self._own.recv(READ_BYTES))
        piece, self._came = self._came[:size], self._came[size:]
        return piece.tobytes()

    def send(self, data: bytes | bytearray) -> int:
        """Keep it for the next flush."""
        self._going += data
        return len(data)

    def flush(self) -> bool:
        """Write what is kept; False where the system takes no more of it now. Raises: OSError."""
        while self._going:
            try:
                written = self._own.send(self._going)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return False
            del self._going[:written]
        return True

    def close(self) -> None:
        """Write what the system takes at once, then end."""
        with contextlib.suppress(OSError):
            self.flush()
        self._own.close()

    def abort(self) -> None:
        """End as when a process dies, in the middle of whatever was said."""
        self._going.clear()
        self._own.close()


class BufferedClient(mqtt.Client):
    """paho's client on a `BufferedSocket`, which whoever drives it flushes."""

    def _create_socket(self) -> Any:
        own: Any = super()._create_socket()
        return BufferedSocket(own)
