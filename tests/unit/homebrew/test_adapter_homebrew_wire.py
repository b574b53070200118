"""The Homebrew wire format: what is read, what is refused and where."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adapters.homebrew import wire

PAYLOAD = bytes(range(33))
COMMANDS = (
    b"DMRD", b"RPTL", b"RPTK", b"RPTC", b"RPTCL", b"RPTO", b"RPTPING", b"DMRA", b"DMRG"
)  # fmt: skip


def a_dmrd(bits: int = 0x10, length: int = 53) -> bytes:
    """Sequence 7, source 2001, destination 3101, repeater 310001, stream deadbeef."""
    packet = bytes.fromhex("444d5244 07 0007d1 000c1d 0004baf1".replace(" ", ""))
    return (packet + bytes((bits,)) + bytes.fromhex("deadbeef") + PAYLOAD + b"\x01\x3c")[:length]


def test_a_dmrd_is_read_field_by_field() -> None:
    burst = wire.decode(a_dmrd(0x80 | 0x20 | 1, 55))
    assert burst == wire.Dmrd(
        sequence=7,
        source_id=2001,
        destination_id=3101,
        repeater_id=310001,
        slot=2,
        private=False,
        frame=wire.Frame.DATA_SYNC,
        kind=1,
        stream_id=0xDEADBEEF,
        payload=PAYLOAD,
        quality=b"\x01\x3c",
    )
    assert burst.is_header
    assert burst.is_talk
    assert not burst.is_terminator


@pytest.mark.parametrize(
    ("bits", "slot", "private", "talk"),
    [
        (0x10, 1, False, True),  # frame A
        (0x85, 2, False, True),  # frame F
        (0x50, 1, True, True),  # of a private call
        (0x20, 1, False, True),  # privacy header
        (0x22, 1, False, True),  # terminator
        (0x23, 1, False, False),  # CSBK
        (0xA6, 2, False, False),  # data header
        (0x28, 1, False, False),  # rate 3/4 data
    ],
)
def test_bits_say_slot_call_and_kind(bits: int, slot: int, private: bool, talk: bool) -> None:
    burst = wire.decode(a_dmrd(bits))
    assert isinstance(burst, wire.Dmrd)
    assert (burst.slot, burst.private, burst.is_talk) == (slot, private, talk)


@pytest.mark.parametrize(
    ("datagram", "offset"),
    [
        (b"", 0),
        (b"WHAT", 0),
        (a_dmrd(length=40), 40),
        (a_dmrd(length=54), 54),
        (a_dmrd(0x30), 15),
        (a_dmrd(0x06), 15),
        (b"RPTL123", 7),
        (b"RPTK" + bytes(35), 39),
        (b"RPTPONG" + bytes(4), 4),
        (b"RPTC" + bytes(100), 104),
        (b"DMRA" + bytes(9), 13),
        (b"DMRA" + bytes(3) + b"\x04" + bytes(7), 7),
        (b"DMRG" + bytes(11), 15),
        (b"RPTO\0", 5),
    ],
)
def test_what_is_wrong_is_located(datagram: bytes, offset: int) -> None:
    with pytest.raises(wire.MalformedPacketError) as refused:
        wire.decode(datagram)
    assert refused.value.offset == offset
    assert f"byte {offset}" in str(refused.value)


def test_a_configuration_is_read_by_its_offsets() -> None:
    text = (
        "BJ1ABC  " "439450000" "434450000" "25" "07" "+39.9042" "+116.4074" "045"
        "Shenhe              " "Roof of room 07    " "3"
    )  # fmt: skip
    body = text.encode() + b"https://example.org".ljust(124, b"\0") + b"20260101".ljust(40)
    datagram = b"RPTC" + (310001).to_bytes(4, "big") + body + b"MMDVM".ljust(40)
    assert len(datagram) == 302
    read = wire.decode(datagram)
    assert isinstance(read, wire.Configuration)
    assert (read.callsign, read.color_code, read.slots) == ("BJ1ABC", 7, "3")
    assert (read.rx_frequency_hz, read.tx_frequency_hz) == ("439450000", "434450000")
    assert (read.latitude_deg, read.longitude_deg) == ("+39.9042", "+116.4074")
    assert (read.location, read.description) == ("Shenhe", "Roof of room 07")
    assert (read.software, read.package) == ("20260101", "MMDVM")


@pytest.mark.parametrize("color_code", [b"16", b"-1", b"xx", b"\0\0"])
def test_a_colour_code_that_is_none_is_left_out(color_code: bytes) -> None:
    datagram = b"RPTC" + bytes(32) + color_code + bytes(264)
    read = wire.decode(datagram)
    assert isinstance(read, wire.Configuration)
    assert read.color_code is None


def test_both_dialects_of_aliases_and_positions() -> None:
    source = (2001).to_bytes(3, "big")
    repeater = (310001).to_bytes(4, "big")
    block = b"\x01" + b"abcdefg"
    short = wire.decode(b"DMRA" + source + block)
    long = wire.decode(b"DMRA" + repeater + source + block)
    assert short == wire.AliasBlock(repeater_id=None, source_id=2001, block=1, data=b"abcdefg")
    assert long == wire.AliasBlock(repeater_id=310001, source_id=2001, block=1, data=b"abcdefg")
    assert wire.decode(b"DMRG" + source + bytes(7)) == wire.Position(
        repeater_id=None, source_id=2001, data=bytes(7)
    )
    assert wire.decode(b"DMRG" + repeater + source + bytes(7)) == wire.Position(
        repeater_id=310001, source_id=2001, data=bytes(7)
    )


def test_what_the_master_says() -> None:
    assert wire.encode_challenge(b"salt") == b"RPTACKsalt"
    assert wire.encode_ack(1) == b"RPTACK\0\0\0\x01"
    assert wire.encode_nak(1) == b"MSTNAK\0\0\0\x01"
    assert wire.encode_pong(1) == b"MSTPONG\0\0\0\x01"
    assert wire.encode_master_closing(1) == b"MSTCL\0\0\0\x01"


bursts = st.builds(
    wire.Dmrd,
    sequence=st.integers(0, 255),
    source_id=st.integers(0, 0xFFFFFF),
    destination_id=st.integers(0, 0xFFFFFF),
    repeater_id=st.integers(0, 0xFFFFFFFF),
    slot=st.sampled_from((1, 2)),
    private=st.booleans(),
    frame=st.sampled_from(wire.Frame),
    kind=st.integers(0, 5),
    stream_id=st.integers(0, 0xFFFFFFFF),
    payload=st.binary(min_size=33, max_size=33),
    quality=st.sampled_from((b"", b"\x01\x02")),
)


@given(bursts)
def test_a_burst_survives_the_wire(burst: wire.Dmrd) -> None:
    assert wire.decode(wire.encode_dmrd(burst)) == burst


@given(bursts, st.integers(0, 0xFFFFFFFF))
def test_readdressing_changes_the_repeater_and_nothing_else(
    burst: wire.Dmrd, repeater_id: int
) -> None:
    datagram = wire.encode_dmrd(burst)
    readdressed = wire.readdress(datagram, repeater_id)
    assert readdressed[:11] + readdressed[15:] == datagram[:11] + datagram[15:]
    read = wire.decode(readdressed)
    assert isinstance(read, wire.Dmrd)
    assert read.repeater_id == repeater_id


@given(
    st.binary(max_size=320)
    | st.builds(bytes.__add__, st.sampled_from(COMMANDS), st.binary(max_size=320))
    | st.builds(
        lambda command, size, fill: (command + bytes((fill,)) * 310)[:size],
        st.sampled_from(COMMANDS),
        st.sampled_from((8, 9, 11, 14, 15, 18, 19, 40, 53, 55, 302)),
        st.integers(0, 255),
    )
)
@example(b"DMRD" + bytes(49))
def test_any_bytes_give_a_message_or_a_located_error(datagram: bytes) -> None:
    try:
        wire.decode(datagram)
    except wire.MalformedPacketError as error:
        assert 0 <= error.offset <= len(datagram)
