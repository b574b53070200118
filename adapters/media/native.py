"""The native reader: RTSP over TCP to access units of H.264 or H.265, without decoding."""

import contextlib
from collections.abc import AsyncIterator, Callable

from adapters.base import MediaItem
from adapters.errors import NotSupported, ProtocolViolation
from adapters.events import RtspSource
from adapters.media.delivery import MediaQueue
from adapters.media.h264 import H264
from adapters.media.h265 import H265
from adapters.media.nal import NalCodec
from adapters.media.rtp import parse_rtp
from adapters.media.rtsp import RtspLimits, open_session
from adapters.media.sdp import Media, SessionDescription
from adapters.media.track import TrackCounters, VideoTrack


def video_of(description: SessionDescription) -> tuple[Media, NalCodec]:
    """The first video track that the native reader can read. Raises: NotSupported."""
    videos = [media for media in description.media if media.kind == "video"]
    for media in videos:
        if media.codec == "H264" and media.fmtp.get("packetization-mode", "0") in ("0", "1", ""):
            return media, H264()
        if media.codec in ("H265", "HEVC") and media.fmtp.get("sprop-max-don-diff", "0") == "0":
            return media, H265()
    names = ", ".join(media.codec or "an unnamed codec" for media in videos) or "no video at all"
    raise NotSupported(f"the native reader reads H.264 and H.265; this is {names}")


class NativeStream:
    """What `open_native` yields: an async iterator of `MediaItem`."""

    reader = "native"

    def __init__(self, queue: MediaQueue, counters: TrackCounters) -> None:
        self._queue = queue
        self.counters = counters

    @property
    def dropped(self) -> int:
        """Units dropped because the consumer was slow."""
        return self._queue.dropped

    def __aiter__(self) -> AsyncIterator[MediaItem]:
        return self

    async def __anext__(self) -> MediaItem:
        return await self._queue.take()

    async def pour(self, sink: Callable[[MediaItem], None]) -> None:
        """See `MediaStream.pour`."""
        await self._queue.pour(sink)


@contextlib.asynccontextmanager
async def open_native(
    source: RtspSource, limits: RtspLimits | None = None
) -> AsyncIterator[NativeStream]:
    """Play a stream.

    The iterator never ends by itself: it raises Unreachable when the connection breaks and
    TimedOut when nothing comes. Raises: AdapterError; NotSupported for what it cannot read.
    """
    queue = MediaQueue()
    async with open_session(source, limits) as session:
        await session.options()
        description = await session.describe()
        media, codec = video_of(description)
        track = VideoTrack(
            codec,
            clock_rate_hz=media.clock_rate_hz or 90_000,
            sets=codec.parameter_sets_of(media.fmtp),
        )
        channel = await session.setup(media)

        def on_packet(number: int, payload: bytes) -> None:
            if number != channel:
                return
            try:
                for item in track.push(parse_rtp(payload)):
                    queue.put(item)
            except ProtocolViolation:
                track.counters.bad += 1
            except NotSupported as error:
                queue.fail(NotSupported(error.message, device=session.address.location))

        session.deliver(on_packet)
        session.on_lost = queue.fail
        await session.play()
        yield NativeStream(queue, track.counters)
