"""MJPEG for clients that can do nothing better: decoded, at most a few pictures a second."""

import functools
from collections.abc import AsyncIterator

from adapters.base import AccessUnit, TrackFormat
from gateway.live.frames import LiveFormat, LiveUnit
from gateway.live.service import LiveSession
from gateway.vision.pictures import PicturePool, UnitDecoder, encode_jpeg

BOUNDARY = "picture"
CONTENT_TYPE = f"multipart/x-mixed-replace; boundary={BOUNDARY}"
INTERVAL_US = 200_000


class PictureMaker:
    """Turns the entries of one view into pictures at most every `INTERVAL_US`."""

    def __init__(self) -> None:
        self._track: TrackFormat | None = None
        self._decoder: UnitDecoder | None = None
        self._next_us = 0

    def set_format(self, track: TrackFormat) -> None:
        """Raises: NotSupported for a codec that is not decoded."""
        self._track = track
        self._decoder = None if track.codec == "jpeg" else UnitDecoder(track)

    def picture(self, unit: AccessUnit) -> bytes | None:
        """None when it is not yet time for one, or none came out. Blocks while decoding."""
        due = unit.pts_us >= self._next_us
        data: bytes | None = unit.data
        if self._decoder is not None:
            frame = self._decoder.decode(unit)
            data = encode_jpeg(frame) if frame is not None and due else None
        if self._track is None or not due or data is None:
            return None
        self._next_us = unit.pts_us + INTERVAL_US
        return data


async def mjpeg_parts(session: LiveSession, pool: PicturePool) -> AsyncIterator[bytes]:
    """The parts of a multipart/x-mixed-replace body. Raises: ViewClosed when the view is over,
    NotSupported for a codec that is not decoded."""
    maker = PictureMaker()
    while True:
        for entry in await session.take_entries():
            if isinstance(entry, LiveFormat) and entry.track.kind == "video":
                maker.set_format(entry.track)
            elif isinstance(entry, LiveUnit) and entry.video:
                picture = await pool.run(functools.partial(maker.picture, entry.unit))
                if picture is not None:
                    yield _part(picture)


def _part(picture: bytes) -> bytes:
    head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
    return head.encode() + picture + b"\r\n"
