"""MQTT 3.1.1 packets: the standard's own examples, and any bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.bus import packets
from gateway.bus.packets import Kind, MalformedPacket, Publish


def test_a_connect_is_as_the_standard_shows_it() -> None:
    will = ("w", b"gone")
    got = packets.connect("id", keepalive_s=5, username="u", password="p", will=will)
    head = bytes((0x10, len(got) - 2)) + b"\x00\x04MQTT\x04" + bytes((0xEE, 0, 5))
    assert got == head + b"\x00\x02id\x00\x01w\x00\x04gone\x00\x01u\x00\x01p"
    bare = packets.connect("id", keepalive_s=60)
    assert bare == b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02id"


@pytest.mark.parametrize(
    ("length", "encoded"),
    [
        (127, b"\x7f"),
        (128, b"\x80\x01"),
        (16_383, b"\xff\x7f"),
        (16_384, b"\x80\x80\x01"),
        (2_097_152, b"\x80\x80\x80\x01"),
    ],
)
def test_lengths_are_those_of_the_standards_table(length: int, encoded: bytes) -> None:
    packet = packets.publish("t", b"x" * (length - 3))
    assert packet[1 : 1 + len(encoded)] == encoded
    assert packets.next_packet(packet, 0) == (0x30, 1 + len(encoded), len(packet))


def test_what_is_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match="too long"):
        packets.subscribe(1, "x" * 70_000, 0)


@given(
    topic=st.text(st.characters(exclude_categories=["Cs"]), max_size=50),
    payload=st.binary(max_size=300),
    packet_id=st.integers(0, 0xFFFF),
    retain=st.booleans(),
    split=st.integers(0, 400),
)
def test_a_message_comes_back_however_it_is_split(
    topic: str, payload: bytes, packet_id: int, retain: bool, split: int
) -> None:
    packet = packets.publish(topic, payload, packet_id=packet_id, retain=retain)
    if split < len(packet):
        assert packets.next_packet(packet[:split], 0) is None
    found = packets.next_packet(b"\xd0\x00" + packet + b"\xd0", 2)
    assert found is not None
    first, begin, end = found
    assert end == len(packet) + 2
    body = packet[begin - 2 : end - 2]
    assert packets.read_publish(first, body) == Publish(topic, payload, packet_id)


@given(data=st.binary(max_size=60), at=st.integers(0, 5))
def test_any_bytes_are_read_or_refused(data: bytes, at: int) -> None:
    try:
        found = packets.next_packet(data, at)
        if found is None:
            return
        first, begin, end = found
        assert at < begin <= end <= len(data)
        body = data[begin:end]
        for read in (packets.read_connack, packets.read_packet_id, packets.granted):
            try:
                read(body)
            except MalformedPacket:
                continue
        packets.read_publish(first, body)
    except MalformedPacket:
        return


@pytest.mark.parametrize(
    ("first", "body", "why"),
    [
        (0x34, b"\x00\x01t\x00\x01", "QoS 2"),
        (0x30, b"\x00", "without topic"),
        (0x30, b"\x00\x05t", "ends in its topic"),
        (0x32, b"\x00\x01t\x00", "ends in its topic"),
        (0x32, b"\x00\x01t\x00\x00", "without packet identifier"),
        (0x30, b"\x00\x01\xff", "no UTF-8"),
    ],
)
def test_a_bad_message_is_refused_in_words(first: int, body: bytes, why: str) -> None:
    with pytest.raises(MalformedPacket, match=why):
        packets.read_publish(first, body)


def test_a_length_that_never_ends_is_refused() -> None:
    with pytest.raises(MalformedPacket, match="four bytes"):
        packets.next_packet(b"\x30\xff\xff\xff\xff\x01", 0)
    assert packets.next_packet(b"\x30\xff\xff", 0) is None


def test_small_packets() -> None:
    assert packets.puback(0x0102) == b"\x40\x02\x01\x02"
    assert packets.subscribe(1, "a/#", 1) == b"\x82\x08\x00\x01\x00\x03a/#\x01"
    assert packets.unsubscribe(2, "a") == b"\xa2\x05\x00\x02\x00\x01a"
    assert packets.granted(b"\x00\x01\x01\x80") == [True, False]
    assert packets.read_connack(b"\x00\x05") == 5
    assert Kind(packets.DISCONNECT[0] >> 4) is Kind.DISCONNECT
