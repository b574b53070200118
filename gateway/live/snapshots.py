"""One picture of a point: the device's own, else a keyframe; the same for all who ask at once."""

import asyncio
import dataclasses
import time
from collections.abc import Awaitable, Callable

from adapters.base import AccessUnit, MediaSource, TrackFormat
from adapters.errors import (
    AdapterError,
    AuthenticationFailed,
    Busy,
    NotSupported,
    ProtocolViolation,
)
from adapters.events import Image
from gateway.live.covers import Covers, cover_of
from gateway.live.whereabouts import NOWHERE
from gateway.vision import PicturePool, keyframe_jpeg, resize_jpeg, unit_jpeg
from gateway.vision.masking import NOTHING, Cover, blank_jpeg, mask_jpeg
from registry.masks import Masks

FRESH_S = 5.0
REFUSED_FOR_S = 600.0
"""So long a snapshot address that said no is not asked again: cameras lock accounts."""
FAILED_FOR_S = 60.0
MAX_BYTES = 64 * 1024 * 1024
PROFILE = "main"
BLANK_WIDTH = 640
Key = tuple[str, int | None, Cover]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A JPEG. origin: ``device``, its own picture; ``live``, a keyframe of a stream that somebody
    views; ``stream``, one that was opened for it; ``blank``, nothing that could be shown. reason:
    why it is not the device's own."""

    data: bytes
    origin: str
    reason: str = ""
    taken_s: float = 0.0


class Snapshots:
    """device: the device's own picture of a point. open_media: its stream. keyframe: the latest of
    a stream that is being viewed, by point and profile. covers: what is hidden; without them no
    masked picture is given. clock: monotonic seconds."""

    def __init__(
        self,
        *,
        device: Callable[[str], Awaitable[Image]],
        open_media: Callable[[str, str], Awaitable[MediaSource]],
        keyframe: Callable[[str, str], tuple[TrackFormat, AccessUnit] | None],
        pool: PicturePool,
        covers: Covers | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._device = device
        self._open_media = open_media
        self._keyframe = keyframe
        self._pool = pool
        self._clock = clock
        self._covers = covers
        self._kept: dict[Key, Snapshot] = {}
        self._bytes = 0
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}
        self._not_before: dict[str, tuple[float, str]] = {}

    async def take(
        self,
        point_id: str,
        width: int | None = None,
        *,
        clear: bool = True,
        prefer_viewed: bool = False,
    ) -> Snapshot:
        """A picture not older than `FRESH_S`. width: at most so many pixels, None as it comes.
        clear: as it is; else with what the point's masks hide painted over. prefer_viewed: a
        keyframe of a stream that is viewed spares the device the question.

        Raises: AdapterError, VisionUnavailable, and what device and open_media raise besides.
        """
        lock, waiting = self._locks.get(point_id, (asyncio.Lock(), 0))
        self._locks[point_id] = (lock, waiting + 1)
        try:
            async with lock:
                return await (self._take if clear else self._masked)(point_id, width, prefer_viewed)
        finally:
            lock, waiting = self._locks.pop(point_id)
            if waiting > 1:
                self._locks[point_id] = (lock, waiting - 1)

    async def _take(self, point_id: str, width: int | None, prefer_viewed: bool) -> Snapshot:
        if (known := self._fresh((point_id, width, NOTHING))) is not None:
            return known
        full = self._fresh((point_id, None, NOTHING))
        if full is None:
            full = await self._picture(point_id, prefer_viewed=prefer_viewed)
            self._keep((point_id, None, NOTHING), full)
        if width is None:
            return full
        resized = await self._resized(full, width)
        self._keep((point_id, width, NOTHING), resized)
        return resized

    async def _resized(self, full: Snapshot, width: int) -> Snapshot:
        data = full.data
        try:
            smaller = await self._pool.run(lambda: resize_jpeg(data, width))
        except ValueError:
            raise ProtocolViolation("its picture cannot be read") from None
        return dataclasses.replace(full, data=smaller)

    # --- with something hidden ----------------------------------------------------------------

    async def _masked(self, point_id: str, width: int | None, prefer_viewed: bool) -> Snapshot:
        if self._covers is None:
            raise NotSupported("this point is masked, and nothing here can mask it")
        masks = await self._covers.masks(point_id)
        if masks is not None and masks.movable and masks.masked:
            return await self._of_a_moving_one(self._covers, masks, width)
        cover = cover_of(masks, NOWHERE)
        if cover == NOTHING:
            return await self._take(point_id, width, prefer_viewed)
        if cover.whole:
            return await self._blank(width, "all of this point's picture is masked")
        if (known := self._fresh((point_id, width, cover))) is not None:
            return known
        painted = await self._painted(await self._take(point_id, None, prefer_viewed), cover, width)
        self._keep((point_id, width, cover), painted)
        return painted

    async def _of_a_moving_one(self, covers: Covers, masks: Masks, width: int | None) -> Snapshot:
        """Taken while it stood at one preset: asked before and after, and nothing kept is used."""
        presets = await covers.whereabouts.ask(masks.point_id)
        cover = cover_of(masks, presets)
        if not cover.whole:
            picture = await self._picture(masks.point_id, viewed=False)
            if await covers.whereabouts.ask(masks.point_id) == presets:
                return await self._painted(picture, cover, width)
        return await self._blank(width, "the camera stands at no preset that has masks")

    async def _painted(self, picture: Snapshot, cover: Cover, width: int | None) -> Snapshot:
        data = picture.data
        try:
            painted = await self._pool.run(lambda: mask_jpeg(data, cover))
        except ValueError:
            raise ProtocolViolation("its picture cannot be read") from None
        masked = dataclasses.replace(picture, data=painted)
        return masked if width is None else await self._resized(masked, width)

    async def _blank(self, width: int | None, reason: str) -> Snapshot:
        data = await self._pool.run(lambda: blank_jpeg(width or BLANK_WIDTH))
        return Snapshot(data=data, origin="blank", reason=reason, taken_s=self._clock())

    # --- where it comes from ------------------------------------------------------------------

    async def _picture(
        self, point_id: str, *, viewed: bool = True, prefer_viewed: bool = False
    ) -> Snapshot:
        """viewed: one that came before this was asked will do."""
        if prefer_viewed and viewed and self._keyframe(point_id, PROFILE) is not None:
            return await self._from_stream(point_id, "", viewed=True)
        not_before_s, reason = self._not_before.get(point_id, (0.0, ""))
        if not_before_s <= self._clock():
            self._not_before.pop(point_id, None)
            try:
                image = await self._device(point_id)
                return Snapshot(data=image.data, origin="device", taken_s=self._clock())
            except (AuthenticationFailed, NotSupported, ProtocolViolation, Busy) as error:
                reason = self._put_off(point_id, error)
        return await self._from_stream(point_id, reason, viewed=viewed)

    def _put_off(self, point_id: str, error: AdapterError) -> str:
        lasting = isinstance(error, AuthenticationFailed | NotSupported)
        if len(self._not_before) >= 10_000:
            self._not_before.clear()
        until_s = self._clock() + (REFUSED_FOR_S if lasting else FAILED_FOR_S)
        self._not_before[point_id] = (until_s, error.message)
        return error.message

    async def _from_stream(self, point_id: str, reason: str, *, viewed: bool) -> Snapshot:
        latest = self._keyframe(point_id, PROFILE) if viewed else None
        if latest is not None:
            track, unit = latest
            data = await self._pool.run(lambda: unit_jpeg(track, unit))
            return Snapshot(data=data, origin="live", reason=reason, taken_s=self._clock())
        source = await self._open_media(point_id, PROFILE)
        data = await keyframe_jpeg(source, pool=self._pool)
        return Snapshot(data=data, origin="stream", reason=reason, taken_s=self._clock())

    # --- what is kept -------------------------------------------------------------------------

    def _fresh(self, key: Key) -> Snapshot | None:
        known = self._kept.get(key)
        if known is None or self._clock() - known.taken_s >= FRESH_S:
            return None
        return known

    def _keep(self, key: Key, snapshot: Snapshot) -> None:
        """What is old goes, and as much more as the limit wants: no picture outlives its use."""
        self._drop(key)
        for each in [k for k in self._kept if self._fresh(k) is None]:
            self._drop(each)
        self._kept[key] = snapshot
        self._bytes += len(snapshot.data)
        while self._bytes > MAX_BYTES and len(self._kept) > 1:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: Key) -> None:
        gone = self._kept.pop(key, None)
        if gone is not None:
            self._bytes -= len(gone.data)
