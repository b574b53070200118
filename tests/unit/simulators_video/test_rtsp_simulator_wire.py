"""The RTSP server's messages and packets: whatever comes, it returns or says what is wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from video_peers import depacketize

from simulators.rtsp_camera import rtp, wire
from simulators.rtsp_camera.authentication import parse_authorization

DESCRIBE = b"DESCRIBE rtsp://h:5/ch1/main RTSP/1.0\r\nCSeq: 2\r\nContent-Length: 3\r\n\r\nabc"


def test_a_request_is_read() -> None:
    message, used = wire.next_message(DESCRIBE + b"OPTIONS")
    assert isinstance(message, wire.Request)
    assert (message.method, message.path, message.body) == ("DESCRIBE", "/ch1/main", b"abc")
    assert message.headers["cseq"] == "2"
    assert used == len(DESCRIBE)


@pytest.mark.parametrize("cut", range(len(DESCRIBE)))
def test_a_request_in_parts_is_waited_for(cut: int) -> None:
    assert wire.next_message(DESCRIBE[:cut]) == (None, 0)


def test_interleaved_packets_are_told_from_requests() -> None:
    message, used = wire.next_message(b"\r\n$\x01\x00\x02hi" + DESCRIBE)
    assert message == wire.Interleaved(channel=1, payload=b"hi")
    assert used == 8


@pytest.mark.parametrize(
    "junk",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"DESCRIBE rtsp://h/ RTSP/1.0\r\nno colon\r\n\r\n",
        b"DESCRIBE rtsp://h/ RTSP/1.0\r\nContent-Length: -1\r\n\r\n",
        b"DESCRIBE rtsp://h/ RTSP/1.0\r\nContent-Length: 9999999\r\n\r\n",
        b"DESCRIBE rtsp://[h/ RTSP/1.0\r\nCSeq: 1\r\n\r\n",
        b"\xff\xfe\r\n\r\n",
        b"A" * 20_000,
    ],
)
def test_what_is_no_request_is_malformed(junk: bytes) -> None:
    with pytest.raises(wire.MalformedRequest):
        wire.next_message(junk)


@given(st.binary() | st.binary().map(lambda tail: DESCRIBE[:-7] + tail))
def test_any_bytes_are_read_or_malformed(data: bytes) -> None:
    try:
        message, used = wire.next_message(data)
    except wire.MalformedRequest:
        return
    assert 0 <= used <= len(data)
    assert message is None or used > 0


@given(st.text())
def test_any_authorization_is_read_or_none(header: str) -> None:
    for scheme in ("", "Basic ", "Digest "):
        given_ = parse_authorization(scheme + header)
        assert given_ is None or given_.scheme in ("basic", "digest")


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("RTP/AVP/TCP;unicast;interleaved=2-3", wire.Transport(tcp=True, pair=(2, 3))),
        ("RTP/AVP/TCP", wire.Transport(tcp=True, pair=(0, 1))),
        ("RTP/AVP;unicast;client_port=5000-5001", wire.Transport(tcp=False, pair=(5000, 5001))),
        ("RTP/AVP/UDP;client_port=5000", wire.Transport(tcp=False, pair=(5000, 5001))),
        ("RTP/AVP;multicast,RTP/AVP/TCP;interleaved=0-1", wire.Transport(tcp=True, pair=(0, 1))),
        ("RTP/AVP;multicast", None),
        ("RTP/AVP;unicast", None),
        ("RTP/AVP;client_port=70000-70001", None),
        ("RTP/AVP/TCP;interleaved=256-257", None),
        ("", None),
    ],
)
def test_transports(header: str, expected: wire.Transport | None) -> None:
    assert wire.parse_transport(header) == expected


@given(
    st.lists(
        st.tuples(st.sampled_from([1, 5, 6, 7, 8]), st.binary(min_size=1, max_size=5000)),
        min_size=1,
        max_size=6,
    )
)
def test_packets_give_the_nal_units_back(units: list[tuple[int, bytes]]) -> None:
    nals = [bytes((0x60 | kind,)) + data for kind, data in units]
    payloads = rtp.packetize(nals)
    assert depacketize(payloads) == nals
    assert max(map(len, payloads)) <= rtp.MAX_PAYLOAD_BYTES


def test_a_sender_report_is_a_compound_packet() -> None:
    report = rtp.sender_report(0x01020304, 1_500_000_000, 90_000, 7, 1_234)
    assert report[:8] == bytes.fromhex("80c8000601020304")
    assert int.from_bytes(report[8:12]) == 2_208_988_801
    assert int.from_bytes(report[12:16]) == 0x80000000
    assert int.from_bytes(report[20:24]) == 7
    assert int.from_bytes(report[24:28]) == 1_234
    assert report[28:30] == b"\x81\xca"
    assert len(report) == 28 + 4 + 4 * int.from_bytes(report[30:32])
