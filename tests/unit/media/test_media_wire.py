"""RTSP messages and the packets between them, in any pieces."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import InvalidSettings, ProtocolViolation
from adapters.media import wire
from adapters.media.wire import Interleaved, Response, ServerRequest, WireReader

ANSWER = b"RTSP/1.0 200 OK\r\nCSeq: 3\r\nContent-Length: 5\r\nX-A: 1\r\nX-A: 2\r\n\r\nhello"
ASKED = b"OPTIONS rtsp://us RTSP/1.0\r\nCSeq: 9\r\n\r\n"


def packet(channel: int, payload: bytes) -> bytes:
    return b"$" + bytes((channel,)) + len(payload).to_bytes(2, "big") + payload


@given(cuts=st.lists(st.integers(0, 200), max_size=12))
def test_pieces_do_not_matter(cuts: list[int]) -> None:
    stream = packet(0, b"one") + ANSWER + packet(1, b"") + ASKED + packet(0, b"RTSP/1.0 $")
    places = sorted({0, len(stream), *(min(cut, len(stream)) for cut in cuts)})
    reader = WireReader()
    messages = [
        message
        for start, end in itertools.pairwise(places)
        for message in reader.feed(stream[start:end])
    ]
    first, answer, second, asked, third = messages
    assert (first, second, third) == (
        Interleaved(0, b"one"),
        Interleaved(1, b""),
        Interleaved(0, b"RTSP/1.0 $"),
    )
    assert isinstance(answer, Response)
    assert (answer.status, answer.reason, answer.cseq, answer.body) == (200, "OK", 3, b"hello")
    assert answer.headers["x-a"] == ("1", "2")
    assert isinstance(asked, ServerRequest)
    assert asked.method == "OPTIONS"
    assert reader.junk_bytes == 0


def test_packets_go_to_who_wants_them() -> None:
    packets: list[tuple[int, bytes]] = []
    stream = packet(0, b"\x80one") + ANSWER + packet(1, b"\x80two")
    reader = WireReader()
    handlers = {
        channel: lambda payload, channel=channel: packets.append((channel, payload))
        for channel in range(2)
    }
    messages = reader.feed(stream, handlers)
    assert [type(message) for message in messages] == [Response]
    assert packets == [(0, b"\x80one"), (1, b"\x80two")]
    assert reader.packets == 2


def test_stray_bytes_are_counted_and_the_next_message_is_read() -> None:
    reader = WireReader()
    messages = reader.feed(b"\x00\xffnoise" + ANSWER + b"\r\n" + packet(0, b"x"))
    assert [type(message) for message in messages] == [Response, Interleaved]
    assert reader.junk_bytes == 9


@pytest.mark.parametrize(
    "data",
    [
        b"\x00" * (wire.MAX_JUNK_BYTES + 1),
        b"RTSP/1.0 200 OK\r\nX: " + b"y" * wire.MAX_HEAD_BYTES,
        b"RTSP/1.0 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"RTSP/1.0 200 OK\r\nContent-Length: 99999999\r\n\r\n",
        b"RTSP/1.0 oops\r\n\r\n",
    ],
)
def test_what_is_not_rtsp_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        WireReader().feed(data)


@given(pieces=st.lists(st.binary(max_size=100), max_size=20))
def test_any_bytes_are_survived(pieces: list[bytes]) -> None:
    reader = WireReader()
    try:
        for piece in pieces:
            reader.feed(piece)
    except ProtocolViolation:
        pass
    assert reader.junk_bytes <= sum(map(len, pieces))


def test_request() -> None:
    assert wire.request("OPTIONS", "rtsp://h/", 1, {"Session": "a"}) == (
        b"OPTIONS rtsp://h/ RTSP/1.0\r\nCSeq: 1\r\nUser-Agent: Hutong\r\nSession: a\r\n\r\n"
    )
    assert b"X: a Y: b\r\n" in wire.request("OPTIONS", "rtsp://h/", 1, {"X": "a\r\nY: b"})
    with pytest.raises(InvalidSettings):
        wire.request("OPTIONS", "rtsp://h/ RTSP/1.0\r\nX: y", 1, {})


@pytest.mark.parametrize(
    ("header", "session"),
    [
        ("abc;timeout=30", ("abc", 30)),
        (" abc ; timeout = 30 ", ("abc", 30)),
        ("abc;x=1;Timeout=5;y=2", ("abc", 5)),
        ("abc;timeout=1", ("abc", 1)),
        ("abc;timeout=9999999999", ("abc", 60)),
        ("abc", ("abc", 60)),
        ("abc;timeout=0", ("abc", 60)),
        ("abc;timeout=x", ("abc", 60)),
    ],
)
def test_session_header(header: str, session: tuple[str, int]) -> None:
    assert wire.parse_session(header) == session


@pytest.mark.parametrize(
    ("header", "agreed"),
    [
        ("RTP/AVP/TCP;unicast;interleaved=2-3;ssrc=1", (True, (2, 3), None, "")),
        ("RTP/AVP/TCP;interleaved=4", (True, (4, 5), None, "")),
        ("RTP/AVP;unicast;client_port=1-2", (False, None, None, "")),
        ("RTP/AVP;interleaved=0-1", (True, (0, 1), None, "")),
        (
            "RTP/AVP/UDP;unicast; Server_Port=6970-6971;source=192.0.2.1",
            (False, None, (6970, 6971), "192.0.2.1"),
        ),
        ("RTP/AVP/TCP;interleaved=999-1000", (True, None, None, "")),
        ("RTP/AVP;server_port=70000-70001", (False, None, None, "")),
        ("", (None, None, None, "")),
    ],
)
def test_agreed_transport(header: str, agreed: tuple[object, ...]) -> None:
    assert wire.parse_transport(header) == agreed


@given(header=st.text(max_size=60))
def test_any_transport_is_read(header: str) -> None:
    agreed = wire.parse_transport(header)
    for pair, most in ((agreed.channels, 255), (agreed.server_ports, 65_535)):
        assert pair is None or 0 <= min(pair) <= max(pair) <= most
