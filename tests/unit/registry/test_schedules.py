"""When a patch is on: over midnight, in its own time zone, and never both at once."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.schedules import InvalidSchedule, Schedule, overlap, parse

SHANGHAI = "Asia/Shanghai"
MONDAY = datetime(2026, 11, 23, 0, 0, tzinfo=UTC)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def daily(begins: str, ends: str, zone: str = SHANGHAI, **fields: object) -> Schedule:
    return parse({"timezone": zone, "from": begins, "to": ends, **fields})


@pytest.mark.parametrize(
    ("moment", "on"),
    [
        ("2026-11-21T17:59:59+08:00", False),
        ("2026-11-21T18:00:00+08:00", True),
        ("2026-11-22T00:00:00+08:00", True),
        ("2026-11-22T05:59:59+08:00", True),
        ("2026-11-22T06:00:00+08:00", False),
        ("2026-11-21T10:00:00+00:00", True),
    ],
)
def test_a_night_is_on_over_midnight_in_its_own_zone(moment: str, on: bool) -> None:
    assert daily("18:00", "06:00").is_on(at(moment)) is on


def test_the_next_change_is_told_both_ways() -> None:
    night = daily("18:00", "06:00")
    assert night.next_change(at("2026-11-21T12:00+08:00")) == at("2026-11-21T18:00+08:00")
    assert night.next_change(at("2026-11-21T19:00+08:00")) == at("2026-11-22T06:00+08:00")


def test_days_are_those_on_which_it_begins() -> None:
    fridays = daily("22:00", "02:00", days=[5])
    assert fridays.is_on(at("2026-11-28T01:00+08:00"))  # Saturday, begun on Friday
    assert not fridays.is_on(at("2026-11-27T01:00+08:00"))
    assert fridays.next_change(at("2026-11-28T03:00+08:00")) == at("2026-12-04T22:00+08:00")


def test_the_same_time_twice_is_a_whole_day() -> None:
    assert daily("08:00", "08:00").is_on(at("2026-11-22T07:59+08:00"))


def test_a_night_in_which_clocks_are_set_is_as_long_as_it_is() -> None:
    begins, ends = next(
        daily("00:00", "06:00", "Europe/Berlin").spans(
            at("2026-10-25T00:30+02:00"), at("2026-10-25T03:00+01:00")
        )
    )
    assert ends - begins == timedelta(hours=7)


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({"from": "18:00", "to": "06:00"}, "timezone"),
        ({"timezone": "Mars/Base", "from": "18:00", "to": "06:00"}, "timezone"),
        ({"timezone": "../etc/passwd", "from": "18:00", "to": "06:00"}, "timezone"),
        ({"timezone": SHANGHAI, "from": "24:00", "to": "06:00"}, "from"),
        ({"timezone": SHANGHAI, "from": "18:00", "to": "6"}, "to"),
        ({"timezone": SHANGHAI, "from": "18:00", "to": "06:00", "days": [0]}, "days"),
        ({"timezone": SHANGHAI, "from": "18:00", "to": "06:00", "days": []}, "days"),
        ({"timezone": SHANGHAI, "from": "18:00", "to": "06:00", "days": [True]}, "days"),
        ({"timezone": SHANGHAI, "from": "18:00", "to": "06:00", "day": [1]}, "day"),
    ],
)
def test_what_is_no_schedule_is_named(document: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidSchedule) as refused:
        parse(document)
    assert refused.value.field == field


def test_day_and_night_do_not_overlap_and_an_hour_too_much_does() -> None:
    day, night = daily("06:00", "18:00"), daily("18:00", "06:00")
    assert not overlap(day, night, since=MONDAY)
    assert overlap(daily("06:00", "18:01"), night, since=MONDAY)
    assert overlap(None, night, since=MONDAY)
    assert overlap(None, None, since=MONDAY)
    assert not overlap(None, None, since=MONDAY, until=MONDAY)
    noon = at("2026-11-23T12:00+08:00")
    assert not overlap(None, night, since=noon, until=noon + timedelta(hours=3))
    assert not overlap(
        daily("22:00", "02:00", days=[5]), daily("22:00", "02:00", days=[1]), since=MONDAY
    )
    assert overlap(
        daily("22:00", "02:00", days=[5]), daily("01:00", "02:00", days=[6]), since=MONDAY
    )


def test_zones_that_differ_only_in_summer_are_compared_over_the_year() -> None:
    utc = daily("00:00", "05:00", "UTC")
    berlin = daily("06:00", "08:00", "Europe/Berlin")
    assert overlap(utc, berlin, since=MONDAY)  # 06:00 is 04:00 UTC, from March on


times = st.times().map(lambda t: t.strftime("%H:%M"))
any_schedule = st.builds(
    daily,
    times,
    times,
    st.sampled_from([SHANGHAI, "UTC", "Europe/Berlin"]),
    days=st.lists(st.integers(1, 7), min_size=1, max_size=3),
)


@settings(max_examples=60, deadline=None)
@given(one=any_schedule, other=any_schedule, minutes=st.integers(0, 20000))
def test_two_that_are_on_at_once_overlap(one: Schedule, other: Schedule, minutes: int) -> None:
    moment = MONDAY + timedelta(minutes=minutes)
    if one.is_on(moment) and other.is_on(moment):
        assert overlap(one, other, since=MONDAY)
        assert overlap(other, one, since=MONDAY)
