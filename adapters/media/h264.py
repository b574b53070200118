"""H.264: parameter sets (ITU-T H.264), RTP payloads (RFC 6184) and avcC (ISO/IEC 14496-15)."""

import base64
import binascii
import dataclasses
from collections.abc import Iterable, Mapping

from adapters.errors import NotSupported, ProtocolViolation
from adapters.media.bits import BitReader, unescape
from adapters.media.nal import MAX_FRAGMENTS, MAX_NAL_BYTES, NalKind, VideoFormat

IDR, SEI, SPS, PPS, DELIMITER, FILLER = 5, 6, 7, 8, 9, 12
STAP_A, FU_A = 24, 28

# Profiles whose parameter sets carry the chroma format (clause 7.3.2.1.1).
_HIGH_PROFILES = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sps:
    """What a sequence parameter set says. width, height: pixels after cropping; fps: 0 if unknown.
    chroma: chroma_format_idc; bit_depth_luma, bit_depth_chroma: bits."""

    profile: int
    constraints: int
    level: int
    chroma: int
    bit_depth_luma: int
    bit_depth_chroma: int
    width: int
    height: int
    fps: float

    @property
    def codec(self) -> str:
        return f"avc1.{self.profile:02x}{self.constraints:02x}{self.level:02x}"


def parse_sps(nal: bytes) -> Sps:
    """Read a sequence parameter set. Raises: ProtocolViolation."""
    if len(nal) < 5 or nal[0] & 0x1F != SPS:
        raise ProtocolViolation("this is not a sequence parameter set of H.264")
    bits = BitReader(unescape(nal[1:]))
    profile, constraints, level = bits.read(8), bits.read(8), bits.read(8)
    bits.ue()
    chroma, separate, luma_bits, chroma_bits = 1, False, 8, 8
    if profile in _HIGH_PROFILES:
        chroma = bits.ue()
        separate = chroma == 3 and bits.flag()
        luma_bits, chroma_bits = 8 + bits.ue(), 8 + bits.ue()
        bits.flag()
        if bits.flag():
            _skip_scaling_matrix(bits, lists=12 if chroma == 3 else 8)
    _skip_picture_order(bits)
    bits.ue()
    bits.flag()
    columns, rows = bits.ue() + 1, bits.ue() + 1
    frames_only = bits.flag()
    if not frames_only:
        bits.flag()
    bits.flag()
    left = right = top = bottom = 0
    if bits.flag():
        left, right, top, bottom = bits.ue(), bits.ue(), bits.ue(), bits.ue()
    crop_x = 2 if chroma in (1, 2) and not separate else 1
    crop_y = (2 if chroma == 1 and not separate else 1) * (1 if frames_only else 2)
    width = columns * 16 - (left + right) * crop_x
    height = rows * 16 * (1 if frames_only else 2) - (top + bottom) * crop_y
    if not (0 < width <= 16384 and 0 < height <= 16384):
        raise ProtocolViolation(f"a picture of {width}x{height} pixels is not believable")
    return Sps(
        profile=profile,
        constraints=constraints,
        level=level,
        chroma=chroma,
        bit_depth_luma=luma_bits,
        bit_depth_chroma=chroma_bits,
        width=width,
        height=height,
        fps=_frame_rate(bits),
    )


def _skip_scaling_matrix(bits: BitReader, lists: int) -> None:
    for index in range(lists):
        if not bits.flag():
            continue
        last = following = 8
        for _ in range(16 if index < 6 else 64):
            if following:
                following = (last + bits.se()) % 256
            last = following or last


def _skip_picture_order(bits: BitReader) -> None:
    bits.ue()
    order_type = bits.ue()
    if order_type == 0:
        bits.ue()
    elif order_type == 1:
        bits.flag()
        bits.se()
        bits.se()
        cycle = bits.ue()
        if cycle > 255:
            raise ProtocolViolation("a picture order cycle longer than 255")
        for _ in range(cycle):
            bits.se()


def _frame_rate(bits: BitReader) -> float:
    """Frames a second from the VUI; 0 where there is none (some encoders cut it short)."""
    try:
        if not bits.flag():
            return 0.0
        if bits.flag() and bits.read(8) == 255:
            bits.read(32)
        if bits.flag():
            bits.flag()
        if bits.flag():
            bits.read(4)
            if bits.flag():
                bits.read(24)
        if bits.flag():
            bits.ue()
            bits.ue()
        if not bits.flag():
            return 0.0
        ticks, scale = bits.read(32), bits.read(32)
    except ProtocolViolation:
        return 0.0
    return scale / (2 * ticks) if ticks and 0 < scale / (2 * ticks) <= 240 else 0.0


def avcc(sequence_sets: list[bytes], picture_sets: list[bytes]) -> bytes:
    """AVCDecoderConfigurationRecord with 4-byte lengths. Raises: ProtocolViolation."""
    sps = parse_sps(sequence_sets[0])
    parts = [
        bytes((1, sps.profile, sps.constraints, sps.level, 0xFF, 0xE0 | len(sequence_sets))),
        *(len(nal).to_bytes(2, "big") + nal for nal in sequence_sets),
        bytes((len(picture_sets),)),
        *(len(nal).to_bytes(2, "big") + nal for nal in picture_sets),
    ]
    if sps.profile in (100, 110, 122, 144):
        depths = (0xF8 | (sps.bit_depth_luma - 8) & 7, 0xF8 | (sps.bit_depth_chroma - 8) & 7)
        parts.append(bytes((0xFC | sps.chroma & 3, *depths, 0)))
    return b"".join(parts)


class H264Depacketiser:
    """RTP payloads to NAL units: single units, STAP-A and FU-A (packetization-mode 0 and 1)."""

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
            raise ProtocolViolation(f"an H.264 unit of more than {MAX_NAL_BYTES} bytes")

    def push(self, payload: bytes) -> list[bytes]:
        """See `Depacketiser.push`."""
        if not payload:
            raise ProtocolViolation("an RTP packet without payload")
        kind = payload[0] & 0x1F
        if kind == FU_A:
            return self._fragment(payload)
        self.reset()
        if 1 <= kind <= 23:
            return [payload]
        if kind == STAP_A:
            return _aggregated(payload)
        if kind in (25, 26, 27, 29):
            raise NotSupported(f"interleaved H.264 packets (type {kind}) are not read natively")
        raise ProtocolViolation(f"an H.264 packet of the undefined type {kind}")

    def _fragment(self, payload: bytes) -> list[bytes]:
        size = len(payload)
        if size < 3:
            self.reset()
            raise ProtocolViolation("an H.264 fragment without content")
        indicator, header = payload[0], payload[1]
        if header & 0x80:
            self._fragments = [bytes((indicator & 0xE0 | header & 0x1F,))]
            self._size = 1
            self.continuation = bytes((indicator, header & 0x1F))
        elif not self._fragments:
            raise ProtocolViolation("an H.264 fragment without its beginning")
        self.extend(payload[2:])
        if not header & 0x40:
            return []
        nal = b"".join(self._fragments)
        self.reset()
        return [nal]


def _aggregated(payload: bytes) -> list[bytes]:
    nals, at = [], 1
    while at + 2 <= len(payload):
        size = int.from_bytes(payload[at : at + 2], "big")
        nal = payload[at + 2 : at + 2 + size]
        if not size or len(nal) < size:
            raise ProtocolViolation("an aggregated H.264 packet is cut short")
        nals.append(nal)
        at += 2 + size
    return nals


def _kind(nal_type: int) -> NalKind:
    if nal_type == IDR:
        return NalKind.KEY
    if 1 <= nal_type <= 4:
        return NalKind.PICTURE
    if nal_type in (SPS, PPS):
        return NalKind.PARAMETER
    return NalKind.DELIMITER if nal_type in (DELIMITER, FILLER) else NalKind.OTHER


_KINDS = tuple(_kind(first & 0x1F) for first in range(256))


class H264:
    """The codec as `NalCodec`."""

    name = "h264"
    kinds = _KINDS

    def depacketiser(self) -> H264Depacketiser:
        return H264Depacketiser()

    def kind(self, nal: bytes) -> NalKind:
        return _KINDS[nal[0]]

    def begins_picture(self, nal: bytes) -> bool:
        # first_mb_in_slice is 0, coded as a single 1 bit; partitions B and C never begin one.
        return len(nal) > 1 and nal[1] >= 0x80 and nal[0] & 0x1F not in (3, 4)

    def is_root(self, nal: bytes) -> bool:
        return nal[0] & 0x1F == SPS

    def parameter_key(self, nal: bytes) -> tuple[int, int]:
        kind = nal[0] & 0x1F
        # An SPS has profile, constraints and level (3 bytes) before its id.
        start = 4 if kind == SPS else 1
        number = BitReader(unescape(nal[start : start + 8])).ue()
        if number > (31 if kind == SPS else 255):
            raise ProtocolViolation(f"a parameter set of H.264 with the number {number}")
        return kind, number

    def parameter_sets_of(self, fmtp: Mapping[str, str]) -> list[bytes]:
        return decode_sets(fmtp.get("sprop-parameter-sets", ""))

    def video_format(self, sets: Iterable[bytes]) -> VideoFormat | None:
        nals = list(sets)
        sequence = [nal for nal in nals if nal[0] & 0x1F == SPS][:31]
        picture = [nal for nal in nals if nal[0] & 0x1F == PPS][:255]
        if not sequence or not picture:
            return None
        sps = parse_sps(sequence[0])
        return VideoFormat(
            codec=sps.codec,
            description=avcc(sequence, picture),
            width=sps.width,
            height=sps.height,
            fps=sps.fps,
        )


def decode_sets(text: str) -> list[bytes]:
    """Parameter sets from a comma-separated list in Base64; what cannot be read is left out.

    Some cameras put start codes before them or leave the padding out.
    """
    sets = []
    for part in text.split(","):
        try:
            nal = base64.b64decode(part.strip() + "=" * (-len(part.strip()) % 4), validate=True)
        except (binascii.Error, ValueError):
            continue
        nal = nal.lstrip(b"\x00").removeprefix(b"\x01") if nal[:3] == b"\x00\x00\x00" else nal
        nal = nal.removeprefix(b"\x00\x00\x01").rstrip(b"\x00")
        if nal:
            sets.append(nal)
    return sets
