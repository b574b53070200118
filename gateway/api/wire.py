"""WebSocket frames that are made once and written to many: uvicorn's own way makes each again for
every viewer, in a task of its own."""

from fastapi import WebSocket
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

EXTENSION = "hutong.wire"


class Wire:
    """The connection below one WebSocket, for whole frames; everything else goes through ASGI.

    Once it has been accepted, and until it is closed, what is written here and what uvicorn writes
    (pongs, the close) follow each other frame by frame.
    """

    def __init__(self, protocol: WebSocketsSansIOProtocol) -> None:
        self._protocol = protocol

    @property
    def open(self) -> bool:
        """False as long as the handshake is not over, and with an extension that changes frames."""
        it = self._protocol
        return it.handshake_complete and not it.close_sent and not it.conn.extensions

    def write(self, frames: bytes) -> bool:
        """Write without waiting; False when the viewer still owes us what was written before."""
        it = self._protocol
        if not it.writable.is_set():
            return False
        if frames and not it.close_sent and not it.transport.is_closing():
            it.transport.write(frames)
        return True

    async def drain(self, frames: bytes) -> None:
        """Wait until the viewer has taken what was written before, then write.

        Raises: ClientDisconnected.
        """
        it = self._protocol
        await it.writable.wait()
        if it.disconnected or it.close_sent:
            raise ClientDisconnected
        it.transport.write(frames)


def wire_of(websocket: WebSocket) -> Wire | None:
    """The wire of an accepted WebSocket; None where the server is not ours, or changes frames."""
    wire = (websocket.scope.get("extensions") or {}).get(EXTENSION, {}).get("wire")
    return wire if isinstance(wire, Wire) and wire.open else None


class WireProtocol(WebSocketsSansIOProtocol):
    """uvicorn's protocol, which tells the application of its `Wire`."""

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if self.handshake_initiated and hasattr(self, "scope"):
            extensions = self.scope["extensions"]
            assert extensions is not None
            extensions[EXTENSION] = {"wire": Wire(self)}
