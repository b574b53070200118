"""A thousand cameras lose power and come back, in virtual time with seeded randomness."""

import asyncio
import contextlib
import dataclasses
import random
from collections.abc import AsyncIterator, Iterator

import pytest
import structlog
import virtual_time
from scripted import now

from adapters.base import Adapter, Emit
from adapters.errors import AdapterError, AuthenticationFailed, TimedOut, Unreachable
from adapters.events import Online
from gateway.agents.budget import Budget
from gateway.agents.fleet import Fleet
from gateway.agents.supervisor import Failure, Supervised

CONNECT_S = 5.0


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with structlog.testing.capture_logs():
        yield


class Camera:
    """on: whether it answers. A camera without power swallows packets, as a dead host does."""

    def __init__(self, number: int, fleet: Fleet, chance: random.Random) -> None:
        self.host = f"10.1.{number // 250}.{number % 250 + 1}"
        self.on = asyncio.Event()
        self.off = asyncio.Event()
        self.attempts = 0
        self.failures: list[Failure] = []
        self.back_s = 0.0
        self.fleet = fleet
        self.chance = chance
        self.supervised = Supervised(
            self.host,
            lambda: _Client(self),
            budget=fleet.budget,
            on_event=self._heard,
            on_failure=self.failures.append,
            jitter=lambda: chance.uniform(0.5, 1.0),
            attempt_limit_s=30.0,
        )

    def _heard(self, _event: object) -> None:
        self.back_s = asyncio.get_running_loop().time()

    def power(self, on: bool) -> None:
        (self.on if on else self.off).set()
        (self.off if on else self.on).clear()

    async def run(self) -> None:
        with self.fleet.member(self.supervised, f"http://{self.host}/onvif/device_service"):
            await self.supervised.run()


class _Client(Adapter):
    async def run(self, emit: Emit) -> None:
        camera: Camera = self.settings
        camera.attempts += 1
        if not camera.on.is_set():
            await asyncio.sleep(CONNECT_S)
            raise TimedOut("no answer")
        await asyncio.sleep(camera.chance.uniform(0.05, 0.5))
        emit(Online(at=now()))
        await camera.off.wait()
        raise Unreachable("the connection broke")


@dataclasses.dataclass(slots=True)
class District:
    fleet: Fleet
    cameras: list[Camera]
    chance: random.Random

    @property
    def now_s(self) -> float:
        return asyncio.get_running_loop().time()

    async def until_online(self, cameras: list[Camera]) -> None:
        while not all(camera.supervised.online for camera in cameras):  # noqa: ASYNC110
            await asyncio.sleep(0.5)

    async def boot(self, cameras: list[Camera], *, hello: float) -> None:
        """Each takes 5 to 25 s to answer; a share of them says hello then."""

        async def one(camera: Camera) -> None:
            await asyncio.sleep(self.chance.uniform(5, 25))
            camera.power(True)
            if self.chance.random() < hello:
                self.fleet.hello(camera.host)

        async with asyncio.TaskGroup() as group:
            for camera in cameras:
                group.create_task(one(camera))


@contextlib.asynccontextmanager
async def district(size: int, budget: int, dead: int = 0) -> AsyncIterator[District]:
    chance = random.Random(7)
    fleet = Fleet(Budget(budget), spread=chance.random)
    cameras = [Camera(number, fleet, chance) for number in range(size)]
    for camera in cameras[dead:]:
        camera.power(True)
    tasks = [asyncio.create_task(camera.run()) for camera in cameras]
    try:
        yield District(fleet, cameras, chance)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


@pytest.mark.parametrize("hello", [0.0, 0.5])
def test_a_thousand_cameras_are_back_within_a_minute_of_power_on(hello: float) -> None:
    async def story() -> None:
        async with district(1100, budget=64, dead=100) as it:
            living = it.cameras[100:]
            await it.until_online(living)
            for camera in living:
                camera.power(False)
            await asyncio.sleep(600)
            assert not any(camera.supervised.online for camera in it.cameras)
            power_on_s = it.now_s
            await it.boot(living, hello=hello)
            await it.until_online(living)
            assert max(camera.back_s for camera in living) - power_on_s < 60
            assert it.fleet.budget.highest == 64
            assert it.fleet.figures().online == 1000
            assert it.fleet.figures().brought_forward > 0

    virtual_time.run(story())


def test_dead_ones_are_tried_seldom_and_never_hold_up_the_living() -> None:
    async def story() -> None:
        async with district(200, budget=16, dead=150) as it:
            living = it.cameras[150:]
            await it.until_online(living)
            assert it.now_s < 60  # 150 time-outs of 5 s through 16 slots are 47 s of waiting alone
            await asyncio.sleep(3700)
            before = sum(camera.attempts for camera in it.cameras[:150])
            await asyncio.sleep(3600)
            hourly = (sum(camera.attempts for camera in it.cameras[:150]) - before) / 150
            assert 10 <= hourly <= 25
            living[0].power(False)
            await asyncio.sleep(2)
            fell_s = it.now_s
            living[0].power(True)
            await it.until_online(living)
            assert it.now_s - fell_s < 10
            assert all(camera.supervised.breaker_open for camera in it.cameras[:150])

    virtual_time.run(story())


def test_a_hello_and_a_sibling_bring_the_next_attempt_forward() -> None:
    async def story() -> None:
        async with district(3, budget=4) as it:
            first, second, third = it.cameras
            await it.until_online(it.cameras)
            for camera in it.cameras:
                camera.power(False)
            await asyncio.sleep(3650)
            for camera in it.cameras:
                camera.power(True)
            began_s = it.now_s
            assert it.fleet.hello(f"http://{first.host}:8000/") == 1
            assert it.fleet.hello(first.host) == 0  # heard a moment ago
            await it.until_online(it.cameras)
            assert first.back_s - began_s < 1
            # A dead one's own next attempt is minutes away.
            assert max(second.back_s, third.back_s) - began_s < 4
            assert it.fleet.figures().hellos == 1

    virtual_time.run(story())


def test_a_final_error_is_not_tried_again_for_a_siblings_sake() -> None:
    async def story() -> None:
        async with district(2, budget=4) as it:
            await it.until_online(it.cameras)
            wrong, right = it.cameras
            error: AdapterError = AuthenticationFailed("it refused the password")
            wrong.supervised._make = lambda: _Refusing(error)
            for camera in it.cameras:
                camera.power(False)
            await asyncio.sleep(100)
            right.power(True)
            await it.until_online([right])
            await asyncio.sleep(100)
            assert wrong.supervised.final
            refusals = [each.retry_in_s for each in wrong.failures]
            assert refusals.count(None) == 1
            # Anybody can say hello: not one attempt with a wrong password for each.
            for _ in range(300):
                it.fleet.hello(wrong.host)
                await asyncio.sleep(3)
            refusals = [each.retry_in_s for each in wrong.failures]
            assert refusals.count(None) == 1 + 2

    virtual_time.run(story())


class _Refusing(Adapter):
    async def run(self, emit: Emit) -> None:
        raise self.settings
