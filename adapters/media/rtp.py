"""RTP packets (RFC 3550): header, order of sequence numbers, and time that wraps."""

import enum
import struct
from typing import NamedTuple

from adapters.errors import ProtocolViolation

_HEADER = struct.Struct(">BBHII")


class RtpPacket(NamedTuple):
    """timestamp: in ticks of the track's clock, modulo 2**32. sequence: modulo 2**16."""

    marker: bool
    payload_type: int
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes


def parse_rtp(data: bytes) -> RtpPacket:
    """Split an RTP packet into its header and payload. Raises: ProtocolViolation."""
    if len(data) < 12 or data[0] >> 6 != 2:
        raise ProtocolViolation("this is not an RTP packet of version 2")
    first, second, sequence, timestamp, ssrc = _HEADER.unpack_from(data)
    if first == 0x80:
        return RtpPacket(second >= 0x80, second & 0x7F, sequence, timestamp, ssrc, data[12:])
    begin, end = 12 + 4 * (first & 0x0F), len(data)
    if first & 0x10:
        if end < begin + 4:
            raise ProtocolViolation("an RTP header extension is cut short")
        begin += 4 + 4 * int.from_bytes(data[begin + 2 : begin + 4], "big")
    if first & 0x20:
        end -= data[-1]
    if begin > end:
        raise ProtocolViolation("an RTP packet is shorter than its header says")
    return RtpPacket(second >= 0x80, second & 0x7F, sequence, timestamp, ssrc, data[begin:end])


class Arrival(enum.Enum):
    """How a packet follows the one before. LATE ones (and repeats) are to be dropped."""

    NEXT = "next"
    GAP = "gap"
    LATE = "late"


class SequenceOrder:
    """Follows the sequence numbers of one sender.

    A jump backwards is believed when the next packet continues there, as RFC 3550 A.1 advises for
    senders that restart. lost: packets that never came, as far as the numbers tell. expected: the
    number that comes next, -1 before the first. restart: where a jump backwards would go on.
    """

    def __init__(self) -> None:
        self.expected = -1
        self.restart: int | None = None
        self.lost = 0

    def see(self, sequence: int) -> Arrival:
        expected = self.expected
        if sequence == expected or expected < 0:
            self.expected = (sequence + 1) & 0xFFFF
            self.restart = None
            return Arrival.GAP if expected < 0 else Arrival.NEXT
        ahead = (sequence - expected) & 0xFFFF
        if ahead < 0x8000 or sequence == self.restart:
            self.lost += ahead if ahead < 0x8000 else 1
            self.expected = (sequence + 1) & 0xFFFF
            self.restart = None
            return Arrival.GAP
        self.restart = (sequence + 1) & 0xFFFF
        return Arrival.LATE


class MediaClock:
    """Turns 32-bit RTP timestamps into microseconds that never wrap.

    A jump of more than `max_jump_s` (a camera set its clock) is taken as one ordinary step.
    """

    def __init__(self, clock_rate_hz: int, max_jump_s: float = 10.0) -> None:
        self._rate_hz = clock_rate_hz
        self._max_jump = int(clock_rate_hz * max_jump_s)
        self._last: int | None = None
        self._ticks = 0
        self._step = clock_rate_hz // 25
        self.jumps = 0

    def at_us(self, timestamp: int) -> int:
        """What time a timestamp near the last one stands for, without going there."""
        last = timestamp if self._last is None else self._last
        delta = (timestamp - last + 0x80000000 & 0xFFFFFFFF) - 0x80000000
        return (self._ticks + delta) * 1_000_000 // self._rate_hz

    def time_us(self, timestamp: int) -> int:
        """Microseconds since the first timestamp; may go back where pictures are reordered."""
        if self._last is None:
            self._last = timestamp
        delta = (timestamp - self._last + 0x80000000 & 0xFFFFFFFF) - 0x80000000
        if abs(delta) > self._max_jump:
            self.jumps += 1
            delta = self._step
        elif delta > 0:
            self._step = delta
        self._last = timestamp
        self._ticks += delta
        return self._ticks * 1_000_000 // self._rate_hz
