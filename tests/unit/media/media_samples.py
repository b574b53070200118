"""Encoded clips and their RTP packets, made by PyAV and by packetisers of the tests' own."""

import dataclasses
import functools
import struct
from fractions import Fraction

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext

MTU = 120


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """units: NAL units of each access unit, in order of coding; keys: which are keyframes;
    times: presentation time of each in frames."""

    codec: str
    width: int
    height: int
    fps: int
    units: tuple[tuple[bytes, ...], ...]
    keys: tuple[bool, ...]
    times: tuple[int, ...]


@functools.cache
def sample(
    codec: str = "h264",
    width: int = 160,
    height: int = 90,
    frames: int = 12,
    gop: int = 4,
    bframes: int = 0,
    fps: int = 15,
) -> Sample:
    """A short clip with parameter sets in front of every keyframe."""
    context = av.CodecContext.create({"h264": "libx264", "h265": "libx265"}[codec], "w")
    assert isinstance(context, VideoCodecContext)
    context.width, context.height, context.pix_fmt = width, height, "yuv420p"
    context.time_base, context.framerate = Fraction(1, fps), Fraction(fps)
    context.thread_count = 1
    settings = f"keyint={gop}:min-keyint={gop}:scenecut=0:bframes={bframes}:repeat-headers=1"
    if codec == "h265":
        settings += ":log-level=none:pools=none:frame-threads=1:open-gop=0"
    context.options = {"preset": "ultrafast", f"{context.name[3:]}-params": settings}
    packets = []
    for index in range(frames):
        pixels = np.full((height, width, 3), (index * 18) % 255, np.uint8)
        pixels[:: 1 + index % 5, ::3] = 200
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv420p")
        frame.pts = index
        packets += context.encode(frame)
    packets += context.encode(None)
    return Sample(
        codec=codec,
        width=width,
        height=height,
        fps=fps,
        units=tuple(_units(codec, bytes(packet)) for packet in packets),
        keys=tuple(packet.is_keyframe for packet in packets),
        times=tuple(int(packet.pts or 0) for packet in packets),
    )


def _units(codec: str, data: bytes) -> tuple[bytes, ...]:
    # Without the encoder's long SEI about itself, which may be lost without harm.
    nals = split_start_codes(data)
    return tuple(nal for nal in nals if not (nal_type(codec, nal) in (6, 39) and len(nal) > 80))


def split_start_codes(data: bytes) -> list[bytes]:
    return [part.rstrip(b"\x00") for part in data.split(b"\x00\x00\x01") if part.strip(b"\x00")]


def parameter_sets(of: Sample) -> list[bytes]:
    types = {"h264": (7, 8), "h265": (32, 33, 34)}[of.codec]
    return [nal for nal in of.units[0] if nal_type(of.codec, nal) in types]


def nal_type(codec: str, nal: bytes) -> int:
    return nal[0] & 0x1F if codec == "h264" else nal[0] >> 1 & 0x3F


def lengths(nals: list[bytes] | tuple[bytes, ...]) -> bytes:
    return b"".join(struct.pack(">I", len(nal)) + nal for nal in nals)


def pictures_only(codec: str, nals: tuple[bytes, ...]) -> list[bytes]:
    """Without parameter sets and delimiters, as access units are handed on."""
    left_out = {"h264": (7, 8, 9), "h265": (32, 33, 34, 35)}[codec]
    return [nal for nal in nals if nal_type(codec, nal) not in left_out]


def payloads(codec: str, nals: tuple[bytes, ...] | list[bytes], aggregate: bool) -> list[bytes]:
    """RTP payloads of one access unit: small units aggregated where asked, large ones split."""
    result: list[bytes] = []
    small: list[bytes] = []
    for nal in nals:
        if aggregate and len(nal) < 60:
            small.append(nal)
            continue
        if small:
            result.append(_aggregation(codec, small))
            small = []
        result += [nal] if len(nal) <= MTU else _fragments(codec, nal)
    if small:
        result.append(_aggregation(codec, small))
    return result


def _aggregation(codec: str, nals: list[bytes]) -> bytes:
    head = b"\x78" if codec == "h264" else b"\x60\x01"
    return head + b"".join(struct.pack(">H", len(nal)) + nal for nal in nals)


def _fragments(codec: str, nal: bytes) -> list[bytes]:
    header = 1 if codec == "h264" else 2
    body = nal[header:]
    pieces = [body[at : at + MTU] for at in range(0, len(body), MTU)]
    result = []
    for index, piece in enumerate(pieces):
        edge = 0x80 * (index == 0) | 0x40 * (index == len(pieces) - 1)
        if codec == "h264":
            head = bytes((nal[0] & 0xE0 | 28, edge | nal[0] & 0x1F))
        else:
            head = bytes((nal[0] & 0x81 | 49 << 1, nal[1], edge | nal_type(codec, nal)))
        result.append(head + piece)
    return result


def rtp(
    sequence: int, timestamp: int, payload: bytes, marker: bool = False, payload_type: int = 96
) -> bytes:
    head = (0x80, payload_type | 0x80 * marker, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, 7)
    return struct.pack(">BBHII", *head) + payload


def rtp_stream(
    of: Sample,
    *,
    first_sequence: int = 65_500,
    first_timestamp: int = 2**32 - 9_000,
    aggregate: bool = False,
    markers: bool = True,
) -> list[list[bytes]]:
    """RTP packets of each access unit; sequence and time wrap early on."""
    stream, sequence = [], first_sequence
    for nals, time in zip(of.units, of.times, strict=True):
        packets = []
        parts = payloads(of.codec, nals, aggregate)
        for index, payload in enumerate(parts):
            marker = markers and index == len(parts) - 1
            timestamp = first_timestamp + time * 90_000 // of.fps
            packets.append(rtp(sequence, timestamp, payload, marker))
            sequence += 1
        stream.append(packets)
    return stream
