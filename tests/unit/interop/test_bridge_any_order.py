"""A bridge under any order of talks, presses, losses and changes of its patches: no channel is
keyed twice, and none stays keyed. In virtual time, against agents that obey as real ones do."""

import asyncio
import dataclasses
import itertools
import random
from collections.abc import Iterator
from typing import Any, cast

import pytest
import structlog
import virtual_time

from gateway.bus.address import BrokerAddress
from gateway.bus.client import Bus
from gateway.bus.messages import CloudEvent, encode
from gateway.bus.presence import Presence
from gateway.bus.topics import OrgTopic, Topics
from gateway.interop.bridge import Bridge
from gateway.interop.definitions import (
    ChannelDefinition,
    Definitions,
    PatchDefinition,
    PatchMember,
    UnitDefinition,
)
from gateway.interop.directory import Directory
from gateway.interop.invariants import check
from gateway.interop.lease import BridgeLease
from gateway.interop.model import Direction, Voice

ORG, CHANNELS = "d/s1", tuple("abcdef")
UNITS = (UnitDefinition(id="u1", alias="Li", priority=5, addresses={"sys-a": "1", "sys-b": "2"}),)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with structlog.testing.capture_logs():
        yield


class Lease:
    held, bridge_epoch = True, 1

    def on_won(self, listener: Any) -> None: ...

    def on_lost(self, listener: Any) -> None: ...


class AllHere:
    """A presence in which every agent is there."""

    def on_change(self, listener: Any) -> None: ...

    def epoch(self, node: str) -> None: ...

    def believes(self, node: str, epoch: str) -> bool:
        return True

    def clock_ms(self, node: str) -> int:
        return 1

    def note_uptime(self, *_: Any) -> None: ...


@dataclasses.dataclass
class Key:
    transmission: str
    until_s: float


class Agents:
    """keys: what is on the air, by channel. They answer a little later, sometimes busy."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.keys: dict[str, Key] = {}
        self.channels: dict[str, Any] = {}
        self.answer: Any = None

    def clock_ms(self, channel: str) -> int:
        return 1

    def decision(self, channel: str, kind: str, data: Any) -> None: ...

    def command(self, patch: str | None, channel: str, action: str, **fields: Any) -> None:
        loop, name = asyncio.get_running_loop(), str(fields.get("transmission"))
        on_air = self.keys.get(channel)
        live = on_air is not None and loop.time() < on_air.until_s
        if action == "floor.release" and on_air is not None and on_air.transmission == name:
            del self.keys[channel]
        if action != "floor.request":
            return
        assert not live or on_air is None or on_air.transmission == name, f"{channel} keyed twice"
        renewal = live
        self.keys[channel] = Key(name, loop.time() + fields["lease_ms"] / 1000)
        if not renewal:
            loop.call_later(self.chance.uniform(0, 0.2), self._answered, channel, name)

    def _answered(self, channel: str, name: str) -> None:
        outcome = self.chance.choice(["done", "done", "done", "busy", "refused"])
        on_air = self.keys.get(channel)
        if outcome != "done" and on_air is not None and on_air.transmission == name:
            del self.keys[channel]
        self.answer("command.result", channel, transmission=name, outcome=outcome)

    def live(self) -> set[str]:
        now_s = asyncio.get_running_loop().time()
        return {channel for channel, key in self.keys.items() if now_s < key.until_s}


class Stage:
    def __init__(self, chance: random.Random) -> None:
        self.chance, self.agents = chance, Agents(chance)
        self.bus = Bus(BrokerAddress(host="127.0.0.1", port=1), node="n", topics=Topics())
        self.bridge = Bridge(
            self.bus,
            cast("Presence", AllHere()),
            cast("BridgeLease", Lease()),
            Directory(),
        )
        for holder in (self.bridge, self.bridge._teller, self.bridge.voice):
            holder._speaker = self.agents  # type: ignore[attr-defined]
        self.agents.answer = self.say
        self._numbers = itertools.count(1)
        self.bridge.define(self.definitions())
        for channel in CHANNELS:
            self.state(channel, "ok")

    def definitions(self) -> Definitions:
        """Some patches, none of which share a channel that one of them may key."""
        chance, left = self.chance, list(CHANNELS)
        chance.shuffle(left)
        talkers = [left.pop() for _ in range(chance.randrange(3))]
        patches = []
        for number in range(chance.randrange(4)):
            keyed = [left.pop() for _ in range(min(len(left), chance.randrange(1, 4)))]
            members = [
                PatchMember(
                    channel=each,
                    direction=chance.choice([Direction.BOTH, Direction.BOTH, Direction.LISTEN]),
                    priority=chance.randrange(3),
                    muted=chance.random() < 0.1,
                )
                for each in keyed
            ] + [PatchMember(channel=t, direction=Direction.TALK) for t in talkers]
            patches.append(
                PatchDefinition(
                    id=f"p{number}",
                    name="",
                    org=ORG,
                    hang_s=chance.choice([0.0, 1.0]),
                    max_talk_s=chance.choice([3.0, 30.0]),
                    queue=chance.random() < 0.5,
                    voice=chance.choice([Voice.SILENCE, Voice.SILENCE, Voice.EVENTS]),
                    members=tuple(members),
                    penalty_s=chance.choice([0.0, 5.0]),
                    revoke_grace_s=chance.choice([0.0, 0.5]),
                    queue_timeout_s=chance.choice([1.0, 30.0]),
                )
            )
        channels = tuple(
            ChannelDefinition(id=c, name=c, org=ORG, system_id=f"sys-{c}", lease_s=2.0)
            for c in CHANNELS
        )
        return Definitions(channels=channels, patches=tuple(patches), units=UNITS)

    def say(self, kind: str, channel: str, **data: Any) -> None:
        number = next(self._numbers)
        event = CloudEvent(
            id=str(number),
            source=f"hutong/agent/sys-{channel}",
            type=kind,
            subject=channel,
            time="",
            epoch="e",
            sequence=number,
            uptime_ms=number,
            data=data,
        )
        self.bridge._on_event(OrgTopic(family="channels", kind="event", org=ORG, id=channel), event)

    def state(self, channel: str, health: str) -> None:
        state = {"node": "agent", "epoch": "e", "sequence": next(self._numbers), "health": health}
        if health == "down":
            self.agents.keys.pop(channel, None)
        topic = self.bus.topics.org("channels", "state", ORG, channel)
        self.bridge._on_state(topic, encode(state))

    def request(self, channel: str, action: str) -> None:
        request = {"id": "r", "user": self.chance.choice("xy"), "action": action, "priority": 3}
        topic = self.bus.topics.org("channels", "request", ORG, channel)
        self.bridge._on_request(topic, encode(request))

    def happen(self) -> None:
        chance, channel = self.chance, self.chance.choice(CHANNELS)
        stream = f"{channel}{chance.randrange(3)}"
        talk = {
            "stream": stream,
            "talker": f"sys-{channel}/{chance.choice('123')}",
            "hold_s": 3.0,
            "emergency": chance.random() < 0.1,
            "encrypted": chance.random() < 0.05,
        }
        match chance.randrange(20):
            case 0 | 1 | 2 | 3:
                self.say("floor.taken", channel, **talk)
            case 4 | 5 | 6:
                self.say("floor.refreshed", channel, **talk)
            case 7 | 8 | 9:
                self.say("floor.idle", channel, stream=stream)
            case 10:
                self.say("floor.taken", channel, **{**talk, "caused_by": "ours"})
            case 11 if channel in self.agents.keys:
                ended = self.agents.keys.pop(channel)
                self.say("floor.idle", channel, stream="o", caused_by=ended.transmission)
            case 12:
                self.state(channel, "down")
            case 13 | 14:
                self.state(channel, "ok")
            case 15 | 16:
                self.request(channel, chance.choice(["press", "refresh", "release", "clear"]))
            case 17:
                self.request(channel, chance.choice(["emergency.clear", "test", "member.resume"]))
            case 18:
                self.bridge.define(self.definitions())
            case 19 if chance.random() < 0.3:
                self.agents.keys.clear()  # whoever loses the broker unkeys
                self.bridge._on_bus_lost()
                for each in CHANNELS:
                    self.state(each, "ok")
        for floor in self.bridge.floors():
            check(floor)


async def story(seed: int) -> None:
    wrong: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: wrong.append(context))
    stage = Stage(random.Random(seed))
    for _ in range(stage.chance.randrange(5, 80)):
        stage.happen()
        await asyncio.sleep(stage.chance.choice([0.0, 0.0, 0.05, 0.4, 1.5]))
    await asyncio.sleep(200)  # longer than any hold, limit, test or emergency
    assert not wrong, (seed, wrong)
    assert stage.agents.live() == set(), seed
    for floor in stage.bridge.floors():
        check(floor)
        assert (floor.holder, dict(floor.talks), dict(floor.keyed)) == (None, {}, {}), seed
        assert not floor.emergencies, seed
    assert all(machine.test is None for machine in stage.bridge._machines.values()), seed


# 695: a channel left its patch, and was keyed by another one, while the first was being tested.
@pytest.mark.parametrize("first", [0, 50, 100, 150, 650])
def test_no_channel_is_keyed_twice_and_none_stays_keyed(first: int) -> None:
    for seed in range(first, first + 50):
        virtual_time.run(story(seed))
