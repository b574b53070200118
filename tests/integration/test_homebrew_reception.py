"""How talks are received: what repeaters measure, what is lost, and where a channel goes out."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from patience import wait_until

from adapters.events import ChannelMeasured, Event, FloorIdle, Online
from adapters.homebrew.adapter import HomebrewAdapter
from adapters.homebrew.settings import HomebrewSettings
from simulators.homebrew_repeater import Repeater

PASSPHRASE = "planted-passphrase"
CHANNEL, OTHER = "1/3101", "2/9"


class System:
    def __init__(self) -> None:
        settings = {"port": 0, "passphrase": PASSPHRASE}
        self.adapter = HomebrewAdapter(HomebrewSettings.model_validate(settings), [CHANNEL, OTHER])
        self.events: list[Event] = []

    def measured(self, address: str) -> list[ChannelMeasured]:
        return [
            each
            for each in self.events
            if isinstance(each, ChannelMeasured) and each.address == address
        ]

    def stations(self, address: str) -> list[int]:
        return [each.stations for each in self.measured(address) if each.stations is not None]

    @contextlib.asynccontextmanager
    async def repeater(self, number: int, options: str = "") -> AsyncIterator[Repeater]:
        assert self.adapter.local_address is not None
        async with Repeater(
            id=number,
            passphrase=PASSPHRASE,
            master=self.adapter.local_address,
            options=options,
            seed=number,
        ) as repeater:
            await repeater.wait_signed_in()
            yield repeater


@pytest.fixture
async def system() -> AsyncIterator[System]:
    running = System()
    task = asyncio.create_task(running.adapter.run(running.events.append))
    await wait_until(lambda: any(isinstance(each, Online) for each in running.events))
    yield running
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_a_weak_radio_on_a_bad_line_is_told_at_the_end_of_its_talk(system: System) -> None:
    async with system.repeater(310001) as site:
        site.network.loss = 0.2
        radio = site.radio(2001)
        assert radio.press(3101, slot=1)
        talk = radio.last_talk
        assert talk is not None
        talk.rssi_dbm, talk.bit_errors = -104, 7
        await wait_until(lambda: talk.heard.frames >= 40)
        await radio.release()
        await wait_until(lambda: any(isinstance(each, FloorIdle) for each in system.events))
        await wait_until(lambda: len(system.measured(CHANNEL)) > 2)
        last = system.measured(CHANNEL)[-1]
        assert last.rssi_dbm == -104
        assert last.bit_error_percent == round(700 / 141, 2)
        assert last.loss_percent is not None
        lost = 100 * site.network.lost / talk.packets
        assert last.loss_percent == pytest.approx(lost, abs=8)
        assert last.loss_percent > 0


async def test_where_a_channel_goes_out_is_told_when_it_changes(system: System) -> None:
    async with system.repeater(310001):
        await wait_until(lambda: system.stations(CHANNEL)[-1:] == [1])
        async with system.repeater(310002, options="TS1=9999;"):
            await wait_until(lambda: system.stations(OTHER)[-1:] == [2])
            await wait_until(lambda: system.stations(CHANNEL)[-1:] == [1])
        await wait_until(lambda: system.stations(OTHER)[-1:] == [1])
    await wait_until(lambda: system.stations(CHANNEL)[-1:] == [0])
