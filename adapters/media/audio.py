"""Audio over RTP, passed on as it is: G.711 (RFC 3551) and AAC (RFC 3640, mpeg4-generic)."""

import dataclasses
from collections.abc import Mapping
from typing import Protocol

from adapters.base import AccessUnit, TrackFormat
from adapters.errors import NotSupported, ProtocolViolation
from adapters.media.bits import BitReader
from adapters.media.rtp import Arrival, MediaClock, RtpPacket, SequenceOrder
from adapters.media.sdp import Media

MAX_FRAME_BYTES = 64 * 1024
_RATES_HZ = (
    *(96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000),
    *(22_050, 16_000, 12_000, 11_025, 8_000, 7_350),
)

_FURTHER_FIELDS = (
    *("ctsdeltalength", "dtsdeltalength", "streamstateindication"),
    *("randomaccessindication", "auxiliarydatasizelength"),
)


class AudioCodec(Protocol):
    """One audio codec as it comes over RTP. frame_ticks: ticks of the RTP clock that one frame
    lasts, where a packet may hold several."""

    frame_ticks: int

    def format(self, track: int) -> TrackFormat: ...

    def push(self, payload: bytes) -> list[bytes]:
        """The frames that a payload completes. Raises: ProtocolViolation."""

    def reset(self) -> None:
        """Forget a half-received frame, after a loss."""


class G711:
    """PCMA and PCMU: a packet is one frame of any length."""

    frame_ticks = 0

    def __init__(self, codec: str, rate_hz: int, channels: int) -> None:
        self._format = (codec, rate_hz, channels)

    def format(self, track: int) -> TrackFormat:
        codec, rate_hz, channels = self._format
        return TrackFormat(
            track=track,
            kind="audio",
            codec=codec,
            description=b"",
            sample_rate_hz=rate_hz,
            channels=channels,
        )

    def push(self, payload: bytes) -> list[bytes]:
        return [payload]

    def reset(self) -> None:
        """Nothing is ever half received."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AacConfig:
    """What an AudioSpecificConfig (ISO/IEC 14496-3) says. object_type: 2 is AAC-LC."""

    object_type: int
    sample_rate_hz: int
    channels: int
    frame_samples: int


def parse_aac_config(data: bytes) -> AacConfig:
    """Raises: ProtocolViolation."""
    if not 2 <= len(data) <= 64:
        raise ProtocolViolation("this is not a configuration of AAC")
    bits = BitReader(data)
    object_type = _object_type(bits)
    rate_hz = _rate(bits)
    channels = bits.read(4)
    if object_type in (5, 29):  # SBR: the rate that comes out, and what it is built upon
        rate_hz = _rate(bits)
        _object_type(bits)
    short = bits.flag()
    if not (rate_hz and 1 <= channels <= 7):
        raise ProtocolViolation("AAC of an unknown rate or number of channels")
    return AacConfig(
        object_type=object_type,
        sample_rate_hz=rate_hz,
        channels=8 if channels == 7 else channels,
        frame_samples=960 if short else 1024,
    )


def _object_type(bits: BitReader) -> int:
    value = bits.read(5)
    return 32 + bits.read(6) if value == 31 else value


def _rate(bits: BitReader) -> int:
    index = bits.read(4)
    if index == 15:
        return bits.read(24)
    return _RATES_HZ[index] if index < len(_RATES_HZ) else 0


class Aac:
    """AAC in the modes of RFC 3640 that have no interleaving.

    Raises: NotSupported for other modes; ProtocolViolation for a configuration that is none.
    """

    def __init__(self, fmtp: Mapping[str, str], clock_rate_hz: int) -> None:
        if any(_number(fmtp, name) for name in _FURTHER_FIELDS):
            raise NotSupported("AAC with further fields in its headers is not passed on")
        low = fmtp.get("mode", "").lower() == "aac-lbr"
        self._size_bits = _number(fmtp, "sizelength", 6 if low else 13)
        self._index_bits = _number(fmtp, "indexlength", 2 if low else 3)
        self._delta_bits = _number(fmtp, "indexdeltalength", 2 if low else 3)
        if not 1 <= self._size_bits <= 16 or max(self._index_bits, self._delta_bits) > 16:
            raise ProtocolViolation("AAC whose headers have no size")
        try:
            self._description = bytes.fromhex(fmtp.get("config", ""))
        except ValueError:
            raise ProtocolViolation("AAC without a configuration") from None
        self._config = parse_aac_config(self._description)
        samples = self._config.frame_samples
        rate_hz = self._config.sample_rate_hz
        self.frame_ticks = samples * (clock_rate_hz or rate_hz) // rate_hz
        if self._config.object_type in (5, 29):
            self.frame_ticks *= 2
        self._partial: list[bytes] = []
        self._wanted = self._have = 0

    def format(self, track: int) -> TrackFormat:
        return TrackFormat(
            track=track,
            kind="audio",
            codec=f"mp4a.40.{self._config.object_type}",
            description=self._description,
            sample_rate_hz=self._config.sample_rate_hz,
            channels=self._config.channels,
        )

    def reset(self) -> None:
        self._partial.clear()
        self._wanted = self._have = 0

    def push(self, payload: bytes) -> list[bytes]:
        """See `AudioCodec.push`."""
        sizes, at = self._headers(payload)
        rest = payload[at:]
        if len(sizes) == 1 and sizes[0] > len(rest):
            return self._fragment(sizes[0], rest)
        self.reset()
        frames, at = [], 0
        for size in sizes:
            if not size or at + size > len(rest):
                raise ProtocolViolation("an AAC packet is shorter than its headers say")
            frames.append(rest[at : at + size])
            at += size
        return frames

    def _headers(self, payload: bytes) -> tuple[list[int], int]:
        """The sizes of the frames, and where the first begins."""
        total = int.from_bytes(payload[:2], "big")
        stop = 2 + (total + 7) // 8
        first, each = self._size_bits + self._index_bits, self._size_bits + self._delta_bits
        if len(payload) <= stop or total < first or total > 8 * 4096:
            raise ProtocolViolation("an AAC packet is shorter than its headers say")
        bits = BitReader(payload[2:stop])
        sizes = [bits.read(self._size_bits)]
        bits.read(self._index_bits)
        for _ in range((total - first) // each):
            sizes.append(bits.read(self._size_bits))
            if bits.read(self._delta_bits):
                raise ProtocolViolation("interleaved AAC is not read")
        return sizes, stop

    def _fragment(self, size: int, piece: bytes) -> list[bytes]:
        if not piece or size > MAX_FRAME_BYTES:
            self.reset()
            raise ProtocolViolation("an AAC fragment that cannot be")
        if size != self._wanted:
            self._partial, self._wanted, self._have = [], size, 0
        self._partial.append(piece)
        self._have += len(piece)
        if self._have < size:
            return []
        frame = b"".join(self._partial)
        self.reset()
        if len(frame) > size:
            raise ProtocolViolation("AAC fragments that are longer than their frame")
        return [frame]


def _number(fmtp: Mapping[str, str], name: str, default: int = 0) -> int:
    text = fmtp.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 6 else default


def audio_codec(media: Media) -> AudioCodec:
    """Raises: NotSupported, ProtocolViolation, each saying what it is that is not passed on."""
    if media.codec in ("PCMA", "PCMU"):
        return G711(media.codec.lower(), media.clock_rate_hz or 8000, media.channels)
    if media.codec == "MPEG4-GENERIC":
        return Aac(media.fmtp, media.clock_rate_hz)
    raise NotSupported(f"audio in {media.codec or 'an unnamed codec'} is not passed on")


@dataclasses.dataclass(slots=True)
class AudioCounters:
    """What an audio track went through. bad: packets that could not be read."""

    packets: int = 0
    lost: int = 0
    late: int = 0
    bad: int = 0
    units: int = 0


class AudioTrack:
    """Frames of one audio track on the stream's time line.

    offset_us: from the track's own time, which begins with its first packet, to the stream's.
    """

    def __init__(self, codec: AudioCodec, clock_rate_hz: int, track: int = 1) -> None:
        self.format = codec.format(track)
        self.offset_us = 0
        self.counters = AudioCounters()
        self._codec = codec
        self._rate_hz = clock_rate_hz or self.format.sample_rate_hz
        self._clock = MediaClock(self._rate_hz)
        self._order = SequenceOrder()
        self._interrupted = False
        self._last_us = -1

    def media_us(self, timestamp: int) -> int:
        """The track's own time of a timestamp near the last one."""
        return self._clock.at_us(timestamp)

    @property
    def began(self) -> bool:
        return self.counters.packets > 0

    def follow(self, packet: RtpPacket) -> None:
        """Keep up with a packet that is not wanted yet."""
        self.counters.packets += 1
        if self._order.see(packet.sequence) is not Arrival.LATE:
            self._clock.time_us(packet.timestamp)

    def push(self, packet: RtpPacket) -> list[AccessUnit]:
        """The frames that this packet completes; what is broken is counted and skipped."""
        self.counters.packets += 1
        arrival = self._order.see(packet.sequence)
        if arrival is Arrival.LATE:
            self.counters.late += 1
            return []
        if arrival is Arrival.GAP and self.counters.packets > 1:
            self._codec.reset()
            self._interrupted = True
            self.counters.lost = self._order.lost
        time_us = self._clock.time_us(packet.timestamp)
        if not packet.payload:
            return []
        try:
            frames = self._codec.push(packet.payload)
        except ProtocolViolation:
            self.counters.bad += 1
            self._codec.reset()
            self._interrupted = True
            return []
        step_us = self._codec.frame_ticks * 1_000_000 // self._rate_hz
        return [self._unit(frame, time_us + n * step_us) for n, frame in enumerate(frames)]

    def _unit(self, frame: bytes, time_us: int) -> AccessUnit:
        self._last_us = max(self._last_us + 1, time_us + self.offset_us)
        unit = AccessUnit(
            track=self.format.track,
            pts_us=self._last_us,
            keyframe=True,
            data=frame,
            discontinuity=self._interrupted,
        )
        self._interrupted = False
        self.counters.units += 1
        return unit
