"""Voice through a real broker, real agents and a real bridge: it comes out as it went in, only
where a patch carries it, and only of who holds the floor."""

import asyncio
import dataclasses

import pytest
from brokers import RunningBroker
from lab import running
from patience import wait_until
from voice_stage import patched, stage

from adapters.events import VoiceFlag
from gateway.bus.client import Bus
from gateway.bus.presence import Presence
from gateway.bus.topics import Topics
from gateway.bus.voice import encode_voice
from gateway.interop.bridge import Bridge
from gateway.interop.directory import Directory
from gateway.interop.lease import BridgeLease
from gateway.interop.model import Voice


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
        assert 0 in [c["lease_ms"] for c in it.forwards("a")], "a was told to stop"
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


async def test_what_waited_too_long_on_its_way_is_dropped_and_the_talk_goes_on(
    broker: RunningBroker,
) -> None:
    async with stage(broker, patched("a", "b")) as it:
        a, b = (it.scripts[name] for name in "ab")
        a.take("t1")
        said = a.speak("t1")
        await wait_until(lambda: b.heard() == said)
        frame = dataclasses.replace(b.sent[0], transmission="t1", payload=b"of long ago")
        line, counters = it.bus.voice("agent"), it.bridge.voice.counters
        assert counters.late == 0
        late = encode_voice(frame, max(it.bus.uptime_ms() - 1000, 1))
        await wait_until(lambda: it.bus.uptime_ms() > 1000)
        line.publish(it.bus.topics.voice_in("channel-a"), late)
        await wait_until(lambda: counters.late == 1, what="dropped and counted")
        said += a.speak("t1")
        await wait_until(lambda: b.heard() == said)


async def test_the_standby_hears_and_says_nothing_and_goes_on_when_the_other_dies(
    broker: RunningBroker,
) -> None:
    defined = patched("a", "b")
    async with stage(broker, defined) as it:
        bus = Bus(broker.address, node="second", topics=Topics(), roles=("bridge",))
        presence = Presence(bus, asyncio.get_running_loop().time)
        lease = BridgeLease(bus, presence)
        standby = Bridge(bus, presence, lease, Directory())
        standby.define(defined)
        async with running(bus.run(), lease.run()):
            await wait_until(bus.voice("bridge").ready.is_set, what="the standby listens")
            both = {"channel-a", "channel-b"}
            await wait_until(
                lambda: any(both <= floor.present for floor in standby.floors()),
                what="the standby knows them",
            )
            a, b = it.scripts["a"], it.scripts["b"]
            a.take("t1")
            said = a.speak("t1", 2)
            await wait_until(lambda: b.heard() == said)
            await wait_until(lambda: standby.voice.counters.standby == 2)
            assert standby.voice.counters.sent == 0
            first = it.keyed("b")
            for task in it.bridge_tasks:
                task.cancel()
            await asyncio.wait(it.bridge_tasks)
            await wait_until(lambda: it.keyed("b") not in ("", first), what="the other keys")
            await wait_until(
                lambda: a.speak("t1") and b.sent[-1].transmission == it.keyed("b"),
                what="voice in the key of the other",
            )


async def test_voice_is_back_with_the_broker_in_the_middle_of_a_talk(broker: RunningBroker) -> None:
    async with stage(broker, patched("a", "b")) as it:
        a, b = it.scripts["a"], it.scripts["b"]
        a.take("t1")
        said = a.speak("t1", 2)
        await wait_until(lambda: b.heard() == said)
        first = b.sent[0].transmission
        await broker.kill()
        await wait_until(lambda: first in b.terminators, what="unkeyed with the broker")
        await broker.start()

        def heard_again() -> bool:
            a.refresh("t1")
            a.speak("t1")
            return b.sent[-1].transmission == it.keyed("b") != first

        await wait_until(heard_again, timeout_s=60, what="voice in a new key")
