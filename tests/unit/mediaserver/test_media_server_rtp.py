"""RTP that we send, read back by our own reader, which other cameras' packets have taught."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.base import AccessUnit, TrackFormat
from adapters.errors import NotSupported
from adapters.media.h264 import H264Depacketiser
from adapters.media.h265 import H265Depacketiser
from adapters.media.nal import join_with_lengths
from adapters.media.rtp import RtpPacket, parse_rtp
from adapters.media.sdp import parse_sdp
from gateway.live.mediaserver import rtp
from gateway.live.mediaserver.feed import BadRequest, parse_request

SPS, PPS = b"\x67\x42\xc0\x1e\x95", b"\x68\xce\x3c\x80"
AVCC = b"\x01\x42\xc0\x1e\xff\xe1" + b"\x00\x05" + SPS + b"\x01\x00\x04" + PPS
H264 = TrackFormat(
    track=0, kind="video", codec="avc1.42c01e", description=AVCC, width=320, height=192
)
VPS, SPS5, PPS5 = b"\x40\x01\x0c", b"\x42\x01\x01", b"\x44\x01\xc1"
HVCC = (
    bytes(22)
    + b"\x03"
    + b"".join(
        bytes((0x80 | kind, 0, 1, 0, len(nal))) + nal
        for kind, nal in ((32, VPS), (33, SPS5), (34, PPS5))
    )
)
H265 = TrackFormat(track=0, kind="video", codec="hvc1.1.6.L93.B0", description=HVCC)
PCMA = TrackFormat(
    track=1, kind="audio", codec="pcma", description=b"", sample_rate_hz=8000, channels=1
)
AAC = TrackFormat(
    track=1,
    kind="audio",
    codec="mp4a.40.2",
    description=b"\x11\x90",
    sample_rate_hz=48000,
    channels=2,
)


def packets(data: bytes, channel: int) -> list[RtpPacket]:
    """The packets that are framed in a connection."""
    found = []
    while data:
        assert data[0:1] == b"$"
        assert data[1] == channel
        (size,) = struct.unpack(">H", data[2:4])
        assert 12 < size <= rtp.MAX_PAYLOAD_BYTES + 12
        found.append(parse_rtp(data[4 : 4 + size]))
        data = data[4 + size :]
    return found


def picture(*nals: bytes, key: bool = False, pts_us: int = 0) -> AccessUnit:
    return AccessUnit(track=0, pts_us=pts_us, keyframe=key, data=join_with_lengths(nals))


nals_of_264 = st.lists(
    st.binary(min_size=1, max_size=9000).map(lambda data: b"\x41" + data), min_size=1, max_size=4
)


@given(nals_of_264)
def test_pictures_arrive_as_they_were(nals: list[bytes]) -> None:
    packetiser = rtp.Packetiser(H264, channel=2, ssrc=7, sequence=0xFFFE)
    sent = packets(packetiser.pack(picture(*nals, pts_us=40_000)), 2)
    reader = H264Depacketiser()
    assert [nal for packet in sent for nal in reader.push(packet.payload)] == nals
    assert [packet.marker for packet in sent] == [False] * (len(sent) - 1) + [True]
    assert {packet.timestamp for packet in sent} == {3600}
    assert [packet.sequence for packet in sent] == [
        (0xFFFE + number) & 0xFFFF for number in range(len(sent))
    ]


@given(st.lists(st.binary(min_size=2, max_size=9000), min_size=1, max_size=3))
def test_pictures_in_h265_too(bodies: list[bytes]) -> None:
    nals = [b"\x02\x01" + body for body in bodies]
    packetiser = rtp.Packetiser(H265, channel=0, ssrc=7)
    reader = H265Depacketiser()
    sent = packets(packetiser.pack(picture(*nals)), 0)
    assert [nal for packet in sent for nal in reader.push(packet.payload)] == nals


@pytest.mark.parametrize(
    ("track", "sets"), [(H264, [SPS, PPS]), (H265, [VPS, SPS5, PPS5])], ids=["h264", "h265"]
)
def test_each_keyframe_brings_its_parameter_sets_once(
    track: TrackFormat, sets: list[bytes]
) -> None:
    coded = b"\x65abc" if track is H264 else b"\x26\x01abc"
    packetiser = rtp.Packetiser(track, channel=0, ssrc=7)
    sent = packets(packetiser.pack(picture(*sets, coded, key=True)), 0)
    assert [packet.payload for packet in sent] == [*sets, coded]


def test_another_format_of_the_codec_goes_on_and_another_codec_does_not() -> None:
    packetiser = rtp.Packetiser(H264, channel=0, ssrc=7)
    other = b"\x67\x64\x00\x28\x99"
    changed = TrackFormat(
        track=0, kind="video", codec="avc1.640028", description=AVCC.replace(SPS, other)
    )
    assert packetiser.follow(changed)
    sent = packets(packetiser.pack(picture(b"\x65abc", key=True)), 0)
    assert [packet.payload for packet in sent] == [other, PPS, b"\x65abc"]
    assert not packetiser.follow(H265)
    assert rtp.Packetiser(AAC, channel=0, ssrc=1).follow(AAC)
    assert not rtp.Packetiser(AAC, channel=0, ssrc=1).follow(PCMA)


def test_sound() -> None:
    unit = AccessUnit(track=1, pts_us=1_000_000, keyframe=True, data=b"\x55" * 160)
    (packet,) = packets(rtp.Packetiser(PCMA, channel=2, ssrc=1).pack(unit), 2)
    assert (packet.payload_type, packet.timestamp, packet.payload) == (8, 8000, unit.data)
    (packet,) = packets(rtp.Packetiser(AAC, channel=2, ssrc=1).pack(unit), 2)
    assert packet.timestamp == 48000
    assert packet.payload == b"\x00\x10" + (160 << 3).to_bytes(2, "big") + unit.data


def test_the_description_is_what_our_own_reader_understands() -> None:
    said = parse_sdp(rtp.describe([H264, AAC], "x"))
    assert [media.kind for media in said.media] == ["video", "audio"]
    text = rtp.describe([H265, PCMA], "x").decode()
    assert "a=rtpmap:96 H265/90000" in text
    assert "sprop-vps=" in text
    assert "a=rtpmap:8 PCMA/8000/1" in text
    assert "a=control:track=1" in text


@pytest.mark.parametrize("codec", ["jpeg", "opus", "av01.0.05M.08", ""])
def test_other_codecs_are_refused(codec: str) -> None:
    track = TrackFormat(track=0, kind="video", codec=codec, description=b"")
    assert not rtp.carries(track)
    with pytest.raises(NotSupported):
        rtp.Packetiser(track, channel=0, ssrc=1)


@given(st.binary(max_size=60), st.sampled_from(["avc1.42c01e", "hvc1.1.6.L93.B0"]))
def test_any_description_is_read_or_refused(description: bytes, codec: str) -> None:
    track = TrackFormat(track=0, kind="video", codec=codec, description=description)
    try:
        rtp.describe([track], "x")
    except NotSupported:
        return


# --- requests -------------------------------------------------------------------------------------


@given(st.binary(max_size=200))
def test_any_request_is_read_or_refused(head: bytes) -> None:
    try:
        request = parse_request(head)
    except BadRequest:
        return
    _ = request.method, request.stream


def test_what_is_asked_for_is_a_secret_and_a_name() -> None:
    head = b"SETUP rtsp://gateway:8654/abc/d-e_f/track=0 RTSP/1.0\r\nCSeq: 3\r\n\r\n"
    request = parse_request(head)
    assert (request.method, request.stream, request.headers["cseq"]) == ("SETUP", "abc/d-e_f", "3")


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        b"DESCRIBE rtsp://x/y RTSP/1.0\r\nno colon\r\n\r\n",
        b"DESCRIBE rtsp://x/y RTSP/1.0\r\nContent-Length: 5\r\n\r\n",
    ],
)
def test_what_is_no_request_is_refused(head: bytes) -> None:
    with pytest.raises(BadRequest):
        parse_request(head)
