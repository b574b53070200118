"""One lease for all bridges: who wins, who stops, and that the losing one writes nothing more."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from brokers import RunningBroker
from lab import ORG, PTT, PTT_CHANNEL, TRUNK, TRUNK_CHANNEL, definitions, running
from patience import wait_until
from wire_schema import Traffic

from gateway.bus.client import Bus
from gateway.bus.messages import CloudEvent, decode, encode, encode_event
from gateway.bus.presence import Presence
from gateway.bus.topics import Topics
from gateway.interop.bridge import Bridge
from gateway.interop.definitions import Definitions
from gateway.interop.directory import Directory
from gateway.interop.lease import BridgeLease


@dataclasses.dataclass(slots=True)
class Party:
    bus: Bus
    lease: BridgeLease
    bridge: Bridge
    task: asyncio.Task[None]

    @property
    def held(self) -> bool:
        return self.lease.held


@contextlib.asynccontextmanager
async def party(
    broker: RunningBroker, node: str, defined: Definitions | None = None
) -> AsyncIterator[Party]:
    bus = Bus(broker.address, node=node, topics=Topics(), roles=("bridge",))
    presence = Presence(bus, asyncio.get_running_loop().time)
    lease = BridgeLease(bus, presence)
    bridge = Bridge(bus, presence, lease, Directory())
    bridge.define(defined or definitions())
    async with running(bus.run(), lease.run()) as (task, _):
        await wait_until(lambda: bus.connected.is_set())
        yield Party(bus, lease, bridge, task)


class Agents:
    """Both channels' agents, as a stranger would write them, and all that the bridge says."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.commands: list[dict[str, Any]] = []
        self.decisions: list[tuple[str, dict[str, Any]]] = []
        self.patches: list[tuple[str, dict[str, Any] | None]] = []
        self.traffic, self.poisoned = Traffic(), False
        self._sequence = 0
        topics = bus.topics
        bus.subscribe(topics.org_all("channels", "command"), self._on_command)
        bus.subscribe(topics.org_all("channels", "decision"), self._on_decision)
        bus.subscribe(topics.org_all("patches", "state"), self._on_patch, kept=True)

    def _on_command(self, topic: str, payload: bytes) -> None:
        self.traffic.hear(topic, payload)
        self.commands.append({"channel": topic.rsplit("/", 1)[1], **decode(payload)})

    def _on_decision(self, topic: str, payload: bytes) -> None:
        self.traffic.hear(topic, payload)
        event = decode(payload)
        self.decisions.append((event["type"], {"subject": event["subject"], **event["data"]}))

    def _on_patch(self, topic: str, payload: bytes) -> None:
        self.traffic.hear(topic, payload)
        self.patches.append((topic.partition("/state/")[2], decode(payload) if payload else None))

    def speak_for(self, channel: str) -> None:
        state = {"node": self.bus.node, "epoch": self.bus.epoch, "health": "ok"}
        self.bus.set_state(self.bus.topics.org("channels", "state", ORG, channel), state)

    def say(
        self, kind: str, channel: str = TRUNK_CHANNEL, *, node: str | None = None, **data: Any
    ) -> None:
        self._sequence += 1
        system = TRUNK if channel == TRUNK_CHANNEL else PTT
        event = CloudEvent(
            id=str(self._sequence),
            source=f"hutong/{node or self.bus.node}/{system}",
            type=kind,
            subject=channel,
            time="2026-01-01T00:00:00.000Z",
            epoch=self.bus.epoch,
            sequence=self._sequence,
            uptime_ms=self.bus.uptime_ms(),
            data={"stream": "s1", "talker": f"{system}/12", "hold_s": 3.0, **data},
        )
        topic = self.bus.topics.org("channels", "event", ORG, channel)
        assert self.bus.publish(topic, encode_event(event))

    def request(self, channel: str, **fields: Any) -> None:
        topic = self.bus.topics.org("channels", "request", ORG, channel)
        assert self.bus.publish(topic, encode(fields))

    def keys(self, since: int = 0) -> list[dict[str, Any]]:
        return [c for c in self.commands[since:] if c["action"] == "floor.request"]

    def shown(self, place: str = f"{ORG}/patch-1") -> dict[str, Any]:
        said = [state for where, state in self.patches if where == place and state]
        return said[-1] if said else {}

    def answers(self) -> dict[str, str]:
        return {d["request"]: d["state"] for _, d in self.decisions if "request" in d}

    def healthy(self) -> bool:
        return [m["health"] for m in self.shown().get("members", [])] == ["ok", "ok"]


@contextlib.asynccontextmanager
async def agents(broker: RunningBroker, kind: type[Agents] = Agents) -> AsyncIterator[Agents]:
    bus = Bus(broker.address, node="agent", topics=Topics(), roles=("agent",))
    it = kind(bus)
    async with running(bus.run()):
        await wait_until(lambda: bus.connected.is_set())
        it.speak_for(TRUNK_CHANNEL)
        it.speak_for(PTT_CHANNEL)
        yield it
        if not it.poisoned:
            it.traffic.check()


async def test_of_two_that_start_at_once_one_bridges_and_stays(broker: RunningBroker) -> None:
    async with party(broker, "one") as one, party(broker, "two") as two:
        await wait_until(lambda: one.held or two.held)
        winner, loser = (one, two) if one.held else (two, one)
        epoch = winner.lease.bridge_epoch
        quiet_until_s = asyncio.get_running_loop().time() + 2.0
        await wait_until(lambda: asyncio.get_running_loop().time() > quiet_until_s)
        assert (winner.held, loser.held) == (True, False)
        assert winner.lease.bridge_epoch == epoch


async def test_the_standby_takes_over_with_a_higher_epoch_and_keys_on(
    broker: RunningBroker,
) -> None:
    async with agents(broker) as air, party(broker, "two") as two:
        await wait_until(lambda: two.held)
        async with contextlib.AsyncExitStack() as stack:
            one = await stack.enter_async_context(party(broker, "one"))
            await wait_until(lambda: air.healthy())
            assert not one.held
            await wait_until(lambda: _present(one) == {TRUNK_CHANNEL, PTT_CHANNEL})
            air.say("floor.taken")
            await wait_until(lambda: air.keys())
            await wait_until(lambda: any(f.holder for f in one.bridge.floors()))
            before = air.keys()[-1]
            two.task.cancel()
            await wait_until(lambda: one.held)
            since = len(air.commands)
            air.say("floor.refreshed")
            await wait_until(lambda: air.keys(since))
            after = air.keys(since)[-1]
            assert after["channel"] == PTT_CHANNEL
            assert after["bridge_epoch"] > before["bridge_epoch"]
            await wait_until(lambda: air.shown()["bridge_epoch"] == after["bridge_epoch"])


def _present(it: Party) -> set[str]:
    return {channel for floor in it.bridge.floors() for channel in floor.present}


async def test_who_hears_a_higher_claim_stops_and_does_not_fight(
    embedded_broker: RunningBroker,
) -> None:
    async with agents(embedded_broker) as air, party(embedded_broker, "one") as one:
        await wait_until(lambda: one.held and air.healthy())
        claim = {"node": "other", "epoch": "x", "bridge_epoch": 50, "ttl_ms": 1500}

        async def other() -> None:
            while True:
                air.bus.publish_retained(air.bus.topics.bridge_lease(), encode(claim))
                await asyncio.sleep(0.2)

        async with running(other()):
            await wait_until(lambda: not one.held)
            air.say("floor.taken")
            held = []
            ends_s = asyncio.get_running_loop().time() + 2.5
            await wait_until(
                lambda: held.append(one.held) or asyncio.get_running_loop().time() > ends_s
            )
            assert not any(held)
            assert air.keys() == []
        await wait_until(lambda: one.held)
        assert one.lease.bridge_epoch == 51


async def test_a_holder_that_is_cut_off_stops_by_itself_and_lets_its_states_go(
    embedded_broker: RunningBroker,
) -> None:
    async with agents(embedded_broker) as air, party(embedded_broker, "one") as one:
        await wait_until(lambda: one.held and air.healthy())
        claim, renew = one.bus.publish_retained, one.lease._renew
        one.bus.publish_retained = lambda *_: True  # type: ignore[method-assign]
        one.lease._renew = lambda: None  # type: ignore[method-assign]
        await wait_until(lambda: not one.held)
        assert not any("/patches/" in topic for topic in one.bus._states)
        one.bus.publish_retained = claim  # type: ignore[method-assign]
        one.lease._renew = renew  # type: ignore[method-assign]
        await wait_until(lambda: one.held)
        await wait_until(lambda: air.shown()["bridge_epoch"] == one.lease.bridge_epoch)


async def test_an_agent_that_obeys_a_higher_epoch_is_overtaken(
    embedded_broker: RunningBroker,
) -> None:
    """As when the broker lost its memory while that agent was away."""
    async with party(embedded_broker, "one") as one, agents(embedded_broker) as air:
        await wait_until(lambda: one.held)
        air.bus.obeys_bridge(40)
        await wait_until(lambda: one.held and one.lease.bridge_epoch > 40)


async def test_the_broker_coming_back_leaves_one_bridge(broker: RunningBroker) -> None:
    async with party(broker, "one") as one, party(broker, "two") as two:
        await wait_until(lambda: one.held or two.held)
        await broker.kill()
        await wait_until(lambda: not one.held and not two.held)
        await broker.start()
        await wait_until(lambda: one.held or two.held)
        await wait_until(
            lambda: one.bus.connected.is_set() and two.bus.connected.is_set(), timeout_s=30
        )
        assert one.held != two.held


async def test_what_another_than_the_channels_own_agent_says_is_not_believed(
    embedded_broker: RunningBroker,
) -> None:
    async with agents(embedded_broker) as air, party(embedded_broker, "one") as one:
        await wait_until(lambda: one.held and air.healthy())
        air.say("floor.taken", node="stranger")
        await wait_until(lambda: one.bridge.counters.foreign == 1)
        assert air.keys() == []
        air.say("floor.taken")
        await wait_until(lambda: air.keys())


@pytest.mark.parametrize(
    "source", ["hutong", "x/y", "hutong/agent/a/b"], ids=["one part", "two", "four"]
)
async def test_a_source_that_is_none_is_unreadable(
    embedded_broker: RunningBroker, source: str
) -> None:
    async with agents(embedded_broker) as air, party(embedded_broker, "one") as one:
        await wait_until(lambda: one.held and air.healthy())
        event = CloudEvent(
            id="1",
            source=source,
            type="floor.taken",
            subject=TRUNK_CHANNEL,
            time="2026-01-01T00:00:00.000Z",
            epoch="e",
            sequence=1,
            uptime_ms=1,
            data={},
        )
        topic = air.bus.topics.org("channels", "event", ORG, TRUNK_CHANNEL)
        air.bus.publish(topic, encode_event(event))
        await wait_until(lambda: one.bus.counters.unreadable == 1)
        air.say("floor.taken")
        await wait_until(lambda: air.keys())


async def test_a_key_that_came_too_late_is_tried_again(embedded_broker: RunningBroker) -> None:
    async with agents(embedded_broker) as air, party(embedded_broker, "one") as one:
        await wait_until(lambda: one.held and air.healthy())
        air.say("floor.taken", hold_s=20)
        await wait_until(lambda: air.keys())
        first = air.keys()[0]
        result = {"command": first["id"], "transmission": first["transmission"], "late": True}
        air.say("command.result", PTT_CHANNEL, outcome="refused", reason="late", **result)
        await wait_until(lambda: air.shown()["members"][1]["missed"])
        since = len(air.commands)
        await wait_until(lambda: air.keys(since))


async def test_a_dispatchers_press_is_decided_and_answered_on_the_channel_pressed(
    embedded_broker: RunningBroker,
) -> None:
    async with agents(embedded_broker) as air, party(embedded_broker, "one") as one:
        await wait_until(lambda: one.held and air.healthy())
        press = {"user": "u1", "alias": "Desk", "priority": 3}
        air.request(PTT_CHANNEL, id="r1", action="press", **press)
        await wait_until(lambda: len(air.decisions) == 2)
        assert {(kind, d["subject"]) for kind, d in air.decisions} == {
            ("hutong.request.result", PTT_CHANNEL),
            ("hutong.floor.granted", PTT_CHANNEL),
        }
        air.request(PTT_CHANNEL, id="r2", action="release", **press)
        air.request(PTT_CHANNEL, id="r3", action="refresh", **press)
        await wait_until(lambda: "r3" in air.answers())
        assert air.answers() == {"r1": "granted", "r2": "released", "r3": "released"}
        assert not any(floor.holder for floor in one.bridge.floors())


async def test_a_patch_that_moves_is_shown_in_its_new_place_and_cleared_in_the_old(
    embedded_broker: RunningBroker,
) -> None:
    async with agents(embedded_broker) as air, party(embedded_broker, "one") as one:
        await wait_until(lambda: one.held and air.healthy())
        defined = definitions()
        moved = dataclasses.replace(defined.patches[0], org="shenhe/beita")
        one.bridge.define(dataclasses.replace(defined, patches=(moved,)))
        await wait_until(lambda: (f"{ORG}/patch-1", None) in air.patches)
        places = [where for where, _ in air.patches]
        old = air.patches.index((f"{ORG}/patch-1", None))
        assert places.index("shenhe/beita/patch-1") < old


async def test_a_channel_that_moved_keeps_its_agent_when_the_old_state_is_cleared(
    embedded_broker: RunningBroker,
) -> None:
    async with agents(embedded_broker) as air, party(embedded_broker, "one") as one:
        await wait_until(lambda: one.held and air.healthy())
        topic = air.bus.topics.org("channels", "state", "shenhe/beita", PTT_CHANNEL)
        state = {"node": air.bus.node, "epoch": air.bus.epoch, "health": "ok"}
        air.bus.set_state(topic, state)
        air.bus.clear_state(air.bus.topics.org("channels", "state", ORG, PTT_CHANNEL))
        received = one.bus.counters.received
        await wait_until(lambda: one.bus.counters.received >= received + 2)
        assert one.bridge._agents[PTT_CHANNEL].org == "shenhe/beita"
        assert PTT_CHANNEL in _present(one)


async def test_a_channel_that_is_removed_while_keyed_is_unkeyed(
    embedded_broker: RunningBroker,
) -> None:
    async with agents(embedded_broker) as air, party(embedded_broker, "one") as one:
        await wait_until(lambda: one.held and air.healthy())
        air.say("floor.taken", hold_s=20)
        await wait_until(lambda: air.keys())
        one.bridge.define(dataclasses.replace(definitions(), channels=(), patches=()))
        await wait_until(lambda: _released(air) == [PTT_CHANNEL])
        await wait_until(lambda: (f"{ORG}/patch-1", None) in air.patches)


def _released(air: Agents) -> list[str]:
    return [c["channel"] for c in air.commands if c["action"] == "floor.release"]


async def test_a_patch_ends_at_its_time_without_a_database(
    embedded_broker: RunningBroker,
) -> None:
    async with agents(embedded_broker) as air, party(embedded_broker, "one") as one:
        await wait_until(lambda: one.held and air.healthy())
        defined = definitions()
        ending = dataclasses.replace(
            defined.patches[0], until=datetime.now(UTC) + timedelta(seconds=0.3)
        )
        one.bridge.define(dataclasses.replace(defined, patches=(ending,)))
        air.say("floor.taken", hold_s=20)
        await wait_until(lambda: air.keys())
        await wait_until(lambda: PTT_CHANNEL in _released(air))
        await wait_until(lambda: (f"{ORG}/patch-1", None) in air.patches)
        assert len(list(one.bridge.floors())) == 2  # each channel is alone again
