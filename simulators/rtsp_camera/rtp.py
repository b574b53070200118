"""RTP packets of H.264 clips, RTCP reports and the SDP that describes them; pure.

Sources: RFC 6184 (STAP-A, FU-A), RFC 3550 (headers, sender reports), RFC 4566.
"""

import base64
import dataclasses
import struct
from collections.abc import Sequence
from typing import Final

from simulators.clips import WALL_CLOCK_DIGITS, WALL_CLOCK_UUID, Clip, wall_clock_sei

PAYLOAD_TYPE: Final = 96
CLOCK_HZ: Final = 90_000
MAX_PAYLOAD_BYTES: Final = 1_400

_NTP_OFFSET_S: Final = 2_208_988_800
_STAP_A, _FU_A = 24, 28


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


def packetize(nals: Sequence[bytes], max_payload: int = MAX_PAYLOAD_BYTES) -> list[bytes]:
    """RTP payloads of an access unit: parameter sets and SEI aggregated, large NALs fragmented."""
    payloads: list[bytes] = []
    small: list[bytes] = []
    for nal in nals:
        if nal[0] & 0x1F in (6, 7, 8) and len(nal) < max_payload // 4:
            small.append(nal)
            continue
        payloads += _aggregate(small)
        small = []
        payloads += [nal] if len(nal) <= max_payload else _fragment(nal, max_payload)
    return payloads + _aggregate(small)


def _aggregate(nals: Sequence[bytes]) -> list[bytes]:
    if len(nals) < 2:
        return list(nals)
    head = max(nal[0] & 0x60 for nal in nals) | _STAP_A
    return [bytes((head,)) + b"".join(struct.pack(">H", len(nal)) + nal for nal in nals)]


def _fragment(nal: bytes, max_payload: int) -> list[bytes]:
    indicator = nal[0] & 0x60 | _FU_A
    kind = nal[0] & 0x1F
    size = max_payload - 2
    pieces = [nal[at : at + size] for at in range(1, len(nal), size)]
    last = len(pieces) - 1
    return [
        bytes((indicator, kind | (0x80 if i == 0 else 0) | (0x40 if i == last else 0))) + piece
        for i, piece in enumerate(pieces)
    ]


def clip_packets(clip: Clip) -> tuple[FramePackets, ...]:
    """Every frame of a clip, with the wall clock SEI in front and parameter sets before IDRs."""
    return tuple(_frame_packets(clip, index) for index in range(len(clip.frames)))


def _frame_packets(clip: Clip, index: int) -> FramePackets:
    keyframe = clip.is_keyframe(index)
    sets = (clip.sps, clip.pps) if keyframe else ()
    payloads = packetize((*sets, wall_clock_sei(0), *clip.frames[index]))
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


def describe(clip: Clip, host: str, session: int) -> bytes:
    """The SDP of a stream with this clip's parameter sets."""
    sets = ",".join(base64.b64encode(nal).decode() for nal in (clip.sps, clip.pps))
    level = clip.sps[1:4].hex()
    lines = (
        "v=0",
        f"o=- {session} 1 IN IP4 {host}",
        "s=camera",
        f"c=IN IP4 {host}",
        "t=0 0",
        "a=control:*",
        "a=range:npt=now-",
        f"m=video 0 RTP/AVP {PAYLOAD_TYPE}",
        f"b=AS:{clip.parameters.bitrate_bps // 1000}",
        f"a=rtpmap:{PAYLOAD_TYPE} H264/{CLOCK_HZ}",
        f"a=fmtp:{PAYLOAD_TYPE} packetization-mode=1;profile-level-id={level};"
        f"sprop-parameter-sets={sets}",
        f"a=framerate:{clip.parameters.fps}",
        "a=control:trackID=1",
    )
    return "\r\n".join((*lines, "")).encode()
