"""A simulated MMDVMHost on a real broker, and the adapter that reads it."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator
from typing import Any, Literal

import pytest
from brokers import RunningBroker
from lab import running
from patience import wait_until

from adapters.events import (
    ChannelHealth,
    ChannelMeasured,
    Event,
    FloorIdle,
    FloorRefreshed,
    FloorTaken,
    Malformed,
    Online,
)
from gateway.agents.build import radio_adapter
from simulators.mmdvm_host import BrokerPlace, MmdvmHost

CHANNEL = "DMR/2/9"


@dataclasses.dataclass(slots=True)
class Scene:
    host: MmdvmHost
    events: list[Event]

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if type(event) is kind]


@contextlib.asynccontextmanager
async def scene(
    broker: RunningBroker, *, dialect: Literal["ids", "src"] = "ids", **settings: Any
) -> AsyncIterator[Scene]:
    at, events = broker.address, list[Event]()
    place = BrokerPlace(
        host=at.host, port=at.port, username=at.username or "", password=at.password or ""
    )
    given = {
        "broker": f"mqtt://{at.host}:{at.port}",
        "username": at.username or "",
        "password": at.password or "",
        **settings,
    }
    adapter = radio_adapter("mmdvm", given, (CHANNEL,))
    client_id = "MMDVMHost-7" if at.username else None  # nats-server refuses the full stop
    async with (
        MmdvmHost(place, dialect=dialect, period_s=0.2, client_id=client_id) as host,
        running(adapter.run(events.append)),
    ):
        it = Scene(host, events)
        await wait_until(lambda: it.of(Online))
        yield it


@pytest.mark.parametrize("dialect", ["ids", "src"])
async def test_a_talk_in_either_dialect(
    broker: RunningBroker, dialect: Literal["ids", "src"]
) -> None:
    async with scene(broker, dialect=dialect) as it:
        radio = it.host.radio(3180202, "KN4OQW")
        assert radio.press(9, slot=2)
        other = it.host.network_begins(1, 9, slot=1)
        await wait_until(lambda: it.of(FloorRefreshed))
        radio.say_alias("Clint")
        it.host.network_ends(other)
        radio.release()
        await wait_until(lambda: it.of(ChannelMeasured))
        (taken,) = it.of(FloorTaken)
        assert (taken.address, taken.talker, taken.talker_alias) == (CHANNEL, "3180202", "KN4OQW")
        assert it.of(FloorRefreshed)[-1].talker_alias == "Clint"
        (idle,) = it.of(FloorIdle)
        assert (idle.stream, idle.reason) == (taken.stream, "released")
        assert it.of(ChannelMeasured)[-1].rssi_dbm == -64.0


async def test_a_host_whose_clock_is_a_day_off_is_read_and_told(
    embedded_broker: RunningBroker,
) -> None:
    async with scene(embedded_broker) as it:
        it.host.clock_offset_s = -86_400.0
        radio = it.host.radio(3180202)
        radio.press(9, slot=2)
        await wait_until(lambda: it.of(FloorTaken))
        radio.release()
        await wait_until(lambda: it.of(FloorIdle) and it.of(ChannelMeasured))
        assert it.of(ChannelMeasured)[-1].clock_offset_s == pytest.approx(-86_400, abs=30)


async def test_a_missing_end_is_lost_after_the_hold(embedded_broker: RunningBroker) -> None:
    async with scene(embedded_broker, hold_s=3.0) as it:
        it.host.no_ends = True
        radio = it.host.radio(3180202)
        radio.press(9, slot=2)
        radio.release()
        await wait_until(lambda: it.of(FloorIdle))
        assert it.of(FloorIdle)[0].reason == "lost"


async def test_duplicates_make_one_talk_and_orphans_are_counted(
    embedded_broker: RunningBroker,
) -> None:
    async with scene(embedded_broker) as it:
        it.host.feed.duplicate = True
        radio = it.host.radio(3180202)
        radio.press(9, slot=2)
        await wait_until(lambda: it.of(FloorRefreshed))
        radio.release()
        await wait_until(lambda: it.of(FloorIdle))
        it.host.feed.duplicate = False
        it.host.end_without_start(slot=2)
        await wait_until(lambda: it.of(Malformed))
        assert len(it.of(FloorTaken)) == len(it.of(FloorIdle)) == len(it.of(Malformed)) == 1


async def test_a_host_that_reconnects_in_a_talk_loses_only_that(
    embedded_broker: RunningBroker,
) -> None:
    async with scene(embedded_broker, hold_s=3.0) as it:
        radio = it.host.radio(3180202)
        radio.press(9, slot=2)
        await wait_until(lambda: it.of(FloorTaken))
        it.host.feed.drop()
        await wait_until(lambda: not it.host.feed.connected)
        radio.release()  # nobody hears of it
        await it.host.feed.changes.until(lambda: it.host.feed.connects == 2)
        assert radio.press(9, slot=2)
        await wait_until(lambda: len(it.of(FloorTaken)) == 2)
        assert [idle.reason for idle in it.of(FloorIdle)] == ["lost"]


async def test_what_somebody_made_the_broker_keep_is_not_believed(
    embedded_broker: RunningBroker,
) -> None:
    async with scene(embedded_broker) as it:
        document = b'{"DMR":{"action":"start","source":"rf","slot":2,"source_id":1,"dst_id":9}}'
        it.host.feed.publish_raw("mmdvm/json", document, retain=True)
        await wait_until(lambda: it.of(FloorTaken))
        late: list[Event] = []
        at = embedded_broker.address
        given = {"broker": f"mqtt://{at.host}:{at.port}", "username": at.username}
        settings = {**given, "password": at.password}
        async with running(radio_adapter("mmdvm", settings, (CHANNEL,)).run(late.append)):
            await wait_until(lambda: late)
            it.host.radio(2).press(9, slot=1)
            await wait_until(lambda: len(late) > 1)
        assert [type(event) for event in late] == [Online, FloorTaken]
        assert isinstance(late[1], FloorTaken)
        assert late[1].talker == "2"


async def test_a_modem_that_fails_degrades_the_channels(embedded_broker: RunningBroker) -> None:
    async with scene(embedded_broker) as it:
        it.host.tell("error", "no reply from the modem")
        await wait_until(lambda: it.of(ChannelHealth))
        it.host.tell("idle")
        await wait_until(lambda: len(it.of(ChannelHealth)) == 2)
        assert [h.health for h in it.of(ChannelHealth)] == ["degraded", "ok"]


async def test_silence_is_judged_only_where_it_means_something(
    embedded_broker: RunningBroker,
) -> None:
    async with scene(embedded_broker) as it:
        address = embedded_broker.address
        settings = {
            "broker": f"mqtt://{address.host}:{address.port}",
            "username": address.username,
            "password": address.password,
            "name": "another",
            "silent_s": 0.5,
        }
        with pytest.raises(Exception, match="has not said a word"):
            async with asyncio.timeout(30):
                await radio_adapter("mmdvm", settings, ()).run(it.events.append)
