"""Short H.264 and H.265 clips, encoded once and looped by the simulated cameras.

A clip is a street with a walker and a car that move, and a running clock burnt in. Clips are
shared: a fleet encodes a handful, never one for each camera. The wall clock is not burnt in but
sent in front of each access unit in an SEI message (`wall_clock_sei`), so that a viewer can
measure the latency from camera to screen.
"""

import dataclasses
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Final, Literal

import av
import numpy as np
from numpy.typing import NDArray

H264Profile = Literal["baseline", "main"]
Codec = Literal["h264", "h265"]
Plane = NDArray[np.uint8]

WALL_CLOCK_UUID: Final = bytes.fromhex("5d1f7c3e9ab84e6c8f21c4a7d36be095")
WALL_CLOCK_DIGITS: Final = 20

_CACHE_MAGIC: Final = b"hutong clip 2\n"
_NAL_IDR, _NAL_SEI, _NAL_SPS, _NAL_PPS, _NAL_AUD = 5, 6, 7, 8, 9
_H265_VPS, _H265_SPS, _H265_PPS, _H265_SEI = 32, 33, 34, 39
_START_CODE: Final = re.compile(rb"\x00\x00\x00?\x01")
_WALL_CLOCK: Final = re.compile(re.escape(WALL_CLOCK_UUID) + rb"(\d{20})")

# Rows of a 3 x 5 dot font, most significant bit left.
_GLYPHS: Final = {
    "0": (7, 5, 5, 5, 7),
    "1": (2, 6, 2, 2, 7),
    "2": (7, 1, 7, 4, 7),
    "3": (7, 1, 7, 1, 7),
    "4": (5, 5, 7, 1, 1),
    "5": (7, 4, 7, 1, 7),
    "6": (7, 4, 7, 5, 7),
    "7": (7, 1, 2, 2, 2),
    "8": (7, 5, 7, 5, 7),
    "9": (7, 5, 7, 1, 7),
    ":": (0, 2, 0, 2, 0),
    ".": (0, 0, 0, 0, 2),
    " ": (0, 0, 0, 0, 0),
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ClipParameters:
    """What a clip looks like; two equal ones give the same clip.

    width, height: even, in pixels. duration_s is rounded to whole groups of pictures. variant
    chooses hue and buildings. profile: of H.264.
    """

    width: int = 640
    height: int = 360
    fps: int = 15
    gop_s: float = 1.0
    duration_s: float = 6.0
    profile: H264Profile = "baseline"
    bitrate_bps: int = 500_000
    variant: int = 0
    codec: Codec = "h264"

    def __post_init__(self) -> None:
        if self.width % 2 or self.height % 2 or min(self.width, self.height) < 90:
            raise ValueError(f"clip size {self.width}x{self.height}: even, at least 90 pixels")
        if self.fps < 1 or self.gop_s * self.fps < 1 or self.duration_s < self.gop_s:
            raise ValueError("a clip needs at least one group of pictures of at least one frame")

    @property
    def gop_frames(self) -> int:
        return round(self.gop_s * self.fps)

    @property
    def frames(self) -> int:
        return max(1, round(self.duration_s * self.fps / self.gop_frames)) * self.gop_frames


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """An encoded clip.

    frames: for each access unit its slice NAL units, without start codes and without parameter
    sets. pictures: one JPEG for each group of pictures, of its first frame. vps: of H.265.
    """

    parameters: ClipParameters
    sps: bytes
    pps: bytes
    frames: tuple[tuple[bytes, ...], ...]
    pictures: tuple[bytes, ...]
    vps: bytes = b""

    @property
    def parameter_sets(self) -> tuple[bytes, ...]:
        return (self.vps, self.sps, self.pps) if self.vps else (self.sps, self.pps)

    def is_keyframe(self, index: int) -> bool:
        kind = _nal_type(self.parameters.codec, self.frames[index][0])
        return 16 <= kind <= 21 if self.vps else kind == _NAL_IDR

    def picture(self, index: int) -> bytes:
        """The JPEG of the last keyframe at or before the frame with that index."""
        return self.pictures[index // self.parameters.gop_frames]


def wall_clock_sei(time_ns: int, codec: Codec = "h264") -> bytes:
    """An SEI NAL unit (user data unregistered) that carries a wall clock time, ns since 1970.

    The time is 20 decimal digits: no zero bytes, so that it needs no emulation prevention and can
    be overwritten in place. Source: ITU-T H.264, D.1.7; H.265, D.2.7.
    """
    payload = WALL_CLOCK_UUID + b"%020d" % time_ns
    head = bytes((_NAL_SEI,)) if codec == "h264" else bytes((_H265_SEI << 1, 1))
    return head + bytes((5, len(payload))) + payload + b"\x80"


def _nal_type(codec: Codec, nal: bytes) -> int:
    return nal[0] & 0x1F if codec == "h264" else nal[0] >> 1 & 0x3F


def read_wall_clock_ns(data: bytes | bytearray | memoryview) -> int | None:
    """The first wall clock time in an access unit, ns since 1970; None when there is none."""
    found = _WALL_CLOCK.search(data)
    return int(found.group(1)) if found else None


def load_clip(parameters: ClipParameters, cache: Path | None = None) -> Clip:
    """The clip with these parameters: from the cache directory when it is there, else encoded.

    A cache that cannot be written or holds a damaged file costs time, never a clip.
    """
    if cache is None:
        return encode_clip(parameters)
    path = cache / f"{_cache_key(parameters)}.clip"
    clip = _read_cached(path, parameters)
    if clip is None:
        clip = encode_clip(parameters)
        _write_cached(path, clip)
    return clip


def encode_clip(parameters: ClipParameters) -> Clip:
    """Draw and encode a clip; 6 s of 640x360 take about a third of a second of one core."""
    encoder = _encoder(parameters)
    units: list[bytes] = []
    pictures: list[bytes] = []
    for index, planes in enumerate(_draw(parameters)):
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        frame.pts = index
        frame.time_base = encoder.time_base
        units += [bytes(packet) for packet in encoder.encode(frame)]
        if index % parameters.gop_frames == 0:
            pictures.append(_jpeg(frame))
    units += [bytes(packet) for packet in encoder.encode(None)]
    nals = [_split_annexb(unit) for unit in units]
    first = {_nal_type(parameters.codec, nal): nal for nal in nals[0]}
    is_h265 = parameters.codec == "h265"
    skipped = (
        (_H265_VPS, _H265_SPS, _H265_PPS, _H265_SEI)
        if is_h265
        else (_NAL_SEI, _NAL_SPS, _NAL_PPS, _NAL_AUD)
    )
    return Clip(
        parameters=parameters,
        vps=first[_H265_VPS] if is_h265 else b"",
        sps=first[_H265_SPS if is_h265 else _NAL_SPS],
        pps=first[_H265_PPS if is_h265 else _NAL_PPS],
        frames=tuple(
            tuple(nal for nal in unit if _nal_type(parameters.codec, nal) not in skipped)
            for unit in nals
        ),
        pictures=tuple(pictures),
    )


def _encoder(parameters: ClipParameters) -> av.VideoCodecContext:
    is_h265 = parameters.codec == "h265"
    encoder = av.CodecContext.create("libx265" if is_h265 else "libx264", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = parameters.width, parameters.height, "yuv420p"
    encoder.time_base = Fraction(1, parameters.fps)
    encoder.framerate = Fraction(parameters.fps)
    encoder.bit_rate = parameters.bitrate_bps
    gop = parameters.gop_frames
    shared = (f"keyint={gop}", f"min-keyint={gop}", "scenecut=0", "bframes=0")
    encoder.options = {"preset": "ultrafast", "tune": "zerolatency", "threads": "1"}
    if is_h265:
        quiet = (
            "open-gop=0",
            "log-level=none",
            "pools=none",
            "frame-threads=1",
            "repeat-headers=1",
        )
        encoder.options |= {"x265-params": ":".join((*shared, *quiet))}
        return encoder
    # ultrafast alone leaves out CABAC, and the stream would be baseline after all
    cabac = f"cabac={int(parameters.profile == 'main')}"
    encoder.options |= {
        "profile": parameters.profile,
        "maxrate": str(parameters.bitrate_bps),
        "bufsize": str(parameters.bitrate_bps),
        "x264-params": ":".join((*shared, "sliced-threads=0", cabac)),
    }
    return encoder


def _split_annexb(data: bytes) -> list[bytes]:
    return [nal for nal in _START_CODE.split(data) if nal]


def _jpeg(frame: av.VideoFrame) -> bytes:
    encoder = av.CodecContext.create("mjpeg", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = frame.width, frame.height, "yuvj420p"
    encoder.time_base = Fraction(1, 25)
    encoder.options = {"threads": "1"}
    picture = frame.reformat(format="yuvj420p")
    picture.pts = 0
    return b"".join(bytes(p) for p in [*encoder.encode(picture), *encoder.encode(None)])


def _draw(parameters: ClipParameters) -> Iterator[Plane]:
    """Yield each frame as I420 planes stacked in one (height * 3 / 2, width) array."""
    width, height = parameters.width, parameters.height
    rng = np.random.default_rng(parameters.variant)
    street = _street(width, height, rng, parameters.variant)
    noise = rng.integers(0, 9, size=(height + 16, width + 16), dtype=np.uint8)
    unit = height // 18
    total = parameters.frames
    for index in range(total):
        planes = street.copy()
        dy, dx = rng.integers(0, 16, size=2)
        planes[:height] += noise[dy : dy + height, dx : dx + width]
        done = index / total
        car_x = int(done * 2 * (width + 8 * unit)) % (width + 8 * unit) - 8 * unit
        _box(planes, width, height, car_x, 13 * unit, 7 * unit, 2 * unit, (210, 90, 200))
        _box(planes, width, height, car_x + unit, 12 * unit, 4 * unit, unit, (150, 120, 130))
        walker_x = width - int(done * (width + 2 * unit))
        _box(planes, width, height, walker_x, 9 * unit, unit, 3 * unit, (60, 160, 110))
        clock = index / parameters.fps
        text = f"{int(clock) // 60:02d}:{clock % 60:06.3f} {index:03d}"
        _text(planes, unit // 2, unit // 2, max(1, height // 120), text)
        yield planes


def _street(width: int, height: int, rng: np.random.Generator, variant: int) -> Plane:
    planes = np.full((height * 3 // 2, width), 128, np.uint8)
    horizon = height // 2
    planes[:horizon] = np.linspace(190, 130, horizon, dtype=np.uint8)[:, None]
    planes[horizon:height] = np.linspace(110, 60, height - horizon, dtype=np.uint8)[:, None]
    angle = variant * 2.4  # rad; steps of the golden angle keep neighbouring variants apart
    _tint(planes, width, height, 128 + int(28 * np.cos(angle)), 128 + int(28 * np.sin(angle)))
    left = 0
    while left < width:
        wide = int(rng.integers(width // 12, width // 5))
        tall = int(rng.integers(height // 6, horizon - 1))
        colour = (int(rng.integers(60, 170)), int(rng.integers(110, 146)), 128)
        _box(planes, width, height, left, horizon - tall, wide - 2, tall, colour)
        left += wide
    lane = height * 5 // 6
    for dash in range(0, width, width // 8):
        _box(planes, width, height, dash, lane, width // 16, max(2, height // 60), (220, 128, 128))
    return planes


def _chroma(planes: Plane, width: int, height: int) -> tuple[Plane, Plane]:
    flat = planes[height:].reshape(-1)
    size = width * height // 4
    shape = (height // 2, width // 2)
    return flat[:size].reshape(shape), flat[size:].reshape(shape)


def _tint(planes: Plane, width: int, height: int, u: int, v: int) -> None:
    u_plane, v_plane = _chroma(planes, width, height)
    u_plane[: height // 4] = u
    v_plane[: height // 4] = v


def _box(
    planes: Plane,
    width: int,
    height: int,
    x: int,
    y: int,
    w: int,
    h: int,
    yuv: tuple[int, int, int],
) -> None:
    """Fill a box, cut off at the borders of the picture."""
    x2, y2 = min(width, x + w), min(height, y + h)
    x, y = max(0, x), max(0, y)
    if x >= x2 or y >= y2:
        return
    planes[y:y2, x:x2] = yuv[0]
    u_plane, v_plane = _chroma(planes, width, height)
    u_plane[y // 2 : y2 // 2, x // 2 : x2 // 2] = yuv[1]
    v_plane[y // 2 : y2 // 2, x // 2 : x2 // 2] = yuv[2]


def _text(planes: Plane, x: int, y: int, dot: int, text: str) -> None:
    bits = np.zeros((7, 4 * len(text) + 1), np.uint8)
    for place, character in enumerate(text):
        for row, dots in enumerate(_GLYPHS[character]):
            for column in range(3):
                bits[row + 1, 4 * place + column + 1] = dots >> (2 - column) & 1
    big = np.kron(bits, np.ones((dot, dot), np.uint8))
    planes[y : y + big.shape[0], x : x + big.shape[1]] = 16 + big * 219


def _cache_key(parameters: ClipParameters) -> str:
    text = json.dumps(dataclasses.asdict(parameters), sort_keys=True)
    return hashlib.sha256(_CACHE_MAGIC + text.encode()).hexdigest()[:24]


def _write_cached(path: Path, clip: Clip) -> None:
    parts = [
        clip.vps,
        clip.sps,
        clip.pps,
        *clip.pictures,
        *(nal for unit in clip.frames for nal in unit),
    ]
    index = {
        "pictures": len(clip.pictures),
        "units": [len(unit) for unit in clip.frames],
        "sizes": [len(part) for part in parts],
    }
    body = json.dumps(index).encode() + b"\n" + b"".join(parts)
    data = _CACHE_MAGIC + hashlib.sha256(body).digest() + body
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        os.replace(name, path)
    except OSError:
        return


def _read_cached(path: Path, parameters: ClipParameters) -> Clip | None:
    try:
        data = path.read_bytes()
    except OSError:
        return None
    start = len(_CACHE_MAGIC) + 32
    body = data[start:]
    if data[: len(_CACHE_MAGIC)] != _CACHE_MAGIC:
        return None
    if hashlib.sha256(body).digest() != data[len(_CACHE_MAGIC) : start]:
        return None
    head, _, blob = body.partition(b"\n")
    index = json.loads(head)
    parts: list[bytes] = []
    offset = 0
    for size in index["sizes"]:
        parts.append(blob[offset : offset + size])
        offset += size
    pictures = index["pictures"]
    nals = iter(parts[3 + pictures :])
    return Clip(
        parameters=parameters,
        vps=parts[0],
        sps=parts[1],
        pps=parts[2],
        pictures=tuple(parts[3 : 3 + pictures]),
        frames=tuple(tuple(next(nals) for _ in range(count)) for count in index["units"]),
    )
