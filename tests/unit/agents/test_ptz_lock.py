"""One person at a time moves a camera; whoever ranks higher takes over."""

import pytest

from gateway.agents.ptz_lock import HELD_S, PtzLocks, Rank


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def locks(clock: Clock) -> PtzLocks:
    return PtzLocks(clock)


def test_the_first_keeps_it_for_ten_seconds_after_the_last_command(
    locks: PtzLocks, clock: Clock
) -> None:
    assert locks.take("p", "u1", "Li", Rank.DISPATCHER, 2.0) is None
    clock.now_s += 2.0 + HELD_S - 0.1
    other = locks.take("p", "u2", "Wang", Rank.DISPATCHER)
    assert other is not None
    assert other.name == "Li"
    assert locks.take("p", "u1", "Li", Rank.DISPATCHER) is None
    clock.now_s += HELD_S - 0.1
    assert locks.in_the_way("p", "u2", Rank.DISPATCHER) is not None
    clock.now_s += 0.1
    assert locks.holder("p") is None
    assert locks.take("p", "u2", "Wang", Rank.DISPATCHER) is None


@pytest.mark.parametrize("holder", Rank)
@pytest.mark.parametrize("comer", Rank)
def test_only_the_higher_takes_over(locks: PtzLocks, holder: Rank, comer: Rank) -> None:
    locks.take("p", "u1", "Li", holder)
    other = locks.take("p", "u2", "Wang", comer)
    assert (other is None) == (comer > holder)
    now = locks.holder("p")
    assert now is not None
    assert now.name == ("Wang" if comer > holder else "Li")


def test_other_cameras_are_free(locks: PtzLocks) -> None:
    locks.take("p", "u1", "Li", Rank.ADMIN)
    assert locks.take("q", "u2", "Wang", Rank.SHARE) is None


def test_what_nobody_holds_is_forgotten(locks: PtzLocks, clock: Clock) -> None:
    for number in range(10_000):
        locks.take(f"p{number}", "u1", "Li", Rank.ADMIN)
    clock.now_s += HELD_S + 1
    locks.take("p", "u1", "Li", Rank.ADMIN)
    assert len(locks._held) == 1
