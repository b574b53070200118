"""One scenario file that drives a repeater, phones, a trunk-recorder's feed and an MMDVM host side
by side, with every fault that it has, against the four adapters that hear them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from brokers import RunningBroker
from lab import running
from patience import wait_until
from test_agent_site import free_udp_port

from adapters.events import (
    ChannelMeasured,
    Event,
    FloorIdle,
    FloorTaken,
    Online,
)
from gateway.agents import supervisor
from gateway.agents.build import radio_adapter
from gateway.agents.supervisor import Budget, Supervised
from simulators import scenario
from simulators.district import District

FILE = """
homebrew:
  master: {{host: 127.0.0.1, port: {udp}}}
  repeaters:
    - {{id: 460001, passphrase: far, ping_interval_s: 0.5, seed: 7, radios: [{{id: 4600001}}]}}
zello:
  accounts: {{gateway: secret}}
  channels: [Duty]
  phones: [{{name: zhao}}]
feeds:
  broker: {{host: 127.0.0.1, port: {port}, username: "{username}", password: "{password}"}}
  trunk_recorders:
    - name: east
      topic: feeds
      unit_topic: units
      sites: [{{sys_num: 0, sys_name: north, sysid: 1AE, wacn: BEE00}}]
      units: [{{id: 804329}}]
  mmdvm_hosts:
    - {{name: hotspot, client_id: MMDVMHost-1, units: [{{id: 3180202}}]}}
timeline: [{steps}]
"""
TALKERS = (
    "radio: 4600001, talkgroup: 101",
    "phone: zhao, channel: Duty",
    "feed: east, unit: 804329, talkgroup: 3029",
    "feed: hotspot, unit: 3180202, talkgroup: 9, slot: 2",
)
CHANNELS = {"homebrew": "1/101", "zello": "Duty", "trunk_recorder": "BEE00-1AE/3029"}
CHANNELS["mmdvm"] = "DMR/2/9"


def everybody(at_s: float, seconds: float) -> list[str]:
    return [f"at_s: {at_s}, action: talk, {who}, seconds: {seconds}" for who in TALKERS]


GOOD = everybody(0, 0.6)
BAD = [
    "action: loss, repeater: 460001, ratio: 0.1",
    "action: duplicate, repeater: 460001, ratio: 0.5",
    "action: delay, repeater: 460001, seconds: 0.02",
    "action: reorder, repeater: 460001, ratio: 0.1",
    "action: delay, channel: Duty, seconds: 0.2",
    *(
        f"action: {what}"
        for feed in ("east", "hotspot")
        for what in (
            f"duplicate, feed: {feed}, active: true",
            f"clock, feed: {feed}, offset_s: 9e4",
        )
    ),
    *everybody(0.3, 1.0),
]
ENDLESS = [
    "action: loss, repeater: 460001, ratio: 0",
    "action: duplicate, repeater: 460001, ratio: 0",
    "action: reorder, repeater: 460001, ratio: 0",
    "action: lose_ends, feed: east, active: true",
    "at_s: 0.4, action: silence, feed: east, active: true",
    "at_s: 0.4, action: loss, feed: hotspot, ratio: 1",
    "action: lose_ends, channel: Duty, active: true",
    "action: press, radio: 4600001, talkgroup: 101",
    *everybody(0.2, 0.4)[1:],
    "at_s: 0.7, action: vanish, radio: 4600001",
]
GONE = [
    "action: drop_connections",
    "action: unplug, repeater: 460001",
    "action: drop_feed, feed: east",
    "action: drop_feed, feed: hotspot",
    "at_s: 0.5, action: plug, repeater: 460001",
]
BACK = [
    "action: lose_ends, feed: east, active: false",
    "action: silence, feed: east, active: false",
    "action: loss, feed: hotspot, ratio: 0",
    *(f"action: duplicate, feed: {feed}, active: false" for feed in ("east", "hotspot")),
    "action: lose_ends, channel: Duty, active: false",
    "action: delay, channel: Duty, seconds: 0",
    *everybody(0.2, 0.6),
]


class Ears:
    """The four adapters, kept running as a gateway keeps them, and what each of them tells."""

    def __init__(self) -> None:
        self.events: dict[str, list[Event]] = {kind: [] for kind in CHANNELS}

    def keep(self, kind: str, settings: dict[str, Any]) -> Supervised:
        return Supervised(
            kind,
            lambda: radio_adapter(kind, settings, (CHANNELS[kind],)),
            budget=Budget(),
            on_event=self.events[kind].append,
            on_failure=lambda _failure: None,
        )

    def of(self, kind: str, what: type[Event]) -> list[Any]:
        return [event for event in self.events[kind] if type(event) is what]

    def talks(self, kind: str) -> list[tuple[str, str]]:
        """(address, how it ended) of each talk; empty while it goes on."""
        ends = {idle.stream: idle.reason for idle in self.of(kind, FloorIdle)}
        return [(one.address, ends.get(one.stream, "")) for one in self.of(kind, FloorTaken)]

    def all_talks(self) -> dict[str, list[tuple[str, str]]]:
        return {kind: self.talks(kind) for kind in CHANNELS}

    async def hear(self, number: int) -> None:
        """Until each system has told of so many talks, and of their ends."""

        def told() -> bool:
            return all(
                len(talks) >= number and all(end for _, end in talks)
                for talks in self.all_talks().values()
            )

        with contextlib.suppress(pytest.fail.Exception):  # what there is says more
            await wait_until(told)
        assert all(len(talks) == number for talks in self.all_talks().values()), self.all_talks()
        assert all(end for talks in self.all_talks().values() for _, end in talks)


@contextlib.asynccontextmanager
async def scene(broker: RunningBroker) -> AsyncIterator[tuple[District, Ears]]:
    at, udp, ears = broker.address, free_udp_port(), Ears()
    wanted = {"username": at.username or "", "password": at.password or ""}
    text = FILE.format(port=at.port, udp=udp, steps="", **wanted)
    feed = {"broker": f"mqtt://{at.host}:{at.port}", "hold_s": 3.0, **wanted}
    async with District(scenario.parse(text)) as district:
        kept = (
            ears.keep("homebrew", {"port": udp, "host": "127.0.0.1", "passphrase": "far"}),
            ears.keep(
                "zello",
                {"url": district.zello[0].url, "username": "gateway", "password": "secret"},
            ),
            ears.keep("trunk_recorder", {**feed, "topic": "feeds", "unit_topic": "units"}),
            ears.keep("mmdvm", {**feed, "name": "hotspot"}),
        )
        async with running(*(each.run() for each in kept)):
            await wait_until(lambda: all(each.online for each in kept))
            await district.repeaters[460001].wait_signed_in(30)
            yield district, ears


async def play(district: District, steps: list[str], broker: RunningBroker) -> None:
    """The next part of the timeline, read as the rest of the same file."""
    at = broker.address
    text = FILE.format(
        port=at.port,
        udp=1,
        username=at.username or "",
        password=at.password or "",
        steps=", ".join(f"{{{step}}}" for step in steps),
    )
    district.scenario = scenario.parse(text)
    async with asyncio.timeout(30):
        await district.run_timeline()


async def test_a_repeater_phones_a_recorder_and_a_host_with_every_fault(
    embedded_broker: RunningBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "FIRST_DELAY_S", 0.05)
    async with scene(embedded_broker) as (district, ears):
        await play(district, GOOD, embedded_broker)
        await ears.hear(1)
        for kind, address in CHANNELS.items():
            assert ears.talks(kind) == [(address, "released")], kind

        # What is lost, late, doubled, out of order or a day off is one talk all the same.
        await play(district, BAD, embedded_broker)
        await ears.hear(2)
        for kind in ("trunk_recorder", "mmdvm"):
            await wait_until(lambda k=kind: ears.of(k, ChannelMeasured))
            offset_s = ears.of(kind, ChannelMeasured)[-1].clock_offset_s
            assert offset_s == pytest.approx(9e4, abs=30), kind

        # Nobody says that it is over.
        await play(district, ENDLESS, embedded_broker)
        await ears.hear(3)
        for kind in CHANNELS:
            assert ears.talks(kind)[-1][1] == "lost", (kind, ears.talks(kind))

        # Every connection breaks and comes back.
        online = {kind: len(ears.of(kind, Online)) for kind in CHANNELS}
        await play(district, GONE, embedded_broker)
        await wait_until(lambda: len(ears.of("zello", Online)) > online["zello"])
        await district.repeaters[460001].wait_signed_in(30)
        for feed in district.feeds.values():
            await feed.feed.changes.until(lambda f=feed: f.feed.connects == 2, timeout_s=30)
        await play(district, BACK, embedded_broker)
        await ears.hear(4)
        for kind, address in CHANNELS.items():
            assert ears.talks(kind)[-1] == (address, "released"), (kind, ears.talks(kind))
