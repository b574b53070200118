"""The bridge's part in voice: whom it asks, when it stops, and what it passes on to whom."""

import dataclasses
from collections.abc import Callable
from typing import Any, cast

from adapters.events import AMBE_DMR, VoiceFlag, VoiceFrame
from gateway.bus.address import BrokerAddress
from gateway.bus.client import Bus
from gateway.bus.topics import Topics
from gateway.bus.voice import decode_voice, encode_voice
from gateway.interop import model as m
from gateway.interop.floor import step
from gateway.interop.lease import BridgeLease
from gateway.interop.machines import Machine
from gateway.interop.speaking import Speaker
from gateway.interop.voice import ASK_AGAIN_AFTER_S, LATEST_MS, VoiceRelay

DMR, OPUS = frozenset({AMBE_DMR}), frozenset({"opus"})


@dataclasses.dataclass
class Lease:
    held: bool = True


class World:
    """Floors that are stepped, and all that the relay asks for and passes on."""

    def __init__(self, **patches: m.Rules) -> None:
        self.now_s = 0.0
        self.asked: list[tuple[str | None, str, str, int, bool]] = []
        self.passed: list[tuple[str, VoiceFrame]] = []
        self.lease = Lease()
        self.agents_clock_ms: int | None = 50_000
        self.machines = {
            name: Machine(
                id=name,
                org="d",
                patch=None,
                floor=m.Floor(tag=name, rules=rules, present=frozenset(rules.members)),
            )
            for name, rules in patches.items()
        }
        bus = Bus(BrokerAddress(host="127.0.0.1", port=1), node="n", topics=Topics())
        self.line = bus.voice("bridge")
        self.line.publish = self._publish  # type: ignore[method-assign]
        self.relay = VoiceRelay(
            bus,
            cast("BridgeLease", self.lease),
            cast("Speaker", self),
            lambda c: [each for each in self.machines.values() if c in each.floor.rules.members],
            lambda: self.now_s,
        )
        self.relay.define(each.floor for each in self.machines.values())

    def command(self, patch: str | None, channel: str, action: str, **fields: Any) -> None:
        assert action == "voice.forward"
        said = (fields["transmission"], fields["lease_ms"], fields["encrypted"])
        self.asked.append((patch, channel, *said))

    def clock_ms(self, channel: str) -> int | None:
        return self.agents_clock_ms

    def _publish(self, topic: str, message: bytes) -> bool:
        self.passed.append((topic.split("/")[-2], decode_voice(message)))
        return True

    def step(self, happened: m.Input, at_s: float) -> None:
        self.now_s = at_s
        for machine in self.machines.values():
            machine.floor, effects = step(machine.floor, happened, at_s)
            for effect in effects:
                if isinstance(effect, m.Key):
                    self.relay.keyed(machine, effect)
            self.relay.stepped(machine)

    def asks(self) -> list[tuple[str, str, int]]:
        asked, self.asked = self.asked, []
        return [(channel, stream, lease_ms) for _, channel, stream, lease_ms, _ in asked]

    def hear(
        self,
        channel: str,
        stream: str,
        codec: str = AMBE_DMR,
        flags: int = 0,
        uptime_ms: int = 0,
    ) -> None:
        frame = VoiceFrame(
            transmission=stream,
            sequence=7,
            media_time_us=420_000,
            codec=codec,
            duration_ms=60,
            flags=flags,
            payload=b"x" * 27,
        )
        self.line._receive(Topics().voice_in(channel), encode_voice(frame, uptime_ms))


def rules(voice: m.Voice = m.Voice.FRAMES, **members: frozenset[str]) -> m.Rules:
    return m.Rules(
        members={c: m.Member(channel=c, voice=codecs) for c, codecs in members.items()},
        voice=voice,
    )


def talk(channel: str, stream: str, **fields: Any) -> m.TalkHeard:
    return m.TalkHeard(channel=channel, stream=stream, talker=f"x/{channel}", hold_s=30, **fields)


async def test_it_asks_once_for_all_members_and_again_with_their_keys() -> None:
    world = World(p=rules(a=DMR, b=DMR, c=DMR))
    world.step(talk("a", "s1"), 0.0)
    assert world.asks() == [("a", "s1", 2000)]
    world.step(m.Tick(), ASK_AGAIN_AFTER_S)
    assert world.asks() == [], "no key is to be renewed yet"
    world.step(m.Tick(), 0.7)
    assert world.asks() == [("a", "s1", 2000)]
    world.step(m.TalkEnded(channel="a", stream="s1"), 0.9)
    assert world.asks() == [], "a talk that is over needs no stop"


async def test_it_stops_a_talk_that_goes_on_without_the_floor() -> None:
    world = World(p=rules(a=DMR, b=DMR, c=DMR))
    world.step(talk("a", "s1"), 0.0)
    world.step(talk("b", "s2", emergency=True), 0.1)
    assert world.asks() == [("a", "s1", 2000), ("a", "s1", 0), ("b", "s2", 2000)]
    world = World(p=rules(a=DMR, b=DMR))
    world.step(talk("a", "s1"), 0.0)
    world.asks()
    world.step(m.Cleared(user="u"), 0.1)
    assert world.asks() == [("a", "s1", 0)]


async def test_a_stop_of_one_patch_does_not_silence_another() -> None:
    member = m.Member(channel="a", voice=DMR, direction=m.Direction.TALK)
    one, other = rules(b=DMR), rules(c=DMR)
    world = World(
        p=dataclasses.replace(one, members={"a": member, **one.members}),
        q=dataclasses.replace(other, members={"a": member, **other.members}),
    )
    world.step(talk("a", "s1"), 0.0)
    assert world.asks() == [("a", "s1", 2000)] * 2
    world.hear("a", "s1")
    assert {(c, f.transmission) for c, f in world.passed} == {("b", "p-2"), ("c", "q-2")}
    world.relay.forget(world.machines["p"])
    assert world.asks() == []
    world.relay.forget(world.machines["q"])
    assert world.asks() == [("a", "s1", 0)]


async def test_nobody_is_asked_where_no_voice_passes_or_another_bridges() -> None:
    for these in (rules(m.Voice.SILENCE, a=DMR, b=DMR), rules(a=DMR, b=OPUS)):
        world = World(p=these)
        world.step(talk("a", "s1"), 0.0)
        world.step(m.Tick(), 0.7)
        assert world.asks() == []
        world.hear("a", "s1")
        assert world.passed == []
    standby = World(p=rules(a=DMR, b=DMR))
    standby.lease.held = False
    standby.step(talk("a", "s1"), 0.0)
    standby.hear("a", "s1")
    assert (standby.asks(), standby.passed) == ([], [])
    assert standby.relay.counters.standby == 1
    standby.lease.held = True
    standby.step(m.Tick(), 0.7)
    assert standby.asks() == [("a", "s1", 2000)], "it asks with the first key that it renews"


async def test_a_frame_goes_to_those_who_are_keyed_and_can_take_its_codec() -> None:
    world = World(p=rules(a=DMR | OPUS, b=DMR, c=OPUS, d=DMR))
    world.step(talk("a", "s1"), 0.0)
    world.step(m.KeyAnswered(channel="d", transmission="p-2", outcome="busy"), 0.1)
    world.hear("a", "s1")
    world.hear("a", "s1", codec="opus")
    world.hear("a", "s1", codec="g711")
    assert [channel for channel, _ in world.passed] == ["b", "c"]
    assert {frame.transmission for _, frame in world.passed} == {"p-2"}
    assert {frame.sequence for _, frame in world.passed} == {7}
    counters = world.relay.counters
    assert (counters.received, counters.passed, counters.sent, counters.not_carried) == (3, 2, 2, 1)


async def test_what_is_encrypted_is_passed_on_only_where_the_patch_says_so() -> None:
    world = World(p=rules(a=DMR, b=DMR))
    world.step(talk("a", "s1"), 0.0)
    world.hear("a", "s1", flags=VoiceFlag.ENCRYPTED)
    assert world.passed == []
    assert world.relay.counters.encrypted == 1
    world = World(p=dataclasses.replace(rules(a=DMR, b=DMR), bridge_encrypted=True))
    world.step(talk("a", "s1", encrypted=True), 0.0)
    assert world.asked[0][-1] is True
    world.hear("a", "s1", flags=VoiceFlag.ENCRYPTED)
    assert len(world.passed) == 1


async def test_a_muted_a_barred_and_a_suspended_talker_are_not_passed_on() -> None:
    changes: tuple[Callable[[m.Floor], m.Floor], ...] = (
        lambda f: dataclasses.replace(f, suspended=frozenset({"a"})),
        lambda f: dataclasses.replace(f, barred={"a": "s1"}),
        lambda f: dataclasses.replace(
            f,
            rules=dataclasses.replace(
                f.rules,
                members={**f.rules.members, "a": m.Member(channel="a", voice=DMR, muted=True)},
            ),
        ),
    )
    for change in changes:
        world = World(p=rules(a=DMR, b=DMR))
        machine = world.machines["p"]
        machine.floor = change(machine.floor)
        world.step(talk("a", "s1"), 0.0)
        world.hear("a", "s1")
        assert (world.asks(), world.passed) == ([], [])
        assert world.relay.counters.not_carried == 1


async def test_what_comes_later_than_anybody_can_use_it_is_dropped_and_counted() -> None:
    world = World(p=rules(a=DMR, b=DMR, c=DMR))
    world.step(talk("a", "s1"), 0.0)
    world.hear("a", "s1", uptime_ms=50_000 - LATEST_MS)
    assert len(world.passed) == 2
    world.hear("a", "s1", uptime_ms=50_000 - LATEST_MS - 1)
    assert (len(world.passed), world.relay.counters.late) == (2, 1)
    world.hear("a", "s1", uptime_ms=50_010)
    assert len(world.passed) == 4, "its clock was read a little early"
    world.agents_clock_ms = None
    world.hear("a", "s1", uptime_ms=1)
    world.hear("a", "s1")
    assert (len(world.passed), world.relay.counters.late) == (8, 1), "of what age nobody knows"
