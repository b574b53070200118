"""The radio agent on a real broker: whom it obeys, and that nothing stays keyed behind its back."""

import asyncio
import contextlib
import dataclasses
import itertools
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from brokers import RunningBroker
from lab import running
from patience import wait_until
from scripted import Script, maker, now

from adapters.base import RadioTraits
from adapters.errors import Unreachable
from adapters.events import FloorRefreshed, FloorTaken, KeyChannel, SendText
from gateway.agents.radio import Channel, RadioAgent
from gateway.agents.supervisor import Budget
from gateway.bus.client import Bus
from gateway.bus.messages import decode, decode_event, encode
from gateway.bus.topics import Topics

ORG = "d/s1"


class Station:
    """An agent of one channel, its script, and a bridge's end of the bus."""

    def __init__(self, bus: Bus, bridge: Bus, name: str, script: Script, traits: RadioTraits):
        self.bus, self.bridge, self.name, self.script = bus, bridge, name, script
        self.results: list[dict[str, Any]] = []
        self.states: list[dict[str, Any]] = []
        self.agent = RadioAgent(
            bus,
            system_id=f"system-{name}",
            org=ORG,
            make=maker(script),
            traits=traits,
            channels=(Channel(id=f"channel-{name}", address="7", org=ORG),),
            budget=Budget(),
        )
        self._ids = itertools.count(1)
        event = bus.topics.org("channels", "event", ORG, f"channel-{name}")
        state = bus.topics.org("channels", "state", ORG, f"channel-{name}")
        bridge.subscribe(event, self._on_event)
        bridge.subscribe(state, lambda _t, payload: self.states.append(decode(payload)))

    def _on_event(self, _topic: str, payload: bytes) -> None:
        event = decode_event(payload)
        if event.type == "command.result":
            self.results.append(dict(event.data))

    def command(self, action: str, transmission: str = "t-1", **fields: Any) -> str:
        identity = f"{self.name}-{next(self._ids)}"
        command = {
            "id": identity,
            "bridge_epoch": 1,
            "agent_epoch": self.bus.epoch,
            "not_after_ms": self.bus.uptime_ms() + 5000,
            "action": action,
            "transmission": transmission,
            "lease_ms": 2000,
            "talker": "elsewhere/12",
            "talker_alias": "Wang",
            **fields,
        }
        topic = self.bus.topics.org("channels", "command", ORG, f"channel-{self.name}")
        assert self.bridge.publish(topic, encode(command))
        return identity

    async def result(self, identity: str) -> dict[str, Any]:
        await wait_until(lambda: any(r["command"] == identity for r in self.results))
        return next(r for r in self.results if r["command"] == identity)


Open = Callable[..., contextlib.AbstractAsyncContextManager[Station]]


@pytest.fixture
async def stations(embedded_broker: RunningBroker) -> AsyncIterator[Open]:
    bus = Bus(embedded_broker.address, node="agent", topics=Topics(), roles=("agent",))
    bridge = Bus(embedded_broker.address, node="bridge", topics=Topics())

    @contextlib.asynccontextmanager
    async def station(
        name: str = "a", script: Script | None = None, traits: RadioTraits | None = None
    ) -> AsyncIterator[Station]:
        it = Station(bus, bridge, name, script or Script(), traits or RadioTraits())
        async with running(it.agent.run()):
            await wait_until(lambda: it.states and it.states[-1]["health"] == "ok")
            yield it

    async with running(bus.run(), bridge.run()):
        await wait_until(lambda: bus.connected.is_set() and bridge.connected.is_set())
        yield station


async def test_what_is_keyed_ends_with_the_agent(stations: Open) -> None:
    async with stations() as station:
        assert (await station.result(station.command("floor.request")))["outcome"] == "done"
        assert station.script.keyed == {"7": "t-1"}
    assert station.script.terminators == ["t-1"]
    assert station.script.running == 0
    await wait_until(lambda: station.states[-1]["transmission"] is None)


async def test_a_release_while_the_talker_is_still_being_named_keys_nothing(
    stations: Open,
) -> None:
    script = Script(gated=(SendText,))
    async with stations(script=script, traits=RadioTraits(carries_alias=False)) as station:
        asked = station.command("floor.request")
        await wait_until(lambda: script.commands)
        await station.result(station.command("floor.release"))
        script.gate.set()
        assert (await station.result(asked))["outcome"] == "refused"
        assert not any(isinstance(c, KeyChannel) for c in script.commands)
        assert script.keyed == {}


async def test_who_talks_is_named_once_however_often_a_busy_channel_is_tried(
    stations: Open,
) -> None:
    script = Script(busy=2)
    async with stations(script=script, traits=RadioTraits(carries_alias=False)) as station:
        for outcome in ("busy", "busy", "done"):
            answer = await station.result(station.command("floor.request"))
            assert answer["outcome"] == outcome
        await station.result(station.command("floor.release"))
        await station.result(station.command("floor.request", "t-2"))
        said = [type(c).__name__ for c in script.commands]
        assert said.count("SendText") == 2, said
        assert said.count("KeyChannel") == 4, said


async def test_a_release_that_overtakes_a_slow_key_still_ends_it(stations: Open) -> None:
    script = Script(gated=(KeyChannel,))
    async with stations(script=script) as station:
        asked = station.command("floor.request")
        await wait_until(lambda: any(isinstance(c, KeyChannel) for c in script.commands))
        await station.result(station.command("floor.release"))
        script.gate.set()
        assert (await station.result(asked))["reason"] == "released meanwhile"
        await wait_until(lambda: script.terminators == ["t-1"])
        assert script.keyed == {}


async def test_a_lease_that_is_not_renewed_ends_the_key(stations: Open) -> None:
    async with stations() as station:
        station.command("floor.request", lease_ms=200)
        await wait_until(lambda: station.script.keyed)
        await wait_until(lambda: station.script.terminators == ["t-1"])


async def test_a_lease_has_a_longest_time(stations: Open) -> None:
    async with stations() as station:
        await station.result(station.command("floor.request", lease_ms=10**9))
        until_s = station.agent._leases.next_s()
        assert until_s is not None
        assert until_s - asyncio.get_running_loop().time() <= 10.0


async def test_a_later_bridge_is_obeyed_by_every_system_of_the_node(stations: Open) -> None:
    async with stations("a") as one, stations("b") as other:
        assert (await one.result(one.command("floor.request", bridge_epoch=9)))["outcome"] == "done"
        late = await other.result(other.command("floor.request", bridge_epoch=8))
        assert (late["outcome"], late["late"]) == ("refused", False)
        assert "bridge epoch 8 is over" in late["reason"]
        assert one.bus.status()["bridge_epoch"] == 9
        assert other.script.keyed == {}


async def test_a_command_that_is_too_late_says_so(stations: Open) -> None:
    async with stations() as station:
        stale = station.command("floor.request", not_after_ms=station.bus.uptime_ms() - 1)
        result = await station.result(stale)
        assert (result["outcome"], result["late"]) == ("refused", True)


async def test_another_transmission_ends_the_one_before(stations: Open) -> None:
    async with stations() as station:
        await station.result(station.command("floor.request", "t-1"))
        await station.result(station.command("floor.request", "t-2"))
        assert station.script.terminators == ["t-1"]
        assert station.script.keyed == {"7": "t-2"}


async def test_an_adapters_own_mistake_is_answered(stations: Open) -> None:
    class Broken(dict[str, str]):
        def __setitem__(self, _key: str, _value: str) -> None:
            raise RuntimeError("a mistake")

    async with stations() as station:
        station.script.keyed = Broken()
        result = await station.result(station.command("floor.request"))
        assert (result["outcome"], result["reason"]) == ("refused", "the adapter failed")


async def test_the_state_follows_what_a_refresh_knows_more_than_the_start(stations: Open) -> None:
    async with stations() as station:
        talk = {"address": "7", "stream": "s", "talker": "12", "hold_s": 3.0}
        station.script.say(FloorTaken(at=now(), **talk))
        await wait_until(lambda: station.states[-1]["floor"] == "taken")
        since = station.states[-1]["since"]
        station.script.say(FloorRefreshed(at=now(), **talk, talker_alias="Wang", emergency=True))
        await wait_until(lambda: station.states[-1]["talker_alias"] == "Wang")
        assert station.states[-1]["emergency"] is True
        assert station.states[-1]["since"] == since


async def test_a_system_that_breaks_frees_its_channel_and_says_why(stations: Open) -> None:
    async with stations() as station:
        taken = FloorTaken(at=now(), address="7", stream="s", talker="12", hold_s=3.0)
        station.script.say(taken)
        await wait_until(lambda: station.states[-1]["floor"] == "taken")
        station.script.failures = [Unreachable("still away")]
        station.script.broken.set()
        await wait_until(lambda: station.states[-1]["health"] == "down")
        assert station.states[-1]["floor"] == "idle"
        assert "broken by the test" in station.states[-1]["health_reason"]
        identity = station.command("floor.request")
        await wait_until(lambda: any(r["command"] == identity for r in station.results))
        answer = station.results[-1]
        assert (answer["outcome"], answer["reason"]) == ("busy", "the system is away"), (
            "it may be back before the talk is over"
        )


async def test_what_nobody_registered_is_counted_within_bounds(stations: Open) -> None:
    async with stations() as station:
        for number in range(1200):
            address = str(1000 + number)
            taken = FloorTaken(at=now(), address=address, stream="s", talker="1", hold_s=3.0)
            station.script.say(taken)
        station.script.say(taken)
        station.script.say(dataclasses.replace(taken, address="1005"))
        assert len(station.agent.unregistered) == 1000
        station.agent.health.look()
        said = station.agent.health._shown()["unregistered"]
        assert (len(said), said[0]) == (200, {"address": "1005", "events": 2})


async def test_an_emergency_that_a_dispatcher_ended_stays_ended_while_its_talk_goes_on(
    stations: Open,
) -> None:
    """The radio says it in every burst; another talk may say it again."""

    def talk(kind: type[FloorTaken], stream: str) -> FloorTaken:
        return kind(at=now(), address="7", stream=stream, talker="12", emergency=True, hold_s=9)

    async with stations() as station:
        station.script.say(talk(FloorTaken, "s1"))
        await wait_until(lambda: station.states[-1]["emergency"])
        told = await station.result(station.command("emergency.clear", by="u1"))
        assert told["outcome"] == "done"
        await wait_until(lambda: not station.states[-1]["emergency"])
        said = len(station.states)
        station.script.say(talk(FloorRefreshed, "s1"))
        station.script.say(talk(FloorTaken, "s2"))
        await wait_until(lambda: station.states[-1]["stream"] == "s2")
        assert [s["emergency"] for s in station.states[said:] if s["stream"] == "s1"] in (
            [],
            [False],
        )
        assert station.states[-1]["emergency"]
