"""Voice: what a frame costs the bridge, how late it is, and that no key waits behind it.

Agents are played here; the bridge runs in a process of its own, as in production:
``python -m benchmarks.bench_voice BROKER`` with the broker's address as JSON.
"""

import asyncio
import dataclasses
import itertools
import json
import struct
import sys
import tempfile
import time
from pathlib import Path

import psutil
import uvloop

from adapters.events import AMBE_DMR, VoiceFrame
from benchmarks import Row, row
from benchmarks.bench_journal import ORG, running, say
from benchmarks.gateway import percentile
from gateway.bus.address import BrokerAddress
from gateway.bus.broker import EmbeddedBroker
from gateway.bus.client import Bus
from gateway.bus.messages import decode
from gateway.bus.presence import Presence
from gateway.bus.topics import Topics
from gateway.bus.voice import decode_voice, encode_voice
from gateway.garbage import leave_alone_what_stays
from gateway.interop.bridge import Bridge
from gateway.interop.definitions import (
    ChannelDefinition,
    Definitions,
    PatchDefinition,
    PatchMember,
)
from gateway.interop.directory import Directory
from gateway.interop.lease import BridgeLease
from gateway.interop.model import Voice

TALKS = 100
SIDES = "abcd"
FRAME_S = 0.06
LOAD_S = 10.0
PRESSES = 100
_STAMP = struct.Struct(">d19x")
_PATIENCE_S = 60.0


def definitions() -> Definitions:
    """Patches of four channels each; one more for presses."""
    patches = range(TALKS + 1)
    return Definitions(
        channels=tuple(
            ChannelDefinition(
                id=f"{side}-{n}", name=f"{side} {n}", org=ORG, system_id=side, voice=(AMBE_DMR,)
            )
            for n, side in itertools.product(patches, SIDES)
        ),
        patches=tuple(
            PatchDefinition(
                id=f"patch-{n}",
                name=f"{n}",
                org=ORG,
                hang_s=0.0,
                max_talk_s=600.0,
                queue=False,
                voice=Voice.FRAMES,
                members=tuple(PatchMember(channel=f"{side}-{n}") for side in SIDES),
            )
            for n in patches
        ),
    )


def rows() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_measure(Path(folder)))


async def _measure(folder: Path) -> list[Row]:
    async with EmbeddedBroker(folder) as broker:
        stage = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "benchmarks.bench_voice"),
            stdin=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            assert stage.stdin is not None
            stage.stdin.write(json.dumps(dataclasses.asdict(broker.address)).encode() + b"\n")
            air = _Air(Bus(broker.address, node="agents", topics=Topics(), roles=("agent",)))
            async with running(air.bus.run()):
                return await _figures(air, psutil.Process(stage.pid))
        finally:
            if stage.returncode is None:
                stage.kill()
            await stage.wait()


async def _figures(air: "_Air", bridge: psutil.Process) -> list[Row]:
    await air.join()
    await air.talk(0)
    await asyncio.sleep(0.5)
    quiet_ms = await air.speak(range(1), 5.0)
    alone_ms = await air.presses()
    for n in range(1, TALKS):
        await air.talk(n)
    await asyncio.sleep(1.0)
    idle_s = await _spent(bridge, 3.0)
    before, began_s, sent = sum(bridge.cpu_times()[:2]), time.monotonic(), air.sent
    async with asyncio.TaskGroup() as tasks:
        speaking = tasks.create_task(air.speak(range(TALKS), LOAD_S))
        pressing = tasks.create_task(air.presses())
    took_s = time.monotonic() - began_s
    spent_s = sum(bridge.cpu_times()[:2]) - before - idle_s * took_s
    loaded_ms, pressed_ms = speaking.result(), pressing.result()
    frames = air.sent - sent
    hearers = len(SIDES) - 1
    return [
        row("frame to one of 3 members, one talk, p50", percentile(quiet_ms, 0.5), "ms"),
        row("frame to one of 3 members, one talk, p99", percentile(quiet_ms, 0.99), "ms"),
        row(f"the same with {TALKS} talks at once, p50", percentile(loaded_ms, 0.5), "ms"),
        row(f"the same with {TALKS} talks at once, p99", percentile(loaded_ms, 0.99), "ms",
            at_most=360),
        row("frames in", frames / took_s, "1/s", at_least=0.95 * TALKS / FRAME_S),
        row("frames that came out", len(loaded_ms) / frames / hearers, "of all", at_least=0.999),
        row("bridge: one frame to 3 members", spent_s / frames * 1e6, "us of a core"),
        row("bridge: talks of 4 members that fill a core", TALKS * took_s / spent_s, "talks",
            at_least=TALKS),
        row("press to key meanwhile, p50", percentile(pressed_ms, 0.5), "ms",
            limit=percentile(alone_ms, 0.5)),
        row("press to key meanwhile, p99", percentile(pressed_ms, 0.99), "ms", at_most=50,
            limit=percentile(alone_ms, 0.99)),
    ]  # fmt: skip


async def _spent(process: psutil.Process, for_s: float) -> float:
    """Of a core, by what is not voice: renewals of keys and the lease."""
    before = sum(process.cpu_times()[:2])
    await asyncio.sleep(for_s)
    return float(sum(process.cpu_times()[:2]) - before) / for_s


class _Air:
    """Plays the agents of all channels: says what is heard, and hears what is to be sent."""

    def __init__(self, bus: Bus) -> None:
        self.bus, self.line = bus, bus.voice("agent")
        self.sent = 0
        self._keyed: set[str] = set()
        self._pressed: dict[str, float] = {}
        self._took_ms: list[float] = []
        self._pressed_ms: list[float] = []
        self._patches: dict[str, object] = {}
        topics = bus.topics
        bus.subscribe(topics.org_all("channels", "command"), self._on_command)
        bus.subscribe(topics.org_all("patches", "state"), self._on_patch, kept=True)
        for n, side in itertools.product(range(TALKS + 1), SIDES):
            self.line.subscribe(topics.voice_out(f"{side}-{n}"), self._on_out)

    async def join(self) -> None:
        await self.bus.connected.wait()
        for n, side in itertools.product(range(TALKS + 1), SIDES):
            state = {"node": self.bus.node, "epoch": self.bus.epoch, "health": "ok"}
            self.bus.set_state(self.bus.topics.org("channels", "state", ORG, f"{side}-{n}"), state)
        await _until(lambda: len(self._patches) > TALKS and self.line.ready.is_set(), "all joined")
        leave_alone_what_stays()

    async def talk(self, n: int) -> None:
        await say(self.bus, "floor.taken", f"a-{n}", f"t-{n}")
        await _until(lambda: f"b-{n}" in self._keyed, "the key")

    async def speak(self, talks: range, for_s: float) -> list[float]:
        """Frames of all talks, spread over 60 ms; milliseconds until each came to each."""
        self._took_ms = []
        began_s, tick_s = time.monotonic(), FRAME_S / len(talks)
        refreshed_s = began_s
        for number in range(int(for_s / tick_s)):
            n, sequence = talks[number % len(talks)], number // len(talks)
            wait_s = began_s + number * tick_s - time.monotonic()
            await asyncio.sleep(max(0.0, wait_s))
            frame = VoiceFrame(
                transmission=f"t-{n}",
                sequence=sequence,
                media_time_us=sequence * 60_000,
                codec=AMBE_DMR,
                duration_ms=60,
                flags=0,
                payload=_STAMP.pack(time.perf_counter()),
            )
            message = encode_voice(frame, self.bus.uptime_ms())
            self.sent += self.line.publish(self.bus.topics.voice_in(f"a-{n}"), message)
            if time.monotonic() > refreshed_s + 6:
                refreshed_s = time.monotonic()
                for each in talks:
                    await say(self.bus, "floor.refreshed", f"a-{each}", f"t-{each}")
        await asyncio.sleep(0.5)
        return self._took_ms

    async def presses(self) -> list[float]:
        """Milliseconds from each press in the last patch to its first key."""
        self._pressed_ms = []
        for number in range(PRESSES):
            count, stream = len(self._pressed_ms), f"p-{number}"
            self._pressed[f"b-{TALKS}"] = time.perf_counter()
            await say(self.bus, "floor.taken", f"a-{TALKS}", stream)
            await _until(lambda count=count: len(self._pressed_ms) > count, "the key")  # type: ignore[misc]
            await say(self.bus, "floor.idle", f"a-{TALKS}", stream)
            await _until(lambda: f"b-{TALKS}" not in self._keyed, "the release")
            await asyncio.sleep(0.02)
        return self._pressed_ms

    def _on_out(self, _topic: str, message: bytes) -> None:
        (said_s,) = _STAMP.unpack(decode_voice(message).payload)
        self._took_ms.append((time.perf_counter() - said_s) * 1000)

    def _on_command(self, topic: str, payload: bytes) -> None:
        command, channel = decode(payload), topic.rsplit("/", 1)[1]
        if command["action"] == "floor.release":
            self._keyed.discard(channel)
        elif command["action"] == "floor.request":
            if (pressed_s := self._pressed.pop(channel, None)) is not None:
                self._pressed_ms.append((time.perf_counter() - pressed_s) * 1000)
            self._keyed.add(channel)

    def _on_patch(self, topic: str, payload: bytes) -> None:
        state = decode(payload) if payload else {}
        if all(each["health"] == "ok" for each in state.get("members", [{"health": "no"}])):
            self._patches[topic] = True


async def _until(condition: object, what: str) -> None:
    give_up_s = time.monotonic() + _PATIENCE_S
    while not condition():  # type: ignore[operator]
        if time.monotonic() > give_up_s:
            raise RuntimeError(f"not within {_PATIENCE_S:g} s: {what}")
        await asyncio.sleep(0.0005)


async def bridge(address: BrokerAddress) -> None:
    bus = Bus(address, node="bridge", topics=Topics(), roles=("bridge",))
    presence = Presence(bus, asyncio.get_running_loop().time)
    lease = BridgeLease(bus, presence)
    Bridge(bus, presence, lease, Directory()).define(definitions())
    async with running(bus.run(), lease.run()):
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(bridge(BrokerAddress(**json.loads(sys.stdin.readline()))))
