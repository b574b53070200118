"""A radio agent under any order of commands, losses and delays: no radio stays keyed, and what the
agent says of its channel is what is on the air. In virtual time."""

import asyncio
import dataclasses
import itertools
import random
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import pytest
import structlog
import virtual_time
from scripted import now

from adapters.base import Adapter, Capability, Emit, RadioTraits
from adapters.errors import TimedOut, Unreachable
from adapters.events import (
    DONE,
    Command,
    FloorIdle,
    FloorTaken,
    KeyChannel,
    Online,
    Outcome,
    Result,
    UnkeyChannel,
)
from gateway.agents.radio import Channel, RadioAgent
from gateway.agents.supervisor import Budget
from gateway.bus.address import BrokerAddress
from gateway.bus.client import Bus
from gateway.bus.messages import encode
from gateway.bus.topics import Topics

ORG, ADDRESS = "d/s1", "7"
LONGEST_LEASE_S, LONGEST_DELAY_S = 3.0, 0.8


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with structlog.testing.capture_logs():
        yield


@dataclasses.dataclass
class Air:
    """What the one radio system does. keyed: our transmission on it, empty for none."""

    chance: random.Random
    keyed: str = ""
    emit: Emit | None = None
    broken: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)

    def delay_s(self) -> float:
        return self.chance.choice([0.0, 0.0, 0.01, 0.1, self.chance.uniform(0, LONGEST_DELAY_S)])


class SlowAdapter(Adapter):
    """Takes its time before and after what it does; one transmission at a time."""

    capabilities: ClassVar[frozenset[Capability]] = frozenset({Capability.KEY})

    def __init__(self, settings: Air, channels: Sequence[str] = ()) -> None:
        super().__init__(settings, channels)
        self.air = settings

    async def run(self, emit: Emit) -> None:
        self.air.emit = emit
        self.air.broken.clear()
        emit(Online(at=now()))
        try:
            await self.air.broken.wait()
            raise Unreachable("broken")
        finally:
            self.air.emit, self.air.keyed = None, ""

    async def execute(self, command: Command) -> Outcome:
        air = self.air
        if isinstance(command, KeyChannel):
            await asyncio.sleep(air.delay_s())
            if air.emit is None:
                raise Unreachable("gone")
            if air.keyed not in ("", command.transmission):
                return Outcome(result=Result.BUSY, reason="in use")
            if air.chance.random() < 0.1:
                return Outcome(result=Result.REFUSED, reason="by chance")
            air.keyed = command.transmission
            await asyncio.sleep(air.delay_s())
            if air.chance.random() < 0.05:
                raise TimedOut("its answer was lost")
            return DONE
        if isinstance(command, UnkeyChannel) and air.keyed == command.transmission:
            air.keyed = ""
        return DONE


class Stage:
    def __init__(self, chance: random.Random) -> None:
        self.chance, self.air = chance, Air(chance)
        self.bus = Bus(BrokerAddress(host="127.0.0.1", port=1), node="n", topics=Topics())
        self.agent = RadioAgent(
            self.bus,
            system_id="s",
            org=ORG,
            make=lambda addresses: SlowAdapter(self.air, addresses),
            traits=RadioTraits(),
            channels=(Channel(id="c", address=ADDRESS, org=ORG),),
            budget=Budget(),
        )
        self.state = self.agent._states["c"]
        self._ids = itertools.count(1)

    def command(self, action: str, transmission: str, lease_ms: int = 0, **fields: Any) -> None:
        command = {
            "id": f"i{next(self._ids)}",
            "bridge_epoch": 1,
            "agent_epoch": self.bus.epoch,
            "not_after_ms": self.bus.uptime_ms() + 5000,
            "action": action,
            "transmission": transmission,
            "lease_ms": lease_ms,
            **fields,
        }
        self.agent._on_command(self.state, "", encode(command))

    def happen(self) -> None:
        chance, name = self.chance, self.chance.choice(["t1", "t2", "t3"])
        match chance.randrange(12):
            case 0 | 1 | 2 | 3 | 4:
                self.command(
                    "floor.request", name, int(chance.uniform(100, LONGEST_LEASE_S * 1000))
                )
            case 5 | 6 | 7:
                self.command("floor.release", name, drain=chance.random() < 0.5)
            case 8:
                self.agent._on_bus_lost()
            case 9 if self.air.emit is not None:
                self.air.broken.set()
            case 10 if self.air.emit is not None:
                taken = FloorTaken(at=now(), address=ADDRESS, stream="s", talker="9", hold_s=3)
                self.air.emit(taken)
            case 11 if self.air.emit is not None and self.air.keyed:
                ended, self.air.keyed = self.air.keyed, ""
                idle = FloorIdle(at=now(), address=ADDRESS, stream="x", caused_by=ended)
                self.air.emit(idle)

    async def settled(self) -> None:
        """All leases have run out, and all that was under way is done."""
        await asyncio.sleep(LONGEST_LEASE_S + 4 * LONGEST_DELAY_S)


async def story(seed: int) -> None:
    stage = Stage(random.Random(seed))
    running = asyncio.create_task(stage.agent.run())
    await asyncio.sleep(0.1)
    for _ in range(stage.chance.randrange(1, 40)):
        stage.happen()
        await asyncio.sleep(stage.chance.choice([0.0, 0.0, 0.02, 0.3, 1.2]))
    await stage.settled()
    assert stage.air.keyed == "", seed
    assert stage.state.transmission is None, seed
    assert len(stage.agent._leases) == 0, seed
    stage.command("floor.request", "t9", 2000)
    while stage.air.keyed != "t9":
        await asyncio.sleep(0.5)
        stage.command("floor.request", "t9", 2000)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert stage.air.keyed == "", seed


@pytest.mark.parametrize("first", range(0, 300, 50))
def test_nothing_stays_keyed_whatever_happened(first: int) -> None:
    for seed in range(first, first + 50):
        virtual_time.run(story(seed))
