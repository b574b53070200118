"""The bursts hold by the codes' own mathematics, worked out here without the library."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.homebrew_repeater import burst

CONTROL = burst.LinkControl(source=460_0123, destination=101).encode()


def bits_of(data: bytes) -> list[int]:
    return [data[i // 8] >> (7 - i % 8) & 1 for i in range(len(data) * 8)]


def remainder(bits: list[int], generator: int) -> int:
    """Of the polynomial division over GF(2)."""
    degree = generator.bit_length() - 1
    value = 0
    for bit in bits:
        value = value << 1 | bit
        if value >> degree:
            value ^= generator
    return value


def times(a: int, b: int) -> int:
    """In GF(256) with x^8 + x^4 + x^3 + x^2 + 1."""
    product = 0
    while b:
        product ^= a if b & 1 else 0
        a = a << 1 ^ (0x11D if a & 0x80 else 0)
        b >>= 1
    return product


def at(polynomial: bytes, x: int) -> int:
    value = 0
    for coefficient in polynomial:
        value = times(value, x) ^ coefficient
    return value


def unravel(payload: bytes) -> list[int]:
    """The 196 bits of BPTC in matrix order: bit i was sent as bit 181 i mod 196."""
    bits = bits_of(payload)
    info = bits[:98] + bits[166:]
    return [info[i * 181 % 196] for i in range(196)]


@pytest.mark.parametrize(
    ("make", "data_type", "mask"), [(burst.header, 1, 0x96), (burst.terminator, 2, 0x99)]
)
def test_data_burst_holds(make: object, data_type: int, mask: int) -> None:
    assert callable(make)
    payload = make(CONTROL, 7)
    bits = bits_of(payload)
    matrix = unravel(payload)
    rows = [matrix[1 + 15 * row : 16 + 15 * row] for row in range(13)]
    assert all(remainder(row, 0b10011) == 0 for row in rows[:9])
    for column in range(15):
        down = [rows[row][column] for row in range(13)]
        assert remainder(down, 0b10011) == 0
    info = [bit for row in rows[:9] for bit in row[:11]][3:]
    message = bytes(int("".join(map(str, info[i : i + 8])), 2) for i in range(0, 96, 8))
    assert message[:9] == CONTROL
    code = message[:9] + bytes(byte ^ mask for byte in message[9:])
    assert [at(code, root) for root in (2, 4, 8)] == [0, 0, 0]
    assert bits[108:156] == bits_of(bytes.fromhex("dff57d75df5d"))
    assert bits[98:106] == bits_of(bytes((7 << 4 | data_type,)))


def test_superframe_has_sync_then_fragments() -> None:
    frames = burst.silent_superframe(CONTROL, 7)
    assert [len(frame) for frame in frames] == [33] * 6
    middles = [bits_of(frame)[108:156] for frame in frames]
    assert middles[0] == bits_of(bytes.fromhex("755fd7df75f7"))
    silence = bits_of(bytes.fromhex("b9e881526173002a6b") * 3)
    assert all(bits_of(frame)[:108] + bits_of(frame)[156:] == silence for frame in frames)
    # EMB: colour code, PI, LCSS first, continued, continued, last, single
    emb = [middle[:8] + middle[40:] for middle in middles[1:]]
    assert [int("".join(map(str, code[:7])), 2) for code in emb] == [
        7 << 3 | lcss for lcss in (1, 3, 3, 2, 0)
    ]
    assert all(remainder(code[:15], 0b100111001) == 0 for code in emb)
    assert all(sum(code) % 2 == 0 for code in emb)
    assert middles[5][8:40] == [0] * 32


@given(control=st.binary(min_size=9, max_size=9))
def test_embedded_message_holds(control: bytes) -> None:
    sent = [bit for word in burst.embedded_fragments(control) for bit in bits_of(word.to_bytes(4))]
    rows = [sent[row::8] for row in range(8)]
    assert all(remainder(row[:15], 0b10011) == 0 for row in rows[:7])
    assert all(sum(row) % 2 == 0 for row in rows[:7])
    assert all(sum(row[column] for row in rows) % 2 == 0 for column in range(16))
    info = rows[0][:11] + rows[1][:11] + [bit for row in rows[2:7] for bit in row[:10]]
    assert info == bits_of(control)
    checksum = int("".join(str(row[10]) for row in rows[2:7]), 2)
    assert checksum == sum(control) % 31


@given(control=st.binary(min_size=9, max_size=9))
def test_embedded_message_reads_back(control: bytes) -> None:
    assert burst.read_embedded(burst.embedded_fragments(control)) == control


def test_one_wrong_bit_is_noticed() -> None:
    fragments = burst.embedded_fragments(CONTROL)
    with pytest.raises(burst.BadBurst, match="Hamming"):
        burst.read_embedded((fragments[0] ^ 1, *fragments[1:]))
    whole = bytearray(burst.header(CONTROL, 1))
    assert burst.read_data_burst(bytes(whole)).control == CONTROL
    whole[0] ^= 0x40
    with pytest.raises(burst.BadBurst, match="Reed-Solomon"):
        burst.read_data_burst(bytes(whole))
    whole[0] ^= 0x40
    whole[13] ^= 0x80
    with pytest.raises(burst.BadBurst, match="slot type"):
        burst.read_data_burst(bytes(whole))


@given(payload=st.binary(min_size=33, max_size=33))
def test_any_payload_is_read_or_refused(payload: bytes) -> None:
    for read in (burst.read_data_burst, burst.read_voice_burst):
        try:
            read(payload)
        except burst.BadBurst:
            continue


@pytest.mark.parametrize("alias", ["PC Li 0123", "万莲所 李警官", "x" * 27])
def test_alias_reads_back(alias: str) -> None:
    blocks = burst.alias_blocks(alias)
    assert [block[0] for block in blocks] == [4, 5, 6, 7][: len(blocks)]
    assert all(len(block) == 9 for block in blocks)
    assert burst.read_alias({block[0]: block[2:] for block in blocks}) == alias


def test_long_alias_is_cut_at_a_character() -> None:
    blocks = burst.alias_blocks("沈河区万莲派出所警务室")
    assert burst.read_alias({block[0]: block[2:] for block in blocks}) == "沈河区万莲派出所警"
    assert burst.alias_blocks("") == ()
