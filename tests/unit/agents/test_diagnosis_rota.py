"""Turns: every point once in a period, evenly, and no device twice at once."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.agents.rota import Rota, Turn


def turns(devices: int, channels: int = 1, age_s: float | None = None) -> list[Turn]:
    return [
        Turn(point_id=f"p-{device}-{channel}", device_id=f"d-{device}", age_s=age_s)
        for device in range(devices)
        for channel in range(channels)
    ]


def watch(rota: Rota, from_s: int, to_s: int) -> list[tuple[int, str]]:
    """Who had a turn when, second by second; a look takes no time."""
    taken = []
    for now_s in range(from_s, to_s):
        while (turn := rota.start(now_s)) is not None:
            taken.append((now_s, turn.point_id))
            rota.done(turn.point_id, now_s)
    return taken


def test_every_point_has_one_turn_in_each_period_and_they_are_spread() -> None:
    rota = Rota(3600)
    rota.replace(turns(100, 4), 0)
    for start in (0, 3600, 7200):
        taken = watch(rota, start, start + 3600)
        assert Counter(point for _, point in taken) == {t.point_id: 1 for t in turns(100, 4)}
        minutes = Counter(moment // 60 for moment, _ in taken)
        assert len(minutes) == 60
        assert max(minutes.values()) <= 7  # 6.7 on average


def test_no_two_looks_at_one_device_at_the_same_time() -> None:
    rota = Rota(100)
    rota.replace(turns(1, 3), 0)
    first = rota.start(99)
    assert first is not None
    assert rota.start(99) is None
    rota.done(first.point_id, 99)
    second = rota.start(99)
    assert second is not None
    assert second.point_id != first.point_id


def test_a_restart_goes_on_where_the_last_run_ended() -> None:
    rota = Rota(3600)
    known = [
        Turn(point_id=f"p-{number}", device_id=f"d-{number}", age_s=number * 36)
        for number in range(100)
    ]
    rota.replace(known, 0)
    taken = watch(rota, 0, 3600)
    assert len(taken) == 99  # the youngest is due exactly when the period is over
    assert taken[0] == (36, "p-99")
    assert max(Counter(moment // 360 for moment, _ in taken).values()) <= 11


def test_the_overdue_are_spread_too_and_none_waits_longer_than_a_period() -> None:
    rota = Rota(3600)
    rota.replace([*turns(50, age_s=9999)], 1000)
    taken = watch(rota, 1000, 4600)
    assert len(taken) == 50
    assert max(Counter(moment // 360 for moment, _ in taken).values()) <= 6


def test_a_new_point_is_soon_looked_at_and_a_gone_one_never_more() -> None:
    rota = Rota(3600)
    rota.replace(turns(100), 0)
    watch(rota, 0, 3600)
    rota.replace([*turns(100)[1:], Turn(point_id="new", device_id="d-new")], 3600)
    taken = watch(rota, 3600, 7200)
    assert [point for moment, point in taken if moment < 3700].count("new") == 1
    assert "p-0-0" not in {point for _, point in taken}
    assert len(rota) == 100


def test_one_that_could_not_be_looked_at_is_tried_again_soon() -> None:
    rota = Rota(3600)
    rota.replace(turns(1), 0)
    turn = rota.start(1800)
    assert turn is not None
    rota.done(turn.point_id, 1800, again_in_s=300)
    assert rota.next_s() == 2100
    assert rota.start(2099) is None
    assert rota.late_s(2160) == 60
    turn = rota.start(2100)
    assert turn is not None
    rota.done(turn.point_id, 2110)
    assert rota.next_s() == 2100 + 3600


def test_a_point_that_goes_while_it_is_looked_at_ends_quietly() -> None:
    rota = Rota(100)
    rota.replace(turns(1, 2), 0)
    turn = rota.start(99)
    assert turn is not None
    assert rota.start(99) is None  # the other one waits for the device
    rota.replace([], 99)
    rota.done(turn.point_id, 99)
    assert rota.start(500) is None
    assert rota.next_s() is None or len(rota) == 0


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 3), st.booleans(), st.integers(1, 50)),
        max_size=60,
    )
)
@settings(deadline=None)
def test_whatever_happens_no_device_is_busy_twice_and_nothing_is_lost(
    steps: list[tuple[int, int, bool, int]],
) -> None:
    rota = Rota(100)
    everybody = turns(4, 3)
    rota.replace(everybody, 0)
    looking: list[Turn] = []
    now_s = 0.0
    for action, which, again, ahead in steps:
        now_s += ahead
        if action < 3:
            turn = rota.start(now_s)
            if turn is not None:
                looking.append(turn)
        elif action == 3 and looking:
            turn = looking.pop(which % len(looking))
            rota.done(turn.point_id, now_s, again_in_s=5 if again else None)
        elif action == 4:
            rota.replace(everybody if again else everybody[which:], now_s)
        devices = [turn.device_id for turn in looking]
        assert len(devices) == len(set(devices))
    for turn in looking:
        rota.done(turn.point_id, now_s)
    rota.replace(everybody, now_s)
    seen = set()
    for _ in range(300):
        now_s += 1
        while (turn := rota.start(now_s)) is not None:
            seen.add(turn.point_id)
            rota.done(turn.point_id, now_s)
    assert seen == {turn.point_id for turn in everybody}
