"""A stream over RTSP as a sequence of items: session, readers of its tracks, and the queue."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable

from adapters.base import AccessUnit, MediaItem
from adapters.errors import (
    AdapterError,
    AuthenticationFailed,
    Busy,
    NotSupported,
    ProtocolViolation,
)
from adapters.events import RtspSource
from adapters.media.audio import AudioCounters, AudioTrack, audio_codec
from adapters.media.delivery import MediaQueue
from adapters.media.limits import RtspLimits
from adapters.media.lipsync import Lipsync
from adapters.media.nal import NalCodec
from adapters.media.native import video_of, videos_of
from adapters.media.rtcp import sender_reports
from adapters.media.rtp import parse_rtp
from adapters.media.rtsp import RtspSession, open_session
from adapters.media.sdp import Media, SessionDescription
from adapters.media.slots import ThreadSlots
from adapters.media.track import TrackCounters, VideoTrack

VIDEO, AUDIO = 0, 1
NATIVE, PYAV = "native", "pyav"
RESUME_GAP_US = 40_000


class RtspStream:
    """What `open_rtsp` yields: an async iterator of `MediaItem`.

    reader: ``native`` or ``pyav``. reason: why it is not the native one, else empty.
    audio_reason: why the camera's audio is not passed on, else empty. counters, audio_counters:
    of the native tracks.
    """

    def __init__(self, session: RtspSession, slots: ThreadSlots) -> None:
        self.reader = NATIVE
        self.reason = ""
        self.audio_reason = ""
        self.counters = TrackCounters()
        self.audio_counters = AudioCounters()
        self._session = session
        self._slots = slots
        self._loop = asyncio.get_running_loop()
        self._queue = MediaQueue()
        self._stack = contextlib.AsyncExitStack()
        self._handlers: dict[int, Callable[[bytes], None]] = {}
        self._lipsync = Lipsync()
        self._video: VideoTrack | None = None
        self._audio: AudioTrack | None = None

    # --- for the consumer ---------------------------------------------------------------------

    @property
    def transport(self) -> str:
        """``tcp`` or ``udp``: what the camera agreed to."""
        return self._session.transport

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

    # --- opening ------------------------------------------------------------------------------

    async def play(self, *, audio: bool, reader: str) -> None:
        """reader: empty for whichever can. Raises: AdapterError."""
        session = self._session
        session.on_lost = self._queue.fail
        session.deliver(self._handlers)
        await session.options()
        description = await session.describe()
        media, codec = self._choose(description, reader)
        channel = await session.setup(media)
        self._read_video(channel, media, codec)
        if audio:
            await self._set_up_audio(description)
        await session.play()

    def _choose(
        self, description: SessionDescription, reader: str
    ) -> tuple[Media, NalCodec | None]:
        try:
            media, codec = video_of(description)
        except NotSupported as error:
            if reader == NATIVE or not videos_of(description):
                raise NotSupported(error.message, device=self._session.location) from None
            self.reason = error.message
            return videos_of(description)[0], None
        if reader == PYAV:
            self.reason = "PyAV was asked for"
            return media, None
        return media, codec

    async def _set_up_audio(self, description: SessionDescription) -> None:
        """Audio is a gift: whatever stands in its way, the pictures are shown."""
        offered = [media for media in description.media if media.kind == "audio"]
        for media in offered:
            try:
                track = AudioTrack(audio_codec(media), media.clock_rate_hz)
                channel = await self._session.setup(media)
            except (NotSupported, ProtocolViolation, Busy, AuthenticationFailed) as error:
                self.audio_reason = error.message
                continue
            if channel in self._handlers:
                self.audio_reason = "the camera sends it on the channel of the pictures"
                continue
            self._read_audio(channel, media, track)
            return

    async def aclose(self) -> None:
        await self._stack.aclose()

    # --- packets ------------------------------------------------------------------------------

    def _read_video(self, channel: int, media: Media, codec: NalCodec | None) -> None:
        if codec is None:
            self._handlers[channel] = self._through_pyav(media, self._put_video)
            return
        track = VideoTrack(
            codec,
            clock_rate_hz=media.clock_rate_hz or 90_000,
            sets=codec.parameter_sets_of(media.fmtp),
            track=VIDEO,
        )
        self._video = track
        self.counters = counters = track.counters
        put, track_take = self._put_video, track.take

        def take(data: bytes) -> None:
            try:
                items = track_take(data)
                if items:
                    for item in items:
                        put(item)
            except ProtocolViolation:
                counters.bad += 1
            except NotSupported as error:
                self._change_reader(channel, media, data, error)

        track.expect(media.payload_type)
        self._handlers[channel] = take
        self._handlers[channel + 1] = self._video_report

    def _put_video(self, item: MediaItem) -> None:
        if self._audio is not None and isinstance(item, AccessUnit):
            self._lipsync.video(item.pts_us, self._loop.time())
        self._queue.put(item)

    def _change_reader(self, channel: int, media: Media, data: bytes, error: NotSupported) -> None:
        """The native reader met what it cannot read; PyAV goes on where it stood."""
        self.reason = error.message
        position_us = self._video.position_us if self._video is not None else 0
        try:
            handler = self._through_pyav(media, _after(position_us, self._put_video))
            handler(data)
        except AdapterError as refused:
            self._queue.fail(refused)
            return
        self._video = None
        self._handlers[channel] = handler
        self._handlers.pop(channel + 1, None)

    def _through_pyav(
        self, media: Media, put: Callable[[MediaItem], None]
    ) -> Callable[[bytes], None]:
        # Imported here: FFmpeg's libraries take memory that most processes never need.
        from adapters.media.pyav import PyavReading

        self._stack.enter_context(self._slots.taken())
        location = self._session.location
        reading = PyavReading(media, put, self._queue.fail, location)
        reading.start()
        self._stack.push_async_callback(reading.aclose)
        self.reader = PYAV

        def take(data: bytes) -> None:
            try:
                reading.push(data)
            except ProtocolViolation:
                self.counters.bad += 1

        return take

    def _read_audio(self, channel: int, media: Media, track: AudioTrack) -> None:
        self._audio = track
        self.audio_counters = track.counters
        self._queue.put(track.format)

        def take(data: bytes) -> None:
            try:
                packet = parse_rtp(data)
            except ProtocolViolation:
                track.counters.bad += 1
                return
            # Comfort noise and dialled digits come between the packets of some cameras.
            if packet.payload_type != media.payload_type:
                return
            if not self._lipsync.began:
                track.follow(packet)
                return
            self._lipsync.audio(track.media_us(packet.timestamp), self._loop.time())
            track.offset_us = self._lipsync.offset_us
            for unit in track.push(packet):
                self._queue.put(unit)

        self._handlers[channel] = take
        self._handlers[channel + 1] = self._audio_report

    def _video_report(self, data: bytes) -> None:
        if self._video is None or self._audio is None:
            return
        with contextlib.suppress(ProtocolViolation):
            for report in sender_reports(data):
                pts_us = self._video.pts_us(report.timestamp)
                if pts_us is not None:
                    self._lipsync.video_report(report, pts_us)

    def _audio_report(self, data: bytes) -> None:
        if self._audio is None or not self._audio.began:
            return
        with contextlib.suppress(ProtocolViolation):
            for report in sender_reports(data):
                self._lipsync.audio_report(report, self._audio.media_us(report.timestamp))


def _after(position_us: int, put: Callable[[MediaItem], None]) -> Callable[[MediaItem], None]:
    """put, for a reader that counts from its own beginning, after what another one has read."""
    shift_us = position_us + RESUME_GAP_US if position_us else 0
    resumed = False

    def shifted(item: MediaItem) -> None:
        nonlocal resumed
        if isinstance(item, AccessUnit):
            gap = item.discontinuity or (bool(shift_us) and not resumed)
            resumed = True
            item = dataclasses.replace(item, pts_us=item.pts_us + shift_us, discontinuity=gap)
        put(item)

    return shifted


@contextlib.asynccontextmanager
async def open_rtsp(
    source: RtspSource,
    limits: RtspLimits | None = None,
    slots: ThreadSlots | None = None,
    *,
    audio: bool = False,
    reader: str = "",
) -> AsyncIterator[RtspStream]:
    """Play a stream.

    audio: whether to ask for the camera's audio too. slots: bounds PyAV's threads. reader: to
    insist on ``native`` or ``pyav``.
    The iterator never ends by itself: it raises Unreachable when the connection breaks and
    TimedOut when nothing comes. Raises: AdapterError.
    """
    async with open_session(source, limits) as session:
        stream = RtspStream(session, slots or ThreadSlots())
        try:
            await stream.play(audio=audio, reader=reader)
            yield stream
        finally:
            session.deliver({})
            await stream.aclose()
