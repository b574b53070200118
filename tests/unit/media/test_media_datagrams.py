"""RTP over UDP: order, strangers, and ports."""

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from media_samples import rtp
from scripted_camera import until

from adapters.errors import ProtocolViolation
from adapters.footprint import Footprint
from adapters.media.datagrams import PortPair
from adapters.media.reorder import ReorderWindow


def numbers(packets: list[bytes]) -> list[int]:
    return [struct.unpack_from(">H", packet, 2)[0] for packet in packets]


def pushed(order: list[int], window: ReorderWindow | None = None) -> list[int]:
    window = window or ReorderWindow()
    return [n for one in order for n in numbers(window.push(rtp(one, 0, b"x"), 0.0))]


@given(
    first=st.integers(0, 65_535),
    jitter=st.lists(st.floats(0, 8), min_size=1, max_size=60),
)
def test_what_comes_a_little_out_of_order_is_put_right(first: int, jitter: list[float]) -> None:
    places = sorted(range(1, len(jitter) + 1), key=lambda n: n + jitter[n - 1])
    # The first packet says where the sender stands.
    order = [first, *((first + place) % 65_536 for place in places)]
    assert pushed(order) == [(first + n) % 65_536 for n in range(len(order))]


def test_a_lost_packet_is_waited_for_so_long_and_no_longer() -> None:
    window = ReorderWindow(limit=64, hold_s=0.1)
    assert numbers(window.push(rtp(1, 0, b"x"), 0.0)) == [1]
    assert numbers(window.push(rtp(3, 0, b"x"), 0.01)) == []
    assert numbers(window.push(rtp(4, 0, b"x"), 0.10)) == []
    assert numbers(window.push(rtp(5, 0, b"x"), 0.11)) == [3, 4, 5]
    assert window.waiting == 0
    assert numbers(window.push(rtp(6, 0, b"x"), 0.12)) == [6]


def test_no_more_wait_than_the_window_holds() -> None:
    window = ReorderWindow(limit=4)
    assert pushed([1, 3, 4, 5, 6], window) == [1]
    assert pushed([7], window) == [3, 4, 5, 6, 7]


def test_a_leap_and_a_restart_are_passed_on_at_once() -> None:
    assert pushed([10, 12, 5_000, 5_001]) == [10, 12, 5_000, 5_001]
    assert pushed([500, 502, 20, 21, 22]) == [500, 20, 502, 21, 22]


@given(order=st.lists(st.integers(0, 65_535), max_size=200), limit=st.integers(1, 20))
def test_any_order_loses_nothing_and_holds_little(order: list[int], limit: int) -> None:
    window = ReorderWindow(limit=limit)
    came: list[int] = []
    for one in order:
        came += pushed([one], window)
        assert window.waiting <= limit
    assert len(came) + window.waiting <= len(order)
    assert set(came) <= set(order)


def test_what_is_too_short_is_no_packet() -> None:
    with pytest.raises(ProtocolViolation):
        ReorderWindow().push(b"\x80" * 11, 0.0)


async def test_strangers_are_not_listened_to() -> None:
    before = Footprint.now()
    rtp_packets: list[bytes] = []
    reports: list[bytes] = []
    pair = PortPair(rtp_packets.append, reports.append)
    await pair.open("127.0.0.1")
    even, odd = pair.numbers
    assert even % 2 == 0
    assert odd == even + 1
    with _sender("127.0.0.1") as camera, _sender("127.0.0.1") as other, _sender("127.0.0.2") as far:
        announced = camera.getsockname()[1], camera.getsockname()[1]
        pair.expect(frozenset({"127.0.0.1"}), announced)
        far.sendto(rtp(1, 0, b"far"), ("127.0.0.1", even))
        camera.sendto(rtp(2, 0, b"camera"), ("127.0.0.1", even))
        other.sendto(rtp(3, 0, b"other"), ("127.0.0.1", even))
        camera.sendto(b"short", ("127.0.0.1", even))
        camera.sendto(b"report", ("127.0.0.1", odd))
        await until(lambda: pair.foreign == 2 and pair.bad == 1 and reports)
        assert rtp_packets == [rtp(2, 0, b"camera")]
        pair.greet("127.0.0.1", b"hello", b"report")
        camera.settimeout(2)
        assert camera.recv(100) == b"hello"
    pair.close()
    await until(lambda: not Footprint.now().beyond(before))


async def test_a_camera_that_announces_one_port_and_uses_another() -> None:
    taken: list[bytes] = []
    pair = PortPair(taken.append, taken.append)
    await pair.open("127.0.0.1")
    try:
        with _sender("127.0.0.1") as wrong, _sender("127.0.0.1") as right:
            announced = right.getsockname()[1]
            pair.expect(frozenset({"127.0.0.1"}), (announced, announced))
            wrong.sendto(rtp(1, 0, b"a"), ("127.0.0.1", pair.numbers[0]))
            await until(lambda: len(taken) == 1)
            # Once the announced port is heard, it alone counts.
            right.sendto(rtp(2, 0, b"b"), ("127.0.0.1", pair.numbers[0]))
            await until(lambda: len(taken) == 2)
            wrong.sendto(rtp(3, 0, b"c"), ("127.0.0.1", pair.numbers[0]))
            await until(lambda: pair.foreign == 1)
        assert len(taken) == 2
    finally:
        pair.close()


def _sender(host: str) -> socket.socket:
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.bind((host, 0))
    return sender
