"""A peer of somebody else's master, over real sockets: the simulated master, and a whole chain of
peer, our own master, and a repeater with radios."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, TypeVar

import pytest
from lab import running
from patience import wait_until

from adapters.errors import AuthenticationFailed, TimedOut, Unreachable
from adapters.events import (
    EmergencyRaised,
    Event,
    FloorIdle,
    FloorTaken,
    KeyChannel,
    Malformed,
    Online,
    Result,
    UnkeyChannel,
)
from adapters.homebrew.adapter import HomebrewAdapter
from adapters.homebrew.settings import HomebrewSettings
from simulators.homebrew_master import HomebrewMaster
from simulators.homebrew_repeater import Repeater

E = TypeVar("E", bound=Event)
PASSPHRASE = "correct horse"
OURS = 460_900


def peer(port: int, **more: Any) -> HomebrewAdapter:
    given = {
        "mode": "peer",
        "port": port,
        "passphrase": PASSPHRASE,
        "repeater_id": OURS,
        "ping_interval_s": 0.1,
        **more,
    }
    return HomebrewAdapter(HomebrewSettings.model_validate(given), ("1/3101",))


def of(events: list[Event], kind: type[E]) -> list[E]:
    return [event for event in events if type(event) is kind]


@contextlib.asynccontextmanager
async def connected(
    master: HomebrewMaster, events: list[Event], **more: Any
) -> AsyncIterator[HomebrewAdapter]:
    adapter = peer(master.port, **more)
    async with running(adapter.run(events.append)):
        await wait_until(lambda: of(events, Online))
        yield adapter


async def failure_of(adapter: HomebrewAdapter, kind: type[Exception], within_s: float = 5) -> str:
    with pytest.raises(kind) as failure:
        async with asyncio.timeout(within_s):
            await adapter.run(lambda _event: None)
    return str(failure.value)


async def test_it_says_who_it_is_pings_and_says_goodbye() -> None:
    events: list[Event] = []
    async with HomebrewMaster(PASSPHRASE) as master:
        async with connected(master, events, callsign="BY2HT", options="TS1=3101"):
            assert (master.callsigns[OURS], master.options[OURS]) == ("BY2HT", "TS1=3101")
            await wait_until(lambda: master.pings > 3)
        await wait_until(lambda: master.goodbyes == 1)
        assert master.malformed == 0


@pytest.mark.parametrize("keep_ids", [False, True])
async def test_a_talk_behind_the_master_is_heard(keep_ids: bool) -> None:
    events: list[Event] = []
    async with HomebrewMaster(PASSPHRASE) as master, connected(master, events):
        master.keep_ids = keep_ids
        talk = master.talk(3101001, 3101, alias="Li", emergency=True)
        await wait_until(lambda: of(events, EmergencyRaised))
        await talk.release()
        await wait_until(lambda: of(events, FloorIdle))
        (taken,), (idle,) = of(events, FloorTaken), of(events, FloorIdle)
        assert (taken.address, taken.talker, taken.emergency) == ("1/3101", "3101001", True)
        assert (idle.stream, idle.reason) == (taken.stream, "released")


async def test_what_we_key_reaches_the_master_whole_and_a_busy_slot_is_busy() -> None:
    events: list[Event] = []
    async with HomebrewMaster(PASSPHRASE) as master, connected(master, events) as adapter:
        key = KeyChannel(address="1/3101", transmission="t-1", talker_source="3101009")
        assert (await adapter.execute(key)).result is Result.DONE
        await wait_until(lambda: master.heard and master.heard[0].frames > 7)
        await adapter.execute(UnkeyChannel(address="1/3101", transmission="t-1"))
        await wait_until(lambda: master.heard[0].ended_s is not None)
        heard = master.heard[0]
        assert (heard.source, heard.talkgroup, heard.ended_by) == (3101009, 3101, "terminator")
        assert heard.lc_ok, heard.faults
        talk = master.talk(3101001, 3199)
        await wait_until(lambda: of(events, FloorTaken))
        again = KeyChannel(address="1/3101", transmission="t-2")
        assert (await adapter.execute(again)).result is Result.BUSY
        await talk.release()
        await wait_until(lambda: of(events, FloorIdle))
        assert (await adapter.execute(again)).result is Result.DONE


async def test_talks_that_a_master_lets_through_at_once_do_not_end_each_other() -> None:
    events: list[Event] = []
    async with HomebrewMaster(PASSPHRASE) as master, connected(master, events):
        first = master.talk(3101001, 3101)
        await wait_until(lambda: of(events, FloorTaken))
        second = master.talk(3101002, 3102)
        await asyncio.sleep(0.5)
        assert [taken.talker for taken in of(events, FloorTaken)] == ["3101001"]
        await first.release()
        await wait_until(lambda: len(of(events, FloorTaken)) == 2)
        assert of(events, FloorTaken)[1].late_entry
        await second.release()
        await wait_until(lambda: len(of(events, FloorIdle)) == 2)


async def test_a_master_that_starts_anew_is_signed_in_with_anew() -> None:
    async with HomebrewMaster(PASSPHRASE) as master:
        adapter, events = peer(master.port), list[Event]()
        run = asyncio.create_task(adapter.run(events.append))
        await wait_until(lambda: of(events, Online))
        master.forget()
        with pytest.raises(Unreachable, match="does not know us"):
            async with asyncio.timeout(30):
                await run
        async with connected(master, list[Event]()):
            assert OURS in master.peers
            master.close_all()


async def test_pings_without_an_answer_end_the_connection() -> None:
    async with HomebrewMaster(PASSPHRASE) as master:
        master.no_pongs = True
        assert "pings" in await failure_of(peer(master.port), Unreachable)


async def test_a_master_that_does_not_answer_and_one_that_refuses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("adapters.homebrew.uplink.REPLY_S", 0.1)
    async with HomebrewMaster(PASSPHRASE) as master:
        master.silent = True
        assert "RPTL" in await failure_of(peer(master.port), TimedOut)
        master.silent, master.refuse_login = False, True
        assert str(OURS) in await failure_of(peer(master.port), AuthenticationFailed)


async def test_what_is_not_of_the_protocol_is_counted() -> None:
    events: list[Event] = []
    async with HomebrewMaster(PASSPHRASE) as master, connected(master, events):
        for datagram in (b"\x00", b"DMRD", b"WHAT" + bytes(10), b"MSTPONG", b"DMRA" + bytes(3)):
            master.send(OURS, datagram)
        await wait_until(lambda: len(of(events, Malformed)) == 5)
        await master.talk(3101001, 3101).release()
        await wait_until(lambda: of(events, FloorIdle))


async def test_a_chain_of_peer_master_and_repeater() -> None:
    """Our own master on the other side, with a repeater and its radios behind it."""
    ours: list[Event] = []
    theirs: list[Event] = []
    settings = {"port": 0, "passphrase": PASSPHRASE}
    master = HomebrewAdapter(HomebrewSettings.model_validate(settings), ("1/3101",))
    async with running(master.run(theirs.append)):
        await wait_until(lambda: master.local_address)
        assert master.local_address is not None
        port = master.local_address[1]
        async with Repeater(
            id=460001, passphrase=PASSPHRASE, master=("127.0.0.1", port)
        ) as repeater:
            await repeater.wait_signed_in()
            radio, listener = repeater.radio(3101001), repeater.radio(3101002)
            adapter = peer(port)
            async with running(adapter.run(ours.append)):
                await wait_until(lambda: of(ours, Online))
                assert radio.press(3101)
                await wait_until(lambda: of(ours, FloorTaken))
                await radio.release()
                await wait_until(lambda: of(ours, FloorIdle))
                key = KeyChannel(address="1/3101", transmission="t", talker_source="3101009")
                assert (await adapter.execute(key)).result is Result.DONE
                await wait_until(lambda: len(of(theirs, FloorTaken)) == 2)
                await adapter.execute(UnkeyChannel(address="1/3101", transmission="t"))
                heard = await listener.wait_heard(2, ended=True)
                assert (heard.source, heard.lc_ok) == (3101009, True), heard.faults
                assert of(theirs, FloorTaken)[1].talker == "3101009"
