"""One upstream of a point and profile, handed to any number of viewers."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable

import structlog

from adapters.base import AccessUnit, MediaItem, MediaSource, TrackFormat
from adapters.errors import AdapterError, Busy, Unreachable
from adapters.media import MediaStream, ThreadSlots, fmp4, open_stream
from gateway.live.counters import LiveCounters
from gateway.live.errors import LiveRefused
from gateway.live.frames import Entry, LiveFormat, LiveState, LiveUnit
from gateway.live.settings import LiveSettings
from gateway.live.sound import Sound
from gateway.live.viewer import ViewClosed, Viewer

CLOSE_NORMAL = 1000
_RESUME_GAP_US = 40_000
_ASK_EVERY_S = 1.0

log = structlog.get_logger(__name__)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Time and chance, injected. clock: monotonic seconds. chance: 0 up to 1."""

    clock: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]
    chance: Callable[[], float]


class GroupCache:
    """The group of pictures that is being sent, so that who joins sees a picture at once.

    A group larger than the limits is not kept; who joins then waits for the next keyframe.
    """

    def __init__(self, max_units: int, max_bytes: int) -> None:
        self._max_units = max_units
        self._max_bytes = max_bytes
        self._bytes = 0
        self.units: list[LiveUnit] = []

    def add(self, unit: LiveUnit) -> None:
        if unit.opens_group:
            self.units, self._bytes = [], 0
        elif not self.units:
            return
        self._bytes += len(unit.unit.data)
        if len(self.units) >= self._max_units or self._bytes > self._max_bytes:
            self.clear()
        else:
            self.units.append(unit)

    def clear(self) -> None:
        self.units, self._bytes = [], 0


class Relay:
    """Runs the upstream until cancelled; `run` returns when it cannot go on.

    reader: who reads the upstream, ``native``, ``pyav`` or ``adapter``; empty before it plays.
    reader_reason: why it is not the native one, else empty. busy: why the camera bears no further
    session, empty when it does or has not been asked. evidence: told None when the upstream
    opens, and the error when it does not. notice: of a relay that taps another, what that makes
    of the stream, said to viewers; its upstream is no camera, and is not counted as one.
    ask: has the camera make a keyframe; None where it cannot be asked.
    """

    def __init__(
        self,
        open_source: Callable[[], Awaitable[MediaSource]],
        *,
        settings: LiveSettings,
        timing: Timing,
        counters: LiveCounters,
        slots: ThreadSlots,
        name: str = "",
        evidence: Callable[[AdapterError | None], None] = lambda _error: None,
        notice: str | None = None,
        ask: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._open_source = open_source
        self._evidence = evidence
        self._settings = settings
        self._timing = timing
        self._counters = counters
        self._slots = slots
        self._name = name
        self._notice = notice
        self._ask = ask
        self._ask_from_s = timing.clock()
        self._formats: dict[int, LiveFormat] = {}
        self._cache = GroupCache(settings.max_group_units, settings.max_group_bytes)
        self._state: LiveState | None = None
        self._ended: tuple[int, str] | None = None
        self._timeline = fmp4.DecodeTimeline()
        self._sound = Sound()
        self._stream: MediaStream | None = None
        self._sequence = 0
        self._shift_us: int | None = 0
        self._last_pts_us = -_RESUME_GAP_US
        self._attempt = 0
        self.viewers: set[Viewer] = set()
        self.reader = self.reader_reason = self.busy = ""

    # --- viewers ------------------------------------------------------------------------------

    @property
    def ended(self) -> bool:
        return self._ended is not None

    def join(self, viewer: Viewer) -> None:
        if self._ended is not None:
            viewer.close(*self._ended)
            return
        self.viewers.add(viewer)
        entries: list[Entry] = [*self._formats.values()]
        if self._state is not None:
            entries.append(self._state)
        viewer.begin([*entries, *self._cache.units])

    def leave(self, viewer: Viewer) -> None:
        self.viewers.discard(viewer)
        self._counters.viewer_skips += viewer.skips
        self._counters.viewer_dropped += viewer.dropped

    def keyframe(self) -> tuple[TrackFormat, AccessUnit] | None:
        """The keyframe that the current group begins with, and its format."""
        for unit in self._cache.units[:1]:
            return self._formats[unit.unit.track].track, unit.unit
        return None

    async def ask_keyframe(self) -> None:
        """Have the camera make a keyframe, at most once in `_ASK_EVERY_S`; one that says no is
        not asked again."""
        now_s = self._timing.clock()
        if self._ask is None or now_s < self._ask_from_s:
            return
        self._ask_from_s = now_s + _ASK_EVERY_S
        self._counters.keyframes_asked += 1
        try:
            await self._ask()
        except AdapterError as error:
            if not error.retryable:
                self._ask = None
            log.info("live.no_keyframe_on_request", stream=self._name, reason=error.message)

    # --- upstream -----------------------------------------------------------------------------

    async def run(self) -> None:
        try:
            while True:
                error = await self._play()
                self._interrupt(error)
                if not error.retryable:
                    self._end(CLOSE_NORMAL, error.message)
                    return
                await self._timing.sleep(self._retry_delay_s())
        except (LiveRefused, ViewClosed) as over:
            self._end(over.code, over.reason)
        except Exception as error:
            log.exception("live.relay_failed", stream=self._name, error=type(error).__name__)
            self._end(1011, "the relay failed")

    async def _play(self) -> AdapterError:
        """Play until it breaks; gives what broke it."""
        self._counters.upstreams_opened += self._notice is None
        opened = False
        try:
            source = await self._open_source()
            async with open_stream(source, slots=self._slots, audio=True) as stream:
                self._opened(stream)
                opened = True
                self._evidence(None)
                async with self._first_keyframe():
                    await stream.pour(self._publish)
        except AdapterError as error:
            self.busy = error.message if isinstance(error, Busy) and not opened else ""
            if not opened:  # one that breaks is opened again first: that tells
                self._evidence(error)
            return error
        return Unreachable("the stream ended")

    @contextlib.asynccontextmanager
    async def _first_keyframe(self) -> AsyncIterator[None]:
        """Meanwhile, ask for a keyframe where none comes by itself."""
        if self._ask is None:
            yield
            return
        asking = asyncio.create_task(self._ask_if_dark(), name=f"live-ask {self._name}")
        try:
            yield
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    async def _ask_if_dark(self) -> None:
        await self._timing.sleep(self._settings.keyframe_after_s)
        if not self._cache.units:
            await self.ask_keyframe()

    def _retry_delay_s(self) -> float:
        longest_s = self._settings.first_retry_s * 2.0 ** min(self._attempt, 16)
        self._attempt += 1
        return min(longest_s, self._settings.max_retry_s) * (0.5 + self._timing.chance() / 2)

    def _publish(self, item: MediaItem) -> None:
        if isinstance(item, TrackFormat):
            self._set_format(item)
            return
        track = self._formats.get(item.track)
        if track is None:
            return
        video = track.track.kind == "video"
        if self._shift_us is None:
            self._shift_us = self._last_pts_us + _RESUME_GAP_US - item.pts_us
            item = dataclasses.replace(item, discontinuity=True)
        if self._shift_us:
            item = dataclasses.replace(item, pts_us=max(0, item.pts_us + self._shift_us))
        self._last_pts_us = max(self._last_pts_us, item.pts_us)
        if not video:
            self._sound.heard(item.pts_us)
        elif item.keyframe and self._sound.changes(item.pts_us):
            self._set_pictures(track.track)
        self._hand_out(self._unit(item, video=video))

    def _unit(self, item: AccessUnit, *, video: bool) -> LiveUnit:
        if video:
            placement: fmp4.Placement | None = self._timeline.place(item.pts_us, item.keyframe)
        else:
            placement = self._sound.place(item.pts_us)
        if placement is not None:
            self._sequence += 1
        return LiveUnit(item, video=video, sequence=self._sequence, placement=placement)

    def _hand_out(self, unit: LiveUnit) -> None:
        self._counters.units += 1
        self._cache.add(unit)
        for viewer in self.viewers:
            viewer.offer(unit)
        if unit.opens_group and (self._state is None or self._state.state != "live"):
            if self._state is not None and self._notice is None:
                log.info("live.upstream_returned", stream=self._name, reader=self.reader)
            self._attempt = 0
            self._announce(LiveState(state="live", reason=self._peculiarity()))

    def _peculiarity(self) -> str:
        if self._notice is not None:
            return self._notice
        return f"read through PyAV: {self.reader_reason}" if self.reader_reason else ""

    def _set_format(self, track: TrackFormat) -> None:
        self._note_reader()
        known = self._formats.get(track.track)
        if track.kind == "audio":
            self._sound.begin(track)
            if known is None or known.track != track:
                self._tell(LiveFormat(track=track))
        elif known is None or known.track != track or known.audio != self._sound.wanted:
            self._set_pictures(track)
        else:
            self._sound.carry()

    def _set_pictures(self, track: TrackFormat) -> None:
        # What is cached was coded in the old format.
        self._cache.clear()
        self._sound.carry()
        self._tell(LiveFormat(track=track, audio=self._sound.beside))

    def _tell(self, known: LiveFormat) -> None:
        self._formats[known.track.track] = known
        for viewer in self.viewers:
            viewer.offer(known)

    def _opened(self, stream: MediaStream) -> None:
        self._stream = stream
        self.busy = ""
        self._sound.end()
        self._formats = {n: one for n, one in self._formats.items() if one.track.kind == "video"}
        self._note_reader()
        if stream.audio_reason:
            log.info("live.audio_left_out", stream=self._name, reason=stream.audio_reason)

    def _note_reader(self) -> None:
        """Who reads it, which may change in the middle; told where it is not the usual one."""
        stream = self._stream
        if stream is None or (stream.reader, stream.reason) == (self.reader, self.reader_reason):
            return
        self.reader, self.reader_reason = stream.reader, stream.reason
        if stream.reason:
            log.warning(
                "live.reader",
                stream=self._name,
                reader=stream.reader,
                reason=stream.reason,
                transport=stream.transport,
            )

    def _announce(self, state: LiveState) -> None:
        if state != self._state:
            self._state = state
            for viewer in self.viewers:
                viewer.offer(state)

    def _interrupt(self, error: AdapterError) -> None:
        self._counters.upstream_losses += self._notice is None
        if self._notice is None and (self._state is None or self._state.state == "live"):
            log.warning("live.upstream_lost", stream=self._name, error=str(error))
        self._cache.clear()
        self._shift_us = None if self._sequence else 0
        for viewer in self.viewers:
            viewer.interrupt()
        self._announce(LiveState(state="reconnecting", reason=error.message))

    def _end(self, code: int, reason: str) -> None:
        self._ended = code, reason
        for viewer in self.viewers:
            viewer.close(code, reason)
