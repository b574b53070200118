"""The timelines of simulated cameras: one pacer for all streams, one timeline per stream."""

import asyncio
import dataclasses
import math
import os
import random
import secrets
import time
from collections.abc import Callable
from typing import Final, Protocol

from simulators.clips import Clip
from simulators.rtsp_camera import rtp
from simulators.rtsp_camera.faults import JUNK, spoil
from simulators.rtsp_camera.sound import Sound
from simulators.rtsp_camera.spec import RtspQuirks

SLOTS: Final = 8  # streams of one frame rate are spread over so many moments of a frame period
_CATCH_UP_FRAMES: Final = 4
_REPORT_INTERVAL_S: Final = 5


class Player(Protocol):
    """A client that plays one track. All methods return at once."""

    def deliver(self, data: bytearray, frame: rtp.FramePackets) -> None: ...
    def packet(self, data: bytes) -> None: ...
    def junk(self, data: bytes) -> None: ...
    def report(self, data: bytes) -> None: ...


@dataclasses.dataclass(slots=True)
class _Playing:
    player: Player
    audio: Player | None
    report_due: int  # frame number


class Stream:
    """One profile of one video source: every client sees the same timeline, from where it is.

    offset: frames by which its clip is shifted against the pacer's count.
    """

    def __init__(
        self,
        clip: Clip,
        packets: tuple[rtp.FramePackets, ...],
        quirks: Callable[[], RtspQuirks],
        offset: int,
        sound: Sound | None = None,
    ) -> None:
        self.clip = clip
        self.sound = sound
        self.fps = clip.parameters.fps
        self.slot = offset % SLOTS
        self.ssrc = secrets.randbits(32)
        self.sequence = secrets.randbits(16)
        self.frames_sent = 0
        self._packets = packets
        self._quirks = quirks
        self._offset = offset
        self._base = secrets.randbits(32)
        self._chance = random.Random(offset)
        self._audio = Microphone(sound, self.fps) if sound else None
        self._bare: tuple[rtp.FramePackets, ...] | None = None
        self._playing: list[_Playing] = []
        self._packets_sent = 0
        self._octets_sent = 0

    @property
    def players(self) -> int:
        return len(self._playing)

    def frame_index(self, number: int) -> int:
        """Which frame of the clip is shown at the pacer's frame `number`."""
        return (number + self._offset) % len(self._packets)

    def timestamp(self, number: int) -> int:
        return (self._base + number * rtp.CLOCK_HZ // self.fps) & 0xFFFFFFFF

    def skip_to_keyframe(self, number: int) -> None:
        """Make the frame after `number` a keyframe, for everybody who watches."""
        gop = self.clip.parameters.gop_frames
        self._offset += -(number + 1 + self._offset) % gop

    def add(self, player: Player, audio: Player | None = None) -> None:
        self._playing.append(_Playing(player, audio, 0))

    def wrap_soon(self, number: int) -> None:
        """Let sequence numbers and times run over within a second from frame `number`."""
        self.sequence = 65_530
        self._base = -(number * rtp.CLOCK_HZ // self.fps) - rtp.CLOCK_HZ // 2

    def remove(self, player: Player) -> None:
        self._playing = [p for p in self._playing if p.player is not player]

    def send(self, number: int) -> None:
        """Send frame `number` to every player."""
        quirks = self._quirks()
        if quirks.silent:
            return
        frame = self._frames(quirks)[self.frame_index(number)]
        if quirks.garbage:
            junk = os.urandom(len(frame.template))
            for playing in tuple(self._playing):
                playing.player.junk(junk)
            return
        time_ns = time.time_ns()
        timestamp = self.timestamp(number)
        data = rtp.stamp(frame, self.sequence, timestamp, self.ssrc, time_ns)
        self.sequence = (self.sequence + len(frame.offsets)) & 0xFFFF
        self._packets_sent += len(frame.offsets)
        self._octets_sent += frame.payload_bytes
        self.frames_sent += 1
        report: bytes | None = None
        sounds = self._audio.packets(number) if self._audio else ()
        for playing in tuple(self._playing):
            self._deliver(playing.player, data, frame, quirks)
            if playing.audio is not None:
                for sound in sounds:
                    playing.audio.packet(sound)
            if number >= playing.report_due:
                playing.report_due = number + _REPORT_INTERVAL_S * self.fps
                report = report or rtp.sender_report(
                    self.ssrc, time_ns, timestamp, self._packets_sent, self._octets_sent
                )
                playing.player.report(report)
                if playing.audio is not None and self._audio is not None:
                    playing.audio.report(self._audio.report(number, time_ns))

    def _frames(self, quirks: RtspQuirks) -> tuple[rtp.FramePackets, ...]:
        if quirks.sets != "sdp":
            return self._packets
        if self._bare is None:
            self._bare = rtp.packets_without_sets(self.clip)
        return self._bare

    def _deliver(
        self, player: Player, data: bytearray, frame: rtp.FramePackets, quirks: RtspQuirks
    ) -> None:
        if quirks.junk_between:
            player.junk(JUNK)
        if not quirks.spoils_packets:
            player.deliver(data, frame)
            return
        for packet in spoil(rtp.split(data, frame), quirks, self._chance):
            player.packet(packet)


class Microphone:
    """Looped sound on the timeline of the pictures it goes with. fps: of these."""

    def __init__(self, sound: Sound, fps: int) -> None:
        self._sound = sound
        self._fps = fps
        self._ssrc = secrets.randbits(32)
        self._sequence = secrets.randbits(16)
        self._base = secrets.randbits(32)
        self._next = -1
        self._octets = 0

    def packets(self, number: int) -> list[bytes]:
        """The RTP packets that belong to the picture with this number."""
        first, after = self._index(number), self._index(number + 1)
        first = max(first, self._next)
        self._next = after
        return [self._packet(index) for index in range(first, after)]

    def report(self, number: int, time_ns: int) -> bytes:
        """A sender report for the moment of a picture."""
        ticks = number * self._sound.clock_rate_hz // self._fps
        timestamp = (self._base + ticks) & 0xFFFFFFFF
        return rtp.sender_report(self._ssrc, time_ns, timestamp, self._sequence, self._octets)

    def _index(self, number: int) -> int:
        return number * self._sound.clock_rate_hz // (self._fps * self._sound.samples)

    def _packet(self, index: int) -> bytes:
        payload = self._sound.payloads[index % len(self._sound.payloads)]
        self._sequence = (self._sequence + 1) & 0xFFFF
        self._octets += len(payload)
        return rtp.packet(
            payload,
            payload_type=self._sound.payload_type,
            sequence=self._sequence,
            timestamp=(self._base + index * self._sound.samples) & 0xFFFFFFFF,
            ssrc=self._ssrc,
            marker=True,
        )


@dataclasses.dataclass(slots=True)
class _Group:
    """The streams of one frame rate that send at the same moment."""

    fps: int
    slot: int
    sent: int
    streams: list[Stream] = dataclasses.field(default_factory=list)


class Pacer:
    """One timer for all streams that somebody plays; it rests when nobody does."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.frames_skipped = 0
        self._loop = loop
        self._epoch_s = loop.time()
        self._groups: dict[tuple[int, int], _Group] = {}
        self._timer: asyncio.TimerHandle | None = None

    def number(self, stream: Stream) -> int:
        """The number of the frame that was due last on this stream's timeline."""
        return self._number(stream.fps, stream.slot)

    def start(self, stream: Stream) -> None:
        key = (stream.fps, stream.slot)
        if key not in self._groups:
            self._groups[key] = _Group(*key, sent=self._number(*key))
        group = self._groups[key]
        if stream not in group.streams:
            group.streams.append(stream)
        self._schedule()

    def stop(self, stream: Stream) -> None:
        key = (stream.fps, stream.slot)
        group = self._groups.get(key)
        if group is None or stream not in group.streams:
            return
        group.streams.remove(stream)
        if not group.streams:
            del self._groups[key]

    def close(self) -> None:
        self._groups.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _number(self, fps: int, slot: int) -> int:
        return math.floor((self._loop.time() - self._epoch_s) * fps - slot / SLOTS)

    def _due_s(self, group: _Group) -> float:
        return self._epoch_s + (group.sent + 1 + group.slot / SLOTS) / group.fps

    def _schedule(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._groups:
            due_s = min(self._due_s(group) for group in self._groups.values())
            self._timer = self._loop.call_at(due_s + 0.0005, self._wake)

    def _wake(self) -> None:
        self._timer = None
        for group in tuple(self._groups.values()):
            now = self._number(group.fps, group.slot)
            first = max(group.sent + 1, now - _CATCH_UP_FRAMES + 1)
            self.frames_skipped += (first - group.sent - 1) * len(group.streams)
            for number in range(first, now + 1):
                for stream in tuple(group.streams):
                    stream.send(number)
            group.sent = now
        self._schedule()
