"""Handing a track to FFmpeg: a server on loopback for one reader, with RTP over TCP.

FFmpeg's own ways to be given packets all have a catch: its custom input writes receiver reports
into a file that it was given for reading, and hangs; a UDP port is open to everybody here.
"""

import asyncio
import secrets
import socket
from collections import deque
from typing import cast

from adapters.media.rtp import Arrival, SequenceOrder, parse_rtp
from adapters.media.sdp import Media

MAX_WAITING_PACKETS = 2_048
MAX_UNREAD_BYTES = 8 * 1024 * 1024
_MAX_REQUEST_BYTES = 16 * 1024
_PASSED_ON = ("rtpmap", "fmtp", "framesize", "framerate", "x-dimensions")


def description_of(media: Media) -> bytes:
    """A session description of this one track."""
    lines = [
        *("v=0", "o=- 0 0 IN IP4 127.0.0.1", "s=-", "c=IN IP4 127.0.0.1", "t=0 0"),
        f"m={media.kind} 0 RTP/AVP {media.payload_type}",
        *(f"a={name}:{value}" for name, value in media.lines if name in _PASSED_ON),
        "a=control:track",
    ]
    return ("\r\n".join(lines) + "\r\n").encode()


class Handover:
    """Serves one track under an address that nobody can guess, from `open` to `aclose`.

    dropped: packets that the reader was too slow for.
    """

    def __init__(self, media: Media) -> None:
        self._description = description_of(media)
        self._path = f"/{secrets.token_hex(16)}"
        self._order = SequenceOrder()
        self._gap = False
        self._waiting: deque[bytes] = deque()
        self._unread = 0
        self._reader: _Connection | None = None
        self._connections: set[_Connection] = set()
        self._listener: socket.socket | None = None
        self._serving: asyncio.Task[None] | None = None
        self.dropped = 0

    def open(self) -> str:
        """Listen; gives the address. Raises: OSError."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self._serving = asyncio.create_task(self._serve(self._listener), name="handover")
        return f"rtsp://127.0.0.1:{self._listener.getsockname()[1]}{self._path}"

    async def _serve(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Connection(self), sock=listener)
        async with server:
            await server.serve_forever()

    def put(self, packet: bytes) -> None:
        """Raises: ProtocolViolation for what is no RTP packet."""
        arrival = self._order.see(parse_rtp(packet).sequence)
        self._gap = self._gap or arrival is Arrival.GAP
        if self._reader is not None:
            if self._reader.send(packet):
                return
        elif len(self._waiting) < MAX_WAITING_PACKETS and self._unread < MAX_UNREAD_BYTES:
            self._waiting.append(packet)
            self._unread += len(packet)
            return
        self.dropped += 1
        self._gap = True

    def take_gap(self) -> bool:
        """Whether packets are missing since this was asked last. From any thread."""
        gap, self._gap = self._gap, False
        return gap

    async def aclose(self) -> None:
        """Close every connection, which ends the reader's thread."""
        self._drop()
        if self._serving is None or self._listener is None:
            return
        self._serving.cancel()
        try:
            await asyncio.wait([self._serving])
        finally:
            self._listener.close()
            self._drop()

    def _drop(self) -> None:
        self._waiting.clear()
        for connection in tuple(self._connections):
            connection.abort()

    # --- the reader's side --------------------------------------------------------------------

    def joined(self, connection: "_Connection") -> None:
        self._connections.add(connection)

    def left(self, connection: "_Connection") -> None:
        self._connections.discard(connection)
        if self._reader is connection:
            self._reader = None

    def answer(self, method: str, url: str) -> tuple[str, bytes]:
        """Further header lines and the body for a request."""
        if method == "DESCRIBE":
            return f"Content-Type: application/sdp\r\nContent-Base: {url}/\r\n", self._description
        if method == "SETUP":
            return "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n", b""
        return "Public: DESCRIBE, SETUP, PLAY, TEARDOWN\r\nSession: 1\r\n", b""

    def allows(self, url: str) -> bool:
        path = url.partition("://")[2].partition("/")[2]
        return secrets.compare_digest(path[:32].encode(), self._path[1:].encode())

    def play(self, connection: "_Connection") -> None:
        self._reader = connection
        while self._waiting:
            connection.send(self._waiting.popleft())
        self._unread = 0


class _Connection(asyncio.Protocol):
    def __init__(self, handover: Handover) -> None:
        self._handover = handover
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._handover.joined(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._handover.left(self)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def send(self, packet: bytes) -> bool:
        """False where the reader has fallen too far behind."""
        transport = self._transport
        if transport is None or transport.get_write_buffer_size() > MAX_UNREAD_BYTES:
            return False
        transport.write(b"$\0" + len(packet).to_bytes(2, "big") + packet)
        return True

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while self._buffer and self._transport is not None:
            if self._buffer[0] == 0x24:  # a report of the reader
                stop = 4 + int.from_bytes(self._buffer[2:4], "big")
                if len(self._buffer) < max(4, stop):
                    return
            else:
                stop = self._buffer.find(b"\r\n\r\n") + 4
                if stop < 4:
                    if len(self._buffer) > _MAX_REQUEST_BYTES:
                        self.abort()
                    return
                self._request(self._buffer[:stop].decode("latin-1"))
            self._buffer = self._buffer[stop:]

    def _request(self, text: str) -> None:
        start, *lines = text.strip().split("\r\n")
        method, _, rest = start.partition(" ")
        url = rest.partition(" ")[0]
        pairs = (line.partition(":") for line in lines)
        cseq = {name.lower(): value.strip() for name, _, value in pairs}.get("cseq", "0")
        if self._transport is None or not self._handover.allows(url):
            self.abort()
            return
        head, body = self._handover.answer(method, url)
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        self._transport.write(
            f"RTSP/1.0 200 OK\r\nCSeq: {cseq}\r\n{head}{length}\r\n".encode() + body
        )
        if method == "PLAY":
            self._handover.play(self)
