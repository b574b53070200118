"""What radios tell beside their talks, over real sockets: where they are, and private calls."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from lab import running
from patience import wait_until

from adapters.events import (
    Event,
    FloorIdle,
    FloorTaken,
    KeyChannel,
    PrivateTalk,
    Result,
    UnitLocation,
    UnkeyChannel,
)
from gateway.agents.build import radio_adapter
from simulators.homebrew_repeater import Repeater

PASSPHRASE = "correct horse"


@contextlib.asynccontextmanager
async def site(events: list[Event]) -> AsyncIterator[Repeater]:
    adapter: Any = radio_adapter("homebrew", {"port": 0, "passphrase": PASSPHRASE}, ("1/3101",))
    async with running(adapter.run(events.append)):
        await wait_until(lambda: adapter.local_address)
        async with Repeater(
            id=460001, passphrase=PASSPHRASE, master=adapter.local_address
        ) as repeater:
            await repeater.wait_signed_in()
            yield repeater


async def test_a_radio_with_a_receiver_says_where_it_is_and_its_talk_goes_on() -> None:
    events: list[Event] = []
    async with site(events) as repeater:
        radio = repeater.radio(3101001, "Li")
        radio.position = (123.4315, 41.8057)
        assert radio.press(3101)
        await wait_until(lambda: any(isinstance(e, UnitLocation) for e in events))
        assert not any(isinstance(e, FloorIdle) for e in events)
        await radio.release()
        await wait_until(lambda: any(isinstance(e, FloorIdle) for e in events))
    places = [e for e in events if isinstance(e, UnitLocation)]
    assert len(places) == 1, "once by DMRG and once embedded is one place"
    assert places[0].unit == "3101001"
    assert abs((places[0].longitude_deg or 0) - 123.4315) < 2e-5
    assert abs((places[0].latitude_deg or 0) - 41.8057) < 2e-5


async def test_a_private_call_is_told_and_is_no_talk() -> None:
    events: list[Event] = []
    async with site(events) as repeater:
        radio = repeater.radio(3101001)
        assert radio.press(3101002, private=True)
        await wait_until(lambda: any(isinstance(e, PrivateTalk) for e in events))
        await radio.release()
        await wait_until(lambda: len([e for e in events if isinstance(e, PrivateTalk)]) == 2)
    told = [(e.unit, e.to, e.active) for e in events if isinstance(e, PrivateTalk)]
    assert told == [("3101001", "3101002", True), ("3101001", "3101002", False)]
    assert not any(isinstance(e, FloorTaken) for e in events)


async def test_a_repeater_gets_the_talkgroups_that_it_asks_for() -> None:
    adapter: Any = radio_adapter("homebrew", {"port": 0, "passphrase": PASSPHRASE}, ("1/3101",))
    events: list[Event] = []
    async with running(adapter.run(events.append)):
        await wait_until(lambda: adapter.local_address)
        master = adapter.local_address
        async with (
            Repeater(id=460001, passphrase=PASSPHRASE, master=master) as all_of_them,
            Repeater(
                id=460002, passphrase=PASSPHRASE, master=master, options="TS1=3101;TS2="
            ) as one,
        ):
            for repeater in (all_of_them, one):
                await repeater.wait_signed_in()
            radio, listener = all_of_them.radio(3101001), one.radio(3101002)
            for talkgroup, slot in ((3102, 1), (9, 2), (3101, 1)):
                assert radio.press(talkgroup, slot)
                await radio.release()
            await listener.wait_heard(ended=True)
            assert [heard.talkgroup for heard in listener.heard] == [3101]
            outcome = await adapter.execute(KeyChannel(address="2/9", transmission="t"))
            assert outcome.result is Result.DONE
            await all_of_them.radio(3101003).wait_heard()
            await adapter.execute(UnkeyChannel(address="2/9", transmission="t"))
            assert [heard.talkgroup for heard in listener.heard] == [3101]
        async with Repeater(
            id=460003, passphrase=PASSPHRASE, master=master, options="TS1=3101"
        ) as lone:
            await lone.wait_signed_in()
            await wait_until(lambda: len(adapter._station._stations.signed_in) == 1)
            outcome = await adapter.execute(KeyChannel(address="1/4000", transmission="t2"))
            assert (outcome.result, outcome.reason) == (
                Result.REFUSED,
                "no repeater asks for 1/4000",
            )
