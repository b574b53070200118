"""Radio: press to key, load, endurance, takeover and a million floor inputs.

Agents are played here; bridge and journal run in a process of their own, as in production. The
limit of the first rows is a bare exchange of two hops over the same broker with such a process.
The same rule as a Node-RED flow on the same broker is measured beside it where npm is there.
"""

import asyncio
import contextlib
import itertools
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from benchmarks import Row, bench_floor, bench_journal, node_red, row
from benchmarks.bench_journal import ORG, REFRESHES, running, say
from benchmarks.gateway import percentile
from benchmarks.radio_stage import BACK, THERE
from gateway.bus.address import BrokerAddress
from gateway.bus.broker import EmbeddedBroker
from gateway.bus.client import Bus
from gateway.bus.link import connect
from gateway.bus.messages import decode
from gateway.bus.topics import Topics
from gateway.garbage import leave_alone_what_stays

PRESSES = 300
PATCHES = 100
LOAD_EVENTS_S = 500.0
LOAD_S = 10.0
PAUSE_S = 0.02
LEASE_S = 2.0
_PATIENCE_S = 30.0


def rows() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(_on_one_broker(Path(folder)))
    return found + bench_journal.rows() + bench_floor.rows()


async def _on_one_broker(folder: Path) -> list[Row]:
    async with EmbeddedBroker(folder / "broker") as broker:
        hops_ms = await _two_hops(broker.address)
        database = f"sqlite:///{folder / 'registry.db'}"
        async with _stage("bridge", "one", url_of(broker.address), database, str(PATCHES)):
            quiet_ms, loaded_ms = await _measure(broker.address, "agents")
        taken_over_s = await _takeover(broker.address, database)
        flow = await asyncio.to_thread(node_red.install)
        flow_ms: tuple[list[float], list[float]] | None = None
        if flow is not None:
            async with node_red.running(flow, broker.address, folder / "node-red"):
                flow_ms = await _measure(broker.address, "strangers", bridged=False)
    return [
        *_press_rows(hops_ms, quiet_ms, loaded_ms),
        row("takeover by the standby after kill -9", taken_over_s, "s", at_most=3),
        *_flow_rows(flow_ms),
    ]


def _press_rows(hops: list[float], quiet: list[float], loaded: list[float]) -> list[Row]:
    bare, p50 = percentile(hops, 0.5), percentile(quiet, 0.5)
    return [
        row("press to key, quiet, p50", p50, "ms", at_most=3, limit=bare),
        row("press to key, quiet, p99", percentile(quiet, 0.99), "ms", at_most=10,
            limit=percentile(hops, 0.99)),
        row("press to key, quiet, p50, of a bare exchange", p50 / bare, "times", at_most=2.5),
        row("press to key, 500 events/s over 100 patches, p50", percentile(loaded, 0.5), "ms"),
        row("press to key, 500 events/s over 100 patches, p99", percentile(loaded, 0.99), "ms",
            at_most=50),
        row("presses measured under load", len(loaded), "presses",
            at_least=0.95 * LOAD_EVENTS_S * LOAD_S / (REFRESHES + 2)),
    ]  # fmt: skip


def _flow_rows(flow_ms: tuple[list[float], list[float]] | None) -> list[Row]:
    if flow_ms is None:
        print("radio: the Node-RED flow is SKIPPED: npm or its registry is not there")
        return []
    quiet, loaded = flow_ms
    return [
        row("Node-RED: press to key, quiet, p50", percentile(quiet, 0.5), "ms"),
        row("Node-RED: press to key, quiet, p99", percentile(quiet, 0.99), "ms"),
        row("Node-RED: press to key, 500 events/s, p50", percentile(loaded, 0.5), "ms"),
        row("Node-RED: press to key, 500 events/s, p99", percentile(loaded, 0.99), "ms"),
    ]


def url_of(address: BrokerAddress) -> str:
    return f"mqtt://{address.username}:{address.password}@{address.host}:{address.port}"


@contextlib.asynccontextmanager
async def _stage(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "benchmarks.radio_stage", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(_PATIENCE_S):
            while (line := await process.stdout.readline()) != b"ready\n":
                if not line:
                    raise RuntimeError(f"radio_stage {arguments[0]} did not start")
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _until(condition: Callable[[], object], what: str) -> None:
    give_up_s = time.monotonic() + _PATIENCE_S
    while not condition():
        if time.monotonic() > give_up_s:
            raise RuntimeError(f"not within {_PATIENCE_S:g} s: {what}")
        await asyncio.sleep(0.001)


async def _two_hops(address: BrokerAddress) -> list[float]:
    """Milliseconds from a message to the echo's answer."""
    back = asyncio.Event()
    async with (
        _stage("echo", "echo", url_of(address)),
        connect(address, "asks", lambda _topic, _payload: back.set()) as link,
    ):
        await link.subscribe(BACK, 0)
        times_ms = []
        for _ in range(PRESSES):
            back.clear()
            began_s = time.perf_counter()
            link.publish(THERE, b"x" * 400)
            await back.wait()
            times_ms.append((time.perf_counter() - began_s) * 1000)
            await asyncio.sleep(PAUSE_S)
        return times_ms


class _Agents:
    """Plays the agents of all channels: presses on `a-N`, and answers what `b-N` is told."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.pressed_s: dict[str, float] = {}
        self.keyed: dict[str, str] = {}
        self.took_ms: list[float] = []
        self.epochs: list[tuple[float, int]] = []
        self.released = 0
        bus.subscribe(bus.topics.org_all("channels", "command"), self._on_command)

    def speak(self) -> None:
        for n, side in itertools.product(range(PATCHES), ("a", "b")):
            state = {"node": self.bus.node, "epoch": self.bus.epoch, "health": "ok"}
            self.bus.set_state(self.bus.topics.org("channels", "state", ORG, f"{side}-{n}"), state)

    def _on_command(self, topic: str, payload: bytes) -> None:
        now_s, command = time.perf_counter(), decode(payload)
        channel = topic.rsplit("/", 1)[1]
        if command["action"] == "floor.release":
            self.keyed.pop(channel, None)
            self.released += 1
        elif command["action"] == "floor.request":
            self.epochs.append((time.monotonic(), int(command.get("bridge_epoch") or 0)))
            began_s = self.pressed_s.pop(channel, None)
            if began_s is not None:
                self.took_ms.append((now_s - began_s) * 1000)
            self.keyed[channel] = command["transmission"]

    async def press(self, n: int, stream: str) -> None:
        self.pressed_s[f"b-{n}"] = time.perf_counter()
        await say(self.bus, "floor.taken", f"a-{n}", stream)

    async def press_once(self, stream: str) -> None:
        """Press, let go once the other one is keyed, and wait until it is let go too."""
        keys, released = len(self.took_ms), self.released
        await self.press(0, stream)
        await _until(lambda: len(self.took_ms) > keys, "the key")
        await say(self.bus, "floor.idle", "a-0", stream)
        await _until(lambda: self.released > released, "the release")


async def _measure(
    address: BrokerAddress, node: str, *, bridged: bool = True
) -> tuple[list[float], list[float]]:
    """Milliseconds from each press to the key command: one at a time, and under load."""
    bus = Bus(address, node=node, topics=Topics(), roles=("agent",))
    air = _Agents(bus)
    health: dict[str, Any] = {}
    bus.subscribe(
        bus.topics.org_all("patches", "state"),
        lambda topic, payload: health.update({topic: decode(payload) if payload else None}),
        kept=True,
    )
    async with running(bus.run()):
        await bus.connected.wait()
        leave_alone_what_stays()  # what measures must not stand still either
        air.speak()
        if bridged:
            await _until(lambda: _joined(health) >= PATCHES, "all patches are joined")
        for number in range(PRESSES + 20):
            await air.press_once(f"q{number}")
            await asyncio.sleep(PAUSE_S)
        quiet_ms, air.took_ms = air.took_ms[20:], []
        await _load(air)
        await bus.leave()  # nobody believes any more what these agents said
        return quiet_ms, air.took_ms


def _joined(health: dict[str, Any]) -> int:
    return sum(
        bool(state) and all(each["health"] == "ok" for each in state["members"])
        for state in health.values()
    )


async def _load(air: _Agents) -> None:
    """Talks of 1 taken, 9 refreshed and 1 idle on all patches, one event each 2 ms."""
    kinds = ("floor.taken", *["floor.refreshed"] * REFRESHES, "floor.idle")
    order = ((r, kind, n) for r in itertools.count() for kind in kinds for n in range(PATCHES))
    began_s = time.monotonic()
    for number, (turn, kind, n) in enumerate(order):
        if number >= LOAD_EVENTS_S * LOAD_S and kind == "floor.taken":
            break
        await asyncio.sleep(max(0.0, began_s + number / LOAD_EVENTS_S - time.monotonic()))
        if kind == "floor.taken":
            await air.press(n, f"l{turn}-{n}")
        else:
            await say(air.bus, kind, f"a-{n}", f"l{turn}-{n}")
    await asyncio.sleep(0.5)


async def _takeover(address: BrokerAddress, database: str) -> float:
    """Seconds from kill -9 of the bridge to the first key of the other, in the middle of a talk."""
    url = url_of(address)
    bus = Bus(address, node="takeover", topics=Topics(), roles=("agent",))
    air = _Agents(bus)
    lease: list[dict[str, Any]] = []
    bus.subscribe(bus.topics.bridge_lease(), lambda _t, p: lease.append(json.loads(p)))
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(running(bus.run()))
        await bus.connected.wait()
        air.speak()
        stages = {
            name: await stack.enter_async_context(
                _stage("bridge", name, url, database, str(PATCHES))
            )
            for name in ("first", "second")
        }
        await _until(lambda: lease and lease[-1]["node"] in stages, "somebody bridges")
        await stack.enter_async_context(running(_talk_on(bus)))
        await _until(lambda: len(air.epochs) > 3, "it keys")
        holder = stages[lease[-1]["node"]]
        _, old = air.epochs[-1]
        holder.kill()
        killed_s = time.monotonic()
        await holder.wait()
        await _until(lambda: air.epochs[-1][1] > old, "the standby keys")
        return next(at_s for at_s, epoch in air.epochs if epoch > old) - killed_s


async def _talk_on(bus: Bus) -> None:
    while True:
        await say(bus, "floor.refreshed", "a-0", "long")
        await asyncio.sleep(0.5)
