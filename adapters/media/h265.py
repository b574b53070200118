"""H.265: parameter sets (ITU-T H.265), RTP payloads (RFC 7798) and hvcC (ISO/IEC 14496-15)."""

import dataclasses
from collections.abc import Iterable, Mapping

from adapters.errors import NotSupported, ProtocolViolation
from adapters.media.bits import BitReader, unescape
from adapters.media.h264 import decode_sets
from adapters.media.h265_timing import (
    frame_rate_after_depths,
    frame_rate_of_vps,
    profile_tier_level,
)
from adapters.media.nal import MAX_FRAGMENTS, MAX_NAL_BYTES, NalKind, VideoFormat

VPS, SPS, PPS, DELIMITER, FILLER = 32, 33, 34, 35, 38
RASL_N, RASL_R = 8, 9
AGGREGATION, FRAGMENTATION, PACI = 48, 49, 50


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sps:
    """What a sequence parameter set says. profile: the 12 bytes of general profile, tier and
    level. width, height: pixels after cropping. chroma: chroma_format_idc; depths in bits.
    fps: 0 if unknown."""

    sub_layers: int
    nested: bool
    profile: bytes
    chroma: int
    width: int
    height: int
    bit_depth_luma: int
    bit_depth_chroma: int
    fps: float

    @property
    def codec(self) -> str:
        """RFC 6381 string, as annex E of ISO/IEC 14496-15 composes it."""
        first, level = self.profile[0], self.profile[11]
        space = ("", "A", "B", "C")[first >> 6]
        compatibility = int(f"{int.from_bytes(self.profile[1:5], 'big'):032b}"[::-1], 2)
        constraints = self.profile[5:11].rstrip(b"\x00")
        tier = "H" if first & 0x20 else "L"
        head = f"hvc1.{space}{first & 0x1F}.{compatibility:x}.{tier}{level}"
        return ".".join((head, *(f"{byte:X}" for byte in constraints)))


def nal_type(nal: bytes) -> int:
    return (nal[0] >> 1) & 0x3F


def parse_sps(nal: bytes) -> Sps:
    """Read a sequence parameter set. Raises: ProtocolViolation."""
    if len(nal) < 16 or nal_type(nal) != SPS:
        raise ProtocolViolation("this is not a sequence parameter set of H.265")
    bits = BitReader(unescape(nal[2:]))
    bits.read(4)
    sub_layers = bits.read(3) + 1
    nested = bits.flag()
    profile = profile_tier_level(bits, sub_layers)
    bits.ue()
    chroma = bits.ue()
    separate = chroma == 3 and bits.flag()
    width, height = bits.ue(), bits.ue()
    if bits.flag():
        left, right, top, bottom = bits.ue(), bits.ue(), bits.ue(), bits.ue()
        width -= (left + right) * (2 if chroma in (1, 2) and not separate else 1)
        height -= (top + bottom) * (2 if chroma == 1 else 1)
    luma_bits, chroma_bits = 8 + bits.ue(), 8 + bits.ue()
    if not (0 < width <= 16384 and 0 < height <= 16384):
        raise ProtocolViolation(f"a picture of {width}x{height} pixels is not believable")
    return Sps(
        sub_layers=sub_layers,
        nested=nested,
        profile=profile,
        chroma=chroma,
        width=width,
        height=height,
        bit_depth_luma=luma_bits,
        bit_depth_chroma=chroma_bits,
        fps=frame_rate_after_depths(bits, sub_layers, chroma),
    )


def hvcc(sps: Sps, sets: Mapping[int, list[bytes]]) -> bytes:
    """HEVCDecoderConfigurationRecord with 4-byte lengths. sets: NAL units by type."""
    parts = [
        b"\x01",
        sps.profile,
        b"\xf0\x00\xfc",
        bytes((0xFC | sps.chroma & 3,)),
        bytes((0xF8 | (sps.bit_depth_luma - 8) & 7, 0xF8 | (sps.bit_depth_chroma - 8) & 7)),
        b"\x00\x00",
        bytes(((sps.sub_layers & 7) << 3 | (0x04 if sps.nested else 0) | 0x03, len(sets))),
    ]
    for kind, nals in sets.items():
        parts.append(bytes((0x80 | kind,)) + len(nals).to_bytes(2, "big"))
        parts.extend(len(nal).to_bytes(2, "big") + nal for nal in nals)
    return b"".join(parts)


class H265Depacketiser:
    """RTP payloads to NAL units: single units, aggregation and fragmentation units (no DONL)."""

    def __init__(self) -> None:
        self._fragments: list[bytes] = []
        self._size = 0
        self.continuation = b""

    def reset(self) -> None:
        self._fragments.clear()
        self._size = 0
        self.continuation = b""

    def extend(self, piece: bytes) -> None:
        """See `Depacketiser.extend`."""
        self._fragments.append(piece)
        self._size += len(piece)
        if self._size > MAX_NAL_BYTES or len(self._fragments) > MAX_FRAGMENTS:
            self.reset()
            raise ProtocolViolation(f"an H.265 unit of more than {MAX_NAL_BYTES} bytes")

    def push(self, payload: bytes) -> list[bytes]:
        """See `Depacketiser.push`."""
        if len(payload) < 3:
            raise ProtocolViolation("an H.265 packet without content")
        kind = nal_type(payload)
        if kind == FRAGMENTATION:
            return self._fragment(payload)
        self.reset()
        if kind == AGGREGATION:
            return _aggregated(payload)
        if kind == PACI:
            raise NotSupported("H.265 packets with payload content information are not read")
        if kind > PACI:
            raise ProtocolViolation(f"an H.265 packet of the undefined type {kind}")
        return [payload]

    def _fragment(self, payload: bytes) -> list[bytes]:
        if len(payload) < 4:
            self.reset()
            raise ProtocolViolation("an H.265 fragment without content")
        header = payload[2]
        if header & 0x80:
            kind = header & 0x3F
            self._fragments = [bytes((payload[0] & 0x81 | kind << 1, payload[1]))]
            self._size = 2
            self.continuation = payload[:2] + bytes((kind,))
        elif not self._fragments:
            raise ProtocolViolation("an H.265 fragment without its beginning")
        self.extend(payload[3:])
        if not header & 0x40:
            return []
        nal = b"".join(self._fragments)
        self.reset()
        return [nal]


def _aggregated(payload: bytes) -> list[bytes]:
    nals, at = [], 2
    while at + 2 <= len(payload):
        size = int.from_bytes(payload[at : at + 2], "big")
        nal = payload[at + 2 : at + 2 + size]
        if size < 2 or len(nal) < size:
            raise ProtocolViolation("an aggregated H.265 packet is cut short")
        nals.append(nal)
        at += 2 + size
    return nals


def _kind(kind: int) -> NalKind:
    if 16 <= kind <= 23:
        return NalKind.KEY
    if kind in (RASL_N, RASL_R):
        return NalKind.SKIPPABLE
    if kind < 32:
        return NalKind.PICTURE
    if kind in (VPS, SPS, PPS):
        return NalKind.PARAMETER
    return NalKind.DELIMITER if kind in (DELIMITER, FILLER) else NalKind.OTHER


_KINDS = tuple(_kind(first >> 1 & 0x3F) for first in range(256))


class H265:
    """The codec as `NalCodec`."""

    name = "h265"
    kinds = _KINDS

    def depacketiser(self) -> H265Depacketiser:
        return H265Depacketiser()

    def kind(self, nal: bytes) -> NalKind:
        return _KINDS[nal[0]]

    def begins_picture(self, nal: bytes) -> bool:
        return len(nal) > 2 and nal[2] >= 0x80

    def is_root(self, nal: bytes) -> bool:
        return nal_type(nal) == SPS

    def parameter_key(self, nal: bytes) -> tuple[int, int]:
        kind = nal_type(nal)
        bits = BitReader(unescape(nal[2:]))
        if kind == VPS:
            return kind, bits.read(4)
        if kind == SPS:
            bits.read(4)
            sub_layers = bits.read(3) + 1
            bits.read(1)
            profile_tier_level(bits, sub_layers)
        number = bits.ue()
        if number > (15 if kind == SPS else 63):
            raise ProtocolViolation(f"a parameter set of H.265 with the number {number}")
        return kind, number

    def parameter_sets_of(self, fmtp: Mapping[str, str]) -> list[bytes]:
        names = ("sprop-vps", "sprop-sps", "sprop-pps")
        found = (nal for name in names for nal in decode_sets(fmtp.get(name, "")))
        return [nal for nal in found if len(nal) > 2]

    def video_format(self, sets: Iterable[bytes]) -> VideoFormat | None:
        by_type: dict[int, list[bytes]] = {VPS: [], SPS: [], PPS: []}
        for nal in sets:
            by_type.get(nal_type(nal), []).append(nal)
        if not all(by_type.values()):
            return None
        sps = parse_sps(by_type[SPS][0])
        return VideoFormat(
            codec=sps.codec,
            description=hvcc(sps, by_type),
            width=sps.width,
            height=sps.height,
            fps=frame_rate_of_vps(by_type[VPS][0]) or sps.fps,
        )
