"""The jitter buffer: voice in its order, in time, nothing twice."""

import dataclasses
import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adapters.homebrew.jitter import (
    BURST_S,
    CALM_BURSTS,
    DEEPEST,
    LONGEST_S,
    MOST_REPEATS,
    SILENCE,
    JitterBuffer,
)


def spoken(number: int) -> bytes:
    return number.to_bytes(4, "big").rjust(27, b"\x55")


@dataclasses.dataclass
class Played:
    """What came out, and when: by number of the burst, None for what was filled in."""

    at_s: list[float] = dataclasses.field(default_factory=list)
    numbers: list[int | None] = dataclasses.field(default_factory=list)

    @property
    def voice(self) -> list[int]:
        return [number for number in self.numbers if number is not None]


def play(
    buffer: JitterBuffer,
    arrivals: list[tuple[float, int]],
    *,
    phase_s: float = 0.0,
    pulls: int | None = None,
) -> Played:
    """Put each burst at its time, pull every 60 ms. arrivals: time and number."""
    played, waiting = Played(), sorted(arrivals)
    last_s = waiting[-1][0] if waiting else 0.0
    count = pulls or int(last_s / BURST_S) + 12
    numbers = {spoken(number): number for _, number in arrivals}
    for turn in range(count):
        now_s = phase_s + turn * BURST_S
        while waiting and waiting[0][0] <= now_s:
            at_s, number = waiting.pop(0)
            buffer.put(number, spoken(number), at_s)
        played.at_s.append(now_s)
        played.numbers.append(numbers.get(buffer.pull(now_s)))
    return played


def steady(count: int, start: int = 0) -> list[tuple[float, int]]:
    return [(number * BURST_S, start + number) for number in range(count)]


phases = st.floats(0, 0.0599)
jittered = st.lists(
    st.tuples(st.booleans(), st.floats(0, 0.5), st.booleans()), min_size=1, max_size=120
)


def arrivals_of(drawn: list[tuple[bool, float, bool]], steps: bool) -> list[tuple[float, int]]:
    """Each burst is lost or late or comes twice. steps: it is late by whole bursts."""
    arrivals = []
    for number, (lost, late_s, twice) in enumerate(drawn):
        if lost and number:
            continue
        late_s = late_s // BURST_S * BURST_S if steps else late_s
        arrivals.append((number * BURST_S + late_s, number))
        if twice:
            arrivals.append((number * BURST_S + late_s + 0.13, number))
    return arrivals


@given(phases, st.integers(1, 60), st.integers(0, 500))
def test_what_comes_in_time_goes_out_as_it_came(phase_s: float, count: int, start: int) -> None:
    buffer = JitterBuffer()
    played = play(buffer, steady(count, start), phase_s=phase_s)
    assert played.voice == list(range(start, start + count))
    first = played.numbers.index(start)
    assert BURST_S - 1e-9 <= played.at_s[first] < 2 * BURST_S + 1e-9
    assert None not in played.numbers[first : first + count]
    assert (buffer.depth, buffer.counts.played) == (1, count)


@given(phases, jittered, st.booleans())
@example(0.03, [(False, 0.25, False), *[(False, 0.37, False)] * 2, (False, 0.0, False)], False)
@example(0.03, [(False, 0.37, False), *[(True, 0.0, False)] * 4, (False, 0.0, False)], False)
@example(0.0, [(False, 0.49, False), *[(False, 0.0, False)] * 20], False)
def test_order_is_kept_nothing_is_played_twice_and_nothing_waits_long(
    phase_s: float, drawn: list[tuple[bool, float, bool]], steps: bool
) -> None:
    arrivals = arrivals_of(drawn, steps)
    buffer = JitterBuffer()
    played = play(buffer, arrivals, phase_s=phase_s)
    assert played.voice == sorted(set(played.voice))
    came_s: dict[int, float] = {}
    for at_s, number in sorted(arrivals):
        came_s.setdefault(number, at_s)
    for pulled_s, which in zip(played.at_s, played.numbers, strict=True):
        if which is not None:
            assert 0 <= pulled_s - came_s[which] <= LONGEST_S + 1e-6
    counts = buffer.counts
    assert counts.played == len(played.voice)
    assert counts.played + counts.late + counts.twice + counts.skipped == len(arrivals)
    assert 1 <= buffer.depth <= DEEPEST


@given(phases, st.lists(st.booleans(), min_size=1, max_size=100))
def test_every_burst_that_is_not_lost_is_played_in_its_place(
    phase_s: float, kept: list[bool]
) -> None:
    arrivals = [each for each, keep in zip(steady(100)[1:], kept, strict=False) if keep]
    arrivals.insert(0, (0.0, 0))
    buffer = JitterBuffer()
    played = play(buffer, arrivals, phase_s=phase_s)
    if max(len(list(run)) for keep, run in itertools.groupby(kept)) <= 3:
        assert played.voice == [number for _, number in arrivals]
        assert buffer.counts.skipped == buffer.counts.late == 0
    assert set(played.voice) <= {number for _, number in arrivals}


@given(
    st.lists(
        st.tuples(st.integers(-3, 2_000), st.binary(max_size=30), st.floats(0, 0.5)), max_size=80
    ),
    st.integers(0, 80),
)
def test_it_survives_any_numbers_and_bytes(
    puts: list[tuple[int, bytes, float]], closed_at: int
) -> None:
    buffer, now_s = JitterBuffer(), 0.0
    for index, (number, ambe, passed_s) in enumerate(puts):
        if index == closed_at:
            buffer.close()
            buffer.end(number)
        buffer.put(number, ambe, now_s)
        now_s += passed_s
        assert len(buffer.pull(now_s)) == 27
    buffer.close()
    for _ in range(20):
        buffer.pull(now_s)
    assert buffer.is_over


def test_a_lost_burst_is_filled_with_the_last_20_ms_and_then_silence() -> None:
    buffer = JitterBuffer()
    for number in (0, 1, 4):
        buffer.put(number, spoken(number), 0.0)
    given_out = [buffer.pull(0.06 * turn) for turn in range(1, 6)]
    last = spoken(1)[-9:]
    assert given_out == [spoken(0), spoken(1), last * 3, SILENCE, spoken(4)]
    assert MOST_REPEATS == 1
    assert (buffer.counts.repeated, buffer.counts.silent) == (1, 1)
    assert buffer.depth == 1


def test_bursts_that_come_late_make_it_wait_longer_and_then_none_is_lost() -> None:
    late = [(number * BURST_S + (0.17 if number % 3 == 2 else 0.0), number) for number in range(60)]
    buffer = JitterBuffer()
    played = play(buffer, late, phase_s=0.01)
    assert 1 < buffer.depth <= 4
    assert played.voice[-50:] == list(range(10, 60))


def test_a_calm_network_makes_it_shorter_again() -> None:
    unsteady = [(number * BURST_S + (0.2 if number < 12 else 0) * (number % 2), number)
                for number in range(12)]  # fmt: skip
    count = 12 + 6 * CALM_BURSTS
    calm = [(number * BURST_S, number) for number in range(12, count)]
    buffer = JitterBuffer()
    play(buffer, unsteady, phase_s=0.01, pulls=14)
    deep = buffer.depth
    assert deep > 1
    buffer = JitterBuffer()
    played = play(buffer, unsteady + calm, phase_s=0.01)
    assert buffer.depth == 1
    assert 0 < buffer.counts.skipped <= deep
    assert played.voice[-1] == count - 1
    gaps = [b - a for a, b in itertools.pairwise(played.voice[20:])]
    assert max(gaps) == 2, "it shrinks by one burst at a time"


@pytest.mark.parametrize("pace", [0.997, 1.003])
def test_a_sender_whose_clock_is_wrong_is_followed(pace: float) -> None:
    count = 3_000
    arrivals = [(number * BURST_S * pace, number) for number in range(count)]
    buffer = JitterBuffer()
    played = play(buffer, arrivals, phase_s=0.01, pulls=int(count * pace))
    amiss = count * abs(1 - pace) + 2
    assert count - len(played.voice) <= amiss + 2
    counts = buffer.counts
    assert counts.repeated + counts.silent <= amiss
    assert buffer.depth <= 2
    spread = [
        at_s - number * BURST_S * pace
        for at_s, number in zip(played.at_s, played.numbers, strict=True)
        if number is not None
    ]
    assert 0 <= min(spread) <= max(spread) < 0.25


def test_after_a_stall_it_goes_on_with_what_is_newest() -> None:
    arrivals = steady(10) + [(1.8, number) for number in range(10, 30)]
    arrivals += [(number * BURST_S, number) for number in range(31, 60)]
    played = play(JitterBuffer(), arrivals, phase_s=0.01)
    after = [number for number in played.voice if number >= 10]
    assert after[0] == 24
    assert after[-1] == 59


def test_where_a_sender_paused_its_counting_nothing_is_thrown_away() -> None:
    arrivals = steady(10) + [(3.0 + number * BURST_S, number) for number in range(10, 40)]
    played = play(JitterBuffer(), arrivals, phase_s=0.01)
    assert played.voice == list(range(40))


def test_at_its_end_it_is_over_and_silent() -> None:
    buffer = JitterBuffer()
    assert not buffer.is_over
    for number in range(3):
        buffer.put(number, spoken(number), 0.0)
    buffer.end(3)
    given_out: list[bytes] = []
    while not buffer.is_over:
        given_out.append(buffer.pull(0.06 + 0.06 * len(given_out)))
    assert given_out == [spoken(0), spoken(1), spoken(2)]
    assert buffer.pull(1.06) == SILENCE
    buffer.put(7, spoken(7), 1.1)
    assert buffer.is_over
    assert buffer.counts.unfit == 1
    assert buffer.counts.silent == 0


def test_closed_it_waits_for_nothing() -> None:
    buffer = JitterBuffer()
    for number in (0, 1, 3):
        buffer.put(number, spoken(number), 0.0)
    buffer.close()
    given_out = [buffer.pull(0.0) for _ in range(4)]
    assert given_out == [spoken(0), spoken(1), spoken(1)[-9:] * 3, spoken(3)]
    assert buffer.is_over
