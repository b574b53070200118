"""Access units as RTP packets within an RTSP connection, and the SDP that announces them.

Source: RFC 3550 (RTP), RFC 6184 (H.264), RFC 7798 (H.265), RFC 3640 (AAC), RFC 3551 (G.711),
RFC 2326 10.12 (interleaving), RFC 8866 (SDP).
"""

import base64
import struct
from collections.abc import Iterable

from adapters.base import AccessUnit, TrackFormat
from adapters.errors import NotSupported
from adapters.media.nal import split_with_lengths

MAX_PAYLOAD_BYTES = 1400
VIDEO_TYPE, AUDIO_TYPE = 96, 97
VIDEO_CLOCK_HZ = 90_000
_HEADER = struct.Struct(">BBHII")
_FRAME = struct.Struct(">cBH")
_STATIC_TYPES = {"pcmu": 0, "pcma": 8}
_H264_SETS = frozenset({7, 8})
_H265_SETS = frozenset({32, 33, 34})


class Packetiser:
    """One track of one connection. channel: of its RTP within the connection. ssrc: its sender's
    number. sequence: that of its first packet.

    Raises: NotSupported for a codec that it cannot send.
    """

    def __init__(self, track: TrackFormat, *, channel: int, ssrc: int, sequence: int = 0) -> None:
        self._channel = channel
        self._ssrc = ssrc
        self._sequence = sequence & 0xFFFF
        self.codec = _codec(track)
        self.track = track
        self.payload_type = _payload_type(track, self.codec)
        self.clock_hz = VIDEO_CLOCK_HZ if track.kind == "video" else track.sample_rate_hz
        self._sets = parameter_sets(track) if track.kind == "video" else []

    def follow(self, track: TrackFormat) -> bool:
        """Go on in another format of the same codec; False where a reader would have to be told
        anew."""
        if _codec(track) != self.codec or track.kind == "audio":
            return track == self.track
        self.track, self._sets = track, parameter_sets(track)
        return True

    def pack(self, unit: AccessUnit) -> bytes:
        """All packets of a unit, each framed for the connection."""
        timestamp = unit.pts_us * self.clock_hz // 1_000_000 & 0xFFFFFFFF
        payloads = list(self._payloads(unit))
        last = len(payloads) - 1
        return b"".join(
            self._packet(payload, timestamp, marker=number == last)
            for number, payload in enumerate(payloads)
        )

    def _packet(self, payload: bytes, timestamp: int, *, marker: bool) -> bytes:
        second = self.payload_type | (0x80 if marker else 0)
        header = _HEADER.pack(0x80, second, self._sequence, timestamp, self._ssrc)
        self._sequence = self._sequence + 1 & 0xFFFF
        return _FRAME.pack(b"$", self._channel, len(header) + len(payload)) + header + payload

    def _payloads(self, unit: AccessUnit) -> Iterable[bytes]:
        if self.codec == "mp4a":
            yield struct.pack(">HH", 16, len(unit.data) << 3 & 0xFFF8) + unit.data
        elif self.track.kind == "audio":
            for at in range(0, len(unit.data), MAX_PAYLOAD_BYTES):
                yield unit.data[at : at + MAX_PAYLOAD_BYTES]
        else:
            yield from self._pictures(unit)

    def _pictures(self, unit: AccessUnit) -> Iterable[bytes]:
        nals = split_with_lengths(unit.data)
        if unit.keyframe:  # who joins in the middle needs them, and they may be others by now
            kinds = _H264_SETS if self.codec == "h264" else _H265_SETS
            nals = [*self._sets, *(nal for nal in nals if self._kind(nal) not in kinds)]
        split = _split_h264 if self.codec == "h264" else _split_h265
        for nal in nals:
            if len(nal) <= MAX_PAYLOAD_BYTES:
                yield nal
            else:
                yield from split(nal)

    def _kind(self, nal: bytes) -> int:
        if not nal:
            return -1
        return nal[0] & 0x1F if self.codec == "h264" else nal[0] >> 1 & 0x3F


def _split_h264(nal: bytes) -> Iterable[bytes]:
    """Fragmentation units of type A."""
    indicator, kind = nal[0] & 0xE0 | 28, nal[0] & 0x1F
    room = MAX_PAYLOAD_BYTES - 2
    for at in range(1, len(nal), room):
        first, last = at == 1, at + room >= len(nal)
        yield bytes((indicator, first << 7 | last << 6 | kind)) + nal[at : at + room]


def _split_h265(nal: bytes) -> Iterable[bytes]:
    head = bytes((nal[0] & 0x81 | 49 << 1, nal[1]))
    kind, room = nal[0] >> 1 & 0x3F, MAX_PAYLOAD_BYTES - 3
    for at in range(2, len(nal), room):
        first, last = at == 2, at + room >= len(nal)
        yield head + bytes((first << 7 | last << 6 | kind,)) + nal[at : at + room]


def _codec(track: TrackFormat) -> str:
    """Raises: NotSupported."""
    name = track.codec.partition(".")[0].lower()
    codec = {"avc1": "h264", "avc3": "h264", "hvc1": "h265", "hev1": "h265"}.get(name, name)
    if codec not in ("h264", "h265", "mp4a", *_STATIC_TYPES):
        raise NotSupported(f"a stream in {track.codec} is not handed to a media server")
    return codec


def carries(track: TrackFormat) -> bool:
    """Whether a media server can be handed this track."""
    try:
        return _codec(track) in ("h264", "h265") or track.sample_rate_hz > 0
    except NotSupported:
        return False


def _payload_type(track: TrackFormat, codec: str) -> int:
    if codec in _STATIC_TYPES and track.sample_rate_hz == 8000 and track.channels == 1:
        return _STATIC_TYPES[codec]
    return VIDEO_TYPE if track.kind == "video" else AUDIO_TYPE


def parameter_sets(track: TrackFormat) -> list[bytes]:
    """The NAL units of an avcC or hvcC, in order. Raises: NotSupported for one that is cut."""
    data, sets = track.description, list[bytes]()
    try:
        if _codec(track) == "h264":
            at = _take(data, 6, data[5] & 0x1F, sets)
            _take(data, at + 1, data[at], sets)
            return sets
        at = 23
        for _ in range(data[22]):
            at = _take(data, at + 3, int.from_bytes(data[at + 1 : at + 3], "big"), sets)
    except IndexError:
        raise NotSupported("the stream does not say how it is coded") from None
    return sets


def _take(data: bytes, at: int, count: int, sets: list[bytes]) -> int:
    for _ in range(count):
        begin = at + 2
        at = begin + (data[at] << 8 | data[at + 1])
        if at > len(data):
            raise IndexError
        if at > begin:
            sets.append(data[begin:at])
    return at


# --- SDP ----------------------------------------------------------------------------------------


def describe(tracks: Iterable[TrackFormat], name: str) -> bytes:
    """The session: track n is controlled as ``track=n``. Raises: NotSupported."""
    lines = ["v=0", "o=- 0 0 IN IP4 0.0.0.0", f"s={name}", "c=IN IP4 0.0.0.0", "t=0 0"]
    lines.append("a=control:*")
    for number, track in enumerate(tracks):
        lines += [*_media(track), f"a=control:track={number}"]
    return ("\r\n".join(lines) + "\r\n").encode()


def _media(track: TrackFormat) -> list[str]:
    codec = _codec(track)
    number = _payload_type(track, codec)
    if track.kind == "video":
        lines = [f"m=video 0 RTP/AVP {number}", f"a=rtpmap:{number} {codec.upper()}/90000"]
        return [*lines, f"a=fmtp:{number} {_video_parameters(track, codec)}"]
    name = "mpeg4-generic" if codec == "mp4a" else codec.upper()
    lines = [
        f"m=audio 0 RTP/AVP {number}",
        f"a=rtpmap:{number} {name}/{track.sample_rate_hz}/{track.channels or 1}",
    ]
    if codec == "mp4a":
        config = track.description.hex()
        lines.append(
            f"a=fmtp:{number} streamtype=5;profile-level-id=1;mode=AAC-hbr;"
            f"sizelength=13;indexlength=3;indexdeltalength=3;config={config}"
        )
    return lines


def _video_parameters(track: TrackFormat, codec: str) -> str:
    sets = parameter_sets(track)
    if codec == "h264":
        told = ",".join(base64.b64encode(nal).decode() for nal in sets)
        level = track.description[1:4].hex()
        return f"packetization-mode=1;profile-level-id={level};sprop-parameter-sets={told}"
    names = {32: "sprop-vps", 33: "sprop-sps", 34: "sprop-pps"}
    found = ((names.get(nal[0] >> 1 & 0x3F), nal) for nal in sets)
    return ";".join(f"{name}={base64.b64encode(nal).decode()}" for name, nal in found if name)
