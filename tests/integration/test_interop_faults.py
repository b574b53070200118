"""What goes wrong between agents, brokers and the bridge, and what must not follow from it."""

import asyncio
import dataclasses
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from brokers import Embedded, RunningBroker
from lab import ORG, PTT_CHANNEL, TRUNK, TRUNK_CHANNEL, definitions, radio_lab, ready, running
from patience import wait_until
from test_interop_journal import acknowledgements, events_of, journalling
from test_interop_two_bridges import Agents, agents, party

from gateway.bus.client import Bus
from gateway.bus.messages import CloudEvent, encode, encode_event, rfc3339
from gateway.bus.topics import Topics
from gateway.interop.definitions import ChannelDefinition, Definitions
from registry.database import Database

RETAINED = 10_000
pytest_plugins = ["databases"]


async def test_ten_thousand_retained_channels_are_all_heard_at_the_start(
    broker: RunningBroker,
) -> None:
    names = [f"channel-{number}" for number in range(RETAINED)]
    defined = Definitions(
        channels=tuple(
            ChannelDefinition(id=name, name=name, org=ORG, system_id=TRUNK) for name in names
        ),
        patches=(),
    )
    async with agents(broker) as air:
        for name in names:
            air.speak_for(name)
        await wait_until(lambda: not air.bus._unsent and not air.bus.unconfirmed, timeout_s=90)
        async with party(broker, "one", defined) as one:
            await wait_until(
                lambda: sum(bool(f.present) for f in one.bridge.floors()) == RETAINED,
                timeout_s=60,
                what="every channel's agent is known",
            )
            air.say("floor.taken", names[-1])
            await wait_until(lambda: any(f.holder == names[-1] for f in one.bridge.floors()))


async def test_a_node_that_died_while_the_broker_was_dead_is_not_believed_for_ever(
    broker: RunningBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.bus.client.STATUS_TTL_S", 2.0)
    monkeypatch.setattr("gateway.bus.client.STATUS_EVERY_S", 0.5)
    async with party(broker, "one") as one:
        dead = Bus(broker.address, node="agent", topics=Topics(), roles=("agent",))
        air = Agents(dead)
        async with running(dead.run()) as (life,):
            await wait_until(lambda: dead.connected.is_set())
            for channel in (TRUNK_CHANNEL, PTT_CHANNEL):
                air.speak_for(channel)
            await wait_until(lambda: air.healthy())
            await broker.kill()
            life.cancel()
        await broker.start()
        await wait_until(lambda: one.bus.connected.is_set() and one.held)
        # The broker may still say that it is online, and nobody will ever take that back.
        await wait_until(lambda: not any(f.present for f in one.bridge.floors()))
        assert one.bridge._presence.epoch("agent") in (None, dead.epoch)


async def test_a_broker_that_lost_its_disk_in_a_call_is_bridged_by_a_higher_epoch(
    broker: RunningBroker,
) -> None:
    async with radio_lab(broker) as lab:
        assert lab.phone.press("Patrol")
        heard = await lab.listener.wait_heard()
        await wait_until(lambda: heard.frames > 2)
        obeyed = lab.bus.bridge_epoch
        await broker.kill()
        broker.forget()
        await broker.start()
        heard = await lab.listener.wait_heard(ended=True)
        lab.phone.release()
        await wait_until(lambda: lab.bridge_bus.connected.is_set() and lab.bus.connected.is_set())
        await wait_until(lambda: ready(lab), timeout_s=60, what="bridging again")
        count = len(lab.listener.heard)
        assert lab.phone.press("Patrol")
        await lab.listener.wait_heard(count + 1)
        assert lab.bus.bridge_epoch > obeyed


async def test_a_talker_who_never_stops_is_cut_and_comes_in_again_only_with_a_new_talk(
    embedded_broker: RunningBroker,
) -> None:
    defined = definitions(max_talk_s=1.0, hang_s=0.0)
    async with agents(embedded_broker) as air, party(embedded_broker, "one", defined) as one:
        await wait_until(lambda: one.held and air.healthy())
        air.say("floor.taken", stream="endless")
        await wait_until(lambda: air.keys())

        async def talk_on() -> None:
            while True:
                air.say("floor.refreshed", stream="endless")
                await asyncio.sleep(0.1)

        async with running(talk_on()):
            await wait_until(lambda: [k for k, _ in air.decisions if k == "hutong.floor.revoked"])
            await wait_until(lambda: air.shown()["floor"] == "idle")
            since, heard = len(air.commands), one.bridge.counters.events
            await wait_until(lambda: one.bridge.counters.events >= heard + 10)
            assert air.keys(since) == []
        air.say("floor.idle", stream="endless")
        air.say("floor.taken", stream="fresh")
        await wait_until(lambda: air.keys(since))


async def test_clocks_a_day_apart_change_nothing_of_a_call(
    embedded_broker: RunningBroker,
) -> None:
    async with agents(embedded_broker) as air, party(embedded_broker, "one") as one:
        await wait_until(lambda: one.held and air.healthy())
        for days, channel, other in ((1, TRUNK_CHANNEL, PTT_CHANNEL), (-1, PTT_CHANNEL, "")):
            since = len(air.commands)
            publish(air, "floor.taken", days=days, channel=channel, stream=f"s{days}")
            await keyed(air, since, other or TRUNK_CHANNEL)
            publish(air, "floor.idle", days=days, channel=channel, stream=f"s{days}")
            await wait_until(lambda: air.shown()["floor"] == "idle")


async def keyed(air: Agents, since: int, channel: str) -> None:
    await wait_until(lambda: air.keys(since))
    assert {c["channel"] for c in air.keys(since)} == {channel}


def publish(
    air: Agents, kind: str, *, days: float, channel: str, topic: str = "", **data: Any
) -> CloudEvent:
    """As `Agents.say`, by a clock that is so many days off."""
    air._sequence += 1
    event = CloudEvent(
        id=uuid.uuid4().hex,
        source=f"hutong/{air.bus.node}/{TRUNK}",
        type=kind,
        subject=channel,
        time=rfc3339(datetime.now(UTC) + timedelta(days=days)),
        epoch=air.bus.epoch,
        sequence=air._sequence,
        uptime_ms=air.bus.uptime_ms(),
        data={"talker": f"{TRUNK}/12", "hold_s": 20.0, **data},
    )
    place = topic or air.bus.topics.org("channels", "event", ORG, channel)
    assert air.bus.publish(place, encode_event(event))
    return event


async def test_an_emergency_of_three_hours_ago_is_stored_and_takes_the_floor_from_nobody(
    embedded_broker: RunningBroker, journal_store: Database, database: Database
) -> None:
    async with journalling(embedded_broker, journal_store, database) as (air, one, _):
        air.say("floor.taken", PTT_CHANNEL, stream="live", hold_s=20)
        await wait_until(lambda: air.shown()["floor"] == "taken")
        backlog = air.bus.topics.system_backlog(TRUNK)
        late = publish(air, "emergency.raised", days=-0.125, channel=TRUNK_CHANNEL, topic=backlog)
        found: list[Any] = []

        async def look() -> None:
            while not found:
                found.extend(await events_of(journal_store, type="emergency.raised"))
                await asyncio.sleep(0.05)

        async with asyncio.timeout(30):
            await look()
        assert [(each.id, each.late) for each in found] == [(late.id, True)]
        assert air.shown()["holder"]["channel"] == PTT_CHANNEL
        assert air.shown()["emergency"] is False
        assert not any(floor.emergencies for floor in one.bridge.floors())


async def test_what_the_broker_acknowledges_and_drops_is_not_acknowledged_by_the_journal(
    embedded_broker: RunningBroker, journal_store: Database, database: Database
) -> None:
    assert isinstance(embedded_broker, Embedded)
    async with journalling(embedded_broker, journal_store, database) as (air, _, it):
        acknowledged = acknowledgements(air)
        air.say("unit.affiliated")
        await wait_until(lambda: acknowledged and acknowledged[-1]["sequence"] == 1)
        reader = Bus(embedded_broker.broker.reader, node="agent-2", topics=Topics())
        async with running(reader.run()):
            await wait_until(lambda: reader.connected.is_set())
            lost = dataclasses.replace(_event(air, 2), source=f"hutong/{air.bus.node}/{TRUNK}")
            topic = air.bus.topics.org("channels", "event", ORG, TRUNK_CHANNEL)
            assert reader.publish(topic, encode_event(lost))
            await wait_until(lambda: not reader.unconfirmed, what="the broker acknowledges it")
        air._sequence = 2
        air.say("unit.affiliated")
        await wait_until(lambda: it.counters.stored == 2)
        seen = len(acknowledged)
        air.bus.publish(air.bus.topics.system_backlog(TRUNK), encode_event(_event(air, 2)))
        await wait_until(lambda: acknowledged[-1]["sequence"] == 3)
        assert [each["sequence"] for each in acknowledged[:seen]] == [1] * seen
        assert len(await events_of(journal_store, type="unit.affiliated")) == 3


def _event(air: Agents, sequence: int) -> CloudEvent:
    return CloudEvent(
        id=f"occurrence-{sequence}",
        source=f"hutong/{air.bus.node}/{TRUNK}",
        type="unit.affiliated",
        subject=TRUNK_CHANNEL,
        time=rfc3339(datetime.now(UTC)),
        epoch=air.bus.epoch,
        sequence=sequence,
        uptime_ms=air.bus.uptime_ms(),
        data={"talker": f"{TRUNK}/1", "talker_alias": ""},
    )


async def test_an_old_will_after_a_new_birth_ends_no_call(
    embedded_broker: RunningBroker,
) -> None:
    async with agents(embedded_broker) as air, party(embedded_broker, "one") as one:
        await wait_until(lambda: one.held and air.healthy())
        air.say("floor.taken", hold_s=20)
        await wait_until(lambda: air.shown()["floor"] == "taken")
        will = {"state": "offline", "epoch": "earlier", "uptime_ms": 1, "ttl_s": 30}
        air.bus.publish_retained(air.bus.topics.status(air.bus.node), encode(will))
        before = one.bridge.counters.events
        air.say("floor.refreshed", hold_s=20)
        await wait_until(lambda: one.bridge.counters.events > before)
        assert air.shown()["floor"] == "taken"
        assert air.healthy()
