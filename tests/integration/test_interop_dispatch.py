"""What dispatchers do to running patches, as agents and strangers see it on the bus."""

import asyncio
import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

from brokers import RunningBroker
from lab import ORG, PTT_CHANNEL, TRUNK, TRUNK_CHANNEL, definitions
from patience import wait_until
from test_interop_two_bridges import Agents, Party, agents, party

from gateway.bus.messages import CloudEvent, encode, encode_event
from gateway.interop.definitions import ChannelDefinition, Definitions, PatchMember
from gateway.interop.model import TalkEnded, TalkHeard

THIRD = "channel-third"
DESK = {"user": "u1", "alias": "Desk"}


def decided(air: Agents, kind: str) -> list[dict[str, Any]]:
    return [data for said, data in air.decisions if said == f"hutong.{kind}"]


def commanded(air: Agents, action: str) -> list[str]:
    """The channels that were told to, in order."""
    return [c["channel"] for c in air.commands if c["action"] == action]


async def healthy(air: Agents, one: Party) -> None:
    await wait_until(lambda: one.held and air.healthy())


async def answer(air: Agents, request_id: str) -> dict[str, Any]:
    await wait_until(lambda: [d for _, d in air.decisions if d.get("request") == request_id])
    return next(d for _, d in air.decisions if d.get("request") == request_id)


async def test_a_dispatcher_clears_a_stuck_floor_and_it_says_who(
    embedded_broker: RunningBroker,
) -> None:
    async with agents(embedded_broker) as air, party(embedded_broker, "one") as one:
        await healthy(air, one)
        air.say("floor.taken", hold_s=20)
        await wait_until(lambda: air.keys())
        air.request(PTT_CHANNEL, id="r1", action="clear", patch="patch-1", **DESK)
        said = await answer(air, "r1")
        assert said["cleared"] == [{"channel": TRUNK_CHANNEL, "talker": f"{TRUNK}/12"}]
        await wait_until(lambda: decided(air, "floor.revoked"))
        assert decided(air, "floor.revoked")[0]["by"] == "u1"
        await wait_until(lambda: commanded(air, "floor.release") == [PTT_CHANNEL])
        keyed = len(air.keys())
        air.say("floor.refreshed", hold_s=20)
        air.request(PTT_CHANNEL, id="r2", action="release", **DESK)
        await answer(air, "r2")
        assert len(air.keys()) == keyed  # barred until its own stream ends


async def test_an_emergency_outlives_its_talk_until_a_dispatcher_ends_it(
    embedded_broker: RunningBroker,
) -> None:
    async with agents(embedded_broker) as air, party(embedded_broker, "one") as one:
        await healthy(air, one)
        air.say("floor.taken", emergency=True)
        await wait_until(lambda: decided(air, "emergency.raised"))
        air.say("floor.idle")
        await wait_until(lambda: (air.shown()["floor"], air.shown()["emergency"]) == ("idle", True))
        air.request(TRUNK_CHANNEL, id="r1", action="emergency.clear", **DESK)
        said = await answer(air, "r1")
        assert said["cleared"] == [{"channel": TRUNK_CHANNEL, "talker": f"{TRUNK}/12"}]
        await wait_until(lambda: decided(air, "emergency.cleared"))
        assert decided(air, "emergency.cleared")[0]["by"] == "u1"
        await wait_until(lambda: air.shown()["emergency"] is False)
        await wait_until(lambda: commanded(air, "emergency.clear") == [TRUNK_CHANNEL])


async def test_an_emergency_that_the_system_tells_is_not_told_twice(
    embedded_broker: RunningBroker,
) -> None:
    async with agents(embedded_broker) as air, party(embedded_broker, "one") as one:
        await healthy(air, one)
        air.say("emergency.raised")
        await wait_until(lambda: air.shown()["emergency"] is True)
        air.say("emergency.cleared")
        await wait_until(lambda: air.shown()["emergency"] is False)
        assert not decided(air, "emergency.raised")
        assert not decided(air, "emergency.cleared")


def three() -> Definitions:
    """The lab's patch, and a second one with a third channel."""
    defined = definitions()
    third = ChannelDefinition(id=THIRD, name="third", org=ORG, system_id=TRUNK)
    other = dataclasses.replace(
        defined.patches[0], id="patch-2", members=(PatchMember(channel=THIRD),)
    )
    return dataclasses.replace(
        defined, channels=(*defined.channels, third), patches=(*defined.patches, other)
    )


def moved(defined: Definitions) -> Definitions:
    """The PTT channel is in the second patch, which comes first now."""
    one, two = defined.patches
    return dataclasses.replace(
        defined,
        patches=(
            dataclasses.replace(two, members=(*two.members, PatchMember(channel=PTT_CHANNEL))),
            dataclasses.replace(one, members=(PatchMember(channel=TRUNK_CHANNEL),)),
        ),
    )


async def test_a_keyed_channel_that_moves_is_let_go_before_its_new_patch_keys_it(
    embedded_broker: RunningBroker,
) -> None:
    async with agents(embedded_broker) as air, party(embedded_broker, "one", three()) as one:
        air.speak_for(THIRD)
        await healthy(air, one)
        air.say("floor.taken", hold_s=20)
        air.say("floor.taken", THIRD, stream="s9", talker="x/1", hold_s=20)
        await wait_until(lambda: air.keys())
        await wait_until(lambda: air.shown(f"{ORG}/patch-2").get("floor") == "taken")
        since = len(air.commands)
        one.bridge.define(moved(three()))
        await wait_until(lambda: air.keys(since))
        actions = [c["action"] for c in air.commands[since:] if c["channel"] == PTT_CHANNEL]
        assert actions[:2] == ["floor.release", "floor.request"]
        assert air.shown(f"{ORG}/patch-1")["floor"] == "taken"  # who talks there goes on


async def test_a_talk_on_a_channel_that_moves_ends_where_it_was_and_goes_on_where_it_is(
    embedded_broker: RunningBroker,
) -> None:
    async with agents(embedded_broker) as air, party(embedded_broker, "one", three()) as one:
        air.speak_for(THIRD)
        await healthy(air, one)
        air.say("floor.taken", PTT_CHANNEL, hold_s=20, emergency=True)
        await wait_until(lambda: air.keys())
        one.bridge.define(moved(three()))
        await wait_until(lambda: air.shown(f"{ORG}/patch-1")["floor"] == "idle")
        await wait_until(lambda: air.shown(f"{ORG}/patch-2")["emergency"] is True)
        since = len(air.commands)
        air.say("floor.refreshed", PTT_CHANNEL, hold_s=20, emergency=True)
        await wait_until(lambda: air.keys(since))
        assert {c["channel"] for c in air.keys(since)} == {THIRD}


async def test_a_suspended_member_stays_suspended_when_another_bridge_takes_over(
    embedded_broker: RunningBroker,
) -> None:
    async with agents(embedded_broker) as air:
        air.poisoned = True  # the other bridge says no more than it must
        topic = air.bus.topics.org("patches", "state", ORG, "patch-1")
        state = {"members": [{"channel": PTT_CHANNEL, "suspended": True}]}
        air.bus.publish_retained(topic, encode(state))
        async with party(embedded_broker, "one") as one:
            await wait_until(lambda: one.held)
            await wait_until(lambda: len(air.shown().get("members", [])) == 2)
            await wait_until(lambda: air.shown()["members"][1].get("suspended") is True)
            await wait_until(lambda: air.shown()["members"][0]["health"] == "ok")
            air.say("floor.taken", hold_s=20)
            await wait_until(lambda: air.shown()["floor"] == "taken")
            assert air.keys() == []
            air.request(PTT_CHANNEL, id="r1", action="member.resume", patch="patch-1", **DESK)
            await wait_until(lambda: air.keys() and decided(air, "member.resumed"))
            assert decided(air, "member.resumed")[0]["by"] == "u1"


class Answering(Agents):
    """Agents that key what they are told to."""

    def _on_command(self, topic: str, payload: bytes) -> None:
        super()._on_command(topic, payload)
        command = self.commands[-1]
        if command["action"] == "floor.request":
            self.say(
                "command.result",
                command["channel"],
                transmission=command["transmission"],
                outcome="done",
            )


async def report_of_a_test(air: Agents) -> list[dict[str, Any]]:
    air.request(TRUNK_CHANNEL, id="t1", action="test", patch="patch-1", **DESK)
    await wait_until(
        lambda: [d for _, d in air.decisions if d.get("request") == "t1"], timeout_s=30
    )
    said = next(d for _, d in air.decisions if d.get("request") == "t1")
    assert said["state"] == "done", said
    return list(said["members"])


async def test_a_test_keys_each_member_in_turn_and_tells_delay_echo_and_loop(
    embedded_broker: RunningBroker,
) -> None:
    async with agents(embedded_broker, Answering) as air, party(embedded_broker, "one") as one:
        await healthy(air, one)
        testing = asyncio.create_task(report_of_a_test(air))
        await wait_until(lambda: air.keys())
        first = air.keys()[0]
        air.say("floor.taken", TRUNK_CHANNEL, stream="e1", caused_by=first["transmission"])
        await wait_until(lambda: len(air.keys()) == 2)
        air.say("floor.taken", TRUNK_CHANNEL, stream="l1", talker="")
        found = await testing
        assert [each["channel"] for each in found] == [TRUNK_CHANNEL, PTT_CHANNEL]
        assert [each["outcome"] for each in found] == ["done", "done"]
        assert all(each["delay_ms"] > 0 for each in found)
        assert found[0]["echo_s"] > 0
        assert found[0]["loops_to"] == []
        assert [each["channel"] for each in found[1]["loops_to"]] == [TRUNK_CHANNEL]
        assert air.shown()["floor"] == "idle"  # what came back was bridged nowhere
        both = [TRUNK_CHANNEL, PTT_CHANNEL]
        await wait_until(lambda: commanded(air, "floor.release") == both)
        assert commanded(air, "floor.request") == both


async def test_an_emergency_ends_a_test_and_is_bridged(embedded_broker: RunningBroker) -> None:
    async with agents(embedded_broker, Answering) as air, party(embedded_broker, "one") as one:
        await healthy(air, one)
        testing = asyncio.create_task(report_of_a_test(air))
        await wait_until(lambda: air.keys())
        air.say("floor.taken", TRUNK_CHANNEL, emergency=True, hold_s=20)
        found = await testing
        assert found[0]["outcome"] == "stopped"
        assert len(found) == 1
        await wait_until(lambda: air.shown()["floor"] == "taken")
        await wait_until(lambda: len(air.commands) >= 3)
        order = [(c["action"], c["channel"]) for c in air.commands][:3]
        assert order == [
            ("floor.request", TRUNK_CHANNEL),
            ("floor.release", TRUNK_CHANNEL),
            ("floor.request", PTT_CHANNEL),
        ]


async def test_a_patch_in_which_somebody_talks_is_not_tested(
    embedded_broker: RunningBroker,
) -> None:
    async with agents(embedded_broker) as air, party(embedded_broker, "one") as one:
        await healthy(air, one)
        air.say("floor.taken", hold_s=20)
        await wait_until(lambda: air.keys())
        air.request(TRUNK_CHANNEL, id="t1", action="test", patch="patch-1", **DESK)
        assert (await answer(air, "t1"))["state"] == "busy"


async def test_what_our_own_unit_says_is_never_bridged(embedded_broker: RunningBroker) -> None:
    """A third system may bring it back at any time, under our own name."""
    defined = definitions()
    ours = tuple(dataclasses.replace(each, gateway_unit_id="9990") for each in defined.channels)
    defined = dataclasses.replace(defined, channels=ours)
    async with agents(embedded_broker) as air, party(embedded_broker, "one", defined) as one:
        await healthy(air, one)
        air.say("floor.taken", talker=f"{TRUNK}/9990")
        await wait_until(lambda: one.bridge.counters.echoes == 1)
        air.say("floor.taken", stream="s2")
        await wait_until(lambda: air.keys() and decided(air, "floor.granted"))
        assert [data["stream"] for data in decided(air, "floor.granted")] == ["s2"]


async def test_what_an_agent_wrote_in_an_earlier_life_is_not_believed(
    embedded_broker: RunningBroker,
) -> None:
    async with agents(embedded_broker) as air, party(embedded_broker, "one") as one:
        await healthy(air, one)
        event = CloudEvent(
            id="old",
            source=f"hutong/{air.bus.node}/{TRUNK}",
            type="floor.taken",
            subject=TRUNK_CHANNEL,
            time="2026-01-01T00:00:00.000Z",
            epoch="an earlier life",
            sequence=10**9,
            uptime_ms=1,
            data={"stream": "old", "talker": f"{TRUNK}/1", "hold_s": 20},
        )
        topic = air.bus.topics.org("channels", "event", ORG, TRUNK_CHANNEL)
        air.bus.publish(topic, encode_event(event))
        await wait_until(lambda: one.bridge.counters.foreign == 1)
        air.say("floor.taken", stream="new", hold_s=20)
        await wait_until(lambda: air.keys() and decided(air, "floor.granted"))
        assert [data["stream"] for data in decided(air, "floor.granted")] == ["new"]


async def test_numbers_that_never_came_are_counted(embedded_broker: RunningBroker) -> None:
    async with agents(embedded_broker) as air, party(embedded_broker, "one") as one:
        await healthy(air, one)
        air.say("text.message", text="1")
        air._sequence += 5
        air.say("text.message", text="2")
        await wait_until(lambda: one.bridge.gaps() == 5)


async def test_a_patch_with_a_schedule_goes_on_and_off_by_itself(
    embedded_broker: RunningBroker,
) -> None:
    """Without a database: the bridge looks at the clock itself."""
    defined = definitions()
    now = datetime.now(UTC)
    night = {"timezone": "UTC", "from": f"{now - timedelta(hours=2):%H:%M}"}
    off = {**night, "to": f"{now - timedelta(hours=1):%H:%M}"}
    on = {**night, "to": f"{now + timedelta(hours=1):%H:%M}"}
    asleep = dataclasses.replace(defined.patches[0], schedule=off)
    awake = dataclasses.replace(defined.patches[0], schedule=on)
    async with (
        agents(embedded_broker) as air,
        party(embedded_broker, "one", dataclasses.replace(defined, patches=(asleep,))) as one,
    ):
        await wait_until(lambda: one.held)
        assert {len(floor.rules.members) for floor in one.bridge.floors()} == {1}
        one.bridge.define(dataclasses.replace(defined, patches=(awake,)))
        await wait_until(lambda: air.healthy())
        ends = awake.next_change(now)
        assert ends is not None
        assert timedelta(0) < ends - now <= timedelta(hours=1)


async def test_an_emergency_that_is_denied_is_never_silent(
    embedded_broker: RunningBroker,
) -> None:
    async with agents(embedded_broker) as air, party(embedded_broker, "one") as one:
        await healthy(air, one)
        air.say("floor.taken", emergency=True, hold_s=20)
        await wait_until(lambda: air.keys())
        air.say("floor.taken", PTT_CHANNEL, emergency=True, hold_s=20)
        await wait_until(lambda: decided(air, "floor.denied"))
        denied = decided(air, "floor.denied")[0]
        assert (denied["subject"], denied["emergency"]) == (PTT_CHANNEL, True)
        await wait_until(lambda: len(decided(air, "emergency.raised")) == 2)
        await wait_until(lambda: [c for c in air.commands if c["action"] == "text.send"])
        (text,) = [c for c in air.commands if c["action"] == "text.send"]
        assert text["channel"] == PTT_CHANNEL
        # And the one that holds the floor is not heard by who is busy with their own.
        await wait_until(lambda: decided(air, "emergency.undelivered"))
        assert decided(air, "emergency.undelivered")[0]["subject"] == PTT_CHANNEL
        await wait_until(lambda: len(air.shown()["emergencies"]) == 2)


async def test_what_a_broker_delivers_twice_counts_once(embedded_broker: RunningBroker) -> None:
    async with agents(embedded_broker) as air, party(embedded_broker, "one") as one:
        await healthy(air, one)
        air.say("floor.taken", hold_s=20)
        air.say("floor.idle")
        air._sequence -= 2
        air.say("floor.taken", hold_s=20)
        await wait_until(lambda: one.bridge.counters.repeats == 1)
        await wait_until(lambda: decided(air, "floor.granted"))
        assert len(decided(air, "floor.granted")) == 1
        assert not any(floor.holder for floor in one.bridge.floors())


async def test_a_queue_tells_places_on_the_bus_and_in_the_patch(
    embedded_broker: RunningBroker,
) -> None:
    defined = definitions(queue=True, queue_timeout_s=1.0)
    async with agents(embedded_broker) as air, party(embedded_broker, "one", defined) as one:
        await healthy(air, one)
        air.say("floor.taken", hold_s=20)
        air.say("floor.taken", PTT_CHANNEL, hold_s=20)
        await wait_until(lambda: decided(air, "floor.queued"))
        assert decided(air, "floor.queued")[0]["position"] == 1
        await wait_until(lambda: [q["channel"] for q in air.shown()["queue"]] == [PTT_CHANNEL])
        await wait_until(lambda: decided(air, "floor.denied"))
        assert decided(air, "floor.denied")[0]["reason"] == "waited too long"
        await wait_until(lambda: air.shown()["queue"] == [])


async def test_a_released_press_is_told(embedded_broker: RunningBroker) -> None:
    async with agents(embedded_broker) as air, party(embedded_broker, "one") as one:
        await healthy(air, one)
        air.request(PTT_CHANNEL, id="r1", action="press", **DESK)
        await answer(air, "r1")
        air.request(PTT_CHANNEL, id="r2", action="release", **DESK)
        await wait_until(lambda: decided(air, "floor.released"))
        said = decided(air, "floor.released")[0]
        assert (said["subject"], said["talker"]) == (PTT_CHANNEL, "user/u1")


async def test_a_press_ends_with_the_patch_that_it_held_and_it_is_told(
    embedded_broker: RunningBroker,
) -> None:
    async with agents(embedded_broker) as air, party(embedded_broker, "one") as one:
        await healthy(air, one)
        air.request(PTT_CHANNEL, id="r1", action="press", **DESK)
        await answer(air, "r1")
        one.bridge.define(dataclasses.replace(definitions(), patches=()))
        await wait_until(lambda: decided(air, "floor.released"))
        said = decided(air, "floor.released")[0]
        assert (said["talker"], said["reason"]) == ("user/u1", "the patch ends")
        await wait_until(
            lambda: sorted(commanded(air, "floor.release")) == [PTT_CHANNEL, TRUNK_CHANNEL]
        )
        air.request(PTT_CHANNEL, id="r2", action="refresh", **DESK)
        assert (await answer(air, "r2"))["state"] == "released"


async def test_who_was_cut_stays_cut_when_the_broker_comes_back(broker: RunningBroker) -> None:
    async with agents(broker) as air, party(broker, "one") as one:
        await healthy(air, one)
        air.say("floor.taken", hold_s=20)
        await wait_until(lambda: air.keys())
        air.request(PTT_CHANNEL, id="r1", action="clear", patch="patch-1", **DESK)
        await answer(air, "r1")
        await broker.kill()
        await wait_until(lambda: not one.held)
        await broker.start()
        await wait_until(lambda: one.held and air.bus.connected.is_set(), timeout_s=30)
        await wait_until(lambda: any(floor.present for floor in one.bridge.floors()), timeout_s=30)
        keyed = len(air.keys())
        air.say("floor.refreshed", hold_s=20)
        air.say("floor.taken", PTT_CHANNEL, stream="s2", hold_s=20)
        await wait_until(lambda: decided(air, "floor.granted")[1:])
        assert decided(air, "floor.granted")[-1]["subject"] == PTT_CHANNEL
        assert len(air.keys()) == keyed, "the trunk is busy with the talk that was cut"


async def test_what_was_decided_does_not_pile_up_behind_what_comes_in(
    embedded_broker: RunningBroker,
) -> None:
    async with agents(embedded_broker) as air, party(embedded_broker, "one") as one:
        await healthy(air, one)
        machine = next(m for m in one.bridge._machines.values() if m.id == "patch-1")
        for number in range(300):
            stream = str(number)
            one.bridge._step(
                machine, TalkHeard(channel=TRUNK_CHANNEL, stream=stream, talker=f"{TRUNK}/1")
            )
            one.bridge._step(machine, TalkEnded(channel=TRUNK_CHANNEL, stream=stream))
        turns = 0
        while one.bridge._untold:
            await asyncio.sleep(0)
            turns += 1
        assert turns < 150, "32 may come in with every turn"
        await wait_until(lambda: len(decided(air, "floor.granted")) == 300)
