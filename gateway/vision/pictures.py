"""Access units to JPEG pictures, by PyAV in a bounded pool of threads."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from types import TracebackType
from typing import Self, TypeVar

import av
import av.error
from av.codec.context import CodecContext
from av.video.codeccontext import VideoCodecContext

from adapters.base import AccessUnit, MediaSource, TrackFormat
from adapters.errors import NotSupported, ProtocolViolation, TimedOut
from adapters.media import ThreadSlots, open_stream

Result = TypeVar("Result")

_DECODERS = {"avc1": "h264", "hvc1": "hevc", "jpeg": "mjpeg"}
# Quantiser of the JPEG encoder, 2 (best) to 31.
_QUANTISER = "4"


class PicturePool:
    """Threads for decoding and encoding; `async with` waits for them on leaving."""

    def __init__(self, threads: int = 2) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="pictures")

    async def run(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Work under way takes milliseconds; the loop goes on meanwhile.
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)


class UnitDecoder:
    """Decodes the access units of one format, in order. Not for several threads at once.

    Raises on creation: NotSupported for a codec that is not decoded.
    """

    def __init__(self, track: TrackFormat, *, keyframes_only: bool = False) -> None:
        name = _DECODERS.get(track.codec[:4])
        if name is None:
            raise NotSupported(f"video in {track.codec} is not decoded")
        context = CodecContext.create(name, "r")
        assert isinstance(context, VideoCodecContext)
        context.extradata = track.description
        context.thread_count = 1
        if keyframes_only:
            context.skip_frame = "NONKEY"
        self._context = context

    def decode(self, unit: AccessUnit, *, last: bool = False) -> av.VideoFrame | None:
        """The newest picture that this unit gives; None when it gives none yet.

        last: nothing follows, so give what is held back for reordering. A broken unit gives None.
        """
        packet = av.Packet(unit.data)
        packet.pts = packet.dts = unit.pts_us
        packet.is_keyframe = unit.keyframe
        try:
            frames = self._context.decode(packet)
            if last:
                frames += self._context.decode(None)
        except av.error.FFmpegError:
            return None
        return frames[-1] if frames else None


def encode_jpeg(frame: av.VideoFrame) -> bytes:
    """A decoded picture as JPEG, full size."""
    context = CodecContext.create("mjpeg", "w")
    assert isinstance(context, VideoCodecContext)
    context.width, context.height, context.pix_fmt = frame.width, frame.height, "yuvj420p"
    context.time_base = Fraction(1, 25)
    context.thread_count = 1
    context.options = {"qmin": _QUANTISER, "qmax": _QUANTISER}
    picture = frame.reformat(format="yuvj420p")
    picture.pts = 0
    return b"".join(bytes(part) for part in (*context.encode(picture), *context.encode(None)))


def unit_jpeg(track: TrackFormat, unit: AccessUnit) -> bytes:
    """A keyframe as JPEG. Blocks for some milliseconds: call it in a thread.

    Raises: NotSupported for a codec that is not decoded, ProtocolViolation for a broken unit.
    """
    if track.codec == "jpeg":
        return unit.data
    frame = UnitDecoder(track, keyframes_only=True).decode(unit, last=True)
    if frame is None:
        raise ProtocolViolation("the keyframe cannot be decoded")
    return encode_jpeg(frame)


async def keyframe_jpeg(
    source: MediaSource,
    *,
    pool: PicturePool,
    timeout_s: float = 10.0,
    slots: ThreadSlots | None = None,
) -> bytes:
    """Play a source up to its first keyframe and give that as JPEG, full size.

    timeout_s covers the camera's part: connecting, and up to a group of pictures of waiting.
    Raises: AdapterError.
    """
    try:
        async with asyncio.timeout(timeout_s):
            track, unit = await _first_keyframe(source, slots)
    except TimeoutError:
        raise TimedOut(f"no keyframe came within {timeout_s:g} s") from None
    return await pool.run(lambda: unit_jpeg(track, unit))


async def _first_keyframe(
    source: MediaSource, slots: ThreadSlots | None
) -> tuple[TrackFormat, AccessUnit]:
    formats: dict[int, TrackFormat] = {}
    async with open_stream(source, slots=slots) as stream:
        async for item in stream:
            if isinstance(item, TrackFormat):
                formats[item.track] = item
            elif item.keyframe and formats[item.track].kind == "video":
                return formats[item.track], item
    raise ProtocolViolation("the stream ended before a keyframe")
