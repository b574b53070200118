"""Fragmented MP4 (ISO/IEC 14496-12) for live playing: one fragment for each access unit.

Pictures in H.264 or H.265, and beside them sound in AAC where a browser can be expected to play
it. Sound of other codecs is left out.
"""

import struct
from typing import NamedTuple

from adapters.base import AccessUnit, TrackFormat
from adapters.errors import AdapterError, NotSupported
from adapters.media.audio import parse_aac_config

TIMESCALE_HZ = 90_000
VIDEO_ID, AUDIO_ID = 1, 2
_PLAYED_AAC = ("mp4a.40.2", "mp4a.40.5")
_MATRIX = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
# moof(mfhd, traf(tfhd, tfdt, trun with one sample)) and the head of mdat; see `fragment`.
_FRAGMENT = struct.Struct(">I4s I4sII I4s I4sII I4sIQ I4sIIi IIIi I4s")
_MOOF_BYTES = 104
_KEY_FLAGS, _OTHER_FLAGS = 0x02000000, 0x01010000


class Placement(NamedTuple):
    """Where an access unit lies on the decoding line, in ticks of `TIMESCALE_HZ`, or of the sample
    rate for sound. offset: from decoding to presentation; negative where pictures are reordered."""

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


class AudioTimeline:
    """Gives each AAC frame its decoding time, in samples; frames that follow each other leave no
    gap of rounding. Raises: ProtocolViolation when the format is no AAC."""

    def __init__(self, track: TrackFormat) -> None:
        config = parse_aac_config(track.description)
        self._rate_hz = track.sample_rate_hz
        self._duration = config.frame_samples * (2 if config.object_type == 5 else 1)
        self._next = -1

    def place(self, pts_us: int) -> Placement:
        """pts_us: presentation time since the stream began."""
        time = pts_us * self._rate_hz // 1_000_000
        # Microseconds do not hold a sample; anything less than half a frame is no gap.
        if self._next >= 0 and time - self._next < self._duration // 2:
            time = self._next
        self._next = time + self._duration
        return Placement(time, self._duration, 0)


def carries(audio: TrackFormat | None) -> bool:
    """Whether sound of this format is put beside the pictures."""
    if audio is None or audio.codec not in _PLAYED_AAC:
        return False
    try:
        parse_aac_config(audio.description)
    except AdapterError:
        return False
    return True


def mime_type(track: TrackFormat, audio: TrackFormat | None = None) -> str:
    """What a MediaSource is opened with."""
    codecs = f"{track.codec},{audio.codec}" if audio is not None else track.codec
    return f'video/mp4; codecs="{codecs}"'


def fragment(
    sequence: int, placement: Placement, unit: AccessUnit, track_id: int = VIDEO_ID
) -> bytes:
    """moof and mdat of one access unit. sequence: from 1, rising, of both tracks together."""
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
        track_id,
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


def init_segment(track: TrackFormat, audio: TrackFormat | None = None) -> bytes:
    """ftyp and moov. audio: AAC, of which `carries` says so.

    Raises: NotSupported for other video than H.264 and H.265.
    """
    entry = {"avc1": (b"avc1", b"avcC"), "hvc1": (b"hvc1", b"hvcC")}.get(track.codec[:4])
    if entry is None:
        raise NotSupported(f"fMP4 does not carry {track.codec} here")
    pictures = _box(
        entry[0],
        bytes(6) + struct.pack(">H16xHHIIIH32xHh", 1, *_visual(track)),
        _box(entry[1], track.description),
    )
    video_head = _full(b"vmhd", 1, bytes(8))
    size = struct.pack(">II", track.width << 16, track.height << 16)
    tracks = [_track(VIDEO_ID, TIMESCALE_HZ, b"vide", size, video_head, pictures)]
    if audio is not None:
        sound = _full(b"smhd", 0, bytes(4))
        tracks.append(
            _track(AUDIO_ID, audio.sample_rate_hz, b"soun", bytes(8), sound, _sound(audio))
        )
    movie = _full(
        b"mvhd",
        0,
        struct.pack(">IIIIIH10x", 0, 0, TIMESCALE_HZ, 0, 0x10000, 0x0100),
        _MATRIX,
        bytes(24),
        struct.pack(">I", len(tracks) + 1),
    )
    defaults = [
        _full(b"trex", 0, struct.pack(">IIIII", number, 1, 0, 0, 0))
        for number in range(1, len(tracks) + 1)
    ]
    file_type = _box(b"ftyp", b"iso5", struct.pack(">I", 1), b"iso5iso6mp41")
    return file_type + _box(b"moov", movie, *tracks, _box(b"mvex", *defaults))


def _track(
    number: int, timescale_hz: int, handler: bytes, size: bytes, head: bytes, entry: bytes
) -> bytes:
    table = _box(
        b"stbl",
        _full(b"stsd", 0, struct.pack(">I", 1), entry),
        _full(b"stts", 0, bytes(4)),
        _full(b"stsc", 0, bytes(4)),
        _full(b"stsz", 0, bytes(8)),
        _full(b"stco", 0, bytes(4)),
    )
    data_reference = _box(b"dinf", _full(b"dref", 0, struct.pack(">I", 1), _full(b"url ", 1)))
    media = _box(
        b"mdia",
        _full(b"mdhd", 0, struct.pack(">IIIIHH", 0, 0, timescale_hz, 0, 0x55C4, 0)),
        _full(b"hdlr", 0, bytes(4), handler, bytes(12), b"track\x00"),
        _box(b"minf", head, data_reference, table),
    )
    volume = 0x0100 if handler == b"soun" else 0
    header = _full(
        b"tkhd",
        3,
        struct.pack(">IIIII8xhhHH", 0, 0, number, 0, 0, 0, 0, volume, 0),
        _MATRIX,
        size,
    )
    return _box(b"trak", header, media)


def _sound(track: TrackFormat) -> bytes:
    """A sample entry of AAC with its configuration (ISO/IEC 14496-1 and -14)."""
    rate = track.sample_rate_hz << 16 if track.sample_rate_hz < 65_536 else 0
    specific = _descriptor(5, track.description)
    config = _descriptor(4, bytes((0x40, 0x15)) + bytes(11) + specific)
    stream = _descriptor(3, struct.pack(">HB", AUDIO_ID, 0) + config + _descriptor(6, b"\x02"))
    fields = struct.pack(">6xH8xHHHHI", 1, track.channels, 16, 0, 0, rate)
    return _box(b"mp4a", fields, _full(b"esds", 0, stream))


def _descriptor(tag: int, content: bytes) -> bytes:
    # None here is longer than 127 bytes, so that one byte of size will do.
    return bytes((tag, len(content))) + content


def _visual(track: TrackFormat) -> tuple[int, int, int, int, int, int, int, int]:
    # Size, 72 dpi twice, nothing reserved, one frame a sample, 24 bits deep, no colour table.
    return track.width, track.height, 0x480000, 0x480000, 0, 1, 24, -1


def _box(kind: bytes, *content: bytes) -> bytes:
    size = 8 + sum(map(len, content))
    return size.to_bytes(4, "big") + kind + b"".join(content)


def _full(kind: bytes, version_and_flags: int, *content: bytes) -> bytes:
    return _box(kind, struct.pack(">I", version_and_flags), *content)
