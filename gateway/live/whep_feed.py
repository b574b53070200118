"""What a WebRTC peer gets of a stream: its units as packets, nothing decoded."""

import asyncio
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import av
from aiortc import MediaStreamError, MediaStreamTrack

from adapters.base import AccessUnit, TrackFormat
from gateway.live.errors import NotOffered
from gateway.live.frames import Entry, LiveFormat, LiveUnit

_TIME_BASE = Fraction(1, 1_000_000)
_START_CODE = b"\x00\x00\x00\x01"
_ROOM = 64
_CATCH_UP_US = 1_000
"""Between two pictures that a peer is to see at once, to reach the newest."""
_LEAST_STEP_US = 12
"""A tick of the 90 kHz clock."""
MAX_AGAIN_BYTES = 1024 * 1024
AGAIN_S = 1.0
SOUNDS = ("pcma", "pcmu")


class PacketTrack(MediaStreamTrack):
    """Hands on coded packets; at most `_ROOM` wait."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        super().__init__()
        self._packets: asyncio.Queue[av.Packet[Any]] = asyncio.Queue(_ROOM)

    async def send(self, data: bytes, pts_us: int) -> None:
        packet: av.Packet[Any] = av.Packet(data)
        packet.pts, packet.time_base = pts_us, _TIME_BASE
        await self._packets.put(packet)

    async def recv(self) -> "av.Packet[Any]":
        if self.readyState != "live":
            raise MediaStreamError
        return await self._packets.get()


class Feed:
    """Feeds the tracks of one peer from the entries of one view.

    sound: None where the peer gets none. ask: asks the camera for a keyframe. clock: monotonic
    seconds.
    """

    def __init__(
        self,
        *,
        sound: PacketTrack | None,
        ask: Callable[[], None],
        max_group_units: int,
        clock: Callable[[], float],
    ) -> None:
        self.pictures = PacketTrack("video")
        self.sound = sound
        self._ask = ask
        self._max_group_units = max_group_units
        self._clock = clock
        self._sets = b""
        self._group: list[AccessUnit] = []
        self._again = self._flows = False
        self._again_from_s = 0.0
        self._sent_us = -1

    def lost_picture(self) -> None:
        """The peer says that it cannot decode what it gets (a picture loss indication)."""
        self._again = True

    async def connected(self) -> None:
        """The peer can be sent to: it begins with the group that is being sent."""
        self._flows = True
        await self._send_group()

    async def add(self, entry: Entry) -> None:
        """Raises: NotOffered when the pictures are no H.264 any more."""
        if isinstance(entry, LiveFormat):
            self._set_format(entry.track)
        elif isinstance(entry, LiveUnit):
            if entry.video:
                await self._add_picture(entry.unit)
            elif self._flows and self.sound is not None:
                await self.sound.send(entry.unit.data, entry.unit.pts_us)

    def _set_format(self, track: TrackFormat) -> None:
        if track.kind == "video":
            require_h264(track)
            self._sets = parameter_sets(track.description)
            self._group.clear()

    async def _add_picture(self, unit: AccessUnit) -> None:
        if unit.keyframe:
            self._group.clear()
            self._again = False
        elif not self._group and not self._flows:
            return
        self._group.append(unit)
        if len(self._group) > self._max_group_units:
            self._group.clear()
        if not self._flows:
            return
        if self._again and self._clock() >= self._again_from_s:
            await self._begin_again()
        else:
            await self._send(unit, max(unit.pts_us, self._sent_us + _LEAST_STEP_US))

    async def _begin_again(self) -> None:
        """Show the group once more from its keyframe, or have the camera make a new one."""
        self._again, self._again_from_s = False, self._clock() + AGAIN_S
        small = sum(len(unit.data) for unit in self._group) <= MAX_AGAIN_BYTES
        if small and self._group and self._group[0].keyframe:
            await self._send_group()
        else:
            self._ask()

    async def _send_group(self) -> None:
        """All of the group, in so short a time that the newest picture is seen when it is due: a
        player would go on as late as the keyframe is old."""
        if not self._group:
            return
        units = tuple(self._group)
        newest_us = units[-1].pts_us
        step_us = _CATCH_UP_US
        if self._sent_us >= 0:
            step_us = min(step_us, (newest_us - self._sent_us) // (len(units) + 1))
        step_us = max(step_us, _LEAST_STEP_US)
        first_us = max(newest_us - (len(units) - 1) * step_us, self._sent_us + step_us)
        for number, unit in enumerate(units):
            await self._send(unit, first_us + number * step_us)

    async def _send(self, unit: AccessUnit, pts_us: int) -> None:
        self._sent_us = max(self._sent_us, pts_us)
        sets = self._sets if unit.keyframe else b""
        await self.pictures.send(sets + annex_b(unit.data), pts_us)


def require_h264(track: TrackFormat) -> None:
    """Raises: NotOffered for other pictures."""
    if not track.codec.startswith("avc1"):
        raise NotOffered(f"WebRTC carries H.264 here, and this stream is {track.codec}")


def annex_b(data: bytes) -> bytes:
    """NAL units that each follow a start code, of ones that each follow their length in 4 bytes.
    What is cut off is left out."""
    parts = []
    at = 0
    while at + 4 <= len(data):
        end = at + 4 + int.from_bytes(data[at : at + 4], "big")
        if end > len(data):
            break
        parts += [_START_CODE, data[at + 4 : end]]
        at = end
    return b"".join(parts)


def parameter_sets(description: bytes) -> bytes:
    """The parameter sets of an avcC, each after a start code; as many as are whole.

    Source: ISO/IEC 14496-15, AVCDecoderConfigurationRecord.
    """
    parts: list[bytes] = []
    at = 5
    for mask in (0x1F, 0xFF):
        if at >= len(description):
            break
        count, at = description[at] & mask, at + 1
        for _ in range(count):
            end = at + 2 + int.from_bytes(description[at : at + 2], "big")
            if at + 2 > len(description) or end > len(description):
                return b"".join(parts)
            parts += [_START_CODE, description[at + 2 : end]]
            at = end
    return b"".join(parts)
