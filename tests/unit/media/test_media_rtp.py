"""RTP headers, the order of packets, and time that wraps."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from media_samples import rtp

from adapters.errors import ProtocolViolation
from adapters.media.rtp import Arrival, MediaClock, SequenceOrder, parse_rtp


def test_plain_header() -> None:
    packet = parse_rtp(rtp(65_535, 2**32 - 1, b"abc", marker=True))
    assert packet == (True, 96, 65_535, 2**32 - 1, 7, b"abc")


def test_contributors_extension_and_padding_are_taken_off() -> None:
    head = struct.pack(">BBHII", 0x80 | 0x20 | 0x10 | 2, 96, 1, 2, 3)
    extension = b"\xbe\xde\x00\x01" + b"\x00" * 4
    data = head + b"\x00" * 8 + extension + b"payload" + b"\x00\x00\x03"
    assert parse_rtp(data).payload == b"payload"


@given(data=st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        packet = parse_rtp(data)
    except ProtocolViolation:
        return
    assert len(packet.payload) <= len(data) - 12


@pytest.mark.parametrize(
    ("sequences", "arrivals", "lost"),
    [
        ([65_534, 65_535, 0, 1], "GNNN", 0),
        ([10, 11, 14, 15], "GNGN", 2),
        ([10, 11, 11, 12], "GNLN", 0),
        ([10, 12, 11, 13], "GGLN", 1),
        ([500, 501, 20, 21, 22], "GNLGN", 1),
    ],
)
def test_order(sequences: list[int], arrivals: str, lost: int) -> None:
    order = SequenceOrder()
    names = {"G": Arrival.GAP, "N": Arrival.NEXT, "L": Arrival.LATE}
    assert [order.see(number) for number in sequences] == [names[letter] for letter in arrivals]
    assert order.lost == lost


def test_time_wraps_and_may_go_back_a_little() -> None:
    clock = MediaClock(90_000)
    steps = (0, 6_000, 3_000, 12_000, 2**32 - 90_000)
    stamps = [(2**32 - 4_000 + step) % 2**32 for step in steps[:4]]
    assert [clock.time_us(stamp) for stamp in stamps] == [0, 66_666, 33_333, 133_333]


def test_a_clock_that_was_set_counts_as_one_step() -> None:
    clock = MediaClock(90_000)
    assert [clock.time_us(stamp) for stamp in (0, 3_000, 900_000_000, 900_003_000)] == [
        0,
        33_333,
        66_666,
        100_000,
    ]
    assert clock.jumps == 1


@given(first=st.integers(0, 2**32 - 1), steps=st.lists(st.integers(1, 90_000 * 9), max_size=50))
def test_time_never_jumps_where_steps_are_small(first: int, steps: list[int]) -> None:
    clock, stamp = MediaClock(90_000), first
    clock.time_us(stamp)
    total = 0
    for step in steps:
        total += step
        stamp = (stamp + step) % 2**32
        assert clock.time_us(stamp) == total * 1_000_000 // 90_000
