"""Talks on the air: what begins, goes on and ends, from bursts and time alone."""

import dataclasses
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.homebrew import dmr, wire
from adapters.homebrew.air import Air, Change, Step, Talk

ALICE, BOB = 2001, 2002
HERE, THERE = 310001, 310002


@dataclasses.dataclass(kw_only=True)
class Radio:
    """Makes the bursts of one talk."""

    source: int = ALICE
    talkgroup: int = 3101
    slot: int = 1
    repeater: int = HERE
    stream: int = 0xA1
    options: int = 0
    private: bool = False

    def control(self) -> dmr.LinkControl:
        return dmr.LinkControl(
            service_options=self.options, destination_id=self.talkgroup, source_id=self.source
        )

    def burst(self, frame: wire.Frame, kind: int, payload: bytes = bytes(33)) -> wire.Dmrd:
        return wire.Dmrd(
            sequence=0, source_id=self.source, destination_id=self.talkgroup,
            repeater_id=self.repeater, slot=self.slot, private=self.private, frame=frame,
            kind=kind, stream_id=self.stream, payload=payload,
        )  # fmt: skip

    def header(self) -> wire.Dmrd:
        return self.burst(wire.Frame.DATA_SYNC, 1, dmr.encode_header(self.control(), 1))

    def end(self) -> wire.Dmrd:
        return self.burst(wire.Frame.DATA_SYNC, 2, dmr.encode_terminator(self.control(), 1))

    def voice(self, place: int, control: dmr.LinkControl | None = None) -> wire.Dmrd:
        frame = wire.Frame.VOICE if place else wire.Frame.VOICE_SYNC
        superframe = dmr.encode_superframe(control or self.control(), 1)
        return self.burst(frame, place, superframe[place])


def an_air(ours: dict[int, str] | None = None) -> Air:
    return Air(1.0, lambda burst, now_s: (ours or {}).get(burst.stream_id))


def steps(changes: Sequence[Change]) -> list[tuple[Step, str]]:
    return [(change.step, change.talk.address) for change in changes]


def test_a_talk_from_header_to_terminator() -> None:
    air, radio = an_air(), Radio()
    (started,) = air.hear(radio.header(), 0)
    assert started.step is Step.STARTED
    talk = started.talk
    assert (talk.address, talk.stream, talk.source_id) == ("1/3101", "000000a1", ALICE)
    assert not talk.late_entry
    assert air.occupant(1) is talk
    assert air.occupant(2) is None
    assert air.hear(radio.voice(0), 0.06) == []
    assert steps(air.hear(radio.end(), 0.12)) == [(Step.ENDED, "1/3101")]
    assert air.occupant(1) is None


def test_refreshes_come_once_a_second() -> None:
    air, radio = an_air(), Radio()
    air.hear(radio.header(), 0)
    at = [n * 0.06 for n in range(1, 60)]
    refreshed = [now_s for now_s in at if air.hear(radio.voice(0), now_s)]
    assert refreshed == pytest.approx([1.02, 2.04, 3.06])


def test_a_lost_header_is_a_late_entry() -> None:
    air, radio = an_air(), Radio()
    (started,) = air.hear(radio.voice(3), 0)
    assert started.talk.late_entry


def test_a_talk_that_is_not_heard_is_lost_and_may_come_back() -> None:
    air, radio = an_air(), Radio()
    air.hear(radio.header(), 0)
    air.hear(radio.voice(0), 0.5)
    assert air.next_expiry_s() == 1.5
    assert air.expire(1.49) == []
    assert steps(air.expire(1.5)) == [(Step.LOST, "1/3101")]
    assert air.next_expiry_s() is None
    (again,) = air.hear(radio.voice(1), 1.6)
    assert (again.step, again.talk.stream, again.talk.late_entry) == (
        Step.STARTED, "000000a1", True,
    )  # fmt: skip


def test_late_bursts_of_an_ended_talk_do_not_reopen_it() -> None:
    air, radio = an_air(), Radio()
    air.hear(radio.header(), 0)
    air.hear(radio.end(), 0.1)
    assert air.hear(radio.voice(0), 0.11) == []
    assert air.hear(radio.header(), 0.2) == []
    assert air.hear(radio.end(), 0.3) == []
    assert steps(air.hear(radio.header(), 1.2)) == [(Step.STARTED, "1/3101")]


def test_a_new_talk_ends_the_one_whose_terminator_was_lost() -> None:
    air = an_air()
    air.hear(Radio().header(), 0)
    changes = air.hear(Radio(source=BOB, talkgroup=9, stream=0xB2).header(), 0.3)
    assert steps(changes) == [(Step.LOST, "1/3101"), (Step.STARTED, "1/9")]
    assert air.hear(Radio().end(), 0.4) == [], "a late terminator of the talk before"


def test_a_stream_id_that_is_used_again_by_another_radio_is_another_talk() -> None:
    air = an_air()
    air.hear(Radio().header(), 0)
    changes = air.hear(Radio(source=BOB).header(), 0.3)
    assert [change.step for change in changes] == [Step.LOST, Step.STARTED]


@pytest.mark.parametrize("kind", [3, 6, 7, 8, 10])
def test_control_and_data_are_not_talk(kind: int) -> None:
    air = an_air()
    assert air.hear(Radio().burst(wire.Frame.DATA_SYNC, kind), 0) == []
    assert air.occupant(1) is None
    air.hear(Radio().header(), 1)
    assert air.hear(Radio(stream=7).burst(wire.Frame.DATA_SYNC, kind), 1.5) == []
    assert steps(air.expire(2.0)) == [(Step.LOST, "1/3101")], "data does not keep a talk alive"


def test_a_private_call_takes_the_slot_and_is_told_as_one() -> None:
    air, radio = an_air(), Radio(talkgroup=BOB, private=True, options=0x80)
    assert steps(air.hear(radio.header(), 0)) == [(Step.PRIVATE_STARTED, f"1/{BOB}")]
    talk = air.occupant(1)
    assert talk is not None
    assert talk.private
    assert air.hear(radio.voice(0), 1.5) == []
    assert steps(air.hear(radio.end(), 1.6)) == [(Step.PRIVATE_ENDED, f"1/{BOB}")]
    assert air.occupant(1) is None


def test_a_private_call_that_two_repeaters_hear_is_told_once() -> None:
    air = an_air()
    here, there = (Radio(talkgroup=BOB, private=True, repeater=r) for r in (HERE, THERE))
    told = air.hear(here.header(), 0) + air.hear(there.header(), 0.01)
    told += air.hear(here.end(), 1) + air.hear(there.end(), 1.01)
    assert [step for step, _ in steps(told)] == [Step.PRIVATE_STARTED, Step.PRIVATE_ENDED]


def test_a_private_call_without_a_terminator_ends_too() -> None:
    air, radio = an_air(), Radio(talkgroup=BOB, private=True)
    air.hear(radio.header(), 0)
    assert [step for step, _ in steps(air.expire(1.0))] == [Step.PRIVATE_ENDED]


def test_emergency_and_encryption_of_the_header() -> None:
    air = an_air()
    raised, started = air.hear(Radio(options=0xC0).header(), 0)
    assert (raised.step, started.step) == (Step.EMERGENCY, Step.STARTED)
    assert started.talk.emergency
    assert started.talk.encrypted


def test_emergency_and_encryption_of_a_late_entry_come_with_the_superframe() -> None:
    air, radio = an_air(), Radio(options=0xC0)
    told: list[Change] = []
    for place in range(6):
        told += air.hear(radio.voice(place), place * 0.06)
    assert [change.step for change in told] == [Step.STARTED, Step.EMERGENCY, Step.REFRESHED]
    assert told[-1].talk.encrypted


def test_a_missing_fragment_spoils_no_talk() -> None:
    air, radio = an_air(), Radio(options=0x80)
    for place in (0, 1, 3, 4, 5):
        assert all(change.step is Step.STARTED for change in air.hear(radio.voice(place), 0))
    told = [change.step for place in range(6) for change in air.hear(radio.voice(place), 0.5)]
    assert told == [Step.EMERGENCY, Step.REFRESHED]


def test_a_privacy_header_says_encrypted() -> None:
    air, radio = an_air(), Radio()
    air.hear(radio.header(), 0)
    (refreshed,) = air.hear(radio.burst(wire.Frame.DATA_SYNC, 0), 0.06)
    assert refreshed.step is Step.REFRESHED
    assert refreshed.talk.encrypted


def test_an_alias_in_the_superframe() -> None:
    air, radio = an_air(), Radio()
    air.hear(radio.header(), 0)
    block = dmr.parse_link_control(b"\x05\x00" + b"abcdefg")
    told = [change for place in range(6) for change in air.hear(radio.voice(place, block), 0.1)]
    assert [(change.step, change.alias_block) for change in told] == [(Step.ALIAS, (1, b"abcdefg"))]


def test_a_name_is_told_early_but_once() -> None:
    air = an_air()
    air.hear(Radio().header(), 0)
    assert steps(air.renamed(ALICE, 0.2)) == [(Step.REFRESHED, "1/3101")]
    assert air.renamed(ALICE, 0.9) == [], "there is one refresh in a second"
    assert air.hear(Radio().voice(0), 1.19) == []
    assert steps(air.hear(Radio().voice(1), 1.21)) == [(Step.REFRESHED, "1/3101")]
    assert air.renamed(BOB, 0.3) == []


def test_one_radio_heard_by_two_repeaters_is_one_talk() -> None:
    air = an_air()
    here, there = Radio(), Radio(repeater=THERE, stream=0xC3)
    assert steps(air.hear(here.header(), 0)) == [(Step.STARTED, "1/3101")]
    assert air.hear(there.header(), 0.01) == []
    assert steps(air.hear(here.end(), 0.5)) == [(Step.ENDED, "1/3101")]
    assert air.hear(there.voice(0), 0.51) == []
    assert air.hear(there.end(), 0.52) == []


def test_when_the_first_repeater_loses_the_radio_the_second_still_has_it() -> None:
    air = an_air()
    here, there = Radio(), Radio(repeater=THERE, stream=0xC3)
    air.hear(here.header(), 0)
    air.hear(there.header(), 0.01)
    lost, again = air.drop_repeater(HERE)
    assert (lost.step, again.step) == (Step.LOST, Step.STARTED)
    assert again.talk.stream == "000000c3"
    assert again.talk.late_entry


def test_a_second_radio_on_the_channel_comes_in_late_and_its_emergency_at_once() -> None:
    air = an_air()
    first, second = Radio(), Radio(source=BOB, repeater=THERE, stream=0xC3, options=0x80)
    air.hear(first.header(), 0)
    assert [change.step for change in air.hear(second.header(), 0.1)] == [Step.EMERGENCY]
    changes = air.hear(first.end(), 0.5)
    assert [(change.step, change.talk.source_id) for change in changes] == [
        (Step.ENDED, ALICE), (Step.STARTED, BOB),
    ]  # fmt: skip
    assert changes[1].talk.late_entry


def test_an_echo_of_ours_takes_no_slot_and_hides_no_radio() -> None:
    air = an_air({0xE0: "t-1"})
    (echo,) = air.hear(Radio(stream=0xE0, options=0x80).header(), 0)
    assert (echo.step, echo.talk.caused_by) == (Step.STARTED, "t-1")
    assert air.occupant(1) is None
    (started,) = air.hear(Radio(source=BOB, repeater=THERE).header(), 0.1)
    assert started.talk.caused_by is None


def test_active_talks_are_those_that_were_told() -> None:
    air = an_air()
    air.hear(Radio().header(), 0)
    air.hear(Radio(source=BOB, repeater=THERE, stream=9).header(), 0)
    assert [talk.source_id for talk in air.active()] == [ALICE]


radios = st.builds(
    Radio,
    source=st.sampled_from((ALICE, BOB)),
    talkgroup=st.sampled_from((3101, 9)),
    slot=st.sampled_from((1, 2)),
    repeater=st.sampled_from((HERE, THERE)),
    stream=st.integers(0, 3),
    options=st.sampled_from((0, 0x80, 0x40)),
    private=st.booleans(),
)
inputs = st.tuples(
    radios, st.sampled_from(("header", "voice", "end", "data", "expire", "drop")), st.floats(0, 2)
)


@given(st.lists(inputs, max_size=40))
def test_every_start_has_one_end_whatever_is_heard(
    sequence: list[tuple[Radio, str, float]],
) -> None:
    air = an_air({3: "ours"})
    open_talks: dict[tuple[str, bool], Talk] = {}
    now_s = 0.0

    def check(changes: Sequence[Change]) -> None:
        for change in changes:
            key = (change.talk.address, change.talk.caused_by is None)
            match change.step:
                case Step.STARTED:
                    assert key not in open_talks, "two talks on one channel"
                    assert not change.talk.private
                    open_talks[key] = change.talk
                case Step.REFRESHED:
                    assert open_talks[key] is change.talk
                case Step.ENDED | Step.LOST:
                    assert open_talks.pop(key) is change.talk

    for radio, what, wait_s in sequence:
        now_s += wait_s
        match what:
            case "header":
                check(air.hear(radio.header(), now_s))
            case "voice":
                check(air.hear(radio.burst(wire.Frame.VOICE, int(now_s * 10) % 6), now_s))
            case "end":
                check(air.hear(radio.end(), now_s))
            case "data":
                check(air.hear(radio.burst(wire.Frame.DATA_SYNC, 6), now_s))
            case "expire":
                check(air.expire(now_s))
            case "drop":
                check(air.drop_repeater(radio.repeater))
    assert {id(talk) for talk in air.active()} == {id(talk) for talk in open_talks.values()}
    check(air.expire(now_s + 1))
    assert not open_talks
    assert air.next_expiry_s() is None
