"""A device that comes and goes is shown as flapping: one event, one status, until it is calm."""

import asyncio
import dataclasses
from collections.abc import Iterator

import pytest
import structlog
import virtual_time
from patience import wait_until
from scripted import Script, maker, now

from adapters.events import Event, Motion, Online, SignalLost, SourceStatus
from gateway.agents.fleet import Fleet
from gateway.agents.steadiness import Steadiness
from gateway.agents.supervisor import Failure, Supervised


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with structlog.testing.capture_logs():
        yield


def test_so_many_losses_within_the_time_are_flapping_and_one_fewer_is_not() -> None:
    it = Steadiness(losses=4, within_s=600, calm_s=300)
    assert [it.lost(at) for at in (0, 100, 200)] == [False] * 3
    assert not it.flapping
    assert it.lost(600)
    assert it.flapping
    assert not it.lost(610)  # it begins once
    assert not it.calm(900)
    assert it.calm(910)
    it.settle()
    assert not it.flapping


def test_losses_far_apart_are_not_flapping() -> None:
    it = Steadiness(losses=4, within_s=600)
    assert not any(it.lost(at) for at in range(0, 100_000, 201))


class Watched:
    def __init__(self) -> None:
        self.script = Script()
        self.events: list[Event] = []
        self.failures: list[Failure] = []
        self.flaps: list[bool] = []
        self.supervised = Supervised(
            "device",
            maker(self.script),
            budget=Fleet().budget,
            on_event=self.events.append,
            on_failure=self.failures.append,
            jitter=lambda: 1.0,
            steadiness=Steadiness(),
            on_flapping=self.flaps.append,
        )

    def onlines(self) -> int:
        return sum(isinstance(event, Online) for event in self.events)

    async def until(self, condition: bool) -> None:
        while self.supervised.online is not condition:  # noqa: ASYNC110
            await asyncio.sleep(0.05)

    async def lose(self, times: int) -> None:
        for _ in range(times):
            await self.until(True)
            self.script.broken.set()
            await self.until(False)
            self.script.broken.clear()


def test_it_is_told_once_held_back_and_told_again_when_it_stays() -> None:
    async def story() -> None:
        it = Watched()
        task = asyncio.create_task(it.supervised.run())
        await it.lose(10)
        assert it.flaps == [True]
        assert [failure.flapping for failure in it.failures] == [False] * 3 + [True] * 7
        assert it.onlines() == 4
        assert it.failures[-1].retry_in_s == 30.0  # not tried every second all day
        await it.until(True)
        it.script.say(SourceStatus(at=now(), address="1", status="online", reason=""))
        it.script.say(Motion(at=now(), address="1", active=True))
        assert isinstance(it.events[-1], Motion)  # an occurrence is no status
        lost = SignalLost(at=now(), address="2", active=True)
        it.script.say(lost)
        assert it.events[-1] is lost
        await asyncio.sleep(299)
        assert it.onlines() == 4
        await asyncio.sleep(2)
        assert it.flaps == [True, False]
        assert [type(event) for event in it.events[-3:]] == [Online, SourceStatus, SignalLost]
        assert it.events[-1] == dataclasses.replace(lost, initial=True)
        task.cancel()
        await asyncio.wait([task])

    virtual_time.run(story())


def test_one_that_flapped_and_then_stays_away_is_offline_for_its_own_reason() -> None:
    async def story() -> None:
        it = Watched()
        task = asyncio.create_task(it.supervised.run())
        await it.lose(4)
        it.script.failures = [RuntimeError("gone")] * 100
        await asyncio.sleep(400)
        assert it.flaps == [True, False]
        assert not it.failures[-1].flapping
        assert it.onlines() == 4
        task.cancel()
        await asyncio.wait([task])

    virtual_time.run(story())


async def test_leaving_leaves_no_timer() -> None:
    it = Watched()
    task = asyncio.create_task(it.supervised.run())
    await wait_until(lambda: it.supervised.online)
    task.cancel()
    await asyncio.wait([task])
    assert it.supervised._settling is None
