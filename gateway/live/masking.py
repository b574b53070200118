"""Masked streams: decoded, painted over and encoded anew; the camera's own never goes out.

Sound is left out: a voice behind a mask is what the mask is for.
"""

import contextlib
import functools
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable

from adapters.base import AccessUnit, MediaItem, TrackFormat
from gateway.live.covers import Covers, Watched
from gateway.live.errors import LimitReached
from gateway.live.variants import Transform
from gateway.vision import PicturePool
from gateway.vision.masking import EVERYTHING, MaskedPictures

MAX_STREAMS = 32
"""Too many for the threads there are come at fewer pictures a second, from keyframe to keyframe."""
MAX_HELD = 150
"""Units of a camera that moves, while it is asked where it stood: some seconds of them."""


class Masking:
    """`masking(point_id)` gives the transform for a masked stream of a point.

    pool: its threads bound what masking costs. max_streams: at a time; one more is refused.
    clock: monotonic seconds, the same as of the whereabouts.
    """

    def __init__(
        self,
        covers: Covers,
        pool: PicturePool,
        *,
        max_streams: int = MAX_STREAMS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._covers = covers
        self._pool = pool
        self._max_streams = max_streams
        self._clock = clock
        self.streams = 0
        self.refused = 0

    def __call__(self, point_id: str) -> Transform:
        return functools.partial(self._masked, point_id)

    async def _masked(
        self, point_id: str, items: AsyncIterator[MediaItem]
    ) -> AsyncIterator[MediaItem]:
        """Raises: LimitReached; NotSupported for what cannot be decoded."""
        if self.streams >= self._max_streams:
            self.refused += 1
            raise LimitReached(f"{self._max_streams} masked streams are made already")
        self.streams += 1
        try:
            async with (
                self._covers.watch(point_id) as watched,
                contextlib.aclosing(self._made(items, watched)) as made,
            ):
                async for item in made:
                    yield item
        finally:
            self.streams -= 1

    async def _made(
        self, items: AsyncIterator[MediaItem], watched: Watched
    ) -> AsyncGenerator[MediaItem, None]:
        pictures: dict[int, MaskedPictures] = {}
        held: deque[tuple[float, AccessUnit]] = deque()
        async for item in items:
            if isinstance(item, TrackFormat):
                if item.kind == "video":
                    held.clear()
                    pictures[item.track] = MaskedPictures(item)
                continue
            if item.track not in pictures:
                continue
            held.append((self._clock(), item))
            while held:
                arrived_s, unit = held[0]
                cover = watched.at(arrived_s)
                if cover is None and len(held) < MAX_HELD:
                    break
                held.popleft()
                work = functools.partial(pictures[unit.track].make, unit, cover or EVERYTHING)
                for made in await self._pool.run(work):
                    yield made
