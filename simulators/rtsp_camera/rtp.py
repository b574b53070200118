"""RTP packets of H.264 and H.265 clips, and RTCP reports; pure.

Sources: RFC 6184 (STAP-A, FU-A), RFC 7798 (aggregation and fragmentation units), RFC 3550
(headers, sender reports).
"""

import dataclasses
import struct
from collections.abc import Sequence
from typing import Final

from simulators.clips import WALL_CLOCK_DIGITS, WALL_CLOCK_UUID, Clip, Codec, wall_clock_sei

PAYLOAD_TYPE: Final = 96
CLOCK_HZ: Final = 90_000
MAX_PAYLOAD_BYTES: Final = 1_400

_NTP_OFFSET_S: Final = 2_208_988_800
_STAP_A, _FU_A = 24, 28
_AGGREGATION, _FRAGMENTATION = 48, 49
_SMALL = {"h264": (6, 7, 8), "h265": (32, 33, 34, 39)}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FramePackets:
    """The RTP packets of one frame, ready but for sequence, timestamp, SSRC and wall clock.

    template: the packets as they go over TCP, each after its 4-byte interleaved header, channel
    0. offsets: where each of these headers is. clock_offset: where the wall clock's digits are.
    """

    template: bytes
    offsets: tuple[int, ...]
    clock_offset: int
    payload_bytes: int
    keyframe: bool


def packetize(
    nals: Sequence[bytes], max_payload: int = MAX_PAYLOAD_BYTES, codec: Codec = "h264"
) -> list[bytes]:
    """RTP payloads of an access unit: parameter sets and SEI aggregated, large NALs fragmented."""
    payloads: list[bytes] = []
    small: list[bytes] = []
    for nal in nals:
        kind = nal[0] & 0x1F if codec == "h264" else nal[0] >> 1 & 0x3F
        if kind in _SMALL[codec] and len(nal) < max_payload // 4:
            small.append(nal)
            continue
        payloads += _aggregate(small, codec)
        small = []
        payloads += [nal] if len(nal) <= max_payload else _fragment(nal, max_payload, codec)
    return payloads + _aggregate(small, codec)


def _aggregate(nals: Sequence[bytes], codec: Codec) -> list[bytes]:
    if len(nals) < 2:
        return list(nals)
    if codec == "h264":
        head = bytes((max(nal[0] & 0x60 for nal in nals) | _STAP_A,))
    else:
        head = bytes((_AGGREGATION << 1, 1))
    return [head + b"".join(struct.pack(">H", len(nal)) + nal for nal in nals)]


def _fragment(nal: bytes, max_payload: int, codec: Codec) -> list[bytes]:
    if codec == "h264":
        head, kind, begin = bytes((nal[0] & 0x60 | _FU_A,)), nal[0] & 0x1F, 1
    else:
        head = bytes((nal[0] & 0x81 | _FRAGMENTATION << 1, nal[1]))
        kind, begin = nal[0] >> 1 & 0x3F, 2
    size = max_payload - len(head) - 1
    pieces = [nal[at : at + size] for at in range(begin, len(nal), size)]
    last = len(pieces) - 1
    return [
        head + bytes((kind | (0x80 if i == 0 else 0) | (0x40 if i == last else 0),)) + piece
        for i, piece in enumerate(pieces)
    ]


def clip_packets(clip: Clip) -> tuple[FramePackets, ...]:
    """Every frame of a clip, with the wall clock SEI in front and parameter sets before IDRs."""
    return tuple(_frame_packets(clip, index, in_band=True) for index in range(len(clip.frames)))


def packets_without_sets(clip: Clip) -> tuple[FramePackets, ...]:
    """Every frame of a clip, for a camera that says its parameter sets in the SDP alone."""
    return tuple(_frame_packets(clip, index, in_band=False) for index in range(len(clip.frames)))


def _frame_packets(clip: Clip, index: int, *, in_band: bool) -> FramePackets:
    keyframe = clip.is_keyframe(index)
    sets = clip.parameter_sets if keyframe and in_band else ()
    codec = clip.parameters.codec
    payloads = packetize((*sets, wall_clock_sei(0, codec), *clip.frames[index]), codec=codec)
    template = bytearray()
    offsets = []
    for number, payload in enumerate(payloads):
        marker = 0x80 if number == len(payloads) - 1 else 0
        offsets.append(len(template))
        template += struct.pack(">BBH", 0x24, 0, 12 + len(payload))
        template += struct.pack(">BBHII", 0x80, marker | PAYLOAD_TYPE, 0, 0, 0)
        template += payload
    digits = template.index(WALL_CLOCK_UUID) + len(WALL_CLOCK_UUID)
    return FramePackets(
        template=bytes(template),
        offsets=tuple(offsets),
        clock_offset=digits,
        payload_bytes=sum(map(len, payloads)),
        keyframe=keyframe,
    )


def split(data: bytes | bytearray, frame: FramePackets) -> list[bytes]:
    """The RTP packets of a stamped frame, without the headers that they have over TCP."""
    ends = (*frame.offsets[1:], len(data))
    return [bytes(data[at + 4 : end]) for at, end in zip(frame.offsets, ends, strict=True)]


def packet(
    payload: bytes, *, payload_type: int, sequence: int, timestamp: int, ssrc: int, marker: bool
) -> bytes:
    """One RTP packet."""
    second = payload_type | (0x80 if marker else 0)
    return struct.pack(">BBHII", 0x80, second, sequence & 0xFFFF, timestamp, ssrc) + payload


def stamp(frame: FramePackets, sequence: int, timestamp: int, ssrc: int, time_ns: int) -> bytearray:
    """A copy of the frame's packets with everything filled in. sequence: of the first packet."""
    data = bytearray(frame.template)
    for number, offset in enumerate(frame.offsets):
        struct.pack_into(">HII", data, offset + 6, sequence + number & 0xFFFF, timestamp, ssrc)
    at = frame.clock_offset
    data[at : at + WALL_CLOCK_DIGITS] = b"%020d" % time_ns
    return data


def sender_report(ssrc: int, time_ns: int, timestamp: int, packets: int, octets: int) -> bytes:
    """A compound RTCP packet: sender report and CNAME. time_ns: wall clock since 1970."""
    seconds, rest_ns = divmod(time_ns, 1_000_000_000)
    report = struct.pack(
        ">BBHIIIIII",
        0x80,
        200,
        6,
        ssrc,
        seconds + _NTP_OFFSET_S & 0xFFFFFFFF,
        (rest_ns << 32) // 1_000_000_000,
        timestamp,
        packets & 0xFFFFFFFF,
        octets & 0xFFFFFFFF,
    )
    item = b"\x01\x06camera"
    chunk = struct.pack(">I", ssrc) + item + bytes(4 - (len(item) % 4))
    return report + struct.pack(">BBH", 0x81, 202, len(chunk) // 4) + chunk
