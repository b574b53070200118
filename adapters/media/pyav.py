"""The other reader: PyAV, for streams that the native one cannot read (UDP, TLS, JPEG …)."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import av
import av.error

from adapters.base import AccessUnit, MediaItem, TrackFormat
from adapters.errors import (
    AdapterError,
    AuthenticationFailed,
    NotSupported,
    ProtocolViolation,
    TimedOut,
    Unreachable,
)
from adapters.events import RtspSource
from adapters.media.address import parse_address
from adapters.media.delivery import MediaQueue
from adapters.media.h264 import H264
from adapters.media.h265 import H265
from adapters.media.jpeg import jpeg_size
from adapters.media.nal import NalCodec, NalKind, split_annex_b
from adapters.media.rtsp import RtspLimits
from adapters.media.slots import ThreadSlots
from adapters.media.track import UnitGate


class PyavStream:
    """What `open_pyav` yields: an async iterator of `MediaItem`."""

    reader = "pyav"

    def __init__(self, queue: MediaQueue) -> None:
        self._queue = queue

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
async def open_pyav(
    source: RtspSource, limits: RtspLimits | None = None, slots: ThreadSlots | None = None
) -> AsyncIterator[PyavStream]:
    """Play a stream in a thread of its own.

    Leaving waits for that thread, which looks up after each packet and at the latest when a read
    times out. Raises, here or while iterating: AdapterError.
    """
    with (slots or ThreadSlots()).taken():
        loop = asyncio.get_running_loop()
        queue = MediaQueue()
        ended: asyncio.Future[None] = loop.create_future()
        reading = _Reading(source, limits or RtspLimits(), loop, queue, ended)
        thread = threading.Thread(target=reading.run, name="pyav-reader")
        thread.start()
        try:
            yield PyavStream(queue)
        finally:
            reading.stop.set()
            await asyncio.shield(ended)
            thread.join()


class _Reading:
    """The thread's side."""

    def __init__(
        self,
        source: RtspSource,
        limits: RtspLimits,
        loop: asyncio.AbstractEventLoop,
        queue: MediaQueue,
        ended: "asyncio.Future[None]",
    ) -> None:
        self._source = source
        self._address = parse_address(source.url)
        self._limits = limits
        self._loop = loop
        self._queue = queue
        self._ended = ended
        self.stop = threading.Event()

    def run(self) -> None:
        try:
            error = self._read()
        except AdapterError as raised:
            error = raised
        except av.error.FFmpegError as raised:
            # Not chained: PyAV's error shows the address with its password.
            error = _error_of(raised, self._address.location)
        except Exception as raised:
            error = ProtocolViolation(f"the reader failed: {type(raised).__name__}")
        # The loop is closed only when the process ends without waiting for us.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._end, error)

    def _end(self, error: AdapterError) -> None:
        self._queue.fail(error)
        if not self._ended.done():
            self._ended.set_result(None)

    def _read(self) -> AdapterError:
        address = self._address
        username = self._source.username or address.username
        password = self._source.password.reveal() if self._source.username else address.password
        options = {
            "rtsp_transport": "udp" if self._source.transport == "udp" else "tcp",
            "allowed_media_types": "video",
            "analyzeduration": "0",
            "probesize": "32",
        }
        timeouts = (self._limits.connect_s, self._limits.silence_s / 2)
        url = address.with_credentials(username, password)
        with av.open(url, options=options, timeout=timeouts) as container:
            videos = container.streams.video
            if not videos:
                return NotSupported("the stream has no video", device=address.location)
            items = _items_of(videos[0])
            for packet in container.demux(videos[0]):
                if self.stop.is_set():
                    break
                for item in items.of(packet):
                    self._loop.call_soon_threadsafe(self._queue.put, item)
        return Unreachable("the stream ended", device=address.location)


class _NalItems:
    """Items of packets whose NAL units come with start codes."""

    def __init__(self, codec: NalCodec, stream: Any) -> None:
        self._codec = codec
        self._time_base = float(stream.time_base) * 1_000_000
        extradata = bytes(stream.codec_context.extradata or b"")
        self._gate = UnitGate(codec, split_annex_b(extradata))
        self._time_us = 0

    def of(self, packet: Any) -> list[MediaItem]:
        nals: list[bytes] = []
        picture = NalKind.OTHER
        for nal in split_annex_b(bytes(packet)):
            kind = self._codec.kind(nal)
            if kind is NalKind.PARAMETER:
                self._gate.parameter(nal)
            elif kind is not NalKind.DELIMITER:
                nals.append(nal)
                picture = kind if kind is not NalKind.OTHER else picture
        if packet.is_corrupt:
            self._gate.interrupt()
            return []
        if picture is NalKind.OTHER:
            return []
        ticks = packet.pts if packet.pts is not None else packet.dts
        self._time_us = int(ticks * self._time_base) if ticks is not None else self._time_us + 1
        return self._gate.unit(nals, picture, self._time_us)


class _JpegItems:
    """Items of packets that hold one JPEG picture each."""

    def __init__(self, stream: Any) -> None:
        self._time_base = float(stream.time_base) * 1_000_000
        self._size = (0, 0)
        self._zero_us: int | None = None

    def of(self, packet: Any) -> list[MediaItem]:
        data = bytes(packet)
        try:
            size = jpeg_size(data)
        except ProtocolViolation:
            return []
        items: list[MediaItem] = []
        if size != self._size:
            self._size = size
            items.append(_jpeg_format(*size))
        time_us = int((packet.pts or 0) * self._time_base)
        if self._zero_us is None:
            self._zero_us = time_us
        pts_us = max(0, time_us - self._zero_us)
        items.append(AccessUnit(track=0, pts_us=pts_us, keyframe=True, data=data))
        return items


def _jpeg_format(width: int, height: int) -> TrackFormat:
    return TrackFormat(
        track=0, kind="video", codec="jpeg", description=b"", width=width, height=height
    )


def _items_of(stream: Any) -> _NalItems | _JpegItems:
    name = stream.codec_context.name
    if name == "h264":
        return _NalItems(H264(), stream)
    if name == "hevc":
        return _NalItems(H265(), stream)
    if name == "mjpeg":
        return _JpegItems(stream)
    raise NotSupported(f"video in {name} is not shown without transcoding")


def _error_of(error: av.error.FFmpegError, device: str) -> AdapterError:
    if isinstance(error, av.error.HTTPUnauthorizedError):
        return AuthenticationFailed("it refused the name or password", device=device)
    if isinstance(error, av.error.ExitError):
        return TimedOut("nothing came in time", device=device)
    if isinstance(error, av.error.InvalidDataError | av.error.HTTPClientError):
        return ProtocolViolation(f"it cannot be read: {error.strerror}", device=device)
    return Unreachable(f"it cannot be read: {error.strerror}", device=device)
