"""Audio over RTP: frames, their times, and their place beside the pictures."""

import asyncio
import struct
from pathlib import Path

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st
from media_samples import rtp, rtp_stream, sample
from scripted_camera import SDP, Asked, camera

from adapters.base import AccessUnit, TrackFormat
from adapters.errors import NotSupported, ProtocolViolation
from adapters.events import RtspSource, Secret
from adapters.media import open_stream
from adapters.media.audio import G711, Aac, AudioTrack, audio_codec, parse_aac_config
from adapters.media.lipsync import Lipsync
from adapters.media.rtcp import SenderReport, receiver_report, sender_reports
from adapters.media.rtp import parse_rtp
from adapters.media.sdp import parse_sdp
from simulators.rtsp_camera import RtspCameraSpec, RtspFleet, RtspQuirks
from simulators.rtsp_camera.sound import sound

LC_16K = "1408"  # AAC-LC, 16 kHz, mono
HBR = {"mode": "AAC-hbr", "sizelength": "13", "indexlength": "3", "indexdeltalength": "3"}


def aac(**fmtp: str) -> Aac:
    return Aac({**HBR, "config": LC_16K, **fmtp}, 16_000)


def packed(*frames: bytes, sizes: tuple[int, ...] = ()) -> bytes:
    heads = b"".join(struct.pack(">H", n << 3) for n in sizes or map(len, frames))
    return struct.pack(">H", len(heads) * 8) + heads + b"".join(frames)


# --- AAC --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "known"),
    [
        ("1210", (2, 44_100, 2, 1024)),
        ("1408", (2, 16_000, 1, 1024)),
        ("2b920800", (5, 44_100, 2, 1024)),
        ("140c", (2, 16_000, 1, 960)),
    ],
)
def test_configurations(data: str, known: tuple[int, int, int, int]) -> None:
    config = parse_aac_config(bytes.fromhex(data))
    read = (config.object_type, config.sample_rate_hz, config.channels, config.frame_samples)
    assert read == known


@given(data=st.binary(max_size=70))
def test_any_configuration_is_read_or_refused(data: bytes) -> None:
    try:
        config = parse_aac_config(data)
    except ProtocolViolation:
        return
    assert config.sample_rate_hz > 0
    assert 1 <= config.channels <= 8


def test_several_frames_in_a_packet() -> None:
    assert aac().push(packed(b"one", b"second")) == [b"one", b"second"]


def test_a_frame_in_several_packets() -> None:
    codec = aac()
    assert codec.push(packed(b"abc", sizes=(8,))) == []
    assert codec.push(packed(b"def", sizes=(8,))) == []
    assert codec.push(packed(b"gh", sizes=(8,))) == [b"abcdefgh"]
    assert codec.push(packed(b"next")) == [b"next"]


def test_half_a_frame_is_never_joined_with_another() -> None:
    codec = aac()
    codec.push(packed(b"abc", sizes=(8,)))
    assert codec.push(packed(b"whole")) == [b"whole"]
    assert codec.push(packed(b"def", sizes=(8,))) == []
    with pytest.raises(ProtocolViolation):
        codec.push(packed(b"1234567", sizes=(8,)))


def test_low_bit_rate_headers() -> None:
    codec = Aac({"mode": "AAC-lbr", "config": LC_16K}, 16_000)
    payload = struct.pack(">H", 16) + bytes((3 << 2, 2 << 2)) + b"abcde"
    assert codec.push(payload) == [b"abc", b"de"]


@given(payload=st.binary(max_size=200))
def test_any_payload_is_read_or_refused(payload: bytes) -> None:
    codec = aac()
    codec.push(packed(b"abc", sizes=(8,)))
    try:
        frames = codec.push(payload)
    except ProtocolViolation:
        return
    assert sum(map(len, frames)) <= len(payload) + 3


@pytest.mark.parametrize(
    ("fmtp", "error"),
    [
        ({"config": ""}, ProtocolViolation),
        ({"config": "zz"}, ProtocolViolation),
        ({"sizelength": "0"}, ProtocolViolation),
        ({"ctsdeltalength": "8"}, NotSupported),
        ({"auxiliarydatasizelength": "8"}, NotSupported),
    ],
)
def test_what_is_not_passed_on(fmtp: dict[str, str], error: type[Exception]) -> None:
    with pytest.raises(error):
        aac(**fmtp)


def test_what_a_description_says() -> None:
    lines = "m=audio 0 RTP/AVP 8\r\nm=audio 0 RTP/AVP 98\r\na=rtpmap:98 opus/48000/2\r\n"
    law, opus = parse_sdp(f"v=0\r\n{lines}".encode()).media
    assert audio_codec(law).format(1).codec == "pcma"
    with pytest.raises(NotSupported, match="OPUS"):
        audio_codec(opus)


# --- tracks -----------------------------------------------------------------------------------


def test_times_losses_and_repeats() -> None:
    track = AudioTrack(G711("pcma", 8000, 1), 8000)
    track.offset_us = 500_000
    first = 2**32 - 160

    def push(number: int) -> list[AccessUnit]:
        return track.push(parse_rtp(rtp(65_535 + number, first + 160 * number, b"x", True, 8)))

    units = [unit for number in (0, 1, 1, 2, 5) for unit in push(number)]
    assert [unit.pts_us for unit in units] == [500_000, 520_000, 540_000, 600_000]
    assert [unit.discontinuity for unit in units] == [False, False, False, True]
    assert all(unit.keyframe and unit.track == 1 for unit in units)
    assert (track.counters.lost, track.counters.late) == (2, 1)


def test_time_never_goes_back_when_it_is_put_right() -> None:
    track = AudioTrack(G711("pcma", 8000, 1), 8000)
    track.offset_us = 100_000
    first = track.push(parse_rtp(rtp(1, 0, b"x")))
    track.offset_us = 0
    second = track.push(parse_rtp(rtp(2, 160, b"x")))
    assert second[0].pts_us > first[0].pts_us


@given(packets=st.lists(st.binary(max_size=60), max_size=20))
def test_any_packets_leave_the_track_usable(packets: list[bytes]) -> None:
    track = AudioTrack(aac(), 16_000)
    for number, payload in enumerate(packets):
        track.push(parse_rtp(rtp(number, number * 1024, payload)))
    units = track.push(parse_rtp(rtp(len(packets), len(packets) * 1024, packed(b"good"))))
    assert units[-1].data == b"good"


def test_reports_put_sound_beside_its_picture() -> None:
    sync = Lipsync()
    sync.video(0, 100.0)
    sync.audio(0, 100.3)
    assert sync.offset_us == 300_000
    sync.video_report(SenderReport(1, 50_000_000, 0), 1_000_000)
    sync.audio_report(SenderReport(2, 50_500_000, 0), 1_400_000)
    assert sync.offset_us == 100_000


def test_reports_of_two_clocks_are_not_believed() -> None:
    sync = Lipsync()
    sync.video(0, 100.0)
    sync.audio(0, 100.3)
    sync.video_report(SenderReport(1, 50_000_000, 0), 0)
    sync.audio_report(SenderReport(2, 90_000_000, 0), 0)
    sync.audio_report(SenderReport(2, 0, 0), 0)
    assert sync.offset_us == 300_000


def test_sender_reports() -> None:
    body = struct.pack(">IIIIII", 7, 2_208_988_801, 1 << 31, 90_000, 1, 2)
    report = struct.pack(">BBH", 0x80, 200, 6) + body
    assert sender_reports(report + receiver_report(9)) == [
        SenderReport(7, 2_208_988_801_500_000, 90_000)
    ]
    assert sender_reports(receiver_report(9)) == []


@given(data=st.binary(max_size=80))
def test_any_reports_are_read_or_refused(data: bytes) -> None:
    try:
        reports = sender_reports(data)
    except ProtocolViolation:
        return
    assert len(reports) <= len(data) // 28


# --- from a camera ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clip_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clips")


@pytest.mark.parametrize("transport", ["tcp", "udp"])
@pytest.mark.parametrize(
    ("codec", "known"),
    [("pcma", ("pcma", 8_000)), ("pcmu", ("pcmu", 8_000)), ("aac", ("mp4a.40.2", 16_000))],
)
async def test_a_camera_with_a_microphone(
    clip_cache: Path, codec: str, known: tuple[str, int], transport: str
) -> None:
    spec = RtspCameraSpec(
        name="gate",
        username="u",
        password="p",
        audio=codec,  # type: ignore[arg-type]
        main_size=(160, 128),
        sub_size=(160, 128),
        variant=0,
        fps=50,
        gop_s=0.2,
    )
    async with RtspFleet([spec], clip_cache=clip_cache) as fleet:
        it = fleet.cameras["gate"]
        source = RtspSource(url=it.url(), username="u", password=Secret("p"), transport=transport)
        async with open_stream(source, audio=True) as stream:
            formats, pictures, frames = await _heard(stream, 12)
        assert not it.refused
    assert [(one.track, one.kind) for one in formats] == [(1, "audio"), (0, "video")]
    assert (formats[0].codec, formats[0].sample_rate_hz, formats[0].channels) == (*known, 1)
    made = sound(codec)  # type: ignore[arg-type]
    assert made is not None
    head = 4 if codec == "aac" else 0
    known_frames = [payload[head:] for payload in made.payloads]
    begin = known_frames.index(frames[0].data)
    assert [frame.data for frame in frames] == [
        known_frames[(begin + n) % len(known_frames)] for n in range(len(frames))
    ]
    period_us = made.samples * 1_000_000 // made.clock_rate_hz
    times = [frame.pts_us for frame in frames]
    # The first times may be put right by a sender report, which comes beside the first picture.
    assert times[-1] - times[-4] == pytest.approx(3 * period_us, abs=20)
    assert abs(times[-1] - pictures[-1].pts_us) < 300_000
    if codec == "aac":
        _decodes(formats[0], frames)


async def _heard(
    stream: object, count: int
) -> tuple[list[TrackFormat], list[AccessUnit], list[AccessUnit]]:
    formats: list[TrackFormat] = []
    units: dict[int, list[AccessUnit]] = {0: [], 1: []}
    async with asyncio.timeout(10):
        async for item in stream:  # type: ignore[attr-defined]
            if isinstance(item, TrackFormat):
                formats.append(item)
            else:
                units[item.track].append(item)
            if min(map(len, units.values())) >= count:
                break
    return formats, units[0], units[1]


def _decodes(track: TrackFormat, frames: list[AccessUnit]) -> None:
    decoder = av.CodecContext.create("aac", "r")
    decoder.extradata = track.description
    samples = sum(
        frame.samples for unit in frames for frame in decoder.decode(av.Packet(unit.data))
    )
    assert samples >= 1024 * (len(frames) - 1)


async def test_without_being_asked_for_there_is_no_sound(clip_cache: Path) -> None:
    spec = RtspCameraSpec(
        name="gate",
        username="u",
        password="p",
        audio="pcma",
        main_size=(160, 128),
        sub_size=(160, 128),
        variant=0,
        fps=50,
        gop_s=0.2,
        quirks=RtspQuirks(),
    )
    async with RtspFleet([spec], clip_cache=clip_cache) as fleet:
        it = fleet.cameras["gate"]
        source = RtspSource(url=it.url(), username="u", password=Secret("p"))
        async with open_stream(source) as stream:
            items = [await anext(aiter(stream)) for _ in range(20)]
        assert {item.track for item in items} == {0}


@pytest.mark.parametrize(
    ("status", "says"), [("453 Not Enough Bandwidth", "453"), ("403 Forbidden", "403")]
)
async def test_what_stands_in_the_way_of_sound_leaves_the_pictures(status: str, says: str) -> None:
    def script(asked: Asked) -> bytes | None:
        return asked.answer(status) if asked.url.endswith("trackID=2") else None

    sdp = f"{SDP}m=audio 0 RTP/AVP 8\r\na=control:trackID=2\r\n"
    packets = [data for unit in rtp_stream(sample()) for data in unit]
    async with (
        camera(script, packets, sdp) as it,
        open_stream(RtspSource(url=it.url), audio=True) as stream,
    ):
        first = await anext(aiter(stream))
        assert says in stream.audio_reason
    assert isinstance(first, TrackFormat)
    assert first.kind == "video"


async def test_sound_on_the_channel_of_the_pictures_is_left_out() -> None:
    packets = [data for unit in rtp_stream(sample()) for data in unit]
    sdp = f"{SDP}m=audio 0 RTP/AVP 8\r\na=control:trackID=2\r\n"
    async with (
        camera(packets=packets, sdp=sdp) as it,  # answers 0-1 to every SETUP
        open_stream(RtspSource(url=it.url), audio=True) as stream,
    ):
        items = [await anext(aiter(stream)) for _ in range(5)]
        assert "channel" in stream.audio_reason
    assert {item.track for item in items} == {0}
