"""MJPEG for clients that can do nothing better: the JPEG form, as parts of one answer."""

from collections.abc import AsyncIterator

from gateway.live.frames import LiveUnit
from gateway.live.service import LiveSession

BOUNDARY = "picture"
CONTENT_TYPE = f"multipart/x-mixed-replace; boundary={BOUNDARY}"


async def mjpeg_parts(session: LiveSession) -> AsyncIterator[bytes]:
    """The parts of a multipart/x-mixed-replace body. Raises: ViewClosed when the view is over."""
    while True:
        for entry in await session.take_entries():
            if isinstance(entry, LiveUnit) and entry.video:
                yield _part(entry.unit.data)


def _part(picture: bytes) -> bytes:
    head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
    return head.encode() + picture + b"\r\n"
