"""DMR bursts: link control, voice headers and terminators, superframes. Pure.

The error correction is that of dmr_utils3. A burst is 33 bytes (264 bits): 108 bits, 48 bits of
sync or embedded signalling, 108 bits. Source: ETSI TS 102 361-1, clauses 6 to 9 and annex B.
"""

import dataclasses
from collections.abc import Callable

from bitarray import bitarray
from bitarray.util import zeros
from dmr_utils3 import bptc, const, crc, golay, hamming, qr, rs129

from adapters.homebrew.wire import DataType

FLCO_GROUP = 0
FLCO_PRIVATE = 3
FLCO_ALIAS_HEADER = 4
FLCO_POSITION = 8

AMBE_SILENCE = bytes.fromhex("b9e881526173002a6b")
"""20 ms of silence in AMBE+2 at 3600 bit/s with its error correction, as repeaters fill gaps."""

AMBE_LENGTH = 27
"""Bytes of voice in a burst: three AMBE+2 frames."""

BURST_MS = 60

_EMERGENCY = 0x80
_PRIVACY = 0x40


class MalformedBurstError(ValueError):
    """The bits of a burst do not pass their own check."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LinkControl:
    """Who talks to whom. flco: full link control opcode. feature_set: 0 is the standard's own.

    service_options: 8 bits; emergency and privacy are the top two.
    Source: ETSI TS 102 361-2, clause 7.1.
    """

    flco: int = FLCO_GROUP
    feature_set: int = 0
    service_options: int = 0
    destination_id: int
    source_id: int

    @property
    def emergency(self) -> bool:
        return bool(self.service_options & _EMERGENCY)

    @property
    def encrypted(self) -> bool:
        return bool(self.service_options & _PRIVACY)

    def to_bytes(self) -> bytes:
        return (
            bytes((self.flco, self.feature_set, self.service_options))
            + self.destination_id.to_bytes(3, "big")
            + self.source_id.to_bytes(3, "big")
        )


def parse_link_control(data: bytes) -> LinkControl:
    """data: the 9 bytes that `LinkControl.to_bytes` gives. The protect and reserved bits of the
    first byte are dropped."""
    return LinkControl(
        flco=data[0] & 0x3F,
        feature_set=data[1],
        service_options=data[2],
        destination_id=int.from_bytes(data[3:6], "big"),
        source_id=int.from_bytes(data[6:9], "big"),
    )


# --- headers and terminators ------------------------------------------------------------------


def encode_header(link_control: LinkControl, color_code: int) -> bytes:
    """A voice header, 33 bytes."""
    info = bptc.encode_header_lc(link_control.to_bytes())
    return _data_burst(info, color_code, DataType.VOICE_HEADER)


def encode_terminator(link_control: LinkControl, color_code: int) -> bytes:
    """A terminator with link control, 33 bytes."""
    info = bptc.encode_terminator_lc(link_control.to_bytes())
    return _data_burst(info, color_code, DataType.TERMINATOR)


def decode_header(payload: bytes) -> LinkControl:
    """The link control of a voice header.

    Raises: MalformedBurstError when its Reed-Solomon check fails; repeaters correct what they
    receive before they pass it on, so nothing is repaired here.
    """
    return _decode_full(payload, rs129.lc_header_encode)


def decode_terminator(payload: bytes) -> LinkControl:
    """The link control of a terminator. Raises: MalformedBurstError."""
    return _decode_full(payload, rs129.lc_terminator_encode)


def _data_burst(info: bitarray, color_code: int, data_type: DataType) -> bytes:
    slot_type_bits = golay.encode_2087(bytes((color_code << 4 | data_type,)))
    slot_type = bitarray(f"{slot_type_bits:020b}")
    burst = info[:98] + slot_type[:10] + const.BS_DATA_SYNC + slot_type[10:] + info[98:]
    return bytes(burst.tobytes())


def _decode_full(payload: bytes, parity: Callable[[bytes], bytes]) -> LinkControl:
    bits = bitarray(endian="big")
    bits.frombytes(payload)
    info = bits[:98] + bits[166:264]
    data = bptc.decode_full_lc(info).tobytes()
    sent = bytes(_bits_of(info, positions) for positions in _PARITY_POSITIONS)
    if parity(data) != sent:
        raise MalformedBurstError("the link control does not pass its Reed-Solomon check")
    return parse_link_control(data)


def _bits_of(info: bitarray, positions: tuple[int, ...]) -> int:
    value = 0
    for position in positions:
        value = value << 1 | info[position]
    return value


def _parity_positions() -> tuple[tuple[int, ...], ...]:
    """Where the three parity bytes lie among the 196 interleaved bits.

    They are the last 24 of the 96 data bits: the rows of 11 behind 3 reserved bits, deinterleaved.
    """
    deinterleaved = [1 + row * 15 + column for row in range(9) for column in range(11)][3:]
    interleaved = [position * 181 % 196 for position in deinterleaved[72:]]
    return tuple(tuple(interleaved[start : start + 8]) for start in (0, 8, 16))


_PARITY_POSITIONS = _parity_positions()


# --- voice ------------------------------------------------------------------------------------


def encode_superframe(
    link_control: LinkControl, color_code: int, ambe: bytes = AMBE_SILENCE * 18
) -> tuple[bytes, ...]:
    """Six voice bursts A to F, 33 bytes each.

    ambe: 18 frames of 9 bytes; silence by default.
    """
    return tuple(
        encode_voice(ambe[place * AMBE_LENGTH : (place + 1) * AMBE_LENGTH], middle)
        for place, middle in enumerate(encode_middles(link_control, color_code))
    )


def encode_middles(link_control: LinkControl, color_code: int) -> tuple[int, ...]:
    """The 48 bits in the middle of the bursts A to F: A has the voice sync, B to E the link
    control in quarters, F none."""
    middles = [_bits(const.BS_VOICE_SYNC)]
    fragments = (*encode_embedded(link_control), zeros(32, "big"))
    for lcss, fragment in zip(_LCSS, fragments, strict=True):
        emb = qr.ENCODE_1676[color_code << 3 | lcss]
        middles.append(emb >> 8 << 40 | _bits(fragment) << 8 | emb & 0xFF)
    return tuple(middles)


def encode_voice(ambe: bytes, middle: int) -> bytes:
    """A voice burst, 33 bytes. ambe: its 27 bytes of voice; middle: see `encode_middles`."""
    voice = int.from_bytes(ambe, "big")
    whole = voice >> 108 << 156 | middle << 108 | voice & _LAST_HALF
    return whole.to_bytes(33, "big")


def voice_of(payload: bytes) -> bytes:
    """The voice of a burst, 27 bytes: three AMBE+2 frames of 72 bits, as on the air."""
    whole = int.from_bytes(payload, "big")
    return (whole >> 156 << 108 | whole & _LAST_HALF).to_bytes(AMBE_LENGTH, "big")


_LAST_HALF = (1 << 108) - 1


def _bits(bits: bitarray) -> int:
    return int.from_bytes(bits.tobytes(), "big")


_LCSS = (0b01, 0b11, 0b11, 0b10, 0b00)  # first, two in the middle, last, and a single empty one


def encode_embedded(link_control: LinkControl) -> list[bitarray]:
    """The link control as four fragments of 32 bits.

    Built here because `bptc.encode_emblc` of dmr_utils3 0.1.31 sends bit 24 of the matrix in the
    place of bit 25.
    """
    data = bitarray(endian="big")
    data.frombytes(link_control.to_bytes())
    checksum = crc.csum5(link_control.to_bytes())
    rows = [data[:11], data[11:22]]
    rows += [data[22 + 10 * n : 32 + 10 * n] + checksum[n : n + 1] for n in range(5)]
    matrix = bitarray(endian="big")
    for row in rows:
        matrix += row + hamming.enc_16114(row)
    parity = matrix[:16]
    for start in range(16, 112, 16):
        parity ^= matrix[start : start + 16]
    matrix += parity
    by_column = bitarray((matrix[bit % 8 * 16 + bit // 8] for bit in range(128)), endian="big")
    return [by_column[start : start + 32] for start in range(0, 128, 32)]


def decode_embedded(fragments: bytes) -> LinkControl:
    """The link control of the four fragments of bursts B to E, 16 bytes.

    Raises: MalformedBurstError when its checksum fails.
    """
    bits = bitarray(endian="big")
    bits.frombytes(fragments)
    data = bptc.decode_emblc(bits)[:9]
    sent = 0
    for row in range(2, 7):
        sent = sent << 1 | bits[80 + row]
    if sum(data) % 31 != sent:
        raise MalformedBurstError("the embedded link control does not pass its checksum")
    return parse_link_control(data)


def embedded_fragment(payload: bytes) -> bytes:
    """The 32 bits of embedded signalling of a voice burst B to F, 4 bytes."""
    return (int.from_bytes(payload[14:19], "big") >> 4 & 0xFFFFFFFF).to_bytes(4, "big")
