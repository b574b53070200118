"""One look at a camera: pull a keyframe, measure it, forget it.

The stream is read by the reader that live view uses, and decoded by PyAV, keyframes only, in a
bounded pool of threads; see decision 014.
"""

import asyncio
import dataclasses
import functools
from collections.abc import AsyncIterator, Mapping

from adapters.base import AccessUnit, MediaItem, MediaSource, TrackFormat
from adapters.errors import AdapterError, ProtocolViolation, TimedOut
from adapters.media import ThreadSlots, open_stream
from gateway.vision.diagnosis import (
    DEFAULT_THRESHOLDS,
    Diagnosis,
    Fault,
    Measured,
    conclude,
    evidence_jpeg,
    measure,
    wants_second,
)
from gateway.vision.measures import stillness
from gateway.vision.memory import Memory
from gateway.vision.picture import Picture, picture_of, picture_of_jpeg
from gateway.vision.pictures import PicturePool, UnitDecoder

SECOND_WITHIN_S = 6.0
"""How long the next keyframe is awaited: the longest usual group of pictures."""
SECOND_AFTER_US = 800_000
"""Of the stream's time, before which the next keyframe says nothing: a camera that sends nothing
but keyframes sends the next one before anything can have happened."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """evidence: a JPEG, where a fault was found and evidence was asked for."""

    diagnosis: Diagnosis
    evidence: bytes | None


@dataclasses.dataclass(frozen=True, slots=True)
class Seen:
    picture: Picture
    measured: Measured


async def look(
    source: MediaSource,
    *,
    pool: PicturePool,
    memory: Memory,
    thresholds: Mapping[Fault, float] = DEFAULT_THRESHOLDS,
    movable: bool = False,
    evidence: bool = True,
    timeout_s: float = 10.0,
    slots: ThreadSlots | None = None,
) -> Look:
    """Play a source up to a keyframe, or to the next one where only that can tell, and judge it.

    timeout_s covers the camera's part up to the first keyframe.
    Raises: AdapterError, VisionUnavailable.
    """
    first: Seen | None = None
    still: float | None = None
    try:
        async with (
            asyncio.timeout(timeout_s) as deadline,
            open_stream(source, slots=slots) as stream,
        ):
            keyframes = _Keyframes(aiter(stream))
            track, unit = await keyframes.next()
            first = await pool.run(functools.partial(see, track, unit))
            if wants_second(first.measured, memory, thresholds):
                deadline.reschedule(asyncio.get_running_loop().time() + SECOND_WITHIN_S)
                track, later = await keyframes.next(unit.pts_us + SECOND_AFTER_US)
                still = await pool.run(functools.partial(_stillness, track, later, first.picture))
    except TimeoutError:
        if first is None:
            raise TimedOut(f"no keyframe came within {timeout_s:g} s") from None
    except AdapterError:
        if first is None:
            raise
    diagnosis = conclude(
        first.measured,
        memory,
        stillness=still,
        thresholds=thresholds,
        movable=movable,
    )
    shown = None
    if evidence and diagnosis.found:
        shown = await pool.run(lambda: evidence_jpeg(first.picture))
    return Look(diagnosis=diagnosis, evidence=shown)


class _Keyframes:
    """The keyframes of a stream's video, each with its format."""

    def __init__(self, items: AsyncIterator[MediaItem]) -> None:
        self._items = items
        self._formats: dict[int, TrackFormat] = {}

    async def next(self, from_us: int = 0) -> tuple[TrackFormat, AccessUnit]:
        """The next one, not before a time of the stream. Raises: AdapterError."""
        async for item in self._items:
            if isinstance(item, TrackFormat):
                self._formats[item.track] = item
            elif (
                item.keyframe
                and item.pts_us >= from_us
                and self._formats[item.track].kind == "video"
            ):
                return self._formats[item.track], item
        raise ProtocolViolation("the stream ended before a keyframe")


def see(track: TrackFormat, unit: AccessUnit) -> Seen:
    """Decode and measure. Blocks for some milliseconds: call it in a thread.

    Raises: NotSupported for a codec that is not decoded, ProtocolViolation for a broken unit.
    """
    picture = _decoded(track, unit)
    return Seen(picture, measure(picture))


def _stillness(track: TrackFormat, unit: AccessUnit, before: Picture) -> float:
    return stillness(_decoded(track, unit), before)


def _decoded(track: TrackFormat, unit: AccessUnit) -> Picture:
    if track.codec == "jpeg":
        try:
            return picture_of_jpeg(unit.data)
        except ValueError:
            raise ProtocolViolation("the picture cannot be decoded") from None
    frame = UnitDecoder(track, keyframes_only=True).decode(unit, last=True)
    if frame is None:
        raise ProtocolViolation("the keyframe cannot be decoded")
    return picture_of(frame)
