"""DMR bursts: 33 bytes that hold voice, sync, link control and their error correction. No I/O.

Source: ETSI TS 102 361-1: 6.1 (burst), 9.1 (slot type, EMB, sync), B.1 (BPTC 196,96),
B.2.1 (embedded signalling), B.3.6 (Reed-Solomon). The codes come from dmr_utils3, except the
embedded matrix: its `bptc.encode_emblc` (0.1.31) sends bit 24 in the place of bit 25.
"""

import dataclasses
import enum

from bitarray import bitarray
from dmr_utils3 import bptc, crc, golay, hamming, qr

from simulators.homebrew_repeater.wire import DataType

LINK_CONTROL_BYTES = 9
SUPERFRAME = 6
FRAME_S = 0.06
VOICE_BYTES = 27
SILENCE = bytes.fromhex("b9e881526173002a6b") * 3

_VOICE_SYNC = 0x755FD7DF75F7
_DATA_SYNC = 0xDFF57D75DF5D

_INFO_HALF = 98
_VOICE_HALF = 108
_MIDDLE_BITS = 48


class BadBurst(ValueError):
    """A burst whose codes do not hold; the message says which."""


class Opcode(enum.IntEnum):
    """Full link control opcode (FLCO)."""

    GROUP = 0
    PRIVATE = 3
    ALIAS_HEADER = 4
    ALIAS_BLOCK_1 = 5
    ALIAS_BLOCK_2 = 6
    ALIAS_BLOCK_3 = 7
    POSITION = 8


class Fragment(enum.IntEnum):
    """LCSS: which part of an embedded message a burst carries."""

    SINGLE = 0
    FIRST = 1
    LAST = 2
    CONTINUED = 3


FRAGMENT_OF_BURST = {
    1: Fragment.FIRST,
    2: Fragment.CONTINUED,
    3: Fragment.CONTINUED,
    4: Fragment.LAST,
    5: Fragment.SINGLE,
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LinkControl:
    """Who talks to whom, and how. source, destination: 24-bit ids. emergency, encrypted: bits of
    the service options (ETSI TS 102 361-2, 7.2.1)."""

    source: int
    destination: int
    private: bool = False
    emergency: bool = False
    encrypted: bool = False

    def encode(self) -> bytes:
        """9 bytes: opcode, feature set, service options, destination, source."""
        opcode = Opcode.PRIVATE if self.private else Opcode.GROUP
        ids = self.destination.to_bytes(3, "big") + self.source.to_bytes(3, "big")
        return bytes((opcode, 0, self.emergency << 7 | self.encrypted << 6)) + ids


def header(control: bytes, colour_code: int) -> bytes:
    """The burst that opens a talk: voice LC header."""
    return _data_burst(bptc.encode_header_lc(control), DataType.VOICE_HEADER, colour_code)


def terminator(control: bytes, colour_code: int) -> bytes:
    """The burst that ends a talk: terminator with LC."""
    return _data_burst(bptc.encode_terminator_lc(control), DataType.TERMINATOR, colour_code)


def superframe_middles(embedded: bytes, colour_code: int) -> tuple[int, ...]:
    """The 48 bits between the halves of the bursts A to F: A has the sync, B to E carry 9
    embedded bytes."""
    middles = [_VOICE_SYNC]
    for place, bits in enumerate((*embedded_fragments(embedded), 0), start=1):
        code = qr.ENCODE_1676[colour_code << 3 | FRAGMENT_OF_BURST[place]]
        middles.append(code >> 8 << 40 | bits << 8 | code & 0xFF)
    return tuple(middles)


def silent_superframe(embedded: bytes, colour_code: int) -> tuple[bytes, ...]:
    """Six voice bursts of silence."""
    return tuple(voice_burst(SILENCE, each) for each in superframe_middles(embedded, colour_code))


def voice_burst(voice: bytes, middle: int) -> bytes:
    """A voice burst of 33 bytes. voice: 27 bytes, three AMBE+2 frames as on the air."""
    bits = int.from_bytes(voice, "big")
    first, last = bits >> _VOICE_HALF, bits & (1 << _VOICE_HALF) - 1
    whole = first << _VOICE_HALF + _MIDDLE_BITS | middle << _VOICE_HALF | last
    return whole.to_bytes(33, "big")


def voice_of(payload: bytes) -> bytes:
    """The 27 bytes of voice of a burst."""
    whole = int.from_bytes(payload, "big")
    first = whole >> _VOICE_HALF + _MIDDLE_BITS
    return (first << _VOICE_HALF | whole & (1 << _VOICE_HALF) - 1).to_bytes(VOICE_BYTES, "big")


def embedded_fragments(embedded: bytes) -> tuple[int, int, int, int]:
    """Spread 9 bytes over four 32-bit fragments.

    Eight rows of 16 bits: 72 bits and a 5-bit checksum, each row with Hamming (16,11,4), the
    last row with the parity of each column; sent column by column.
    """
    bits = bitarray(endian="big")
    bits.frombytes(embedded)
    checksum = crc.csum5(embedded)
    rows: list[bitarray] = []
    for row in range(7):
        info = bits[:11] if row < 2 else bits[:10] + checksum[row - 2 : row - 1]
        bits = bits[11 if row < 2 else 10 :]
        rows.append(info + hamming.enc_16114(info))
    parity = rows[0].copy()
    for other in rows[1:]:
        parity ^= other
    rows.append(parity)
    sent = bitarray((rows[row][column] for column in range(16) for row in range(8)), endian="big")
    whole = int.from_bytes(sent.tobytes(), "big")
    return (
        whole >> 96,
        whole >> 64 & 0xFFFFFFFF,
        whole >> 32 & 0xFFFFFFFF,
        whole & 0xFFFFFFFF,
    )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DataBurst:
    """What a header or terminator says."""

    data_type: int
    colour_code: int
    control: bytes


def read_data_burst(payload: bytes) -> DataBurst:
    """Read a header or terminator, and hold it against its codes.

    Raises: BadBurst if sync, slot type, BPTC or Reed-Solomon are not as they must be.
    """
    whole = int.from_bytes(payload, "big")
    if _middle(whole) != _DATA_SYNC:
        raise BadBurst(f"data sync is {_middle(whole):012x}")
    slot_type = (whole >> 156 & 0x3FF) << 10 | whole >> 98 & 0x3FF
    colour_code, data_type = slot_type >> 16, slot_type >> 12 & 0x0F
    if slot_type != _slot_type(data_type, colour_code):
        raise BadBurst(f"slot type {slot_type:05x} does not fit its Golay code")
    info = bitarray(endian="big")
    info.frombytes((whole >> 166 << 98 | whole & (1 << 98) - 1).to_bytes(25, "big"))
    info = info[4:]
    control = bytes(bptc.decode_full_lc(info).tobytes())
    if data_type == DataType.VOICE_HEADER:
        expected = bptc.encode_header_lc(control)
    elif data_type == DataType.TERMINATOR:
        expected = bptc.encode_terminator_lc(control)
    else:
        raise BadBurst(f"data type {data_type} carries no link control")
    if expected != info:
        raise BadBurst(f"link control {control.hex()} does not fit its BPTC and Reed-Solomon code")
    return DataBurst(data_type=data_type, colour_code=colour_code, control=control)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class VoiceBurst:
    """The middle of a voice burst: the sync of burst A, or a fragment and its place."""

    sync: bool
    colour_code: int = 0
    fragment: Fragment = Fragment.SINGLE
    bits: int = 0


def read_voice_burst(payload: bytes) -> VoiceBurst:
    """Read what a voice burst carries besides voice.

    Raises: BadBurst if the EMB field does not fit its code.
    """
    middle = _middle(int.from_bytes(payload, "big"))
    if middle == _VOICE_SYNC:
        return VoiceBurst(sync=True)
    code = middle >> 40 << 8 | middle & 0xFF
    value = code >> 9
    if qr.ENCODE_1676[value] != code:
        raise BadBurst(f"EMB {code:04x} does not fit its quadratic residue code")
    return VoiceBurst(
        sync=False,
        colour_code=value >> 3,
        fragment=Fragment(value & 3),
        bits=middle >> 8 & 0xFFFFFFFF,
    )


def read_embedded(fragments: tuple[int, int, int, int]) -> bytes:
    """The 9 bytes that four fragments carry.

    Raises: BadBurst if rows, columns or checksum do not hold.
    """
    sent = bitarray(endian="big")
    for bits in fragments:
        sent.frombytes(bits.to_bytes(4, "big"))
    rows = [sent[row::8] for row in range(8)]
    info = bitarray(endian="big")
    for row in range(7):
        info += rows[row][: 11 if row < 2 else 10]
    embedded = info.tobytes()
    if embedded_fragments(embedded) != fragments:
        raise BadBurst(f"embedded {embedded.hex()} does not fit its Hamming code and checksum")
    return embedded


def position_block(longitude_deg: float, latitude_deg: float) -> bytes:
    """Where a radio is as a 9-byte embedded message, good to 20 m.

    ETSI TS 102 361-2, 7.1.1.3: 4 bits reserved, 3 of error, 25 of longitude, 24 of latitude.
    """
    east = round(longitude_deg / 360 * 2**25) & 0x1FFFFFF
    north = round(latitude_deg / 180 * 2**24) & 0xFFFFFF
    return bytes((Opcode.POSITION, 0)) + (1 << 49 | east << 24 | north).to_bytes(7, "big")


def alias_blocks(alias: str) -> tuple[bytes, ...]:
    """A talker alias as 9-byte embedded messages: header and up to three blocks, in UTF-8.

    Cut at a character to the 27 bytes that fit. Source: ETSI TS 102 361-2, 7.1.1.4.
    """
    data = alias.encode()[:27].decode(errors="ignore").encode()
    if not data:
        return ()
    first = bytes((2 << 6 | len(data) << 1,)) + data[:6].ljust(6, b"\0")
    rest = [data[start : start + 7].ljust(7, b"\0") for start in range(6, len(data), 7)]
    return tuple(
        bytes((Opcode.ALIAS_HEADER + block, 0)) + part for block, part in enumerate((first, *rest))
    )


def read_alias(parts: dict[int, bytes]) -> str:
    """The alias so far from the 7-byte parts by opcode; empty until the header has come."""
    first = parts.get(Opcode.ALIAS_HEADER)
    if first is None or first[0] >> 6 not in (1, 2):
        return ""
    data = first[1:]
    for opcode in (Opcode.ALIAS_BLOCK_1, Opcode.ALIAS_BLOCK_2, Opcode.ALIAS_BLOCK_3):
        if opcode not in parts:
            break
        data += parts[opcode]
    size = first[0] >> 1 & 0x1F
    return data[:size].decode("utf-8" if first[0] >> 6 == 2 else "latin-1", errors="ignore")


def _data_burst(info: bitarray, data_type: DataType, colour_code: int) -> bytes:
    bits = int.from_bytes(info.tobytes(), "big") >> 4
    slot_type = _slot_type(data_type, colour_code)
    whole = (
        bits >> _INFO_HALF << 166
        | slot_type >> 10 << 156
        | _DATA_SYNC << 108
        | (slot_type & 0x3FF) << 98
        | bits & (1 << _INFO_HALF) - 1
    )
    return whole.to_bytes(33, "big")


def _slot_type(data_type: int, colour_code: int) -> int:
    return int(golay.encode_2087(bytes((colour_code << 4 | data_type,))))


def _middle(whole: int) -> int:
    return whole >> _VOICE_HALF & (1 << _MIDDLE_BITS) - 1
