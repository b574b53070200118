"""DMR bursts, held against dmr_utils3's own decoders and a header that was on the air."""

import pytest
from bitarray import bitarray
from dmr_utils3 import bptc, const, decode
from dmr_utils3.ambe_utils import convert72BitTo49BitAMBE
from hypothesis import given
from hypothesis import strategies as st

from adapters.homebrew import dmr

ON_THE_AIR = bytes.fromhex("2b6004101f842dd00df07d41046dff57d75df5de30152e2070b20f803f88c695e2")
"""A voice header of a Motorola radio, published as the example of dmr_utils3.bptc."""

link_controls = st.builds(
    dmr.LinkControl,
    flco=st.sampled_from((dmr.FLCO_GROUP, dmr.FLCO_PRIVATE)),
    feature_set=st.integers(0, 255),
    service_options=st.integers(0, 255),
    destination_id=st.integers(0, 0xFFFFFF),
    source_id=st.integers(0, 0xFFFFFF),
)
color_codes = st.integers(0, 15)


def test_a_header_from_the_air_is_read_and_written_bit_for_bit() -> None:
    link_control = dmr.decode_header(ON_THE_AIR)
    assert (link_control.destination_id, link_control.source_id) == (3120, 3120101)
    assert not link_control.emergency
    assert not link_control.encrypted
    assert dmr.encode_header(link_control, 1) == ON_THE_AIR


def test_a_header_with_a_wrong_bit_is_refused() -> None:
    broken = bytes((ON_THE_AIR[0] ^ 0x04,)) + ON_THE_AIR[1:]
    with pytest.raises(dmr.MalformedBurstError):
        dmr.decode_header(broken)


def test_service_options() -> None:
    def options(bits: int) -> tuple[bool, bool]:
        link_control = dmr.LinkControl(service_options=bits, destination_id=1, source_id=2)
        return link_control.emergency, link_control.encrypted

    assert options(0x80) == (True, False)
    assert options(0x40) == (False, True)
    assert options(0x3F) == (False, False)


@given(link_controls, color_codes)
def test_headers_and_terminators(link_control: dmr.LinkControl, color_code: int) -> None:
    header = dmr.encode_header(link_control, color_code)
    terminator = dmr.encode_terminator(link_control, color_code)
    assert dmr.decode_header(header) == link_control
    assert dmr.decode_terminator(terminator) == link_control
    with pytest.raises(dmr.MalformedBurstError):
        dmr.decode_header(terminator)
    for burst, data_type in ((header, 1), (terminator, 2)):
        read = decode.voice_head_term(burst)
        assert read["LC"] == link_control.to_bytes()
        assert (read["CC"], read["DTYPE"]) == (bytes((color_code,)), bytes((data_type,)))
        assert read["SYNC"] == const.BS_DATA_SYNC


@given(link_controls, color_codes)
def test_superframes(link_control: dmr.LinkControl, color_code: int) -> None:
    superframe = dmr.encode_superframe(link_control, color_code)
    assert [len(burst) for burst in superframe] == [33] * 6
    assert decode.voice_sync(superframe[0])["SYNC"] == const.BS_VOICE_SYNC
    read = [decode.voice(burst) for burst in superframe]
    assert [each["LCSS"][0] for each in read[1:]] == [1, 3, 3, 2, 0]
    assert {each["CC"][0] for each in read[1:]} == {color_code}
    assert {part.tobytes() for each in read for part in each["AMBE"]} == {dmr.AMBE_SILENCE}
    fragments = b"".join(map(dmr.embedded_fragment, superframe[1:5]))
    assert dmr.decode_embedded(fragments) == link_control
    assert not any(dmr.embedded_fragment(superframe[5]))


def test_emb_and_slot_type_are_the_library_s_own_where_it_has_them() -> None:
    link_control = dmr.LinkControl(destination_id=1, source_id=2)
    bits = bitarray(endian="big")
    bits.frombytes(dmr.encode_superframe(link_control, 1)[1])
    assert bits[108:116] + bits[148:156] == const.EMB["BURST_B"]
    header = bitarray(endian="big")
    header.frombytes(dmr.encode_header(link_control, 1))
    assert header[98:108] + header[156:166] == const.SLOT_TYPE["VOICE_LC_HEAD"]


@given(link_controls)
def test_embedded_differs_from_the_library_in_the_bit_that_it_gets_wrong(
    link_control: dmr.LinkControl,
) -> None:
    ours = dmr.encode_embedded(link_control)
    theirs = bptc.encode_emblc(link_control.to_bytes())
    different = [
        (number, bit)
        for number, fragment in enumerate(ours)
        for bit in range(32)
        if fragment[bit] != theirs[number + 1][bit]
    ]
    assert different in ([], [(2, 9)])


def test_silence_is_a_codeword_of_the_vocoder() -> None:
    bits = bitarray(endian="big")
    bits.frombytes(dmr.AMBE_SILENCE)
    assert convert72BitTo49BitAMBE(bits).tobytes().hex() == "f801a99f8ce080"


def test_a_fragment_with_a_wrong_bit_is_refused() -> None:
    superframe = dmr.encode_superframe(dmr.LinkControl(destination_id=3101, source_id=2001), 1)
    fragments = bytearray(b"".join(map(dmr.embedded_fragment, superframe[1:5])))
    fragments[0] ^= 0x40
    with pytest.raises(dmr.MalformedBurstError):
        dmr.decode_embedded(bytes(fragments))


@given(st.binary(min_size=33, max_size=33))
def test_any_burst_is_read_or_refused(payload: bytes) -> None:
    for read in (dmr.decode_header, dmr.decode_terminator):
        try:
            assert isinstance(read(payload), dmr.LinkControl)
        except dmr.MalformedBurstError:
            continue
    assert len(dmr.embedded_fragment(payload)) == 4


@given(st.binary(min_size=16, max_size=16))
def test_any_fragments_are_read_or_refused(fragments: bytes) -> None:
    try:
        assert isinstance(dmr.decode_embedded(fragments), dmr.LinkControl)
    except dmr.MalformedBurstError:
        return
