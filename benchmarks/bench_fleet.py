"""A thousand cameras come back after ten minutes without power, in compressed time.

Run as ``python -m benchmarks.bench_fleet``. The clock of the event loop jumps to whenever the next
thing happens; the supervisor is the real one, the cameras are as slow as cameras are. Nothing is
random but by a seed.
"""

import asyncio
import dataclasses
import logging
import random
import selectors
import time
from datetime import UTC, datetime
from typing import Any

import structlog

from adapters.base import Adapter, Emit
from adapters.errors import TimedOut, Unreachable
from adapters.events import Online
from benchmarks import Row, report, row
from gateway.agents.budget import Budget
from gateway.agents.fleet import Fleet
from gateway.agents.supervisor import Supervised

LIVING, DEAD = 1000, 100
AWAY_S = 600.0
BOOT_S = (5.0, 25.0)
CONNECT_S = 5.0
ONBOARD_S = (0.05, 0.5)
SAY_HELLO = 0.5
AT_ONCE = 64


def rows() -> list[Row]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        with asyncio.Runner(loop_factory=_JumpingLoop) as runner:
            power_cut = runner.run(_power_cut())
        with asyncio.Runner(loop_factory=_JumpingLoop) as runner:
            dead = runner.run(_dead_for_hours())
    finally:
        structlog.reset_defaults()
    return power_cut + dead


class _JumpingSelector(selectors.DefaultSelector):
    jumped_s = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if not ready and timeout is not None:
            self.jumped_s += max(0.0, timeout)
        return ready


class _JumpingLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.jumped_s


class _Camera:
    """Without power it swallows packets, as a dead host does."""

    def __init__(self, number: int, fleet: Fleet, chance: random.Random) -> None:
        self.host = f"10.1.{number // 250}.{number % 250 + 1}"
        self.on, self.off = asyncio.Event(), asyncio.Event()
        self.chance = chance
        self.back_s = self.boots_s = 0.0
        self.fleet = fleet
        self.supervised = Supervised(
            self.host,
            lambda: _Client(self),
            budget=fleet.budget,
            on_event=self._heard,
            on_failure=lambda _failure: None,
            jitter=lambda: chance.uniform(0.5, 1.0),
            attempt_limit_s=60.0,
        )

    def _heard(self, _event: object) -> None:
        self.back_s = asyncio.get_running_loop().time()

    def power(self, on: bool) -> None:
        (self.on if on else self.off).set()
        (self.off if on else self.on).clear()

    async def run(self) -> None:
        with self.fleet.member(self.supervised, self.host):
            await self.supervised.run()

    async def boot(self) -> None:
        self.boots_s = self.chance.uniform(*BOOT_S)
        await asyncio.sleep(self.boots_s)
        self.power(True)
        if self.chance.random() < SAY_HELLO:
            self.fleet.hello(self.host)


class _Client(Adapter):
    async def run(self, emit: Emit) -> None:
        camera: _Camera = self.settings
        if not camera.on.is_set():
            await asyncio.sleep(CONNECT_S)
            raise TimedOut("no answer")
        await asyncio.sleep(camera.chance.uniform(*ONBOARD_S))
        emit(Online(at=datetime.now(UTC)))
        await camera.off.wait()
        raise Unreachable("the connection broke")


@dataclasses.dataclass(slots=True)
class _District:
    fleet: Fleet
    cameras: list[_Camera]
    tasks: list["asyncio.Task[None]"]

    async def until_online(self, cameras: list[_Camera]) -> None:
        while not all(camera.supervised.online for camera in cameras):  # noqa: ASYNC110
            await asyncio.sleep(0.5)

    async def end(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.wait(self.tasks)


def _district(living: int, dead: int) -> _District:
    chance = random.Random(11)
    fleet = Fleet(Budget(AT_ONCE), spread=chance.random)
    cameras = [_Camera(number, fleet, chance) for number in range(living + dead)]
    for camera in cameras[dead:]:
        camera.power(True)
    tasks = [asyncio.create_task(camera.run()) for camera in cameras]
    return _District(fleet, cameras, tasks)


async def _power_cut() -> list[Row]:
    it = _district(LIVING, DEAD)
    living = it.cameras[DEAD:]
    await it.until_online(living)
    for camera in living:
        camera.power(False)
    await asyncio.sleep(AWAY_S)
    power_on_s = asyncio.get_running_loop().time()
    booting = [asyncio.create_task(camera.boot()) for camera in living]
    await asyncio.wait(booting)
    await it.until_online(living)
    took_s = sorted(camera.back_s - power_on_s for camera in living)
    waited_s = sorted(camera.back_s - power_on_s - camera.boots_s for camera in living)
    await it.end()
    ready_s = max(camera.boots_s for camera in living)
    return [
        row(f"{len(living)} cameras back after ten minutes, {DEAD} dead among them: the last",
            took_s[-1], "s", at_most=60, limit=ready_s),
        row("from when a camera answers to online, p50", waited_s[len(waited_s) // 2], "s"),
        row("from when a camera answers to online, the longest", waited_s[-1], "s"),
        row("attempts at once, at most", it.fleet.budget.highest, "attempts", at_most=AT_ONCE),
    ]  # fmt: skip


async def _dead_for_hours() -> list[Row]:
    it = _district(0, LIVING)
    await asyncio.sleep(1.2 * 3600)
    attempts, cpu_s = it.fleet.figures().attempts, time.process_time()
    await asyncio.sleep(3600)
    cpu_s = time.process_time() - cpu_s
    tried = it.fleet.figures().attempts - attempts
    await it.end()
    return [
        row(f"{LIVING} dead for hours: attempts of each in an hour", tried / LIVING, "",
            at_most=30),
        row(f"{LIVING} dead for hours: a core's time", cpu_s / 3600 * 100, "%", at_most=1),
    ]  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(0 if report("fleet", rows()) else 1)
