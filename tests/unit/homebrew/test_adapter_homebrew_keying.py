"""What we transmit, and how it is known again."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.homebrew import dmr, wire
from adapters.homebrew.keying import (
    Echoes,
    Talkgroup,
    Transmission,
    parse_address,
    parse_unit,
)

GATEWAY = 16_000_000


def a_transmission(name: str = "t-1", source: int = 2001, stream: int = 0xE0) -> Transmission:
    return Transmission(
        name=name,
        channel=Talkgroup(slot=2, talkgroup=3101),
        source_id=source,
        stream_id=stream,
        due_s=0.0,
    )


@pytest.mark.parametrize("address", ["1/1", "2/3101", "1/16777215"])
def test_addresses(address: str) -> None:
    channel = parse_address(address)
    assert channel is not None
    assert channel.address == address


@pytest.mark.parametrize(
    "address",
    ["", "3101", "3/3101", "1/0", "1/03101", "1/16777216", "1/3101 ", "1/३", "a/b", "1/3101/1"],
)
def test_what_is_no_address(address: str) -> None:
    assert parse_address(address) is None


@given(st.text())
def test_any_text_is_an_address_or_none(text: str) -> None:
    channel = parse_address(text)
    assert channel is None or channel.address == text


@pytest.mark.parametrize(
    ("unit", "number"),
    [
        ("2001", 2001), ("16776415", 16776415), ("16776416", None), ("0", None), ("", None),
        ("-1", None), ("alex", None), ("٣", None), ("999999999", None),
    ],
)  # fmt: skip
def test_units(unit: str, number: int | None) -> None:
    assert parse_unit(unit) == number


def test_a_transmission_is_header_superframes_terminator() -> None:
    transmission = a_transmission()
    bursts: list[wire.Dmrd] = []
    for _ in range(14):
        read = wire.decode(transmission.burst(310001, 5))
        assert isinstance(read, wire.Dmrd)
        bursts.append(read)
        transmission.sequence += 1
    last = wire.decode(transmission.terminator(310001, 5))
    assert isinstance(last, wire.Dmrd)
    bursts.append(last)
    assert [burst.sequence for burst in bursts] == list(range(15))
    assert bursts[0].is_header
    assert last.is_terminator
    assert [burst.kind for burst in bursts[1:-1]] == [*range(6), *range(6), 0]
    syncs = [burst.frame is wire.Frame.VOICE_SYNC for burst in bursts[1:-1]]
    assert syncs == [burst.kind == 0 for burst in bursts[1:-1]]
    for burst in bursts:
        assert (burst.source_id, burst.destination_id, burst.slot) == (2001, 3101, 2)
        assert (burst.stream_id, burst.repeater_id, burst.private) == (0xE0, 310001, False)
    control = dmr.LinkControl(destination_id=3101, source_id=2001)
    assert dmr.decode_header(bursts[0].payload) == control
    assert dmr.decode_terminator(last.payload) == control


def test_the_sequence_number_is_one_byte() -> None:
    transmission = a_transmission()
    transmission.sequence = 256 + 7
    read = wire.decode(transmission.burst(310001, 5))
    assert isinstance(read, wire.Dmrd)
    assert read.sequence == 7


def heard(source: int, stream: int = 1, talkgroup: int = 3101) -> wire.Dmrd:
    return wire.Dmrd(
        sequence=0, source_id=source, destination_id=talkgroup, repeater_id=1, slot=2,
        private=False, frame=wire.Frame.VOICE, kind=0, stream_id=stream, payload=bytes(33),
    )  # fmt: skip


def test_echoes_are_known_by_stream_by_our_id_and_by_the_source_for_a_while() -> None:
    echoes = Echoes(GATEWAY, 0.2)
    assert echoes.cause_of(heard(2001), 0) is None
    assert echoes.cause_of(heard(GATEWAY), 0) == f"radio {GATEWAY}"
    transmission = a_transmission()
    echoes.began(transmission)
    assert echoes.cause_of(heard(7, stream=0xE0), 0) == "t-1"
    assert echoes.cause_of(heard(GATEWAY), 0) == "t-1"
    assert echoes.cause_of(heard(2001), 100) == "t-1", "however long it lasts"
    assert echoes.cause_of(heard(2001, talkgroup=9), 100) is None
    assert echoes.cause_of(heard(2002), 100) is None
    echoes.ended(transmission, 100)
    assert echoes.cause_of(heard(2001), 100.2) == "t-1"
    assert echoes.cause_of(heard(2001), 100.3) is None, "the radio itself talks"
    assert echoes.cause_of(heard(7, stream=0xE0), 500) == "t-1"


def test_a_private_call_is_no_echo_of_a_talkgroup() -> None:
    echoes = Echoes(GATEWAY, 0.2)
    echoes.began(a_transmission())
    assert echoes.cause_of(dataclasses.replace(heard(2001), private=True), 0) is None
    assert echoes.cause_of(dataclasses.replace(heard(7, stream=0xE0), private=True), 0) == "t-1"


@given(st.lists(st.binary(min_size=27, max_size=27), min_size=6, max_size=6), st.integers(0, 15))
def test_voice_goes_out_to_every_repeater_in_bursts_of_its_own(
    spoken: list[bytes], color_code: int
) -> None:
    transmission = a_transmission()
    jitter = transmission.open_voice(lambda: None)
    for number, ambe in enumerate(spoken):
        jitter.put(number, ambe, 0.0)
    embedded = b""
    for turn in range(-1, 6):  # the header is on the wire before there is any voice
        transmission.prepare()
        burst = wire.decode(transmission.burst(310001, color_code))
        other = wire.decode(transmission.burst(310002, (color_code + 1) % 16))
        assert isinstance(burst, wire.Dmrd)
        assert isinstance(other, wire.Dmrd)
        assert burst.stream_id == other.stream_id == 0xE0
        if turn >= 0:
            assert dmr.voice_of(burst.payload) == dmr.voice_of(other.payload) == spoken[turn]
        assert burst.payload != other.payload or burst.frame is wire.Frame.VOICE_SYNC
        if 1 <= burst.kind <= 4 and burst.frame is wire.Frame.VOICE:
            embedded += dmr.embedded_fragment(burst.payload)
        transmission.sequence += 1
        transmission.due_s += 0.06
    control = dmr.LinkControl(destination_id=3101, source_id=2001)
    assert dmr.decode_embedded(embedded) == control


def test_the_memory_of_echoes_is_bounded() -> None:
    echoes = Echoes(GATEWAY, 0.2)
    for number in range(300):
        echoes.began(a_transmission(f"t-{number}", stream=number))
    assert echoes.cause_of(heard(7, stream=0), 0) is None
    assert echoes.cause_of(heard(7, stream=299), 0) == "t-299"
