"""What a bad network does to packets, and what simulated radios say."""

import asyncio
import random

from hypothesis import given
from hypothesis import strategies as st
from plain_master import PlainMaster

from simulators.homebrew_repeater import Repeater, burst
from simulators.homebrew_repeater.disturbance import Disturbance
from simulators.waiting import Changes


class Arrived:
    """What came through, in its order."""

    def __init__(self) -> None:
        self.packets: list[bytes] = []
        self.changes = Changes()

    def __call__(self, packet: bytes) -> None:
        self.packets.append(packet)
        self.changes.notify()


def packets(count: int) -> list[bytes]:
    return [number.to_bytes(2, "big") for number in range(count)]


async def test_a_good_network_passes_everything_at_once() -> None:
    arrived, network = Arrived(), Disturbance(random.Random(1))
    for packet in packets(20):
        network.send(packet, arrived)
    assert arrived.packets == packets(20)


async def test_it_loses_and_doubles_and_counts() -> None:
    arrived, network = Arrived(), Disturbance(random.Random(1), loss=0.2)
    network.duplicate = 0.2
    for packet in packets(200):
        network.send(packet, arrived)
    expected = 200 - network.lost + network.doubled
    await arrived.changes.until(lambda: len(arrived.packets) == expected)
    assert 20 < network.lost < 60
    assert 20 < network.doubled < 60
    assert len(set(arrived.packets)) == 200 - network.lost


async def test_what_is_late_keeps_its_order() -> None:
    arrived, network = Arrived(), Disturbance(random.Random(1))
    network.delay_s = 0.05
    for packet in packets(50):
        network.send(packet, arrived)
    assert len(arrived.packets) < 50
    await arrived.changes.until(lambda: len(arrived.packets) == 50)
    assert arrived.packets == packets(50)


async def test_what_is_held_back_is_overtaken() -> None:
    arrived, network = Arrived(), Disturbance(random.Random(1))
    for number, packet in enumerate(packets(10)):
        network.reorder = 1.0 if number == 4 else 0.0
        network.send(packet, arrived)
    await arrived.changes.until(lambda: len(arrived.packets) == 10)
    assert arrived.packets == [packet for packet in packets(10) if packet[1] != 4] + [b"\0\4"]


async def test_what_is_on_its_way_when_it_closes_never_comes() -> None:
    arrived, network = Arrived(), Disturbance(random.Random(1))
    network.reorder = 1.0
    network.send(b"x", arrived)
    network.close()
    await asyncio.sleep(0.15)
    assert arrived.packets == []


@given(st.binary(min_size=27, max_size=27), st.binary(min_size=9, max_size=9), st.integers(0, 15))
def test_a_burst_says_what_it_was_given(voice: bytes, embedded: bytes, colour_code: int) -> None:
    for place, middle in enumerate(burst.superframe_middles(embedded, colour_code)):
        made = burst.voice_burst(voice, middle)
        assert burst.voice_of(made) == voice
        read = burst.read_voice_burst(made)
        assert read.sync == (place == 0)
        assert read.sync or read.colour_code == colour_code


async def test_a_radio_says_what_a_test_gives_it_and_is_heard_so(master: PlainMaster) -> None:
    async with Repeater(
        id=460_011, passphrase="s3cret", master=master.address, callsign="BY2HT"
    ) as repeater:
        await repeater.wait_signed_in()
        other = repeater.radio(2)
        radio = repeater.radio(1)
        assert radio.press(101, voice=lambda number: bytes((number,)) * burst.VOICE_BYTES)
        voiced = [0x10, *range(1, 6), 0x10, 1]
        await master.until(lambda: [p[15] for p in master.of(b"DMRD")][1:9] == voiced, 30)
        await radio.release()
        heard = other.heard[0]
        assert heard.voice == [bytes((number,)) * 27 for number in range(heard.frames)]
        sent = [packet for packet in master.of(b"DMRD") if packet[15] & 0x30 != 0x20]
        assert [burst.voice_of(packet[20:53]) for packet in sent] == heard.voice[: len(sent)]
        assert len(sent) >= 8
