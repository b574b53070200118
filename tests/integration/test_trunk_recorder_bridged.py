"""A trunk-recorder's feed in a patch with a PTT group: simulated recorder and its broker, the
adapter, its agent, the bus, the bridge, a PTT server and a phone."""

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from brokers import RunningBroker
from lab import ORG, PTT, PTT_CHANNEL, Heard, _listen, running
from patience import wait_until

from gateway.agents.build import radio_adapter
from gateway.agents.radio import Channel, RadioAgent
from gateway.agents.supervisor import Budget
from gateway.bus.client import Bus
from gateway.bus.presence import Presence
from gateway.bus.topics import Topics
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
from gateway.roster import traits_of
from simulators.trunk_recorder import BrokerPlace, Radio, TrunkRecorder
from simulators.zello_server import Kind, Phone, ZelloServer

FEED, FEED_CHANNEL = "system-feed", "channel-feed"
ADDRESS = "BEE00-1AE/3029"
HOLD_S = 3.0


def definitions() -> Definitions:
    feed = traits_of("trunk_recorder")
    return Definitions(
        channels=(
            ChannelDefinition(
                id=FEED_CHANNEL,
                name="Metro North",
                org=ORG,
                system_id=FEED,
                receive_only=feed.receive_only,
                advisory=feed.advisory,
            ),
            ChannelDefinition(id=PTT_CHANNEL, name="Patrol", org=ORG, system_id=PTT, can_tell=True),
        ),
        patches=(
            PatchDefinition(
                id="patch-1",
                name="Listen in",
                org=ORG,
                hang_s=0.3,
                max_talk_s=60.0,
                queue=False,
                voice=Voice.SILENCE,
                members=(PatchMember(channel=FEED_CHANNEL), PatchMember(channel=PTT_CHANNEL)),
            ),
        ),
    )


@dataclasses.dataclass(slots=True)
class Scene:
    recorder: TrunkRecorder
    radio: Radio
    server: ZelloServer
    phone: Phone
    heard: Heard

    def patch(self) -> dict[str, Any]:
        return self.heard.states.get("patch-1", {})

    def ready(self) -> bool:
        members = self.patch().get("members", [])
        return len(members) == 2 and all(member["health"] == "ok" for member in members)


@contextlib.asynccontextmanager
async def scene(broker: RunningBroker) -> AsyncIterator[Scene]:
    loop, at = asyncio.get_running_loop(), broker.address
    place = BrokerPlace(
        host=at.host, port=at.port, username=at.username or "", password=at.password or ""
    )
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(
            ZelloServer(accounts={"gateway": "secret"}, channels=["Patrol"])
        )
        phone = server.phone("phone-1")
        recorder = await stack.enter_async_context(
            TrunkRecorder(place, topic="tr/feeds", unit_topic="tr/units", period_s=0.5)
        )
        agent_bus = Bus(at, node="agent", topics=Topics(), roles=("agent",))
        bridge_bus = Bus(at, node="bridge", topics=Topics(), roles=("bridge",))
        watch_bus = Bus(at, node="watch", topics=Topics())
        heard = Heard()
        _listen(watch_bus, heard)
        presence = Presence(bridge_bus, loop.time)
        lease = BridgeLease(bridge_bus, presence)
        bridge = Bridge(bridge_bus, presence, lease, Directory())
        bridge.define(definitions())

        def make_feed(addresses: tuple[str, ...]) -> Any:
            settings = {
                "broker": f"mqtt://{at.host}:{at.port}",
                "username": at.username or "",
                "password": at.password or "",
                "topic": "tr/feeds",
                "unit_topic": "tr/units",
                "hold_s": HOLD_S,
                "systems": {"east-antenna:p25trunk": "BEE00-1AE"},
            }
            return radio_adapter("trunk_recorder", settings, addresses)

        def make_ptt(addresses: tuple[str, ...]) -> Any:
            settings = {"url": server.url, "username": "gateway", "password": "secret"}
            return radio_adapter("zello", settings, addresses)

        budget = Budget()
        agents = [
            RadioAgent(
                agent_bus,
                system_id=system,
                org=ORG,
                make=make,
                traits=traits_of(kind),
                channels=(Channel(id=channel, address=address, org=ORG),),
                budget=budget,
            )
            for system, kind, make, channel, address in (
                (FEED, "trunk_recorder", make_feed, FEED_CHANNEL, ADDRESS),
                (PTT, "zello", make_ptt, PTT_CHANNEL, "Patrol"),
            )
        ]
        await stack.enter_async_context(
            running(watch_bus.run(), agent_bus.run(), lease.run(), bridge_bus.run())
        )
        await watch_bus.connected.wait()
        await stack.enter_async_context(running(*(agent.run() for agent in agents)))
        it = Scene(recorder, recorder.radio(849183, "Metro 3"), server, phone, heard)
        await wait_until(it.ready, timeout_s=10, what=f"all ready: {heard.states}")
        yield it


async def test_a_talk_on_the_feed_keys_the_phones_and_its_end_unkeys_them(
    broker: RunningBroker,
) -> None:
    async with scene(broker) as it:
        assert it.radio.press(3029)
        heard = await it.phone.wait_heard()
        assert any("Metro 3" in text.text for text in it.phone.texts)
        await wait_until(lambda: it.heard.of("floor.taken", FEED_CHANNEL))
        taken = it.heard.of("floor.taken", FEED_CHANNEL)[0]
        assert taken["talker"] == f"{FEED}/BEE00-1AE/849183"
        assert taken["hold_s"] == HOLD_S
        it.radio.release()
        await wait_until(lambda: heard.ended_s is not None)
        await wait_until(lambda: it.patch()["floor"] == "idle")
        await wait_until(lambda: it.heard.of("floor.idle", FEED_CHANNEL))
        assert it.heard.of("floor.idle", FEED_CHANNEL)[0]["reason"] == "released"


async def test_phones_are_unkeyed_after_the_hold_when_the_end_never_comes(
    broker: RunningBroker,
) -> None:
    async with scene(broker) as it:
        assert it.radio.press(3029)
        heard = await it.phone.wait_heard()
        it.recorder.feed.silent = True
        silent_s = time.monotonic()
        await wait_until(lambda: heard.ended_s is not None)
        assert heard.ended_s is not None
        assert heard.ended_s - silent_s < HOLD_S + 1.5
        await wait_until(lambda: it.patch()["floor"] == "idle")
        it.recorder.feed.silent = False
        again = await it.phone.wait_heard(2)  # it talks on: late entry
        await wait_until(lambda: len(it.heard.of("floor.taken", FEED_CHANNEL)) > 1)
        assert it.heard.of("floor.taken", FEED_CHANNEL)[-1]["late_entry"] is True
        it.radio.release()
        await wait_until(lambda: again.ended_s is not None)


async def test_a_phone_takes_the_floor_from_the_feed_at_once(
    embedded_broker: RunningBroker,
) -> None:
    async with scene(embedded_broker) as it:
        it.radio.press(3029, emergency=True)
        heard = await it.phone.wait_heard()
        await wait_until(lambda: it.heard.of("emergency.raised", FEED_CHANNEL))
        assert it.server.end_stream("Patrol")  # the server lets the phone in
        await wait_until(lambda: heard.ended_s is not None)
        assert it.phone.press("Patrol")
        await wait_until(lambda: (it.patch().get("holder") or {}).get("channel") == PTT_CHANNEL)
        revoked = it.heard.of("floor.revoked", FEED_CHANNEL)
        assert len(revoked) == 1
        it.phone.release()
        await wait_until(lambda: it.patch()["floor"] == "idle")
        await asyncio.sleep(1.2)  # lists go on saying that the radio talks
        assert len(it.server.log.of(Kind.START, "gateway")) == 1
        it.radio.release()


async def test_a_lost_connection_of_the_recorder_and_its_old_will_end_nothing(
    embedded_broker: RunningBroker,
) -> None:
    async with scene(embedded_broker) as it:
        it.recorder.feed.drop()
        await it.recorder.feed.changes.until(lambda: it.recorder.feed.connects == 2)
        assert it.radio.press(3029)
        await it.phone.wait_heard()
        await wait_until(lambda: it.heard.states[FEED_CHANNEL]["floor"] == "taken")
        assert it.heard.states[FEED_CHANNEL]["health"] == "ok"
        it.radio.release()


@pytest.mark.parametrize("fault", ["duplicate", "delay"])
async def test_duplicates_and_delays_make_one_talk_of_one_press(
    embedded_broker: RunningBroker, fault: str
) -> None:
    async with scene(embedded_broker) as it:
        if fault == "duplicate":
            it.recorder.feed.duplicate = True
        else:
            it.recorder.feed.delay_s = 0.3
        assert it.radio.press(3029)
        await it.phone.wait_heard()
        it.radio.release()
        await wait_until(lambda: it.heard.of("floor.idle", FEED_CHANNEL))
        await wait_until(lambda: it.heard.states[FEED_CHANNEL].get("measured"))
        assert len(it.heard.of("floor.taken", FEED_CHANNEL)) == 1
        assert it.heard.states[FEED_CHANNEL]["measured"]["lag_s"] >= 3


async def test_what_a_broker_kept_of_another_day_keys_nobody(
    embedded_broker: RunningBroker,
) -> None:
    async with scene(embedded_broker) as it:
        it.recorder.leave_retained(849183, 3029)
        await asyncio.sleep(0)
        address = embedded_broker.address
        events: list[Any] = []
        adapter = radio_adapter(
            "trunk_recorder",
            {
                "broker": f"mqtt://{address.host}:{address.port}",
                "username": address.username,
                "password": address.password,
                "topic": "tr/feeds",
                "unit_topic": "tr/units",
            },
            (ADDRESS,),
        )
        async with running(adapter.run(events.append)):
            await wait_until(lambda: events, what="it is online")
            await asyncio.sleep(1.0)
        assert [type(event).__name__ for event in events] == ["Online"]


async def test_a_broker_that_dies_in_a_talk_is_read_again_when_it_is_back(
    broker: RunningBroker,
) -> None:
    async with scene(broker) as it:
        assert it.radio.press(3029)
        first = await it.phone.wait_heard()
        await broker.kill()
        await wait_until(lambda: first.ended_s is not None)
        await broker.start()
        await wait_until(
            lambda: it.heard.states.get(FEED_CHANNEL, {}).get("floor") == "taken" and it.ready(),
            timeout_s=60,
            what="the feed is heard again",
        )
        again = await it.phone.wait_heard(2)  # it talks on: late entry
        it.radio.release()
        await wait_until(lambda: again.ended_s is not None)
