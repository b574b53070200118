"""A repeater and its radios against a plain master over real UDP."""

import asyncio
import hashlib
import itertools
from collections.abc import AsyncIterator

import pytest
from plain_master import PlainMaster

from simulators.homebrew_repeater import LinkState, Repeater, burst
from simulators.homebrew_repeater.faults import malformed_packets

ID = 460_011
NAME = ID.to_bytes(4, "big")


def make(master: PlainMaster, **more: object) -> Repeater:
    settings: dict[str, object] = {
        "id": ID,
        "passphrase": "s3cret",
        "master": master.address,
        "callsign": "BY2HT",
        "retry_s": 0.02,
        "retry_max_s": 0.05,
        "reply_s": 0.1,
        "seed": 1,
    }
    return Repeater(**(settings | more))  # type: ignore[arg-type]


@pytest.fixture
async def repeater(master: PlainMaster) -> AsyncIterator[Repeater]:
    async with make(master) as running:
        await running.wait_signed_in()
        yield running


def dmrd(kind: int, sequence: int, payload: bytes, *, stream: int = 77, slot: int = 1) -> bytes:
    """As a master writes it: 53 bytes; unit 9001 on talkgroup 101."""
    ids = (9001).to_bytes(3, "big") + (101).to_bytes(3, "big") + NAME
    bits = kind | (0x80 if slot == 2 else 0)
    return b"DMRD" + bytes((sequence,)) + ids + bytes((bits,)) + stream.to_bytes(4) + payload


CONTROL = burst.LinkControl(source=9001, destination=101).encode()
HEADER = burst.header(CONTROL, 1)
FRAMES = burst.silent_superframe(CONTROL, 1)
END = burst.terminator(CONTROL, 1)
KINDS = (0x10, 1, 2, 3, 4, 5)


def whole_talk(stream: int = 77, slot: int = 1) -> list[bytes]:
    """A header, one superframe, a terminator."""
    middle = [
        dmrd(kind, n, frame, stream=stream, slot=slot)
        for n, (kind, frame) in enumerate(zip(KINDS, FRAMES, strict=True), start=1)
    ]
    first = dmrd(0x21, 0, HEADER, stream=stream, slot=slot)
    return [first, *middle, dmrd(0x22, 7, END, stream=stream, slot=slot)]


# --- signing in -------------------------------------------------------------------------------


async def test_sign_in_on_the_wire(master: PlainMaster) -> None:
    async with make(master, options="TS1=101", ping_interval_s=0.05) as repeater:
        await repeater.wait_signed_in()
        await master.until(lambda: len(master.of(b"RPTPING")) >= 3)
        said = [data for _, data in master.seen]
        assert said[0] == b"RPTL" + NAME
        assert said[1] == b"RPTK" + NAME + hashlib.sha256(master.salt + b"s3cret").digest()
        assert said[2][:8] == b"RPTC" + NAME
        assert len(said[2]) == 302
        assert said[3] == b"RPTO" + NAME + b"TS1=101"
        assert said[4] == b"RPTPING" + NAME
        assert repeater.counts.sign_ins == 1
    await master.until(lambda: bool(master.of(b"RPTCL")))
    assert master.of(b"RPTCL") == [b"RPTCL" + NAME]
    assert repeater.state is LinkState.OFF


async def test_wrong_passphrase_is_said_and_tried_again(master: PlainMaster) -> None:
    async with make(master, passphrase="wrong") as repeater:
        await repeater.changes.until(lambda: repeater.state is LinkState.WAITING)
        assert "MSTNAK" in repeater.last_error
        assert not repeater.signed_in
        assert not master.of(b"RPTC")
        repeater.passphrase = "s3cret"
        await repeater.wait_signed_in()
        assert repeater.last_error == ""


async def test_waits_for_a_master_that_starts_later(master: PlainMaster) -> None:
    master.transport.close()
    await asyncio.sleep(0)
    async with make(master) as repeater:
        await repeater.changes.until(lambda: repeater.state is LinkState.WAITING)
        assert "nobody listens" in repeater.last_error
        async with PlainMaster(address=master.address):
            await repeater.wait_signed_in()


async def test_three_silent_pings_and_it_signs_in_again(master: PlainMaster) -> None:
    master.answers_pings = False
    async with make(master, ping_interval_s=0.03) as repeater:
        await master.until(lambda: len(master.of(b"RPTL")) == 2)
        pings = len(master.of(b"RPTPING"))
        assert pings == 3
        await repeater.changes.until(lambda: repeater.counts.sign_ins == 2)


async def test_nak_and_close_make_it_sign_in_again(master: PlainMaster, repeater: Repeater) -> None:
    master.send(ID, b"MSTNAK" + NAME)
    await repeater.changes.until(lambda: repeater.counts.sign_ins == 2)
    master.send(ID, b"MSTCL" + NAME)
    await repeater.changes.until(lambda: repeater.counts.sign_ins == 3)


async def test_unplugged_says_nothing_and_comes_back(
    master: PlainMaster, repeater: Repeater
) -> None:
    radio = repeater.radio(1001)
    assert radio.press(101)
    repeater.unplug()
    assert not radio.pressing
    assert not radio.press(101)
    assert repeater.state is LinkState.OFF
    with pytest.raises(ConnectionError):
        repeater.send_raw(b"x")
    repeater.plug()
    await repeater.wait_signed_in()
    assert not master.of(b"RPTCL")
    assert not [data for data in master.of(b"DMRD") if data[15] == 0x22]


# --- a radio talks ----------------------------------------------------------------------------


async def test_a_talk_on_the_wire(master: PlainMaster, repeater: Repeater) -> None:
    radio = repeater.radio(1001)
    assert radio.press(101, slot=2)
    assert repeater.counts.sent == 1, "the header has gone when press returns"
    await master.until(lambda: len(master.of(b"DMRD")) >= 9)
    await radio.release()
    await master.until(lambda: master.of(b"DMRD")[-1][15] == 0xA2)
    talk = [(at, data) for at, data in master.seen if data.startswith(b"DMRD")]
    packets = [data for _, data in talk]
    assert {len(data) for data in packets} == {55}
    assert {data[5:8] for data in packets} == {(1001).to_bytes(3, "big")}
    assert {data[8:11] for data in packets} == {(101).to_bytes(3, "big")}
    assert {data[11:15] for data in packets} == {NAME}
    assert len({data[16:20] for data in packets}) == 1
    assert [data[4] for data in packets] == list(range(len(packets)))
    kinds = [data[15] for data in packets]
    assert kinds[:9] == [0xA1, 0x90, 0x81, 0x82, 0x83, 0x84, 0x85, 0x90, 0x81]
    assert kinds[-1] == 0xA2
    control = burst.LinkControl(source=1001, destination=101).encode()
    assert packets[0][20:53] == burst.header(control, 1)
    assert [data[20:53] for data in packets[1:7]] == list(burst.silent_superframe(control, 1))
    assert packets[-1][20:53] == burst.terminator(control, 1)
    gaps = [later - sooner for (sooner, _), (later, _) in itertools.pairwise(talk)]
    assert 0.055 < sum(gaps) / len(gaps) < 0.2
    assert not radio.pressing
    assert not master.of(b"DMRA")


async def test_each_talk_has_its_own_stream(master: PlainMaster, repeater: Repeater) -> None:
    radio = repeater.radio(1001)
    for _ in range(3):
        assert radio.press(101)
        await radio.release()
    await master.until(lambda: len(master.of(b"DMRD")) == 6)
    assert [data[4] for data in master.of(b"DMRD")] == [0, 1] * 3
    assert len({data[16:20] for data in master.of(b"DMRD")}) == 3


async def test_alias_goes_embedded_and_as_dmra(master: PlainMaster, repeater: Repeater) -> None:
    radio = repeater.radio(1001, "李警官 0123")
    assert radio.press(101)
    await master.until(lambda: len(master.of(b"DMRA")) == 3)
    radio.vanish()
    blocks = burst.alias_blocks("李警官 0123")
    assert master.of(b"DMRA") == [
        b"DMRA" + (1001).to_bytes(3, "big") + bytes((n,)) + block[2:]
        for n, block in enumerate(blocks)
    ]
    second = [data[20:53] for data in master.of(b"DMRD")][7:13]
    assert second == list(burst.silent_superframe(blocks[0], 1))


async def test_emergency_is_in_the_link_control(master: PlainMaster, repeater: Repeater) -> None:
    radio, listener = repeater.radio(1001), repeater.radio(1002)
    assert radio.press(101, emergency=True, encrypted=True)
    await master.until(lambda: bool(master.of(b"DMRD")))
    header = burst.read_data_burst(master.of(b"DMRD")[0][20:53])
    assert header.control.hex() == "0000c0" + "000065" + "0003e9"
    assert (listener.heard[0].emergency, listener.heard[0].encrypted) == (True, True)
    control = burst.LinkControl(source=9001, destination=101, emergency=True).encode()
    master.send(ID, dmrd(0xA1, 0, burst.header(control, 1)))
    heard = await listener.wait_heard(2)
    assert (heard.emergency, heard.encrypted, heard.lc_ok) == (True, False, True)


async def test_a_name_with_several_addresses(master: PlainMaster) -> None:
    repeater = make(master)
    repeater.master = ("localhost", master.address[1])
    async with repeater:
        await repeater.wait_signed_in()
        assert await repeater.radio(1001).talk(101, seconds=0)


async def test_vanishing_leaves_no_terminator(master: PlainMaster, repeater: Repeater) -> None:
    radio = repeater.radio(1001)
    assert radio.press(101)
    radio.vanish()
    assert not radio.pressing
    repeater.send_raw(b"mark")
    await master.until(lambda: bool(master.of(b"mark")))
    assert [data[15] for data in master.of(b"DMRD")] == [0x21]


async def test_radios_share_a_slot(repeater: Repeater) -> None:
    one, two, deaf = (
        repeater.radio(1001, "one"),
        repeater.radio(1002),
        repeater.radio(1003, talkgroups=[7]),
    )
    assert one.press(101, slot=1)
    assert not one.press(101, slot=2), "a radio has one transmitter"
    assert not two.press(102, slot=1), "the slot is taken, whatever the talkgroup"
    assert two.refused == 1
    assert two.press(102, slot=2)
    assert [(heard.source, heard.origin) for heard in two.heard] == [(1001, "air")]
    assert [heard.source for heard in one.heard] == [1002]
    assert deaf.heard == []
    await one.release()
    assert two.heard[0].ended_by == "terminator"
    assert await deaf.talk(7, slot=1, seconds=0)
    await two.release()


async def test_a_talk_stays_on_its_repeater(master: PlainMaster, repeater: Repeater) -> None:
    async with make(master, id=460_012) as other:
        await other.wait_signed_in()
        near, far = repeater.radio(1002), other.radio(2001)
        assert repeater.radio(1001).press(101)
        await near.wait_heard()
        await master.until(lambda: bool(master.of(b"DMRD")))
        assert far.heard == []
        assert far.press(101)


async def test_losses_are_dropped_and_counted(master: PlainMaster, repeater: Repeater) -> None:
    repeater.network.loss = 1.0
    radio = repeater.radio(1001)
    assert radio.press(101)
    master.send(ID, dmrd(0x21, 0, HEADER, slot=2))
    await radio.release()
    master.send(ID, b"WHAT")
    await repeater.changes.until(lambda: repeater.counts.malformed == 1)
    assert not master.of(b"DMRD")
    assert repeater.network.lost == 3
    assert radio.heard == []


# --- the master talks -------------------------------------------------------------------------


async def test_what_the_master_sends_is_heard(master: PlainMaster, repeater: Repeater) -> None:
    radio, other = repeater.radio(1001), repeater.radio(1002, talkgroups=[102])
    for packet in whole_talk():
        master.send(ID, packet)
    heard = await radio.wait_heard(ended=True)
    assert (heard.source, heard.talkgroup, heard.slot, heard.stream) == (9001, 101, 1, 77)
    assert (heard.frames, heard.missing, heard.origin) == (6, 0, "master")
    assert heard.ended_by == "terminator"
    assert heard.ended_s is not None
    assert heard.ended_s >= heard.started_s
    assert not heard.late_entry
    assert heard.control_checks == 3
    assert heard.lc_ok, heard.faults
    assert len(heard.gaps_ms) == 7
    assert other.heard == []


async def test_busy_while_the_master_talks(master: PlainMaster, repeater: Repeater) -> None:
    radio = repeater.radio(1001)
    talk = whole_talk()
    master.send(ID, talk[0])
    await radio.wait_heard()
    assert not radio.press(101)
    assert radio.press(101, slot=2)
    await radio.release()
    assert radio.press(101, polite=False), "an impolite radio talks over it"
    await radio.release()
    master.send(ID, talk[-1])
    await radio.wait_heard(ended=True)
    assert radio.press(101)


async def test_a_talking_radio_comes_before_the_master(
    master: PlainMaster, repeater: Repeater
) -> None:
    radio, listener = repeater.radio(1001), repeater.radio(1002)
    assert radio.press(101)
    for packet in whole_talk():
        master.send(ID, packet)
    master.send(ID, b"WHAT")
    await repeater.changes.until(lambda: repeater.counts.malformed == 1)
    assert [heard.origin for heard in listener.heard] == ["air"]
    assert repeater.slots[1].counts.ignored == 8


async def test_silence_of_the_master_ends_a_talk(master: PlainMaster, repeater: Repeater) -> None:
    radio = repeater.radio(1001)
    master.send(ID, whole_talk()[0])
    heard = await radio.wait_heard(ended=True)
    assert heard.ended_by == "lost"
    assert heard.ended_s is not None
    assert 1.4 < heard.ended_s - heard.started_s < 4.0
    assert radio.press(101)


async def test_late_entry_and_a_new_stream(master: PlainMaster, repeater: Repeater) -> None:
    radio = repeater.radio(1001)
    for packet in whole_talk(stream=5)[1:4]:
        master.send(ID, packet)
    first = await radio.wait_heard()
    assert first.late_entry
    master.send(ID, whole_talk(stream=6)[0])
    second = await radio.wait_heard(2)
    assert first.ended_by == "superseded"
    assert (second.stream, second.late_entry) == (6, False)


async def test_late_packets_do_not_reopen_a_talk(master: PlainMaster, repeater: Repeater) -> None:
    radio = repeater.radio(1001)
    talk = whole_talk()
    for packet in (*talk, talk[3], talk[-1]):
        master.send(ID, packet)
    await repeater.changes.until(lambda: repeater.counts.received == 10)
    assert len(radio.heard) == 1
    assert repeater.slots[1].counts.ignored == 2


async def test_dishonest_bursts_are_found(master: PlainMaster, repeater: Repeater) -> None:
    radio = repeater.radio(1001)
    talk = whole_talk()
    other = burst.header(burst.LinkControl(source=9002, destination=101).encode(), 1)
    talk[0] = dmrd(0x21, 0, other)
    damaged = bytearray(talk[2])
    damaged[20 + 16] ^= 0x10  # one bit of an embedded fragment
    talk[2] = bytes(damaged)
    talk[6] = dmrd(5, 6, FRAMES[0])  # voice sync in burst F
    for packet in talk:
        master.send(ID, packet)
    heard = await radio.wait_heard(ended=True)
    assert not heard.lc_ok
    assert len(heard.faults) == 3
    assert "DMRD says" in heard.faults[0]
    assert "Hamming" in heard.faults[1]
    assert "voice sync in burst 5" in heard.faults[2]


async def test_lost_packets_show_in_the_sequence(master: PlainMaster, repeater: Repeater) -> None:
    radio = repeater.radio(1001)
    talk = whole_talk()
    del talk[3:5]
    for packet in talk:
        master.send(ID, packet)
    heard = await radio.wait_heard(ended=True)
    assert (heard.missing, heard.frames) == (2, 4)
    assert heard.lc_ok, heard.faults


async def test_private_call_is_for_one(master: PlainMaster, repeater: Repeater) -> None:
    wanted, other = repeater.radio(101, talkgroups=[]), repeater.radio(1002)
    control = burst.LinkControl(source=9001, destination=101, private=True).encode()
    master.send(ID, dmrd(0x61, 0, burst.header(control, 1)))
    heard = await wanted.wait_heard()
    assert heard.private
    assert heard.lc_ok, heard.faults
    assert other.heard == []


async def test_garbage_is_counted_and_the_next_good_one_read(
    master: PlainMaster, repeater: Repeater
) -> None:
    radio = repeater.radio(1001)
    garbage = malformed_packets(ID)
    for packet in garbage.values():
        master.send(ID, packet)
    for packet in whole_talk():
        master.send(ID, packet)
    heard = await radio.wait_heard(ended=True)
    assert heard.lc_ok
    assert repeater.counts.malformed == len(garbage)
    for kind, packet in garbage.items():
        repeater.send_malformed(kind)
        await master.until(lambda packet=packet: master.seen[-1][1] == packet)  # type: ignore[misc]


async def test_stopping_in_mid_talk_ends_it_and_leaves_nothing(master: PlainMaster) -> None:
    before = asyncio.all_tasks()
    async with make(master) as repeater:
        await repeater.wait_signed_in()
        assert repeater.radio(1001).press(101)
    await master.until(lambda: bool(master.of(b"RPTCL")))
    assert [data[15] for data in master.of(b"DMRD")] == [0x21, 0x22]
    assert asyncio.all_tasks() == before
