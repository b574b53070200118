"""Voice from one DMR system to another over real sockets: what one adapter tells is given to the
other, and the far repeater hears the same AMBE bits in a talk of our own."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from patience import wait_until

from adapters.events import (
    AMBE_DMR,
    Event,
    FloorIdle,
    FloorTaken,
    KeyChannel,
    Online,
    Result,
    UnkeyChannel,
    VoiceFlag,
    VoiceFrame,
    VoiceHeard,
)
from adapters.homebrew.adapter import HomebrewAdapter
from adapters.homebrew.settings import HomebrewSettings
from simulators.homebrew_master import HomebrewMaster, OpenBridgeEnd
from simulators.homebrew_repeater import Heard, Repeater, Station, burst

PASSPHRASE = "planted-passphrase"
FROM, TO = "1/3101", "2/9"
TALKER, LISTENER, SOURCE = 2001, 4001, 3009


def said(number: int) -> bytes:
    """Voice that is known again, unlike silence and unlike what fills a gap."""
    return number.to_bytes(4, "big") * 6 + b"\xc5\x5c\x01"


def numbers_of(heard: Heard) -> list[int]:
    """What was heard of `said`, without silence and what filled gaps."""
    return [
        int.from_bytes(voice[:4], "big")
        for voice in heard.voice
        if voice == said(int.from_bytes(voice[:4], "big"))
    ]


class System:
    """A running adapter, and what it tells."""

    def __init__(self, **settings: Any) -> None:
        given = {"port": 0, "passphrase": PASSPHRASE, "repeater_id": 460_900, **settings}
        self.adapter = HomebrewAdapter(HomebrewSettings.model_validate(given), [FROM, TO])
        self.events: list[Event] = []
        self.frames: asyncio.Queue[VoiceFrame | None] = asyncio.Queue()

    def emit(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, VoiceHeard):
            self.frames.put_nowait(event.frame)
        elif isinstance(event, FloorIdle):
            self.frames.put_nowait(None)

    def all(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def address(self) -> tuple[str, int]:
        address = self.adapter.local_address
        assert address is not None
        return address

    async def key(self, name: str = "t-1", address: str = TO) -> Result:
        key = KeyChannel(address=address, transmission=name, talker_source=str(SOURCE))
        return (await self.adapter.execute(key)).result

    async def unkey(self, name: str = "t-1", *, drain: bool, address: str = TO) -> None:
        command = UnkeyChannel(address=address, transmission=name, drain=drain)
        assert (await self.adapter.execute(command)).result is Result.DONE

    @contextlib.asynccontextmanager
    async def repeater(self, number: int, color_code: int = 1) -> AsyncIterator[Repeater]:
        async with Repeater(
            id=number,
            passphrase=PASSPHRASE,
            master=self.address,
            station=Station(colour_code=color_code),
            seed=number,
        ) as repeater:
            await repeater.wait_signed_in()
            yield repeater


@contextlib.asynccontextmanager
async def running(**settings: Any) -> AsyncIterator[System]:
    system = System(**settings)
    task = asyncio.create_task(system.adapter.run(system.emit))
    try:
        await wait_until(lambda: system.all(Online))
        yield system
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def bridged(near: System, far: System, address: str = TO) -> None:
    """One talk of the near system, keyed and played at the far one as the gateway does it."""
    await wait_until(lambda: near.all(FloorTaken))
    assert await far.key(address=address) is Result.DONE

    async def frames() -> AsyncIterator[VoiceFrame]:
        while (frame := await near.frames.get()) is not None:
            yield VoiceFrame(
                transmission="t-1",
                sequence=frame.sequence,
                media_time_us=frame.media_time_us,
                codec=frame.codec,
                duration_ms=frame.duration_ms,
                flags=frame.flags,
                payload=frame.payload,
            )

    async with asyncio.timeout(30):
        await far.adapter.send_voice(frames())
    await far.unkey(drain=True, address=address)


async def talk(site: Repeater, bursts: int) -> None:
    """Radio `TALKER` says so many bursts."""
    radio = site.radio(TALKER)
    assert radio.press(3101, slot=1, voice=said)
    assert radio.last_talk is not None
    last = radio.last_talk
    await wait_until(lambda: last.heard.frames >= bursts)
    await radio.release()


async def test_the_far_repeaters_hear_the_same_bits_in_a_talk_of_our_own() -> None:
    async with (
        running() as near,
        running() as far,
        near.repeater(310001) as site,
        far.repeater(320001, 7) as one,
        far.repeater(320002, 9) as two,
    ):
        listeners = [one.radio(LISTENER), two.radio(LISTENER)]
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(bridged(near, far))
            await talk(site, 26)
        spoken = site.radio(TALKER).last_talk
        assert spoken is not None
        for listener, color_code in zip(listeners, (7, 9), strict=True):
            heard = await listener.wait_heard(ended=True)
            assert numbers_of(heard) == list(range(spoken.heard.frames))
            assert heard.ended_by == "terminator"
            assert heard.lc_ok, heard.faults
            assert (heard.source, heard.talkgroup, heard.slot) == (SOURCE, 9, 2)
            control = burst.LinkControl(source=SOURCE, destination=9).encode()
            assert heard.control == control
            assert heard.colour_codes == {color_code}
            assert heard.stream != spoken.heard.stream
            assert heard.missing == 0
        assert [event.frame.codec for event in near.all(VoiceHeard)] == [AMBE_DMR] * (
            spoken.heard.frames + 1
        )
        assert far.all(VoiceHeard) == []


async def test_a_bad_network_costs_no_more_than_what_it_lost() -> None:
    async with (
        running() as near,
        running() as far,
        near.repeater(310001) as site,
        far.repeater(320001, 7) as there,
    ):
        listener = there.radio(LISTENER)
        site.network.loss = site.network.reorder = site.network.duplicate = 0.05
        site.network.delay_s = 0.05
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(bridged(near, far))
            await talk(site, 100)
        heard = await listener.wait_heard(ended=True)
        got = numbers_of(heard)
        told = sorted(event.frame.sequence for event in near.all(VoiceHeard))
        assert told == sorted(set(told))
        assert got == sorted(set(got)), "in order, none twice"
        assert len(got) >= 0.9 * (len(told) - 1)
        assert heard.lc_ok, heard.faults
        assert site.network.lost + site.network.held_back + site.network.doubled > 3


async def test_a_peer_plays_voice_to_its_master_and_tells_the_master_s() -> None:
    async with (
        HomebrewMaster(PASSPHRASE) as master,
        running(mode="peer", port=master.port) as peer,
        running() as other,
        other.repeater(310001) as site,
    ):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(bridged(other, peer))
            await talk(site, 12)
        await wait_until(lambda: master.heard and master.heard[-1].ended_by)
        heard = master.heard[-1]
        assert heard.lc_ok, heard.faults
        assert numbers_of(heard)[:12] == list(range(12))

        theirs = master.talk(TALKER, 9, 2, voice=said)
        await wait_until(lambda: len(peer.all(VoiceHeard)) >= 8)
        await theirs.release()
        await wait_until(lambda: peer.all(VoiceHeard)[-1].frame.flags & VoiceFlag.LAST)
        told = [event.frame.payload for event in peer.all(VoiceHeard)]
        assert told == [*map(said, range(len(told) - 1)), b""]


async def test_an_openbridge_passes_voice_both_ways() -> None:
    async with OpenBridgeEnd(PASSPHRASE) as end:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            end.far = probe.getsockname()
        link = {"mode": "openbridge", "port": end.far[1], "far": f"127.0.0.1:{end.port}"}
        async with (
            running(**link) as bridge,
            running() as other,
            other.repeater(310001) as site,
        ):
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(bridged(other, bridge, "1/3102"))
                await talk(site, 12)
            await wait_until(lambda: end.heard and end.heard[-1].ended_by)
            assert end.heard[-1].lc_ok, end.heard[-1].faults
            assert numbers_of(end.heard[-1])[:12] == list(range(12))

            theirs = end.talk(TALKER, 3101, voice=said)
            await wait_until(lambda: len(bridge.all(VoiceHeard)) >= 8)
            theirs.finish_now()
            await wait_until(lambda: bridge.all(VoiceHeard)[-1].frame.flags & VoiceFlag.LAST)
            told = [event.frame.payload for event in bridge.all(VoiceHeard)]
            assert told == [*map(said, range(len(told) - 1)), b""]


async def test_of_two_repeaters_that_hear_one_radio_one_gives_the_voice() -> None:
    def by_the_other(number: int) -> bytes:
        return b"\x77" + said(number)[1:]

    def told() -> list[VoiceFrame]:
        return [event.frame for event in system.all(VoiceHeard)]

    async with running() as system, system.repeater(310001) as one, system.repeater(310002) as two:
        assert one.radio(TALKER).press(3101, voice=said)
        await wait_until(told)
        assert two.radio(TALKER).press(3101, polite=False, voice=by_the_other)
        await wait_until(lambda: len(told()) >= 8)
        assert [frame.payload for frame in told()] == [*map(said, range(len(told())))]
        one.unplug()
        await wait_until(lambda: len(system.all(FloorTaken)) == 2)
        since = len(told())
        await wait_until(lambda: len(told()) >= since + 4)
        taken_over = told()[since:]
        assert taken_over[0].flags == VoiceFlag.FIRST
        assert [frame.sequence for frame in taken_over] == [*range(len(taken_over))]
        assert {frame.payload[0] for frame in taken_over} == {0x77}
        assert {frame.transmission for frame in taken_over} == {system.all(FloorTaken)[1].stream}


# --- sending, and its end -----------------------------------------------------------------------


class Given:
    """Frames that a test gives to `send_voice` when it likes."""

    def __init__(self, name: str = "t-1") -> None:
        self._name = name
        self._frames: asyncio.Queue[VoiceFrame | None] = asyncio.Queue()

    def give(self, *numbers: int, flags: int = 0, codec: str = AMBE_DMR) -> None:
        for number in numbers:
            self._frames.put_nowait(
                VoiceFrame(
                    transmission=self._name,
                    sequence=number,
                    media_time_us=number * 60_000,
                    codec=codec,
                    duration_ms=60,
                    flags=flags,
                    payload=said(number),
                )
            )

    def end(self) -> None:
        self._frames.put_nowait(None)

    async def __aiter__(self) -> AsyncIterator[VoiceFrame]:
        while (frame := await self._frames.get()) is not None:
            yield frame


@contextlib.asynccontextmanager
async def keyed() -> AsyncIterator[tuple[System, Repeater, Given, "asyncio.Task[None]"]]:
    """A system with a repeater that hears our transmission, and voice that can be given."""
    async with running() as system, system.repeater(310001) as site:
        site.radio(LISTENER)
        assert await system.key() is Result.DONE
        given = Given()
        sending = asyncio.create_task(system.adapter.send_voice(aiter(given)))
        try:
            yield system, site, given, sending
        finally:
            sending.cancel()
            await asyncio.wait([sending])


async def returned(sending: "asyncio.Task[None]") -> None:
    async with asyncio.timeout(30):
        await sending


async def test_at_its_end_a_transmission_sends_what_is_left_when_it_is_told_to() -> None:
    async with keyed() as (system, site, given, sending):
        listener = site.radio(LISTENER)
        given.give(0, 1, 2, 3)
        given.end()
        await returned(sending)
        await system.unkey(drain=True)
        heard = await listener.wait_heard(ended=True)
        assert numbers_of(heard) == [0, 1, 2, 3]
        assert heard.ended_by == "terminator"


async def test_otherwise_it_ends_at_once() -> None:
    async with keyed() as (system, site, given, sending):
        listener = site.radio(LISTENER)
        given.give(*range(6))
        await listener.wait_heard()
        await wait_until(lambda: numbers_of(listener.heard[0]))
        await system.unkey(drain=False)
        await returned(sending)
        heard = await listener.wait_heard(ended=True)
        assert heard.ended_by == "terminator"
        assert 0 < len(numbers_of(heard)) < 6


@pytest.mark.parametrize("by", ["key", "radio", "unkey"])
async def test_whoever_wants_the_slot_cuts_the_rest_short(by: str) -> None:
    async with keyed() as (system, site, given, sending):
        listener = site.radio(LISTENER)
        given.give(0, 1, 2, 3)
        given.end()
        await returned(sending)
        await system.unkey(drain=True)
        assert not listener.heard[0].ended_by
        if by == "key":
            assert await system.key("t-2", "2/91") is Result.DONE
        elif by == "unkey":
            await system.unkey(drain=False)
        else:
            assert site.radio(TALKER).press(9, slot=2, polite=False)
            await wait_until(lambda: system.all(FloorIdle))
            assert system.all(FloorIdle)[0].caused_by == "t-1"
            return
        heard = await listener.wait_heard(ended=True)
        assert heard.ended_by == "terminator"
        assert numbers_of(heard) in ([], [0], [0, 1])


async def test_a_talk_that_came_to_its_end_before_its_voice_is_waited_for_no_longer_than_that() -> (
    None
):
    """The rest never comes, for the last frame names an end that is far off."""
    async with keyed() as (system, site, given, sending):
        listener = site.radio(LISTENER)
        given.give(0, 1)
        given.give(40, flags=VoiceFlag.LAST)
        await system.unkey(drain=True)
        heard = await listener.wait_heard(ended=True)
        assert heard.ended_by == "terminator"
        await returned(sending)
        assert len(heard.voice) <= 7


async def test_what_cannot_be_played_is_silence() -> None:
    async with keyed() as (system, site, given, sending):
        listener = site.radio(LISTENER)
        given.give(0, 1, flags=VoiceFlag.ENCRYPTED)
        given.give(2, 3, codec="opus")
        given.give(4, 5)
        given.end()
        await returned(sending)
        await system.unkey(drain=True)
        heard = await listener.wait_heard(ended=True)
        assert numbers_of(heard) == [4, 5]
        assert set(heard.voice) <= {burst.SILENCE, said(4), said(5)}


async def test_cancelled_sending_leaves_the_transmission_silent() -> None:
    async with keyed() as (system, site, given, sending):
        listener = site.radio(LISTENER)
        given.give(0)
        await wait_until(lambda: listener.heard and numbers_of(listener.heard[0]) == [0])
        sending.cancel()
        await asyncio.wait([sending])
        assert sending.cancelled()
        frames = listener.heard[0].frames
        await wait_until(lambda: listener.heard[0].frames >= frames + 3)
        assert listener.heard[0].voice[-1] == burst.SILENCE
        again = Given()
        again.give(1, 2)
        again.end()
        await system.adapter.send_voice(aiter(again))
        await system.unkey(drain=True)
        heard = await listener.wait_heard(ended=True)
        assert numbers_of(heard) == [0, 1, 2]


async def test_voice_of_no_transmission_is_not_waited_for() -> None:
    async with running() as system:
        given = Given()
        given.give(0)
        async with asyncio.timeout(30):
            await system.adapter.send_voice(aiter(given))
    async with asyncio.timeout(30):
        await system.adapter.send_voice(aiter(given))


async def test_when_the_adapter_stops_so_does_sending() -> None:
    system = System()
    run = asyncio.create_task(system.adapter.run(system.emit))
    await wait_until(lambda: system.all(Online))
    async with system.repeater(310001):
        assert await system.key() is Result.DONE
        given = Given()
        given.give(0)
        sending = asyncio.create_task(system.adapter.send_voice(aiter(given)))
        await asyncio.sleep(0)
        run.cancel()
        await asyncio.wait([run])
        await returned(sending)
