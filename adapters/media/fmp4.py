"""Fragmented MP4 (ISO/IEC 14496-12) for live playing: one fragment for each access unit."""

import struct
from typing import NamedTuple

from adapters.base import AccessUnit, TrackFormat
from adapters.errors import NotSupported

TIMESCALE_HZ = 90_000
_TRACK = 1
_MATRIX = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
# moof(mfhd, traf(tfhd, tfdt, trun with one sample)) and the head of mdat; see `fragment`.
_FRAGMENT = struct.Struct(">I4s I4sII I4s I4sII I4sIQ I4sIIi IIIi I4s")
_MOOF_BYTES = 104
_KEY_FLAGS, _OTHER_FLAGS = 0x02000000, 0x01010000


class Placement(NamedTuple):
    """Where an access unit lies on the decoding line, in ticks of `TIMESCALE_HZ`.
    offset: from decoding to presentation; negative where pictures are reordered."""

    decode_time: int
    duration: int
    offset: int


class DecodeTimeline:
    """Gives each access unit its decoding time without waiting for the next one.

    Decoding time runs evenly and is set right at every keyframe; the true presentation time is in
    the offset. So neither reordered pictures nor a camera that skips some make a hole in decoding
    time, at which a browser would drop everything up to the next keyframe.
    """

    def __init__(self, fps: float = 0.0) -> None:
        self._duration = int(TIMESCALE_HZ / fps) if fps else TIMESCALE_HZ // 25
        self._next = 0
        self._key_pts = -1
        self._since_key = 0

    def place(self, pts_us: int, keyframe: bool) -> Placement:
        """pts_us: presentation time since the stream began."""
        pts = pts_us * 9 // 100
        if keyframe:
            if self._key_pts >= 0 and self._since_key and pts > self._key_pts:
                measured = (pts - self._key_pts) // self._since_key
                self._duration = min(max(measured, TIMESCALE_HZ // 240), TIMESCALE_HZ)
            self._next = max(self._next, pts)
            self._key_pts, self._since_key = pts, 0
        placement = Placement(self._next, self._duration, pts - self._next)
        self._next += self._duration
        self._since_key += 1
        return placement


def mime_type(track: TrackFormat) -> str:
    """What a MediaSource is opened with."""
    return f'video/mp4; codecs="{track.codec}"'


def fragment(sequence: int, placement: Placement, unit: AccessUnit) -> bytes:
    """moof and mdat of one access unit. sequence: from 1, rising."""
    head = _FRAGMENT.pack(
        _MOOF_BYTES,
        b"moof",
        16,
        b"mfhd",
        0,
        sequence & 0xFFFFFFFF,
        80,
        b"traf",
        16,
        b"tfhd",
        0x020000,
        _TRACK,
        20,
        b"tfdt",
        0x01000000,
        placement.decode_time,
        36,
        b"trun",
        0x01000F01,
        1,
        _MOOF_BYTES + 8,
        placement.duration,
        len(unit.data),
        _KEY_FLAGS if unit.keyframe else _OTHER_FLAGS,
        placement.offset,
        len(unit.data) + 8,
        b"mdat",
    )
    return head + unit.data


def init_segment(track: TrackFormat) -> bytes:
    """ftyp and moov for one video track. Raises: NotSupported for other codecs than H.264/5."""
    entry = {"avc1": (b"avc1", b"avcC"), "hvc1": (b"hvc1", b"hvcC")}.get(track.codec[:4])
    if entry is None:
        raise NotSupported(f"fMP4 does not carry {track.codec} here")
    sample_entry = _box(
        entry[0],
        bytes(6) + struct.pack(">H16xHHIIIH32xHh", 1, *_visual(track)),
        _box(entry[1], track.description),
    )
    table = _box(
        b"stbl",
        _full(b"stsd", 0, struct.pack(">I", 1), sample_entry),
        _full(b"stts", 0, bytes(4)),
        _full(b"stsc", 0, bytes(4)),
        _full(b"stsz", 0, bytes(8)),
        _full(b"stco", 0, bytes(4)),
    )
    data_reference = _box(b"dinf", _full(b"dref", 0, struct.pack(">I", 1), _full(b"url ", 1)))
    media = _box(
        b"mdia",
        _full(b"mdhd", 0, struct.pack(">IIIIHH", 0, 0, TIMESCALE_HZ, 0, 0x55C4, 0)),
        _full(b"hdlr", 0, bytes(4), b"vide", bytes(12), b"video\x00"),
        _box(b"minf", _full(b"vmhd", 1, bytes(8)), data_reference, table),
    )
    header = _full(
        b"tkhd",
        3,
        struct.pack(">IIIII8xhhhH", 0, 0, _TRACK, 0, 0, 0, 0, 0, 0),
        _MATRIX,
        struct.pack(">II", track.width << 16, track.height << 16),
    )
    movie = _full(
        b"mvhd",
        0,
        struct.pack(">IIIIIH10x", 0, 0, TIMESCALE_HZ, 0, 0x10000, 0x0100),
        _MATRIX,
        bytes(24),
        struct.pack(">I", _TRACK + 1),
    )
    extends = _box(b"mvex", _full(b"trex", 0, struct.pack(">IIIII", _TRACK, 1, 0, 0, 0)))
    file_type = _box(b"ftyp", b"iso5", struct.pack(">I", 1), b"iso5iso6mp41")
    return file_type + _box(b"moov", movie, _box(b"trak", header, media), extends)


def _visual(track: TrackFormat) -> tuple[int, int, int, int, int, int, int, int]:
    # Size, 72 dpi twice, nothing reserved, one frame a sample, 24 bits deep, no colour table.
    return track.width, track.height, 0x480000, 0x480000, 0, 1, 24, -1


def _box(kind: bytes, *content: bytes) -> bytes:
    size = 8 + sum(map(len, content))
    return size.to_bytes(4, "big") + kind + b"".join(content)


def _full(kind: bytes, version_and_flags: int, *content: bytes) -> bytes:
    return _box(kind, struct.pack(">I", version_and_flags), *content)
