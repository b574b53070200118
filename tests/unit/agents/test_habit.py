"""What silence is usual for a system: learned by the hour of the week."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.agents.habit import FACTOR, HOURS, KNOWN_HOURS, LEAST_S, Habit

HOUR_S = 3600


class Air:
    """A system whose clock and wall go together. From a Monday's midnight, in seconds."""

    def __init__(self, habit: Habit | None = None) -> None:
        self.habit = habit or Habit()
        self.at_s = 0.0
        self.habit.began(0.0, 0)

    def hour(self) -> int:
        return int(self.at_s // HOUR_S)

    def talk(self, until_h: float, every_s: float) -> None:
        while self.at_s + every_s <= until_h * HOUR_S:
            self.at_s += every_s
            self.habit.heard(self.at_s, self.hour())

    def wait(self, until_h: float) -> bool:
        """Whether that long a silence is beyond the habit."""
        self.at_s = until_h * HOUR_S
        limit_s = self.habit.limit_s(self.hour())
        return limit_s is not None and self.habit.silent_s(self.at_s) > limit_s


def test_nothing_is_beyond_a_habit_that_is_not_known() -> None:
    air = Air()
    assert not air.wait(1000)
    air = Air()
    air.talk(KNOWN_HOURS - 2, 60)
    assert not air.wait(1000)


def test_a_busy_channel_is_missed_soon_and_a_quiet_one_late() -> None:
    busy = Air()
    busy.talk(48, 60)
    assert not busy.wait(48 + 0.9 * LEAST_S / HOUR_S)
    assert busy.wait(48 + 1.1 * LEAST_S / HOUR_S)
    quiet = Air()
    quiet.talk(48, 2 * HOUR_S)
    assert not quiet.wait(48 + 0.9 * FACTOR * 2)
    assert quiet.wait(48 + 1.1 * FACTOR * 2)


def test_a_night_is_no_silence_and_the_same_by_day_is() -> None:
    air = Air()
    for day in range(7):
        air.at_s = (day * 24 + 7) * HOUR_S
        air.talk(day * 24 + 22, 300)
    week = 7 * 24
    air.at_s = (week + 7) * HOUR_S
    air.talk(week + 22, 300)
    assert not air.wait(week + 24 + 6), "eight hours of a night"
    air.talk(week + 24 + 15, 300)
    assert air.wait(week + 24 + 16), "an hour of an afternoon"


def test_what_once_was_fades() -> None:
    air = Air()
    air.talk(30, 600)
    air.at_s = 60 * HOUR_S  # a fault of thirty hours, which is none of its habit
    air.habit.heard(air.at_s, air.hour())
    hour = 45
    assert not air.wait(100)
    for week in range(1, 9):
        air.at_s = (week * HOURS + hour - 10) * HOUR_S
        air.habit.began(air.at_s, air.hour())
        air.talk(week * HOURS + hour + (0 if week == 8 else 5), 600)
    assert air.wait(8 * HOURS + hour + 2)


def test_what_we_could_not_hear_is_not_learned() -> None:
    air = Air()
    air.talk(48, 60)
    air.at_s = 90 * HOUR_S
    air.habit.began(air.at_s, air.hour())
    air.talk(91, 60)
    assert air.wait(91 + 1.1 * LEAST_S / HOUR_S)


def test_a_later_life_knows_what_was_learned() -> None:
    air = Air()
    air.talk(48, 60)
    later = Air(Habit.loaded(air.habit.dump()))
    assert later.wait(1.1 * LEAST_S / HOUR_S)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}x", '{"168": [1, 1]}', '{"1": 5}', '{"1": ["a", 1]}']
)
def test_a_file_that_is_none_is_told(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        Habit.loaded(text)


@given(st.lists(st.tuples(st.floats(0, 1e6), st.integers(0, 10_000), st.booleans()), max_size=50))
def test_a_wall_clock_that_jumps_breaks_nothing(steps: list[tuple[float, int, bool]]) -> None:
    habit, now_s = Habit(), 0.0
    for by_s, hour, heard in steps:
        now_s += by_s
        (habit.heard if heard else habit.began)(now_s, hour)
        limit_s = habit.limit_s(hour)
        assert limit_s is None or limit_s >= LEAST_S
        assert habit.silent_s(now_s) == 0
    assert Habit.loaded(habit.dump()).dump() == habit.dump()
