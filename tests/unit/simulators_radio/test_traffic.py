"""Presses at random: the rate that was asked for, peaks, and a district that carries it out."""

import asyncio
import itertools
import json

import pytest
from patience import wait_until

from simulators import load
from simulators.district import District
from simulators.scenario import parse
from simulators.traffic import Peak, presses


def test_presses_come_as_often_as_asked_in_order_and_the_same_for_a_seed() -> None:
    def first(seed: int) -> list[float]:
        found = presses(people=5, presses_s=30, talk_s=2, peaks=(), seed=seed)
        return [press.at_s for press in itertools.islice(found, 3000)]

    times = first(1)
    assert times == sorted(times)
    assert 90 < times[-1] < 110
    assert times == first(1) != first(2)


def test_a_peak_is_where_it_was_put() -> None:
    peak = Peak(at_s=50, for_s=10, presses_s=200)
    found = presses(people=5, presses_s=0, talk_s=2, peaks=(peak,), seed=3)
    within = list(itertools.takewhile(lambda press: press.at_s < 1000, found))
    assert 1800 < len(within) < 2200
    assert all(50 <= press.at_s < 60 for press in within)
    assert all(0.2 <= press.seconds <= 8 and 0 <= press.who < 5 for press in within)


def test_nobody_presses_where_nobody_is() -> None:
    assert list(presses(people=0, presses_s=5, talk_s=1, peaks=(), seed=1)) == []


@pytest.mark.parametrize("make", [load.province, load.storm])
def test_a_load_scenario_is_a_scenario(make: object) -> None:
    assert callable(make)
    made = make(
        master={"host": "127.0.0.1", "port": 1}, passphrase="p", channels=100, talk_s=2.0, seed=1
    )
    scenario = parse(json.dumps(made))
    assert len(scenario.homebrew.repeaters) + len(scenario.zello[0].channels) == 100
    assert scenario.traffic is not None
    assert scenario.traffic.presses_s in (30.0, 100.0)


async def test_phones_of_a_district_press_at_random_and_channels_fall_busy() -> None:
    text = (
        "zello: {channels: [A, B], phones: [{name: one, channels: [A]}, {name: two}]}\n"
        "traffic: {presses_s: 200, talk_s: 0.3, seed: 1}\n"
    )
    async with District(parse(text)) as district:
        running = asyncio.create_task(district.run_timeline())
        try:
            await wait_until(lambda: district.pressed > 30 and district.found_busy)
            assert district.found_busy < district.pressed
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
