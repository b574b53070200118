"""The voice of what is heard: which bits, which numbers, and what is never told."""

import dataclasses
import random

from hypothesis import given
from hypothesis import strategies as st

from adapters.events import AMBE_DMR, VoiceFlag, VoiceFrame, VoiceHeard
from adapters.homebrew import dmr, voice, wire
from adapters.homebrew.air import Air, Talk
from adapters.homebrew.numbering import FURTHEST_BACK, Numbering

link_controls = st.builds(
    dmr.LinkControl,
    destination_id=st.integers(1, 0xFFFFFF),
    source_id=st.integers(1, 0xFFFFFF),
)
superframes = st.binary(min_size=6 * dmr.AMBE_LENGTH, max_size=6 * dmr.AMBE_LENGTH)
HERE, THERE = 310001, 310002


@given(link_controls, st.integers(0, 15), superframes)
def test_the_bits_that_go_in_come_out_of_each_burst(
    control: dmr.LinkControl, color_code: int, ambe: bytes
) -> None:
    bursts = dmr.encode_superframe(control, color_code, ambe)
    assert b"".join(dmr.voice_of(burst) for burst in bursts) == ambe
    fragments = b"".join(map(dmr.embedded_fragment, bursts[1:5]))
    assert dmr.decode_embedded(fragments) == control


@given(link_controls, st.integers(0, 15), st.binary(min_size=33, max_size=33))
def test_voice_moves_from_any_burst_into_one_of_ours(
    control: dmr.LinkControl, color_code: int, theirs: bytes
) -> None:
    ambe = dmr.voice_of(theirs)
    for middle in dmr.encode_middles(control, color_code):
        ours = dmr.encode_voice(ambe, middle)
        assert dmr.voice_of(ours) == ambe
        assert int.from_bytes(ours, "big") >> 108 & (1 << 48) - 1 == middle


# --- numbers ----------------------------------------------------------------------------------


def at(index: int) -> tuple[int, int, float]:
    """Sequence, place and time of a burst; the header was 0."""
    return (index + 1) % 256, index % 6, index * 0.06


@given(
    start=st.integers(0, 400),
    kept=st.lists(st.booleans(), min_size=1, max_size=60),
    order=st.randoms(use_true_random=False),
)
def test_numbers_are_right_through_loss_reordering_and_repeats(
    start: int, kept: list[bool], order: random.Random
) -> None:
    indices = [start, *(start + 1 + step for step, keep in enumerate(kept) if keep)]
    arriving = [indices[0]]
    for index in indices[1:]:  # each may fall behind by up to three places, or come twice
        arriving.insert(max(1, len(arriving) - order.randint(0, 3)), index)
        if order.random() < 0.2:
            arriving.append(index)
    numbering, told = Numbering(), {}
    for index in arriving:
        sequence, place, _ = at(index)
        number = numbering.number(sequence, place, max(indices) * 0.06)
        if number is not None:
            assert number not in told, "told twice"
            told[number] = index
    assert {number: index - start for number, index in told.items()} == {
        number: number for number in told
    }
    assert set(told.values()) == set(indices)


def test_what_comes_far_too_late_is_left_out() -> None:
    numbering = Numbering()
    for index in range(40):
        if index != 5:
            assert numbering.number(*at(index)) is not None
    assert numbering.number(*at(5)) is None
    assert numbering.number(*at(39 - FURTHEST_BACK)) is None


def test_what_is_before_the_first_is_left_out() -> None:
    numbering = Numbering()
    assert numbering.number(*at(1)) == 0
    assert numbering.number(*at(0)) is None
    assert numbering.number(*at(2)) == 1


def test_senders_that_do_not_count_are_numbered_by_the_superframe() -> None:
    numbering = Numbering()
    for index in (0, 1, 2, 5, 6, 7, 12, 13):
        assert numbering.number(9 if index % 2 else 40, index % 6, index * 0.06) == index


def test_a_number_that_leaps_ahead_of_time_is_not_believed() -> None:
    numbering = Numbering()
    assert numbering.number(0, 0, 0.0) == 0
    assert numbering.number(121, 1, 0.06) == 1
    assert numbering.number(122, 2, 0.12) == 2


@given(
    st.lists(
        st.tuples(st.integers(0, 255), st.integers(0, 5), st.floats(0, 2)), min_size=1, max_size=80
    )
)
def test_no_number_is_given_twice_whatever_comes(heard: list[tuple[int, int, float]]) -> None:
    numbering, now_s, told = Numbering(), 0.0, set()
    for sequence, place, passed_s in heard:
        now_s += passed_s
        number = numbering.number(sequence, place, now_s)
        assert number is None or number not in told
        if number is not None:
            assert 0 <= number < numbering.following
            told.add(number)


# --- what is told -----------------------------------------------------------------------------


@dataclasses.dataclass
class Listening:
    """An air, and the voice that is told of what it hears."""

    air: Air = dataclasses.field(default_factory=lambda: Air(1.0, lambda _burst, _now_s: None))
    told: list[VoiceFrame] = dataclasses.field(default_factory=list)
    now_s: float = 0.0

    def hear(self, burst: wire.Dmrd) -> Talk | None:
        self.now_s += 0.06
        before = self.air.talk_at(burst.repeater_id, burst.slot)
        self.air.hear(burst, self.now_s)
        talk = self.air.talk_at(burst.repeater_id, burst.slot)
        if burst.is_terminator and before is not None:
            self._note(voice.ended(before))
        elif talk is not None:
            self._note(voice.heard(talk, burst, self.now_s))
        return talk

    def _note(self, event: VoiceHeard | None) -> None:
        if event is not None:
            assert event.address == "1/3101"
            self.told.append(event.frame)


def burst(
    kind: int,
    payload: bytes = bytes(33),
    *,
    data: bool = False,
    repeater: int = HERE,
    stream: int = 0xA1,
    private: bool = False,
    sequence: int = 0,
) -> wire.Dmrd:
    frame = wire.Frame.VOICE if kind else wire.Frame.VOICE_SYNC
    return wire.Dmrd(
        sequence=sequence, source_id=2001, destination_id=3101, repeater_id=repeater, slot=1,
        private=private, frame=wire.Frame.DATA_SYNC if data else frame, kind=kind,
        stream_id=stream, payload=payload,
    )  # fmt: skip


def header(options: int = 0, repeater: int = HERE, stream: int = 0xA1) -> wire.Dmrd:
    control = dmr.LinkControl(service_options=options, destination_id=3101, source_id=2001)
    payload = dmr.encode_header(control, 1)
    return burst(wire.DataType.VOICE_HEADER, payload, data=True, repeater=repeater, stream=stream)


END = burst(wire.DataType.TERMINATOR, data=True)
CONTROL = dmr.LinkControl(destination_id=3101, source_id=2001)


def spoken(count: int) -> list[bytes]:
    return [bytes((number,)) * dmr.AMBE_LENGTH for number in range(1, count + 1)]


def say(listening: Listening, texts: list[bytes], **more: int) -> None:
    middles = dmr.encode_middles(CONTROL, 1)
    for index, ambe in enumerate(texts):
        payload = dmr.encode_voice(ambe, middles[index % 6])
        listening.hear(burst(index % 6, payload, sequence=index + 1, **more))  # type: ignore[arg-type]


def test_a_talk_is_told_from_its_first_burst_to_its_last() -> None:
    listening = Listening()
    listening.hear(header())
    say(listening, spoken(8))
    listening.hear(END)
    assert [frame.payload for frame in listening.told] == [*spoken(8), b""]
    assert [frame.sequence for frame in listening.told] == list(range(9))
    assert [frame.media_time_us for frame in listening.told] == list(range(0, 540_000, 60_000))
    assert [frame.duration_ms for frame in listening.told] == [60] * 8 + [0]
    assert [frame.flags for frame in listening.told] == [VoiceFlag.FIRST, *[0] * 7, VoiceFlag.LAST]
    assert {(frame.transmission, frame.codec) for frame in listening.told} == {
        ("000000a1", AMBE_DMR)
    }


def test_a_talk_whose_header_was_lost_begins_with_its_first_burst() -> None:
    listening = Listening()
    for place in (3, 4, 5, 0):
        listening.hear(burst(place))
    assert [frame.sequence for frame in listening.told] == [0, 1, 2, 3]
    assert listening.told[0].flags == VoiceFlag.FIRST


def test_encrypted_voice_says_so() -> None:
    listening = Listening()
    listening.hear(header(options=0x40))
    say(listening, spoken(2))
    listening.hear(END)
    assert all(frame.flags & VoiceFlag.ENCRYPTED for frame in listening.told)
    assert len(listening.told) == 3


def test_data_and_private_calls_are_no_voice() -> None:
    listening = Listening()
    listening.hear(header())
    for kind in (wire.DataType.CSBK, wire.DataType.DATA_HEADER, 7, wire.DataType.PRIVACY_HEADER):
        listening.hear(burst(kind, data=True))
    listening.hear(END)
    for place in range(6):
        listening.hear(burst(place, private=True, stream=0xB2))
    assert listening.told == []


def test_an_echo_of_ours_is_no_voice() -> None:
    listening = Listening(Air(1.0, lambda _burst, _now_s: "t-1"))
    listening.hear(header())
    say(listening, spoken(6))
    listening.hear(END)
    assert listening.told == []


def test_the_copy_that_a_second_repeater_hears_is_not_told() -> None:
    listening = Listening()
    listening.hear(header())
    listening.hear(header(repeater=THERE, stream=0xC3))
    say(listening, spoken(3))
    say(listening, [b"\xff" * 27] * 3, repeater=THERE, stream=0xC3)
    assert [frame.payload for frame in listening.told] == spoken(3)


def test_when_the_first_repeater_is_gone_the_second_begins_anew() -> None:
    listening = Listening()
    listening.hear(header())
    listening.hear(header(repeater=THERE, stream=0xC3))
    say(listening, spoken(3))
    listening.air.drop_repeater(HERE)
    say(listening, spoken(3), repeater=THERE, stream=0xC3)
    assert [frame.sequence for frame in listening.told] == [0, 1, 2, 0, 1, 2]
    assert listening.told[3].transmission == "000000c3"
    assert listening.told[3].flags == VoiceFlag.FIRST
