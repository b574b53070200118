"""A press on one side keys the other, through real wires and a real broker, both kinds."""

import asyncio
import time
from typing import Any

import pytest
from brokers import RunningBroker
from lab import (
    PTT_CHANNEL,
    SLOT,
    TALKGROUP,
    TRUNK,
    TRUNK_CHANNEL,
    Lab,
    definitions,
    radio_lab,
    ready,
)
from patience import wait_until

from gateway.bus.messages import encode
from gateway.interop.definitions import UnitDefinition
from simulators.zello_server import Kind


async def test_a_radio_press_starts_a_stream_named_by_a_text_and_its_release_ends_it(
    broker: RunningBroker,
) -> None:
    async with radio_lab(broker) as lab:
        assert lab.radio.press(TALKGROUP, SLOT)
        heard = await lab.phone.wait_heard()
        assert heard.sender == "gateway"
        texts = [t.text for t in lab.phone.texts]
        assert any("3101001" in text for text in texts)
        order = [r.kind for r in lab.server.log if r.kind in (Kind.TEXT, Kind.START)]
        assert order == [Kind.TEXT, Kind.START]
        await wait_until(lambda: lab.patch_state().get("floor") == "taken")
        assert lab.patch_state()["holder"]["talker"] == f"{TRUNK}/3101001"
        await wait_until(lambda: heard.packets > 3)
        await lab.radio.release()
        await wait_until(lambda: heard.ended_s is not None)
        await wait_until(lambda: lab.patch_state()["floor"] == "idle")
        await wait_until(lambda: lab.channel_state(PTT_CHANNEL)["transmission"] is None)


async def test_a_phone_press_keys_the_talkgroup_and_its_release_ends_it(
    broker: RunningBroker,
) -> None:
    async with radio_lab(broker) as lab:
        assert lab.phone.press("Patrol")
        heard = await lab.listener.wait_heard()
        assert heard.talkgroup == TALKGROUP
        assert heard.origin == "master"
        await wait_until(lambda: heard.frames > 12)
        lab.phone.release()
        heard = await lab.listener.wait_heard(ended=True)
        assert heard.ended_by == "terminator"
        assert heard.faults == []
        assert heard.missing == 0


async def test_a_unit_that_has_an_address_there_appears_under_it(
    embedded_broker: RunningBroker,
) -> None:
    unit = UnitDefinition(
        alias="Chen Jie", priority=3, addresses={"system-ptt": "phone-1", TRUNK: "3109999"}
    )
    async with radio_lab(embedded_broker, definitions(units=(unit,))) as lab:
        assert lab.phone.press("Patrol")
        heard = await lab.listener.wait_heard()
        assert heard.source == 3109999
        await wait_until(lambda: lab.patch_state().get("holder"))
        assert lab.patch_state()["holder"]["talker_alias"] == "Chen Jie"


async def test_a_press_on_both_sides_has_one_winner_and_the_loser_is_told(
    broker: RunningBroker,
) -> None:
    async with radio_lab(broker) as lab:
        assert lab.radio.press(TALKGROUP, SLOT)
        assert lab.phone.press("Patrol")
        await wait_until(lambda: lab.heard.of("floor.denied"))
        granted, denied = lab.heard.of("floor.granted"), lab.heard.of("floor.denied")
        assert len(granted) == 1
        assert len(denied) == 1
        assert {granted[0]["subject"], denied[0]["subject"]} == {TRUNK_CHANNEL, PTT_CHANNEL}
        if denied[0]["subject"] == PTT_CHANNEL:
            await lab.server.log.wait(Kind.TEXT, username="gateway")
        assert denied[0]["reason"].endswith("talks")
        await lab.radio.release()
        lab.phone.release()
        await wait_until(lambda: lab.patch_state()["floor"] == "idle")


async def test_what_we_keyed_is_never_bridged_back(broker: RunningBroker) -> None:
    async with radio_lab(broker) as lab:
        for turn in range(3):
            assert lab.radio.press(TALKGROUP, SLOT)
            heard = await lab.phone.wait_heard(turn + 1)
            await lab.radio.release()
            await wait_until(lambda heard=heard: heard.ended_s is not None)
            await wait_until(lambda: lab.patch_state()["floor"] == "idle")
        assert len(lab.heard.of("floor.granted")) == 3
        assert all(g["subject"] == TRUNK_CHANNEL for g in lab.heard.of("floor.granted"))
        assert lab.listener.heard == [] or all(
            heard.origin == "air" for heard in lab.listener.heard
        )


async def test_the_radio_unkeys_when_the_broker_dies_in_the_middle(
    broker: RunningBroker,
) -> None:
    async with radio_lab(broker) as lab:
        assert lab.phone.press("Patrol")
        heard = await lab.listener.wait_heard()
        await wait_until(lambda: heard.frames > 2)
        killed_s = time.monotonic()
        await broker.kill()
        heard = await lab.listener.wait_heard(ended=True)
        assert heard.ended_by == "terminator"
        assert heard.ended_s is not None
        assert heard.ended_s - killed_s < 2.5
        lab.phone.release()
        await broker.start()
        await wait_until(lambda: lab.bus.connected.is_set())
        await wait_until(lambda: ready(lab), timeout_s=15, what="bridging again")
        count = len(lab.phone.heard)
        assert lab.radio.press(TALKGROUP, SLOT)
        await lab.phone.wait_heard(count + 1)


async def test_the_radio_unkeys_within_its_lease_when_the_bridge_dies_in_the_middle(
    broker: RunningBroker,
) -> None:
    async with radio_lab(broker) as lab:
        assert lab.phone.press("Patrol")
        heard = await lab.listener.wait_heard()
        await wait_until(lambda: heard.frames > 2)
        link = lab.bridge_bus._link
        assert link is not None
        link.abort()  # as kill -9 would: no goodbye
        lab.bridge_task.cancel()
        gone_s = time.monotonic()
        heard = await lab.listener.wait_heard(ended=True)
        assert heard.ended_by == "terminator"
        assert heard.ended_s is not None
        assert heard.ended_s - gone_s < 2.3
        assert lab.phone.pressing  # the phone talks on; only our key is gone


async def test_a_repeater_that_is_unplugged_while_talking_frees_the_floor(
    embedded_broker: RunningBroker,
) -> None:
    async with radio_lab(embedded_broker) as lab:
        assert lab.radio.press(TALKGROUP, SLOT)
        heard = await lab.phone.wait_heard()
        lab.repeater.unplug()
        await wait_until(lambda: heard.ended_s is not None)
        await wait_until(lambda: lab.patch_state()["floor"] == "idle")
        await wait_until(lambda: lab.heard.of("floor.idle", TRUNK_CHANNEL))
        assert lab.heard.of("floor.idle", TRUNK_CHANNEL)[-1]["reason"] in ("lost", "timeout")


async def test_a_server_that_ends_our_stream_is_shown_and_not_fought(
    embedded_broker: RunningBroker,
) -> None:
    async with radio_lab(embedded_broker) as lab:
        assert lab.radio.press(TALKGROUP, SLOT)
        await lab.phone.wait_heard()
        assert lab.server.end_stream("Patrol")
        await wait_until(lambda: _missed(lab), what="the member is shown as missed")
        assert lab.patch_state()["floor"] == "taken"
        assert len(lab.server.log.of(Kind.START, "gateway")) == 1


def _missed(lab: Lab) -> bool:
    members = lab.patch_state()["members"]
    return any(m["channel"] == PTT_CHANNEL and m["missed"] for m in members)


async def test_a_dispatcher_press_keys_both_and_ends_without_refresh(
    embedded_broker: RunningBroker,
) -> None:
    async with radio_lab(embedded_broker) as lab:
        topic = lab.bus.topics.org("channels", "request", "shenhe/wanlian", TRUNK_CHANNEL)
        request = {"id": "r1", "action": "press", "user": "u1", "alias": "Desk", "priority": 5}
        lab.bus.publish(topic, encode(request))
        await lab.phone.wait_heard()
        await lab.listener.wait_heard()
        answers = lambda: [d for _, d in lab.heard.events if d.get("request") == "r1"]  # noqa: E731
        await wait_until(answers)
        assert answers()[0]["state"] == "granted"
        heard = await lab.listener.wait_heard(ended=True)
        assert heard.ended_by == "terminator"


def requests(lab: Lab) -> list[dict[str, Any]]:
    return [c for c in lab.heard.commands if c["action"] == "floor.request"]


@pytest.mark.parametrize("age", ["late", "other life", "superseded"])
async def test_a_stale_press_never_keys_a_radio(embedded_broker: RunningBroker, age: str) -> None:
    async with radio_lab(embedded_broker) as lab:
        assert lab.phone.press("Patrol")
        await lab.listener.wait_heard()
        await wait_until(lambda: requests(lab))
        sent = requests(lab)[0]
        lab.phone.release()
        await lab.listener.wait_heard(ended=True)
        lab.heard.poisoned = True  # epoch 0 is nobody's
        stale = {**sent, "id": f"stale-{age}", "transmission": "stale"}
        stale["not_after_ms"] += 60_000
        if age == "late":
            stale["not_after_ms"] = lab.bus.uptime_ms() - 1
        elif age == "other life":
            stale["agent_epoch"] = "an-earlier-one"
        else:
            stale["bridge_epoch"] -= 1
        channel = stale.pop("channel")
        topic = lab.bus.topics.org("channels", "command", "shenhe/wanlian", channel)
        lab.bridge_bus.publish(topic, encode(stale))
        await wait_until(
            lambda: [r for r in lab.heard.of("command.result") if r["command"] == stale["id"]]
        )
        result = next(r for r in lab.heard.of("command.result") if r["command"] == stale["id"])
        assert result["outcome"] == "refused"
        assert len(lab.listener.heard) == 1


async def test_an_unknown_payload_is_counted_and_bridging_goes_on(
    embedded_broker: RunningBroker,
) -> None:
    async with radio_lab(embedded_broker) as lab:
        lab.heard.poisoned = True
        topics = lab.bus.topics
        for payload in (b"", b"\x00\xff", b"[]", b'{"type":"hutong.floor.taken"}'):
            for kind in ("event", "command", "request", "state"):
                topic = topics.org("channels", kind, "shenhe/wanlian", TRUNK_CHANNEL)
                lab.bus.publish(topic, payload)
        await wait_until(lambda: lab.bridge_bus.counters.unreadable >= 6)
        await asyncio.sleep(0)
        lab.trunk._publish_state(lab.trunk._states[TRUNK_CHANNEL])
        await wait_until(lambda: ready(lab))
        assert lab.radio.press(TALKGROUP, SLOT)
        await lab.phone.wait_heard()
