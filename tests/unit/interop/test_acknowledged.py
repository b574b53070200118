"""How far a system's events are stored: never past what is missing, never stuck for ever."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.interop.acknowledged import GAP_S, Position


def test_it_is_acknowledged_when_it_is_stored_and_what_is_not_kept_at_once() -> None:
    position = Position()
    position.heard("e", 1, 0.0, to_store=True)
    position.heard("e", 2, 0.0, to_store=False)
    assert position.sequence(0.0) == 0
    position.stored("e", 1)
    assert position.sequence(0.0) == 2


def test_a_gap_holds_back_until_it_is_filled_or_passed_over() -> None:
    position = Position("e", 4)
    for sequence in (5, 7, 8):
        position.heard("e", sequence, 0.0, to_store=False)
    assert position.sequence(GAP_S - 1) == 5
    position.heard("e", 6, GAP_S - 1, to_store=True)
    position.stored("e", 6)
    assert (position.sequence(GAP_S - 1), position.skipped) == (8, 0)
    position.heard("e", 11, 100.0, to_store=False)
    assert position.sequence(100.0 + GAP_S - 0.1) == 8
    assert (position.sequence(100.0 + GAP_S), position.skipped) == (11, 2)


def test_gaps_are_passed_over_side_by_side() -> None:
    position = Position("e", 0)
    for number in range(2, 2_000, 2):
        position.heard("e", number, number / 1000, to_store=False)
    assert position.sequence(GAP_S) == 0
    assert position.sequence(GAP_S + 1.0) == 1_000
    assert position.sequence(GAP_S + 2.0) == 1_998
    assert position.skipped == 999


def test_another_life_of_the_writer_begins_at_nothing() -> None:
    position = Position("old", 900)
    position.heard("new", 1, 0.0, to_store=False)
    assert (position.epoch, position.sequence(0.0)) == ("new", 1)
    position.stored("old", 900)
    assert position.sequence(0.0) == 1


@given(order=st.permutations(range(1, 30)), kept=st.frozensets(st.integers(1, 29)))
def test_nothing_is_acknowledged_before_it_is_stored(
    order: list[int], kept: frozenset[int]
) -> None:
    position, stored, heard = Position(), set[int](), set[int]()
    for sequence in order:
        position.heard("e", sequence, 0.0, to_store=sequence in kept)
        heard.add(sequence)
        upto = position.sequence(0.0)
        assert all(
            each in heard and (each not in kept or each in stored) for each in range(1, upto + 1)
        )
        if sequence in kept:
            stored.add(sequence)
            position.stored("e", sequence)
    assert position.sequence(0.0) == 29
