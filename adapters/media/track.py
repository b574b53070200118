"""From RTP packets of one video track to access units, whatever is lost or joined in the middle."""

import contextlib
import dataclasses
import struct
from collections.abc import Iterable, Sequence

from adapters.base import AccessUnit, MediaItem, TrackFormat
from adapters.errors import ProtocolViolation
from adapters.media.bits import MAX_PARAMETER_SET_BYTES
from adapters.media.nal import NalCodec, NalKind, VideoFormat, join_with_lengths
from adapters.media.rtp import Arrival, MediaClock, RtpPacket, SequenceOrder, parse_rtp

MAX_UNIT_BYTES = 16 * 1024 * 1024
MAX_UNIT_NALS = 4_096
_PLAIN_HEADER = struct.Struct(">xBHI")
_NOTHING: tuple[MediaItem, ...] = ()
_NEVER = b"no packet has this here"


@dataclasses.dataclass(slots=True)
class TrackCounters:
    """What a track went through. bad: packets that could not be read; other: those of another
    payload type than agreed; skipped: access units left out while a keyframe was awaited."""

    packets: int = 0
    other: int = 0
    lost: int = 0
    late: int = 0
    bad: int = 0
    skipped: int = 0
    units: int = 0
    clock_jumps: int = 0


class ParameterSets:
    """The parameter sets of a track: those of the SDP, then those that come in band."""

    def __init__(self, codec: NalCodec, sets: Iterable[bytes] = ()) -> None:
        self._codec = codec
        self._sets: dict[tuple[int, int], bytes] = {}
        self._format: VideoFormat | None = None
        for nal in sets:
            with contextlib.suppress(ProtocolViolation):
                self._sets[codec.parameter_key(nal)] = nal

    def see(self, nal: bytes) -> None:
        """Take a set in; an unreadable one is left out."""
        if len(nal) > MAX_PARAMETER_SET_BYTES:
            return
        try:
            key = self._codec.parameter_key(nal)
        except ProtocolViolation:
            return
        if self._sets.get(key) == nal:
            return
        if self._codec.is_root(nal):
            # Sets that hang on another root do not fit this one. What comes before the root
            # (a VPS in H.265) has already been replaced by its own key.
            self._sets = {k: v for k, v in self._sets.items() if k[0] < key[0]}
        self._sets[key] = nal
        self._format = None

    def video_format(self) -> VideoFormat | None:
        """None while a set is missing or unreadable."""
        if self._format is None:
            try:
                self._format = self._codec.video_format(self._sets.values())
            except ProtocolViolation:
                return None
        return self._format


class UnitGate:
    """Lets access units through from a keyframe on, each format before its first one.

    Shared by everything that makes access units of NAL units: RTP packets and PyAV's packets.
    """

    def __init__(self, codec: NalCodec, sets: Iterable[bytes], track: int = 0) -> None:
        self._codec = codec
        self._track = track
        self._sets = ParameterSets(codec, sets)
        self._sent: VideoFormat | None = None
        self._awaiting_key = True
        self._skip_leading = True
        self._zero_us: int | None = None
        self.counters = TrackCounters()

    def interrupt(self) -> None:
        """Something was lost: nothing passes until the next keyframe."""
        self._awaiting_key = True

    def parameter(self, nal: bytes) -> None:
        self._sets.see(nal)

    def pts_us(self, time_us: int) -> int | None:
        """The presentation time of a moment of the track's own clock; None before it began."""
        return None if self._zero_us is None else time_us - self._zero_us

    def unit(self, nals: list[bytes], kind: NalKind, time_us: int) -> list[MediaItem]:
        """What may be shown of one access unit: at most a format and the unit itself.

        nals: without parameter sets and delimiters. kind: that of its pictures. time_us: on the
        track's own clock.
        """
        key = kind is NalKind.KEY
        # SKIPPABLE ones (RASL) refer to what came before the keyframe that we joined at.
        unseen = kind is NalKind.SKIPPABLE and self._skip_leading
        if not key and (self._awaiting_key or unseen):
            self.counters.skipped += 1
            return []
        items: list[MediaItem] = []
        interrupted = self._awaiting_key
        if key:
            video = self._sets.video_format()
            if video is None:
                self._awaiting_key = True
                self.counters.skipped += 1
                return []
            if video != self._sent:
                self._sent = video
                items.append(self._track_format(video))
            self._skip_leading = interrupted
            self._awaiting_key = False
        elif kind is not NalKind.SKIPPABLE:
            self._skip_leading = False
        discontinuity = interrupted and self._zero_us is not None
        if self._zero_us is None:
            self._zero_us = time_us
        self.counters.units += 1
        items.append(
            AccessUnit(
                track=self._track,
                pts_us=max(0, time_us - self._zero_us),
                keyframe=key,
                data=join_with_lengths(nals),
                discontinuity=discontinuity,
            )
        )
        return items

    def _track_format(self, video: VideoFormat) -> TrackFormat:
        return TrackFormat(
            track=self._track,
            kind="video",
            codec=video.codec,
            description=video.description,
            width=video.width,
            height=video.height,
        )


class VideoTrack:
    """Depacketises one track and cuts it into access units, by marker and by timestamp.

    sets: parameter sets from the SDP. Loss makes it wait for the next keyframe, which carries
    `discontinuity`. A camera whose marker comes before the end of a picture is found out and
    then cut by timestamp alone, which is one picture later.
    """

    def __init__(
        self,
        codec: NalCodec,
        *,
        clock_rate_hz: int = 90_000,
        sets: Iterable[bytes] = (),
        track: int = 0,
    ) -> None:
        self._codec = codec
        self._depacketiser = codec.depacketiser()
        self._kinds = codec.kinds
        self._order = SequenceOrder()
        self._clock = MediaClock(clock_rate_hz)
        self._gate = UnitGate(codec, sets, track)
        self._nals: list[bytes] = []
        self._kind = NalKind.OTHER
        self._size = 0
        self._timestamp = -1
        self._finished = -1
        self._marker_ends = True
        self._payload_type = -1
        self._plain = b""
        self._going_on = _NEVER
        self._body = 12
        self.counters = self._gate.counters

    def expect(self, payload_type: int) -> None:
        """Packets of another type are passed over, unless the camera sends no others: some
        announce one type and send another."""
        self._payload_type = payload_type
        self._plain = bytes((0x80, payload_type & 0x7F))

    def take(self, data: bytes) -> Sequence[MediaItem]:
        """`push` for a packet as it came. Raises: ProtocolViolation when it is none, NotSupported
        as `push` does.

        Most packets go on with a fragmented unit. They are told by comparing bytes, before
        anything is taken apart: that halves what a stream costs.
        """
        if (
            data[4 : self._body] == self._going_on
            and data[:2] == self._plain
            and (data[2] << 8 | data[3]) == self._order.expected
            and len(data) > self._body
        ):
            try:
                self._depacketiser.extend(data[self._body :])
            except ProtocolViolation:
                self._going_on = _NEVER
                self._lose()
                raise
            self._order.expected = (self._order.expected + 1) & 0xFFFF
            self._order.restart = None
            self.counters.packets += 1
            return _NOTHING
        self._going_on = _NEVER
        if data[:1] == b"\x80" and len(data) >= 12:
            second, sequence, timestamp = _PLAIN_HEADER.unpack_from(data)
            marker, payload_type, payload = second >= 0x80, second & 0x7F, data[12:]
        else:
            marker, payload_type, sequence, timestamp, _, payload = parse_rtp(data)
        if payload_type != self._payload_type and self._is_other(payload_type):
            self.counters.other += 1
            return _NOTHING
        items = self._push(marker, sequence, timestamp, payload)
        continuation = self._depacketiser.continuation
        if continuation:
            self._going_on = data[4:12] + continuation
            self._body = 12 + len(continuation)
        return items

    def _is_other(self, payload_type: int) -> bool:
        # 72 to 76 are what reports of RTCP look like.
        if self.counters.packets or 72 <= payload_type <= 76:
            return self._payload_type >= 0
        self.expect(payload_type)
        return False

    def pts_us(self, timestamp: int) -> int | None:
        """The presentation time of an RTP timestamp near the last; None before it began."""
        return self._gate.pts_us(self._clock.at_us(timestamp))

    @property
    def position_us(self) -> int:
        """The presentation time of the last access unit; 0 before there was one."""
        return max(0, self.pts_us(self._finished) or 0) if self._finished >= 0 else 0

    def push(self, packet: RtpPacket) -> list[MediaItem]:
        """The items that this packet completes. Raises: NotSupported for packets of a mode that
        is not read natively; what is broken is counted and skipped."""
        return self._push(packet.marker, packet.sequence, packet.timestamp, packet.payload)

    def _push(self, marker: bool, sequence: int, timestamp: int, payload: bytes) -> list[MediaItem]:
        self.counters.packets += 1
        arrival = self._order.see(sequence)
        if arrival is Arrival.LATE:
            self.counters.late += 1
            return []
        items: list[MediaItem] = []
        if timestamp != self._timestamp:
            if self._nals and arrival is Arrival.NEXT:
                items = self._finish()
            self._begin(timestamp)
        if arrival is Arrival.GAP:
            self._lose()
            self.counters.lost = self._order.lost
        if not payload:
            return items  # Some cameras send an empty packet to carry the marker.
        try:
            for nal in self._depacketiser.push(payload):
                self._take(nal, self._kinds[nal[0]])
        except ProtocolViolation:
            self.counters.bad += 1
            self._lose()
        if marker and self._marker_ends:
            items += self._finish()
        return items

    def _begin(self, timestamp: int) -> None:
        self._nals, self._kind, self._size = [], NalKind.OTHER, 0
        self._timestamp = timestamp

    def _lose(self) -> None:
        self._depacketiser.reset()
        self._nals, self._kind, self._size = [], NalKind.OTHER, 0
        self._gate.interrupt()

    def _take(self, nal: bytes, kind: NalKind) -> None:
        if kind is NalKind.PARAMETER:
            self._gate.parameter(nal)
            return
        if kind is NalKind.DELIMITER:
            return
        if kind is not NalKind.OTHER and kind is not self._kind:
            if not self._continues(nal):
                return
            self._kind = kind
        self._size += len(nal)
        if self._size > MAX_UNIT_BYTES or len(self._nals) >= MAX_UNIT_NALS:
            raise ProtocolViolation(f"a picture of more than {MAX_UNIT_BYTES} bytes, or in shreds")
        self._nals.append(nal)

    def _continues(self, nal: bytes) -> bool:
        """Whether a picture's unit belongs to what is being collected; if not, it is lost."""
        if self._kind is not NalKind.OTHER or self._codec.begins_picture(nal):
            return True
        if self._timestamp == self._finished:
            self._marker_ends = False
        self._lose()
        return False

    def _finish(self) -> list[MediaItem]:
        if self._kind is NalKind.OTHER:
            return []
        time_us = self._clock.time_us(self._timestamp)
        self.counters.clock_jumps = self._clock.jumps
        items = self._gate.unit(self._nals, self._kind, time_us)
        self._nals, self._kind, self._size = [], NalKind.OTHER, 0
        self._finished = self._timestamp
        return items
