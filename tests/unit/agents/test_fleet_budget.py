"""Who gets a slot, and when."""

import asyncio

import pytest

from gateway.agents.budget import Budget, Place, Urgency
from gateway.agents.fleet import host_of, network_of


class Queue:
    def __init__(self, attempts: int) -> None:
        self.budget = Budget(attempts)
        self.entered: list[str] = []
        self.places: dict[str, Place] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.ends: dict[str, asyncio.Event] = {}

    async def add(self, name: str, urgency: Urgency = Urgency.RECENT) -> None:
        self.places[name] = Place(urgency)
        self.ends[name] = asyncio.Event()
        self.tasks[name] = asyncio.create_task(self._hold(name))
        await self.settle()

    async def _hold(self, name: str) -> None:
        async with self.budget.attempt(self.places[name]):
            self.entered.append(name)
            await self.ends[name].wait()

    async def end(self, name: str) -> None:
        self.ends[name].set()
        await self.settle()

    async def settle(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    async def close(self) -> None:
        for task in self.tasks.values():
            task.cancel()
        await asyncio.wait(self.tasks.values())
        assert self.budget.under_way == 0
        assert self.budget.waiting == 0


async def test_the_called_go_first_then_the_recent_then_the_dead() -> None:
    it = Queue(1)
    for name, urgency in (
        ("holder", Urgency.RECENT),
        ("dead", Urgency.DEAD),
        ("recent", Urgency.RECENT),
        ("called", Urgency.CALLED),
    ):
        await it.add(name, urgency)
    assert it.budget.waiting == 3
    for name in ("holder", "called", "recent"):
        await it.end(name)
    assert it.entered == ["holder", "called", "recent", "dead"]
    await it.close()


async def test_the_dead_never_take_more_than_a_quarter() -> None:
    it = Queue(8)
    for number in range(10):
        await it.add(f"dead-{number}", Urgency.DEAD)
    assert it.budget.under_way == 2
    for number in range(10):
        await it.add(f"living-{number}")
    assert it.budget.under_way == 8
    assert it.entered.count("dead-2") == 0
    await it.end("dead-0")
    assert it.entered[-1] == "living-6"
    assert it.budget.highest == 8
    await it.close()


async def test_one_that_hurries_goes_before_those_that_came_earlier() -> None:
    it = Queue(1)
    for name in ("holder", "first", "second"):
        await it.add(name)
    await it.add("dead", Urgency.DEAD)
    it.budget.hurry(it.places["dead"], Urgency.CALLED)
    it.budget.hurry(it.places["dead"], Urgency.RECENT)  # never less urgent than before
    assert it.budget.waiting == 3
    await it.end("holder")
    assert it.entered == ["holder", "dead"]
    await it.close()


async def test_who_gives_up_leaves_the_slot_to_the_next() -> None:
    it = Queue(1)
    for name in ("holder", "quitter", "next"):
        await it.add(name)
    it.tasks["quitter"].cancel()
    await it.end("holder")
    assert it.entered == ["holder", "next"]
    # Given a slot and cancelled in the same step.
    await it.add("last")
    it.ends["next"].set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    it.tasks["last"].cancel()
    await it.settle()
    assert it.budget.under_way == 0
    await it.close()


@pytest.mark.parametrize(
    ("endpoint", "network"),
    [
        ("http://10.1.2.3:8080/onvif/device_service", "10.1.2.0/24"),
        ("10.1.2.200:80", "10.1.2.0/24"),
        ("rtsp://[2001:db8::1]/x", "2001:db8::/64"),
        ("Gate.example:554", "gate.example"),
        ("http://[broken", "http://[broken"),
        ("", ""),
    ],
)
def test_siblings_share_a_network(endpoint: str, network: str) -> None:
    assert network_of(host_of(endpoint)) == network
