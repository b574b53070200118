"""Single pictures of a stream, for who cannot decode it: five a second, made once for all."""

import functools
from collections.abc import AsyncIterator

from adapters.base import AccessUnit, MediaItem, TrackFormat
from gateway.live.variants import Transform
from gateway.vision.pictures import PicturePool, UnitDecoder, encode_jpeg

INTERVAL_US = 200_000


class PictureMaker:
    """Turns the units of one video track into pictures at most every `INTERVAL_US`.

    Raises on creation: NotSupported for a codec that is not decoded.
    """

    def __init__(self, track: TrackFormat) -> None:
        self._decoder = None if track.codec == "jpeg" else UnitDecoder(track)
        self._next_us = 0

    def picture(self, unit: AccessUnit) -> bytes | None:
        """None when it is not yet time for one, or none came out. Blocks while decoding."""
        due = unit.pts_us >= self._next_us or unit.discontinuity
        data: bytes | None = unit.data
        if self._decoder is not None:
            frame = self._decoder.decode(unit)
            data = encode_jpeg(frame) if frame is not None and due else None
        if not due or data is None:
            return None
        # On a fixed beat: of 15 pictures a second every third is taken, not every fourth.
        self._next_us = max(self._next_us + INTERVAL_US, unit.pts_us + INTERVAL_US // 2)
        return data


def jpeg_transform(pool: PicturePool) -> Transform:
    """Decodes in the pool; sound goes past it as it is."""

    async def pictures(items: AsyncIterator[MediaItem]) -> AsyncIterator[MediaItem]:
        makers: dict[int, PictureMaker] = {}
        async for item in items:
            if isinstance(item, TrackFormat):
                if item.kind == "video":
                    makers[item.track] = PictureMaker(item)
                yield _as_jpeg(item)
            elif (maker := makers.get(item.track)) is None:
                yield item
            else:
                data = await pool.run(functools.partial(maker.picture, item))
                if data is not None:
                    yield AccessUnit(
                        track=item.track,
                        pts_us=item.pts_us,
                        keyframe=True,
                        data=data,
                        discontinuity=item.discontinuity,
                    )

    return pictures


def _as_jpeg(track: TrackFormat) -> TrackFormat:
    if track.kind != "video":
        return track
    return TrackFormat(
        track=track.track,
        kind="video",
        codec="jpeg",
        description=b"",
        width=track.width,
        height=track.height,
    )
