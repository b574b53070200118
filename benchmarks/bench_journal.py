"""Events through bridge and journal, at 2,000 a second: none lost, and how far behind.

A process of its own plays the agents of 100 patches: talks of 1 taken, 9 refreshed and 1 idle, at
that rate. Bridge and journal run here, on SQLite and on PostgreSQL. The limit is what a reader
that only counts gets of the same stream over the same kind of broker, sent as fast as the broker
takes it.
"""

import asyncio
import dataclasses
import itertools
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import Row, postgres, row
from gateway.bus.address import BrokerAddress
from gateway.bus.broker import EmbeddedBroker
from gateway.bus.client import Bus
from gateway.bus.messages import CloudEvent, encode_event
from gateway.bus.presence import Presence
from gateway.bus.topics import Topics
from gateway.interop.bridge import Bridge
from gateway.interop.definitions import (
    ChannelDefinition,
    Definitions,
    PatchDefinition,
    PatchMember,
    UnitDefinition,
)
from gateway.interop.directory import Directory
from gateway.interop.journal import Journal
from gateway.interop.lease import BridgeLease
from gateway.interop.model import Voice
from registry import journal
from registry.database import Database

PATCHES = 100
CALLS = 2000
RATE = 2100.0
"""A little more than is demanded, in events a second; 0 for as fast as they are taken."""
REFRESHES = 9
EVENTS = CALLS * (REFRESHES + 2)
ORG = "d"
SYSTEM = "trunk"
_MOST_UNCONFIRMED = 500
_PATIENCE_S = 120.0


def rows() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        limit = asyncio.run(_counted_only(Path(folder) / "bare"))
        found = sustained(f"sqlite:///{Path(folder) / 'registry.db'}", "SQLite", limit)
    with postgres.Server() as server:
        return found + sustained(server.create("journal"), "PostgreSQL", limit)


def sustained(url: str, name: str, limit: float | None) -> list[Row]:
    """The rows of one database. limit: what a reader that only counts gets, events a second."""
    with tempfile.TemporaryDirectory() as folder:
        run = asyncio.run(_through_all(Path(folder), url))
    return [
        row(f"events through bridge and journal, {name}", run.rate, "1/s", at_least=2000,
            limit=limit),
        row(f"journal behind when the last one was sent, {name}", run.behind_s, "s", at_most=2),
        row(f"events stored, {name}", run.stored, "events", at_least=CALLS * 2),
        row(f"events lost, {name}", run.lost, "events", at_most=0),
        row(f"the bridge's lease lost, {name}", run.leases - 1, "times", at_most=0),
        row(f"CPU of bridge and journal for an event, {name}", run.cpu_us, "us"),
    ]  # fmt: skip


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """rate: events a second. cpu_us: of this process, each event. leases: how often won."""

    rate: float
    behind_s: float
    stored: int
    lost: int
    leases: int
    cpu_us: float


async def _counted_only(folder: Path) -> float:
    """The broker's own rate, events a second."""
    async with EmbeddedBroker(folder) as broker:
        heard = 0

        def count(_topic: str, _payload: bytes) -> None:
            nonlocal heard
            heard += 1

        bus = Bus(broker.address, node="counter", topics=Topics())
        bus.subscribe(bus.topics.org_all("channels", "event"), count)
        async with running(bus.run()):
            await bus.connected.wait()
            began_s = await _play(broker.address, 0.0, lambda: heard >= EVENTS)
            return EVENTS / (time.monotonic() - began_s)


async def _through_all(folder: Path, url: str) -> _Run:
    registry, store = Database(url), journal.open_store(url)
    await registry.upgrade()
    await store.upgrade()
    async with EmbeddedBroker(folder / "broker") as broker:
        bus = Bus(broker.address, node="bridge", topics=Topics(), roles=("bridge",))
        presence = Presence(bus, asyncio.get_running_loop().time)
        lease = BridgeLease(bus, presence)
        bridge = Bridge(bus, presence, lease, Directory())
        bridge.define(definitions(PATCHES))
        kept = Journal(bus, lease, store, registry)
        behind_s = 0.0

        def done() -> bool:
            nonlocal behind_s
            if bridge.counters.events >= EVENTS:
                behind_s = behind_s or max(kept.behind_s(), 1e-9)
                return kept.waiting == 0
            return False

        async with running(bus.run(), lease.run(), kept.run()):
            while not lease.held:  # noqa: ASYNC110 - a bench has nothing to miss
                await asyncio.sleep(0.02)
            began_cpu_s = time.process_time()
            began_s = await _play(broker.address, RATE, done)
            took_s = time.monotonic() - began_s
            cpu_s = time.process_time() - began_cpu_s
    await store.close()
    await registry.close()
    counted = bridge.counters
    return _Run(
        rate=EVENTS / took_s,
        behind_s=behind_s,
        stored=kept.counters.stored,
        lost=EVENTS - (counted.events - counted.repeats - counted.foreign) + kept.counters.dropped,
        leases=lease.bridge_epoch,
        cpu_us=cpu_s / EVENTS * 1e6,
    )


def definitions(count: int) -> Definitions:
    """So many patches of two channels each: `a-0` and `b-0` in `p-0`, and so on. Who talks is a
    unit: what talks to the tenth of a second alike would else be taken for a loop."""
    channels = [
        ChannelDefinition(id=f"{side}-{n}", name=f"{side}{n}", org=ORG, system_id=SYSTEM)
        for n in range(count)
        for side in ("a", "b")
    ]
    patches = [
        PatchDefinition(
            id=f"p-{n}",
            name=f"p{n}",
            org=ORG,
            hang_s=0,
            max_talk_s=60,
            queue=False,
            voice=Voice.SILENCE,
            members=(PatchMember(channel=f"a-{n}"), PatchMember(channel=f"b-{n}")),
        )
        for n in range(count)
    ]
    units = [
        UnitDefinition(alias=f"u{n}", priority=0, addresses={SYSTEM: f"a-{n}"}, id=f"u-{n}")
        for n in range(count)
    ]
    return Definitions(channels=tuple(channels), patches=tuple(patches), units=tuple(units))


async def _play(address: BrokerAddress, rate: float, done: Callable[[], bool]) -> float:
    """Let the other process send; when it began, by the monotonic clock that both share."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    player = context.Process(target=_player, args=(address, rate, there))
    player.start()
    try:
        began_s: float = await asyncio.to_thread(here.recv)
        give_up_s = time.monotonic() + _PATIENCE_S
        while not done():
            if time.monotonic() > give_up_s:
                raise RuntimeError("the events did not come through within 120 s")
            await asyncio.sleep(0.01)
        return began_s
    finally:
        player.terminate()
        await asyncio.to_thread(player.join)


def _player(address: BrokerAddress, rate: float, pipe: Any) -> None:
    asyncio.run(_send_all(address, rate, pipe))


async def _send_all(address: BrokerAddress, rate: float, pipe: Any) -> None:
    bus = Bus(address, node="agents", topics=Topics(), roles=("agent",))
    async with running(bus.run()):
        await bus.connected.wait()
        for n, side in itertools.product(range(PATCHES), ("a", "b")):
            state = {"node": bus.node, "epoch": bus.epoch, "health": "ok"}
            bus.set_state(bus.topics.org("channels", "state", ORG, f"{side}-{n}"), state)
        await asyncio.sleep(1.0)
        began_s = time.monotonic()
        pipe.send(began_s)
        kinds = ("floor.taken", *["floor.refreshed"] * REFRESHES, "floor.idle")
        order = itertools.product(range(0, CALLS, PATCHES), kinds, range(PATCHES))
        for number, (first, kind, n) in enumerate(order):
            if number % 20 == 0 and rate:
                await asyncio.sleep(max(0.0, began_s + number / rate - time.monotonic()))
            await say(bus, kind, f"a-{n}", f"s{first + n}")
        await asyncio.Event().wait()


async def say(bus: Bus, kind: str, channel: str, stream: str) -> None:
    sequence = bus.next_sequence(SYSTEM)
    event = CloudEvent(
        id=f"{sequence}",
        source=f"hutong/{bus.node}/{SYSTEM}",
        type=kind,
        subject=channel,
        time="2026-11-21T12:00:00.000Z",
        epoch=bus.epoch,
        sequence=sequence,
        uptime_ms=bus.uptime_ms(),
        data={"stream": stream, "talker": f"{SYSTEM}/{channel}", "hold_s": 20, "priority": 0},
    )
    while bus.unconfirmed >= _MOST_UNCONFIRMED:  # noqa: ASYNC110 - this is the pace
        await asyncio.sleep(0.001)
    bus.publish(bus.topics.org("channels", "event", ORG, channel), encode_event(event))
    if sequence % 50 == 0:
        await asyncio.sleep(0)


class running:
    """Tasks that are cancelled at the end of the block."""

    def __init__(self, *works: Any) -> None:
        self._works = works
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> None:
        self._tasks = [asyncio.create_task(work) for work in self._works]

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
