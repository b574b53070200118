"""The reader that goes through FFmpeg's libraries, for payloads that the native one cannot read.

FFmpeg gets one track and its RTP packets from a server of ours on loopback, and nothing else:
connecting, signing in, TLS, redirects and UDP stay with our own session, so no password and no
camera's address ever reaches it.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any

import av
import av.error

from adapters.base import AccessUnit, MediaItem, TrackFormat
from adapters.errors import (
    AdapterError,
    Busy,
    NotSupported,
    ProtocolViolation,
    Unreachable,
    reason_of,
)
from adapters.media.h264 import H264
from adapters.media.h265 import H265
from adapters.media.handover import Handover
from adapters.media.jpeg import jpeg_size
from adapters.media.nal import NalCodec, NalKind, split_annex_b
from adapters.media.sdp import Media
from adapters.media.track import UnitGate

_OPEN_S, _READ_S = 30.0, 3_600.0
"""For FFmpeg alone; a camera that falls silent is noticed by its session long before."""


class PyavReading:
    """One track in a thread of its own, from `start` to `aclose`.

    put(item), failed(error): called on the event loop.
    """

    def __init__(
        self,
        media: Media,
        put: Callable[[MediaItem], None],
        failed: Callable[[AdapterError], None],
        location: str,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._handover = Handover(media)
        self._url = ""
        self._put = put
        self._failed = failed
        self._location = location
        self._stopping = False
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._thread = threading.Thread(target=self._run, name="pyav-reader")

    @property
    def dropped(self) -> int:
        """Packets that the thread was too slow for."""
        return self._handover.dropped

    def start(self) -> None:
        """Raises: Busy when nothing can be handed over here."""
        try:
            self._url = self._handover.open()
        except OSError as error:
            raise Busy(f"no port on loopback: {reason_of(error)}") from None
        self._thread.start()

    def push(self, packet: bytes) -> None:
        """An RTP packet. Raises: ProtocolViolation when it is none."""
        self._handover.put(packet)

    async def aclose(self) -> None:
        self._stopping = True
        try:
            await self._handover.aclose()
        finally:
            await asyncio.shield(self._ended)
            self._thread.join()

    def _run(self) -> None:
        try:
            error = self._read()
        except AdapterError as raised:
            error = type(raised)(raised.message, device=self._location)
        except av.error.FFmpegError as raised:
            text = f"PyAV cannot read it: {raised.strerror}"
            error = ProtocolViolation(text, device=self._location)
        except Exception as raised:
            text = f"the reader failed: {type(raised).__name__}"
            error = ProtocolViolation(text, device=self._location)
        # The loop is closed only when the process ends without waiting for us.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._end, error)

    def _end(self, error: AdapterError) -> None:
        if not self._stopping:
            self._failed(error)
        if not self._ended.done():
            self._ended.set_result(None)

    def _read(self) -> AdapterError:
        options = {
            "rtsp_transport": "tcp",
            "analyzeduration": "0",
            "probesize": "32",
        }
        timeouts = (_OPEN_S, _READ_S)
        with av.open(self._url, "r", options=options, timeout=timeouts) as container:
            videos = container.streams.video
            if not videos:
                return NotSupported("PyAV finds no video in it", device=self._location)
            items = _items_of(videos[0])
            for packet in container.demux(videos[0]):
                if self._stopping:
                    break
                for item in items.of(packet, self._handover.take_gap()):
                    self._loop.call_soon_threadsafe(self._put, item)
        return Unreachable("the stream ended", device=self._location)


class _NalItems:
    """Items of packets whose NAL units come with start codes."""

    def __init__(self, codec: NalCodec, stream: Any) -> None:
        self._codec = codec
        self._time_base = float(stream.time_base) * 1_000_000
        extradata = bytes(stream.codec_context.extradata or b"")
        self._gate = UnitGate(codec, split_annex_b(extradata))
        self._time_us = 0

    def of(self, packet: Any, gap: bool) -> list[MediaItem]:
        nals: list[bytes] = []
        picture = NalKind.OTHER
        for nal in split_annex_b(bytes(packet)):
            kind = self._codec.kind(nal)
            if kind is NalKind.PARAMETER:
                self._gate.parameter(nal)
            elif kind is not NalKind.DELIMITER:
                nals.append(nal)
                picture = kind if kind is not NalKind.OTHER else picture
        if packet.is_corrupt or gap:
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

    def of(self, packet: Any, gap: bool) -> list[MediaItem]:
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
        unit = AccessUnit(track=0, pts_us=pts_us, keyframe=True, data=data, discontinuity=gap)
        items.append(unit)
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
