"""The Homebrew adapter on a real socket: plain UDP peers for what goes wrong, and the simulated
repeaters for whole talks."""

import asyncio
import contextlib
import hashlib
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

import pytest

from adapters.errors import Busy, InvalidSettings, NotSupported, Unreachable
from adapters.events import (
    ChannelHealth,
    EmergencyRaised,
    Event,
    FloorIdle,
    FloorRefreshed,
    FloorTaken,
    KeyChannel,
    Malformed,
    Online,
    Result,
    SendText,
    UnkeyChannel,
)
from adapters.homebrew import dmr, wire
from adapters.homebrew.adapter import HomebrewAdapter
from adapters.homebrew.settings import HomebrewSettings
from simulators.homebrew_repeater import Repeater

E = TypeVar("E", bound=Event)

PASSPHRASE = "planted-passphrase"
REPEATER = 310001


class Gateway:
    """A running adapter and what it emits."""

    def __init__(self, **settings: Any) -> None:
        given = {"port": 0, "passphrase": PASSPHRASE, "ping_timeout_s": 5, **settings}
        self.adapter = HomebrewAdapter(HomebrewSettings.model_validate(given), ["1/3101", "2/9"])
        self.events: list[Event] = []
        self._changed = asyncio.Event()

    def emit(self, event: Event) -> None:
        self.events.append(event)
        self._changed.set()

    @property
    def address(self) -> tuple[str, int]:
        address = self.adapter.local_address
        assert address is not None
        return address

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(30):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def all(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    async def get(self, kind: type[E], number: int = 0) -> E:
        """The event of that kind and number, from 0; waits for it."""
        await self.until(lambda: len(self.all(kind)) > number)
        return self.all(kind)[number]

    async def key(self, address: str = "1/3101", name: str = "t-1", source: str = "") -> Any:
        return await self.adapter.execute(
            KeyChannel(address=address, transmission=name, talker_source=source)
        )

    async def unkey(self, name: str = "t-1") -> Any:
        return await self.adapter.execute(UnkeyChannel(address="1/3101", transmission=name))


@contextlib.asynccontextmanager
async def running(**settings: Any) -> AsyncIterator[Gateway]:
    gateway = Gateway(**settings)
    task = asyncio.create_task(gateway.adapter.run(gateway.emit))
    try:
        await gateway.get(Online)
        yield gateway
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


class PlainPeer(asyncio.DatagramProtocol):
    """A UDP socket that speaks bytes."""

    def __init__(self) -> None:
        self.inbox: asyncio.Queue[bytes] = asyncio.Queue()
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.inbox.put_nowait(data)

    def send(self, data: bytes) -> None:
        self.transport.sendto(data)

    async def get(self) -> bytes:
        async with asyncio.timeout(30):
            return await self.inbox.get()

    async def ask(self, data: bytes) -> bytes:
        self.send(data)
        return await self.get()

    async def sign_in(self, repeater: int = REPEATER) -> None:
        number = repeater.to_bytes(4, "big")
        salt = (await self.ask(b"RPTL" + number))[6:]
        digest = hashlib.sha256(salt + PASSPHRASE.encode()).digest()
        assert await self.ask(b"RPTK" + number + digest) == b"RPTACK" + number
        configuration = b"RPTC" + number + b"BJ1ABC  " + bytes(20) + b"07" + bytes(264)
        assert await self.ask(configuration) == b"RPTACK" + number


@contextlib.asynccontextmanager
async def plain_peer(gateway: Gateway) -> AsyncIterator[PlainPeer]:
    loop = asyncio.get_running_loop()
    transport, peer = await loop.create_datagram_endpoint(PlainPeer, remote_addr=gateway.address)
    try:
        yield peer
    finally:
        transport.close()


@contextlib.asynccontextmanager
async def repeater(
    gateway: Gateway, number: int = REPEATER, **more: Any
) -> AsyncIterator[Repeater]:
    async with Repeater(
        id=number, passphrase=PASSPHRASE, master=gateway.address, retry_s=0.05, **more
    ) as it:
        await it.wait_signed_in()
        yield it


def burst(
    frame: wire.Frame, kind: int, payload: bytes = bytes(33), source: int = 2001, stream: int = 0xA1
) -> bytes:
    return wire.encode_dmrd(
        wire.Dmrd(
            sequence=0,
            source_id=source,
            destination_id=3101,
            repeater_id=REPEATER,
            slot=1,
            private=False,
            frame=frame,
            kind=kind,
            stream_id=stream,
            payload=payload,
        )
    )


def header(source: int = 2001, stream: int = 0xA1, options: int = 0) -> bytes:
    control = dmr.LinkControl(service_options=options, destination_id=3101, source_id=source)
    return burst(
        wire.Frame.DATA_SYNC, 1, dmr.encode_header(control, 1), source=source, stream=stream
    )


def terminator(source: int = 2001, stream: int = 0xA1) -> bytes:
    return burst(wire.Frame.DATA_SYNC, 2, source=source, stream=stream)


# --- signing in -------------------------------------------------------------------------------


async def test_health_follows_the_repeaters() -> None:
    async with running() as gateway:
        assert [(each.address, each.health) for each in gateway.all(ChannelHealth)] == [
            ("1/3101", "down"), ("2/9", "down"),
        ]  # fmt: skip
        assert "no repeater" in gateway.all(ChannelHealth)[0].reason
        async with plain_peer(gateway) as peer:
            await peer.sign_in()
            up = await gateway.get(ChannelHealth, 3)
            assert (up.address, up.health, up.reason) == ("2/9", "ok", "")
            assert await peer.ask(b"RPTPING" + REPEATER.to_bytes(4, "big")) == (
                b"MSTPONG" + REPEATER.to_bytes(4, "big")
            )
            peer.send(b"RPTCL" + REPEATER.to_bytes(4, "big"))
            down = await gateway.get(ChannelHealth, 5)
            assert down.health == "down"


async def test_a_silent_repeater_is_gone_with_its_talk() -> None:
    async with running(ping_timeout_s=0.3, hold_s=5) as gateway, plain_peer(gateway) as peer:
        await peer.sign_in()
        peer.send(header())
        await gateway.get(FloorTaken)
        idle = await gateway.get(FloorIdle)
        assert idle.reason == "lost"
        assert (await gateway.get(ChannelHealth, 5)).health == "down"


async def test_a_wrong_passphrase_is_one_clear_sentence_and_ends_nobody_else() -> None:
    async with running() as gateway, repeater(gateway) as good:
        async with Repeater(id=310003, passphrase="mistaken-one", master=gateway.address):
            refused = await gateway.get(Malformed)
        assert refused.reason == "repeater 310003 sent a wrong passphrase"
        assert refused.peer.startswith("127.0.0.1:")
        assert good.signed_in


async def test_who_is_not_signed_in_is_told_so_and_not_heard() -> None:
    async with running() as gateway, plain_peer(gateway) as peer:
        nak = b"MSTNAK" + REPEATER.to_bytes(4, "big")
        assert await peer.ask(header()) == nak
        assert await peer.ask(b"RPTPING" + REPEATER.to_bytes(4, "big")) == nak
        async with plain_peer(gateway) as other:
            await other.sign_in()
            assert await peer.ask(header()) == nak, "another address, the same id"
        assert gateway.all(FloorTaken) == []


async def test_garbage_is_told_up_to_a_limit() -> None:
    async with running() as gateway, plain_peer(gateway) as peer:
        for _ in range(120):
            peer.send(b"DMRDshort")
        await peer.sign_in()
        told = gateway.all(Malformed)
        assert 50 <= len(told) < 120
        assert "byte 9" in told[0].reason
        assert told[0].peer.startswith("127.0.0.1:")


# --- talks ------------------------------------------------------------------------------------


async def test_a_press_is_told_with_who_and_where_and_its_end() -> None:
    async with running() as gateway, repeater(gateway) as site:
        radio = site.radio(2001, "张三")
        radio.press(3101)
        taken = await gateway.get(FloorTaken)
        assert (taken.address, taken.talker, taken.priority) == ("1/3101", "2001", 0)
        assert (taken.emergency, taken.encrypted, taken.late_entry) == (False, False, False)
        assert taken.caused_by is None
        refreshed = await gateway.get(FloorRefreshed)
        assert refreshed.stream == taken.stream
        assert refreshed.talker_alias == "张三"
        assert refreshed.hold_s >= 3
        await radio.release()
        idle = await gateway.get(FloorIdle)
        assert (idle.address, idle.stream, idle.reason) == ("1/3101", taken.stream, "released")
        radio.press(3101)
        again = await gateway.get(FloorTaken, 2)  # the refresh is the second
        assert again.talker_alias == "张三", "a name that is known comes with the start"
        assert again.stream != taken.stream


async def test_a_radio_that_vanishes_is_lost_after_the_hold() -> None:
    async with running(hold_s=0.3) as gateway, repeater(gateway) as site:
        radio = site.radio(2001)
        radio.press(3101)
        await gateway.get(FloorTaken)
        radio.vanish()
        assert (await gateway.get(FloorIdle)).reason == "lost"


async def test_an_emergency_is_raised_before_the_floor_is_taken() -> None:
    async with running() as gateway, plain_peer(gateway) as peer:
        await peer.sign_in()
        peer.send(header(options=0xC0))
        taken = await gateway.get(FloorTaken)
        assert (taken.priority, taken.emergency, taken.encrypted) == (255, True, True)
        raised = gateway.all(EmergencyRaised)[0]
        assert (raised.address, raised.unit) == ("1/3101", "2001")
        assert gateway.events.index(raised) < gateway.events.index(taken)


async def test_a_talk_is_repeated_to_the_other_repeaters_bit_for_bit() -> None:
    async with running() as gateway, repeater(gateway) as here, repeater(gateway, 310002) as there:
        listening = there.radio(2002)
        here.radio(2001, "A12").press(3101)
        await there.changes.until(lambda: bool(listening.heard and listening.heard[0].alias))
        await here.radio(2001).release()
        heard = await listening.wait_heard(ended=True)
        assert (heard.source, heard.talkgroup, heard.ended_by) == (2001, 3101, "terminator")
        assert heard.lc_ok
        assert heard.missing == 0
        assert heard.alias == "A12"
        assert here.counts.received == 0, "it came back to where it was"


async def test_a_repeater_that_has_a_talk_of_its_own_gets_no_other() -> None:
    async with running() as gateway, repeater(gateway) as here, repeater(gateway, 310002) as there:
        here.radio(2001).press(3101)
        await there.radio(2002).wait_heard()
        there.radio(2003).press(9, polite=False)
        await gateway.get(FloorTaken, 1)
        received = there.counts.received
        await gateway.get(FloorRefreshed)
        assert there.counts.received <= received + 1


async def test_of_two_talks_on_a_slot_a_third_repeater_gets_the_first_whole() -> None:
    async with (
        running() as gateway,
        repeater(gateway) as here,
        repeater(gateway, 310002) as there,
        repeater(gateway, 310003) as third,
    ):
        listening = third.radio(2009)
        here.radio(2001).press(3101)
        heard = await listening.wait_heard()
        there.radio(2002).press(9, polite=False)
        await gateway.get(FloorTaken, 1)
        await third.changes.until(lambda: heard.frames >= 6)
        assert len(listening.heard) == 1
        assert (heard.ended_by, heard.faults) == ("", [])
        await here.radio(2001).release()
        assert (await listening.wait_heard(2)).source == 2002, "the other one, late"


async def test_data_bursts_pass_on_and_are_no_talk() -> None:
    async with (
        running() as gateway,
        plain_peer(gateway) as peer,
        repeater(gateway, 310002) as there,
    ):
        await peer.sign_in()
        for kind in (3, 6, 8):
            peer.send(burst(wire.Frame.DATA_SYNC, kind))
        await there.changes.until(lambda: there.slots[1].counts.data == 3)
        assert gateway.all(FloorTaken) == []


# --- keying -----------------------------------------------------------------------------------


async def test_keying_sends_header_superframes_and_terminator() -> None:
    async with running(gateway_radio_id=16_000_001) as gateway, repeater(gateway) as site:
        listening = site.radio(2001)
        assert (await gateway.key()).result is Result.DONE
        assert (await gateway.key()).result is Result.DONE, "repeated, it changes nothing"
        heard = await listening.wait_heard()
        await site.changes.until(lambda: heard.frames >= 13)
        await gateway.unkey()
        await listening.wait_heard(ended=True)
        assert (heard.source, heard.talkgroup, heard.slot) == (16_000_001, 3101, 1)
        assert heard.faults == []
        assert heard.control_checks >= 4  # header, two superframes, terminator
        assert 50 < sum(heard.gaps_ms[:-1]) / len(heard.gaps_ms[:-1]) < 120
        assert (heard.missing, heard.late_entry, heard.ended_by) == (0, False, "terminator")
        assert (await gateway.unkey()).result is Result.DONE
        assert len(listening.heard) == 1
        assert gateway.all(FloorTaken) == []


async def test_the_talker_is_the_unit_that_is_mapped() -> None:
    async with running() as gateway, repeater(gateway) as site:
        await gateway.key(source="4600777")
        assert (await site.radio(2001).wait_heard()).source == 4600777


async def test_a_slot_has_one_talk() -> None:
    async with running() as gateway, repeater(gateway) as site:
        await gateway.key("1/3101", "t-1")
        busy = await gateway.key("1/9", "t-2")
        assert busy.result is Result.BUSY
        assert "1/3101" in busy.reason
        assert (await gateway.key("2/9", "t-3")).result is Result.DONE, "the other slot is free"
        other = await gateway.key("1/9", "t-1")
        assert other.result is Result.REFUSED
        await gateway.unkey("t-1")
        await site.changes.until(lambda: not site.slots[1].busy)
        assert site.radio(2001).press(3101)
        await gateway.get(FloorTaken)
        busy = await gateway.key("1/9", "t-2")
        assert busy.result is Result.BUSY
        assert "radio 2001" in busy.reason
        await site.radio(2001).release()
        await gateway.get(FloorIdle)
        assert (await gateway.key("1/9", "t-2")).result is Result.DONE, "it comes in late"


async def test_the_air_goes_before_us() -> None:
    async with running() as gateway, repeater(gateway) as here, repeater(gateway, 310002) as there:
        await gateway.key()
        heard = await there.radio(2002).wait_heard()
        here.radio(2001).press(3101, polite=False)
        taken = await gateway.get(FloorTaken)
        ours = await gateway.get(FloorIdle)
        assert (ours.caused_by, ours.reason, ours.address) == ("t-1", "system", "1/3101")
        assert gateway.events.index(ours) < gateway.events.index(taken)
        assert taken.talker == "2001"
        assert (await gateway.key()).result is Result.BUSY
        second = await there.radio(2002).wait_heard(2)
        assert heard.ended_by == "terminator"
        assert second.source == 2001
        await here.radio(2001).release()
        await gateway.get(FloorIdle, 1)
        assert (await gateway.key()).result is Result.DONE, "the same transmission comes in late"


async def test_our_own_transmission_heard_back_is_ours() -> None:
    async with (
        running() as gateway,
        plain_peer(gateway) as peer,
        repeater(gateway, 310002) as other,
    ):
        await peer.sign_in()
        await gateway.key()
        await other.radio(2009).wait_heard()
        own = wire.decode(await peer.get())
        assert isinstance(own, wire.Dmrd)
        peer.send(header(source=7, stream=own.stream_id))
        echo = await gateway.get(FloorTaken)
        assert echo.caused_by == "t-1"
        assert (await gateway.key()).result is Result.DONE, "an echo takes nothing from us"
        peer.send(terminator(source=7, stream=own.stream_id))
        idle = await gateway.get(FloorIdle)
        assert idle.caused_by is None, "ours goes on; naming it would say that it is over"
        await gateway.unkey()
        heard = await other.radio(2009).wait_heard(ended=True)
        assert heard.faults == [], "an echo goes no further"
        peer.send(header(source=16_000_000, stream=5))
        assert (await gateway.get(FloorTaken, 1)).caused_by == "t-1"
        peer.send(terminator(source=16_000_000, stream=5))
        assert (await gateway.get(FloorIdle, 1)).caused_by == "t-1"


async def test_what_cannot_be_keyed_is_refused_with_a_reason() -> None:
    async with running() as gateway:
        refused = await gateway.key()
        assert (refused.result, refused.reason) == (Result.REFUSED, "no repeater is signed in")
        async with repeater(gateway):
            for address in ("3101", "3/1", "1/x", "1/0"):
                refused = await gateway.key(address)
                assert refused.result is Result.REFUSED
                assert address in refused.reason
        with pytest.raises(NotSupported):
            await gateway.adapter.execute(SendText(address="1/3101", text="hello"))


async def test_a_repeater_that_signs_in_during_a_transmission_gets_the_rest() -> None:
    async with running() as gateway, repeater(gateway):
        await gateway.key()
        async with repeater(gateway, 310002) as late:
            heard = await late.radio(2002).wait_heard()
            assert heard.late_entry
            await gateway.unkey()
            assert (await late.radio(2002).wait_heard(ended=True)).ended_by == "terminator"


async def test_before_and_after_running_there_is_nothing_to_key() -> None:
    gateway = Gateway()
    with pytest.raises(Unreachable):
        await gateway.key()
    async with running() as ran:
        adapter = ran.adapter
    assert adapter.local_address is None
    with pytest.raises(Unreachable):
        await adapter.execute(KeyChannel(address="1/3101", transmission="t"))


async def test_going_down_unkeys_and_says_good_bye() -> None:
    gateway = Gateway()
    task = asyncio.create_task(gateway.adapter.run(gateway.emit))
    await gateway.get(Online)
    async with plain_peer(gateway) as peer:
        await peer.sign_in()
        await gateway.key()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        said = [await peer.get()]
        while not said[-1].startswith(b"MSTCL"):
            said.append(await peer.get())
    last = wire.decode(said[-2])
    assert isinstance(last, wire.Dmrd)
    assert last.is_terminator


async def test_a_port_in_use_and_a_host_that_is_not_ours() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(Busy, match="in use") as busy:
            await Gateway(port=port).adapter.run(lambda event: None)
        assert busy.value.device == f"127.0.0.1:{port}"
        assert busy.value.retryable
    with pytest.raises(InvalidSettings, match="no address of this machine"):
        await Gateway(host="192.0.2.1").adapter.run(lambda event: None)


async def test_the_same_adapter_runs_again() -> None:
    gateway = Gateway()
    for number in range(2):
        task = asyncio.create_task(gateway.adapter.run(gateway.emit))
        await gateway.get(Online, number)
        async with repeater(gateway):
            assert (await gateway.key(name=f"t-{number}")).result is Result.DONE
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_an_emit_that_fails_ends_the_run_and_is_not_swallowed() -> None:
    gateway = Gateway()

    def emit(event: Event) -> None:
        if isinstance(event, FloorTaken):
            raise RuntimeError("planted")
        gateway.emit(event)

    task = asyncio.create_task(gateway.adapter.run(emit))
    await gateway.get(Online)
    async with plain_peer(gateway) as peer:
        await peer.sign_in()
        peer.send(header())
        with pytest.raises(RuntimeError, match="planted"):
            await task
