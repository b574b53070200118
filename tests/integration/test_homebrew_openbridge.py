"""An OpenBridge over real sockets."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from lab import running
from patience import wait_until

from adapters.events import (
    Event,
    FloorIdle,
    FloorTaken,
    KeyChannel,
    Malformed,
    Online,
    PrivateTalk,
    Result,
    UnkeyChannel,
    VoiceHeard,
)
from adapters.homebrew import wire
from gateway.agents.build import radio_adapter
from simulators.homebrew_master import OpenBridgeEnd

KEY = "correct horse"


@contextlib.asynccontextmanager
async def bridged(events: list[Event]) -> AsyncIterator[tuple[OpenBridgeEnd, Any]]:
    async with OpenBridgeEnd(KEY) as end:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            end.far = probe.getsockname()
        settings = {
            "mode": "openbridge",
            "port": end.far[1],
            "far": f"127.0.0.1:{end.port}",
            "passphrase": KEY,
            "repeater_id": 460_900,
        }
        adapter = radio_adapter("homebrew", settings, ("1/3101", "1/3102"))
        async with running(adapter.run(events.append)):
            await wait_until(lambda: any(isinstance(e, Online) for e in events))
            yield end, adapter


def of(events: list[Event], kind: type[Event]) -> list[Any]:
    return [event for event in events if type(event) is kind]


async def test_many_talkgroups_talk_at_once_on_the_one_timeslot() -> None:
    events: list[Event] = []
    async with bridged(events) as (end, adapter):
        talks = [end.talk(3101001 + number, 3101 + number) for number in range(5)]
        await wait_until(lambda: len(of(events, FloorTaken)) == 5)
        key = KeyChannel(address="1/3199", transmission="t-1", talker_source="3101009")
        assert (await adapter.execute(key)).result is Result.DONE
        busy = KeyChannel(address="1/3101", transmission="t-2")
        assert (await adapter.execute(busy)).result is Result.BUSY
        await wait_until(lambda: end.heard and end.heard[0].frames > 7)
        await adapter.execute(UnkeyChannel(address="1/3199", transmission="t-1"))
        for talk in talks:
            await talk.release()
        await wait_until(lambda: len(of(events, FloorIdle)) == 5)
        assert {idle.reason for idle in of(events, FloorIdle)} == {"released"}
        await wait_until(lambda: end.heard[0].ended_s is not None)
        heard = end.heard[0]
        assert (heard.source, heard.talkgroup, heard.ended_by) == (3101009, 3199, "terminator")
        assert heard.lc_ok, heard.faults
        assert (end.forged, end.malformed) == (0, 0)


async def test_what_another_key_has_sealed_is_refused() -> None:
    events: list[Event] = []
    async with bridged(events) as (end, _):
        end.key = "another"
        talk = end.talk(3101001, 3101)
        await wait_until(lambda: of(events, Malformed))
        await talk.release()
        assert not of(events, FloorTaken)
        assert "another passphrase" in of(events, Malformed)[0].reason
        assert "another passphrase" not in KEY


async def test_our_transmission_gives_way_to_a_talk_on_its_talkgroup_alone() -> None:
    events: list[Event] = []
    async with bridged(events) as (end, adapter):
        for number in (1, 2):
            key = KeyChannel(address=f"1/310{number}", transmission=f"t-{number}")
            assert (await adapter.execute(key)).result is Result.DONE
        talk = end.talk(3101001, 3101)
        await wait_until(lambda: of(events, FloorIdle))
        assert [idle.caused_by for idle in of(events, FloorIdle)] == ["t-1"]
        await asyncio.sleep(0.2)
        assert [h.ended_s is None for h in end.heard if h.talkgroup == 3102] == [True]
        await talk.release()


async def test_private_calls_are_told_and_touch_no_talkgroup() -> None:
    """Whom they call has the number of a talkgroup, on which we transmit."""
    events: list[Event] = []
    async with bridged(events) as (end, adapter):
        key = KeyChannel(address="1/3101", transmission="t-1")
        assert (await adapter.execute(key)).result is Result.DONE
        group = end.talk(3101001, 3102)
        calls = [end.talk(3101002, 3101, private=True), end.talk(3101003, 3102, private=True)]
        await wait_until(lambda: len(of(events, PrivateTalk)) == 2)
        await wait_until(lambda: of(events, FloorTaken))
        for talk in (*calls, group):
            await talk.release()
        await wait_until(lambda: len(of(events, PrivateTalk)) == 4 and of(events, FloorIdle))
        assert sorted((e.unit, e.to, e.active) for e in of(events, PrivateTalk)) == [
            ("3101002", "3101", False),
            ("3101002", "3101", True),
            ("3101003", "3102", False),
            ("3101003", "3102", True),
        ]
        assert [idle.address for idle in of(events, FloorIdle)] == ["1/3102"]
        assert {heard.frame.transmission for heard in of(events, VoiceHeard)} == {
            of(events, FloorTaken)[0].stream
        }
        assert end.heard[0].ended_s is None, "ours goes on"


async def test_timeslot_2_is_not_there() -> None:
    events: list[Event] = []
    async with bridged(events) as (_, adapter):
        outcome = await adapter.execute(KeyChannel(address="2/9", transmission="t"))
        assert (outcome.result, outcome.reason) == (
            Result.REFUSED,
            "OpenBridge carries timeslot 1 only",
        )


@given(st.binary(max_size=80), st.binary(min_size=1, max_size=20))
def test_only_what_the_key_has_sealed_is_opened(data: bytes, key: bytes) -> None:
    whole = (b"DMRD" + data).ljust(wire.DMRD_LENGTH, b"\0")[: wire.DMRD_LENGTH]
    assert wire.unseal(wire.seal(whole, key), key) == whole
    for other in (data, wire.seal(whole, key + b"x"), wire.seal(whole, key)[:-1]):
        try:
            wire.unseal(other, key)
        except wire.MalformedPacketError:
            continue
        raise AssertionError("opened what nobody sealed")
