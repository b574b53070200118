"""Voice through a real broker, real agents and a real bridge: it comes out as it went in, only
where a patch carries it, and only of who holds the floor."""

import asyncio
import contextlib
import dataclasses
import itertools
from collections.abc import AsyncIterator, Iterator
from typing import Any, ClassVar

import pytest
from brokers import RunningBroker
from lab import ORG, running
from patience import wait_until
from scripted import Script, ScriptedAdapter, now

from adapters.base import Capability, RadioTraits
from adapters.events import AMBE_DMR, FloorIdle, FloorTaken, VoiceFlag, VoiceFrame, VoiceHeard
from gateway.agents.radio import Channel, RadioAgent
from gateway.agents.supervisor import Budget
from gateway.bus.client import Bus
from gateway.bus.link import connect
from gateway.bus.messages import decode
from gateway.bus.presence import Presence
from gateway.bus.topics import Topics
from gateway.bus.voice import decode_voice, encode_voice
from gateway.interop.bridge import Bridge
from gateway.interop.definitions import (
    ChannelDefinition,
    Definitions,
    PatchDefinition,
    PatchMember,
)
from gateway.interop.directory import Directory
from gateway.interop.lease import BridgeLease
from gateway.interop.model import Direction, Voice

CODECS = {"a": (AMBE_DMR,), "b": (AMBE_DMR, "opus"), "c": (AMBE_DMR,), "d": ("opus",), "e": ()}


@dataclasses.dataclass(slots=True)
class VoiceScript(Script):
    """sent: what the adapter was given to send."""

    numbers: Iterator[int] = dataclasses.field(default_factory=itertools.count)
    sent: list[VoiceFrame] = dataclasses.field(default_factory=list)
    sending: int = 0

    def take(self, stream: str, **fields: Any) -> None:
        self.numbers = itertools.count()
        taken = FloorTaken(at=now(), address="7", stream=stream, talker="12", hold_s=30, **fields)
        self.say(taken)

    def speak(self, stream: str, count: int = 1, flags: int = 0) -> list[bytes]:
        """Payloads that nobody else says."""
        payloads = []
        for number in itertools.islice(self.numbers, count):
            payloads.append(f"{stream}/{number}".encode().ljust(27, b"\xa5"))
            frame = VoiceFrame(
                transmission=stream,
                sequence=number,
                media_time_us=number * 60_000,
                codec=AMBE_DMR,
                duration_ms=60,
                flags=flags | (VoiceFlag.FIRST if number == 0 else 0),
                payload=payloads[-1],
            )
            self.say(VoiceHeard(at=now(), address="7", frame=frame))
        return payloads

    def end(self, stream: str) -> None:
        self.say(FloorIdle(at=now(), address="7", stream=stream))

    def heard(self) -> list[bytes]:
        return [frame.payload for frame in self.sent]


class Voiced(ScriptedAdapter):
    capabilities: ClassVar[frozenset[Capability]] = frozenset({Capability.KEY, Capability.VOICE})
    script: VoiceScript

    async def send_voice(self, frames: AsyncIterator[VoiceFrame]) -> None:
        self.script.sending += 1
        try:
            async for frame in frames:
                self.script.sent.append(frame)
        finally:
            self.script.sending -= 1


@dataclasses.dataclass(slots=True)
class Stage:
    bus: Bus
    bridge: Bridge
    bridge_tasks: list[asyncio.Task[None]]
    scripts: dict[str, VoiceScript]
    agents: dict[str, RadioAgent]
    states: dict[str, dict[str, Any]]
    on_in: list[VoiceFrame]

    def member(self, name: str) -> dict[str, Any]:
        members = self.states.get("patch-1", {}).get("members", [])
        return next((each for each in members if each["channel"] == f"channel-{name}"), {})

    def keyed(self, name: str) -> str:
        return self.scripts[name].keyed.get("7", "")


def patched(*names: str, talk_only: str = "", **fields: Any) -> Definitions:
    return Definitions(
        channels=tuple(
            ChannelDefinition(
                id=f"channel-{name}",
                name=name,
                org=ORG,
                system_id=f"system-{name}",
                voice=codecs,
            )
            for name, codecs in CODECS.items()
        ),
        patches=(
            PatchDefinition(
                id="patch-1",
                name="p",
                org=ORG,
                members=tuple(
                    PatchMember(
                        channel=f"channel-{name}",
                        direction=Direction.TALK if name == talk_only else Direction.BOTH,
                    )
                    for name in names
                ),
                **{"hang_s": 0.2, "max_talk_s": 60, "queue": False, "voice": "frames", **fields},
            ),
        ),
    )


@contextlib.asynccontextmanager
async def stage(broker: RunningBroker, defined: Definitions) -> AsyncIterator[Stage]:
    loop = asyncio.get_running_loop()
    bus = Bus(broker.address, node="agent", topics=Topics(), roles=("agent",))
    bridge_bus = Bus(broker.address, node="bridge", topics=Topics(), roles=("bridge",))
    presence = Presence(bridge_bus, loop.time)
    lease = BridgeLease(bridge_bus, presence)
    bridge = Bridge(bridge_bus, presence, lease, Directory())
    bridge.define(defined)
    scripts = {name: VoiceScript() for name in CODECS}
    states: dict[str, dict[str, Any]] = {}
    on_in: list[VoiceFrame] = []

    def note_state(topic: str, payload: bytes) -> None:
        states[topic.rsplit("/", 1)[1]] = decode(payload) if payload else {}

    bus.subscribe(bus.topics.org_all("patches", "state"), note_state, kept=True)
    agents = {
        name: RadioAgent(
            bus,
            system_id=f"system-{name}",
            org=ORG,
            make=lambda _addresses, name=name: Voiced(scripts[name]),  # type: ignore[misc]
            traits=RadioTraits(voice=codecs),
            channels=(Channel(id=f"channel-{name}", address="7", org=ORG),),
            budget=Budget(),
        )
        for name, codecs in CODECS.items()
    }
    async with contextlib.AsyncExitStack() as stack:
        spy = await stack.enter_async_context(
            connect(
                broker.address.for_voice("bridge"),
                "spy",
                lambda _topic, message: on_in.append(decode_voice(message)),
            )
        )
        assert await spy.subscribe(Topics().voice_in_all(), 0)
        await stack.enter_async_context(running(bus.run()))
        tasks = await stack.enter_async_context(running(bridge_bus.run(), lease.run()))
        await stack.enter_async_context(running(*(agent.run() for agent in agents.values())))
        it = Stage(bus, bridge, tasks, scripts, agents, states, on_in)
        members = defined.patches[0].members if defined.patches else ()
        lines = [bus.voice("agent")]
        if defined.patches and defined.patches[0].voice == "frames":
            lines.append(bridge_bus.voice("bridge"))
        await wait_until(
            lambda: (
                lease.held
                and all(line.ready.is_set() for line in lines)
                and all(it.member(m.channel[-1]).get("health") == "ok" for m in members)
            ),
            timeout_s=60,
            what=f"all ready: {states}",
        )
        yield it


async def test_voice_comes_out_as_it_went_in_and_only_where_it_can(broker: RunningBroker) -> None:
    async with stage(broker, patched("a", "b", "d", "e")) as it:
        a, b = it.scripts["a"], it.scripts["b"]
        assert [it.member(name)["voice"] for name in "abde"] == ["some", "some", "some", "none"]
        a.take("t1")
        said = a.speak("t1", 3)  # before anybody asked for it: the beginning is not lost
        await wait_until(lambda: b.heard() == said, what="the beginning")
        said += a.speak("t1", 2)
        await wait_until(lambda: b.heard() == said, what="what follows")
        assert {frame.transmission for frame in b.sent} == {it.keyed("b")}
        assert [frame.sequence for frame in b.sent] == [0, 1, 2, 3, 4]
        assert [frame.media_time_us for frame in b.sent] == [n * 60_000 for n in range(5)]
        assert [frame.flags for frame in b.sent] == [VoiceFlag.FIRST, 0, 0, 0, 0]
        assert it.keyed("b")
        assert not it.keyed("d"), "no codec is shared: nothing passes, so nothing is keyed"
        assert not it.keyed("e")
        assert it.member("d")["missed"] is None
        a.end("t1")
        await wait_until(lambda: b.terminators and not b.sending, what="unkeyed")
        assert b.heard() == said
        assert not any(it.scripts[name].sent for name in "acde")


async def test_the_last_words_are_handed_over_before_the_key_ends(broker: RunningBroker) -> None:
    async with stage(broker, patched("a", "b")) as it:
        a, b = it.scripts["a"], it.scripts["b"]
        a.take("t1")
        said = a.speak("t1")
        await wait_until(lambda: b.heard() == said)
        said += a.speak("t1", 5)
        await wait_until(lambda: b.heard() == said)
        a.end("t1")
        await wait_until(lambda: b.terminators)
        (unkey,) = [each for each in b.commands if type(each).__name__ == "UnkeyChannel"]
        assert getattr(unkey, "drain", False), "an end like any other lets the last words out"


@pytest.mark.parametrize("voice", ["silence", "events", "nobody"])
async def test_nothing_leaves_an_agent_that_no_patch_carries(
    broker: RunningBroker, voice: str
) -> None:
    defined = patched("a", "b", voice=Voice.SILENCE if voice == "nobody" else Voice(voice))
    if voice == "nobody":
        defined = dataclasses.replace(defined, patches=())
    async with stage(broker, defined) as it:
        a, b = it.scripts["a"], it.scripts["b"]
        a.take("t1")
        a.speak("t1", 20)
        if voice == "silence":
            await wait_until(lambda: it.keyed("b"), what="keyed")
            assert it.member("b")["voice"] == "none"
        a.end("t1")
        counters = it.agents["a"].voice.counters
        assert counters.kept_back + counters.forwarded == 20
        assert counters.forwarded == 0
        a.take("t2")
        await wait_until(lambda: it.bridge.counters.events >= 3, what="the bridge heard it all")
        assert not it.on_in
        assert not b.sent


async def test_an_emergency_is_heard_alone_from_when_it_takes_the_floor(
    broker: RunningBroker,
) -> None:
    async with stage(broker, patched("a", "b", "c")) as it:
        a, b, c = (it.scripts[name] for name in "abc")
        a.take("t1")
        a.speak("t1", 2)
        await wait_until(lambda: len(b.sent) == len(c.sent) == 2, what="both hear a")
        first = it.keyed("c")
        b.take("t2", emergency=True)
        b.speak("t2", 2)
        await wait_until(lambda: len(c.sent) >= 4, what="c hears b")
        after = len(c.sent)
        a.speak("t1", 10)  # it talks on in its own system
        b.speak("t2", 2)
        await wait_until(lambda: len(c.sent) >= after + 2)
        late = [frame for frame in c.sent if frame.transmission != first]
        assert {frame.payload[:3] for frame in late} == {b"t2/"}
        assert all(f.payload[:3] == b"t1/" for f in c.sent if f.transmission == first)
        assert not any(frame.payload[:3] == b"t1/" for frame in c.sent[after:])
        counters = it.agents["a"].voice.counters
        await wait_until(
            lambda: a.speak("t1") and counters.kept_back > 0, what="a was told to stop"
        )
        assert not a.sent, "a talks itself, so it is not keyed"


async def test_a_bridge_that_dies_takes_voice_and_key_with_it(broker: RunningBroker) -> None:
    async with stage(broker, patched("a", "b")) as it:
        a, b = it.scripts["a"], it.scripts["b"]
        a.take("t1")
        a.speak("t1")
        await wait_until(lambda: b.sent)
        for task in it.bridge_tasks:
            task.cancel()
        await asyncio.wait(it.bridge_tasks)
        loop = asyncio.get_running_loop()
        died_s = loop.time()
        await wait_until(lambda: not it.keyed("b"), what="unkeyed by its lease")
        counters, heard = it.agents["a"].voice.counters, len(b.sent)

        def silent() -> bool:
            before = counters.forwarded
            a.speak("t1")
            return counters.forwarded == before

        await wait_until(silent, what="voice stops by its lease")
        assert loop.time() - died_s < 20
        assert len(b.sent) == heard, "nobody passed it on"


async def test_encrypted_talk_stays_where_it_is_unless_the_patch_says_so(
    broker: RunningBroker,
) -> None:
    async with stage(broker, patched("a", "b")) as it:
        a, b = it.scripts["a"], it.scripts["b"]
        a.take("t1")
        a.speak("t1", 3, flags=VoiceFlag.ENCRYPTED)  # of which the start said nothing
        said = a.speak("t1", 2)
        await wait_until(lambda: b.heard() == said, what="what is in clear")
        assert [frame.sequence for frame in it.on_in] == [3, 4]
        a.end("t1")
        await wait_until(lambda: not it.keyed("b"))
    async with stage(broker, patched("a", "b", encrypted=True)) as it:
        a, b = it.scripts["a"], it.scripts["b"]
        a.take("t2", encrypted=True)
        said = a.speak("t2", 3, flags=VoiceFlag.ENCRYPTED)
        await wait_until(lambda: b.heard() == said, what="encrypted talk")
        assert all(frame.flags & VoiceFlag.ENCRYPTED for frame in b.sent)


async def test_who_holds_no_floor_is_not_passed_on_whatever_an_agent_sends(
    broker: RunningBroker,
) -> None:
    async with stage(broker, patched("a", "b", "c")) as it:
        a, b, c = (it.scripts[name] for name in "abc")
        a.take("t1")
        said = a.speak("t1")
        await wait_until(lambda: c.heard() == said)
        b.take("t2")  # waits: a talks
        line = it.bus.voice("agent")
        frame = dataclasses.replace(c.sent[0], transmission="t2", payload=b"not mine")
        before = it.bridge.voice.counters.not_carried
        line.publish(it.bus.topics.voice_in("channel-b"), encode_voice(frame))
        line.publish(it.bus.topics.voice_in("channel-x"), encode_voice(frame))
        stale = dataclasses.replace(frame, transmission="t0")
        line.publish(it.bus.topics.voice_in("channel-a"), encode_voice(stale))
        line.publish(it.bus.topics.voice_in("channel-a"), b"\x01bad")
        counters = it.bridge.voice.counters
        await wait_until(lambda: counters.not_carried == before + 3, what="dropped and counted")
        said += a.speak("t1")
        await wait_until(lambda: c.heard() == said)
