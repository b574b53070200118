"""Parameter sets, configuration records and RTP payloads of H.264 and H.265."""

import base64
import contextlib

import av
import pytest
from av.video.codeccontext import VideoCodecContext
from hypothesis import given
from hypothesis import strategies as st
from media_samples import lengths, nal_type, parameter_sets, payloads, pictures_only, sample

from adapters.errors import NotSupported, ProtocolViolation
from adapters.media import h264, h265
from adapters.media.bits import BitReader
from adapters.media.h264 import H264
from adapters.media.h265 import H265
from adapters.media.h265_timing import frame_rate_of_vps
from adapters.media.jpeg import jpeg_size
from adapters.media.nal import join_with_lengths, split_annex_b, split_with_lengths

CODECS = {"h264": H264(), "h265": H265()}
# A SPS as a Hikvision camera sends it (profile high, 1920x1080 cropped from 1088, 25 fps VUI).
HIGH_1080 = base64.b64decode("Z2QAKqwsaoHgCJ+WbgICAoAAAfQAAGGoQg==")


@pytest.mark.parametrize("codec", ["h264", "h265"])
@pytest.mark.parametrize("size", [(160, 90), (128, 128), (642, 362)])
def test_sizes_are_read_with_cropping(codec: str, size: tuple[int, int]) -> None:
    clip = sample(codec, *size, frames=1, gop=1)
    video = CODECS[codec].video_format(parameter_sets(clip))
    assert video is not None
    assert (video.width, video.height) == size
    assert video.fps == pytest.approx(15)


def test_high_profile_of_a_camera() -> None:
    sps = h264.parse_sps(HIGH_1080)
    assert (sps.width, sps.height) == (1920, 1080)
    assert sps.codec == "avc1.64002a"


@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_configuration_record_is_enough_for_a_decoder(codec: str) -> None:
    clip = sample(codec)
    video = CODECS[codec].video_format(parameter_sets(clip))
    assert video is not None
    decoder = av.CodecContext.create({"h264": "h264", "h265": "hevc"}[codec], "r")
    assert isinstance(decoder, VideoCodecContext)
    decoder.extradata = video.description
    frames = []
    for nals in clip.units:
        frames += decoder.decode(av.Packet(lengths(pictures_only(codec, nals))))
    frames += decoder.decode(None)
    assert len(frames) == len(clip.units)
    assert {(frame.width, frame.height) for frame in frames} == {(clip.width, clip.height)}


def test_h265_codec_string() -> None:
    video = H265().video_format(parameter_sets(sample("h265")))
    assert video is not None
    assert video.codec == "hvc1.1.6.L30.90"


@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_sets_from_sdp(codec: str) -> None:
    sets = parameter_sets(sample(codec))
    coded = [base64.b64encode(nal).decode() for nal in sets]
    if codec == "h264":
        # Some cameras leave the padding out, some put a start code in front.
        started = base64.b64encode(b"\x00\x00\x00\x01" + sets[1]).decode()
        fmtp = {"sprop-parameter-sets": f"{coded[0].rstrip('=')},{started},!!!"}
    else:
        names = ("sprop-vps", "sprop-sps", "sprop-pps")
        fmtp = dict(zip(names, coded, strict=True))
    assert CODECS[codec].parameter_sets_of(fmtp) == sets


def test_missing_sets_give_no_format() -> None:
    assert H264().video_format([]) is None
    assert H265().video_format(parameter_sets(sample("h265"))[:2]) is None


@pytest.mark.parametrize("codec", ["h264", "h265"])
@pytest.mark.parametrize("aggregate", [False, True])
def test_depacketisers_undo_packetising(codec: str, aggregate: bool) -> None:
    depacketiser = CODECS[codec].depacketiser()
    for nals in sample(codec, 320, 180).units:
        parts = payloads(codec, nals, aggregate)
        assert [nal for part in parts for nal in depacketiser.push(part)] == list(nals)


def test_sample_has_all_kinds_of_payload() -> None:
    kinds = {
        nal_type(codec, part)
        for codec in ("h264", "h265")
        for nals in sample(codec, 320, 180).units
        for part in payloads(codec, nals, True)
    }
    assert kinds >= {24, 28, 48, 49}


@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_a_fragment_without_its_beginning_is_refused(codec: str) -> None:
    parts = payloads(codec, sample(codec, 320, 180).units[0], False)
    middle = next(part for part in parts if nal_type(codec, part) in (28, 49))
    headless = bytearray(middle)
    headless[2 if codec == "h265" else 1] &= 0x3F
    with pytest.raises(ProtocolViolation):
        CODECS[codec].depacketiser().push(bytes(headless))


def test_interleaved_mode_is_left_to_the_other_reader() -> None:
    with pytest.raises(NotSupported):
        H264().depacketiser().push(b"\x79\x00\x01\x02\x03")


@given(data=st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for codec in CODECS.values():
        depacketiser = codec.depacketiser()
        for piece in (data, data[1:], data[2:]):
            try:
                for nal in depacketiser.push(piece):
                    codec.kind(nal)
                    codec.begins_picture(nal)
                    codec.parameter_key(nal)
            except (ProtocolViolation, NotSupported):
                pass
    for parse in (h264.parse_sps, h265.parse_sps, jpeg_size):
        with contextlib.suppress(ProtocolViolation):
            parse(data)


@given(data=st.binary(max_size=120))
def test_broken_sets_behind_a_true_header(data: bytes) -> None:
    for head, parse in ((b"\x67", h264.parse_sps), (b"\x42\x01", h265.parse_sps)):
        try:
            sps = parse(head + data)
        except ProtocolViolation:
            continue
        assert 0 < sps.width <= 16384
        assert sps.codec.isascii()
    assert 0 <= frame_rate_of_vps(b"\x40\x01" + data) <= 240


@given(nals=st.lists(st.binary(min_size=1, max_size=40)))
def test_lengths_round_trip(nals: list[bytes]) -> None:
    joined = join_with_lengths(nals)
    assert joined == lengths(nals)
    assert split_with_lengths(joined) == nals
    assert split_with_lengths(joined + b"\x00\x00\x00\x09x") == nals


def test_start_codes() -> None:
    assert split_annex_b(b"\x00\x00\x00\x01ab\x00\x00\x00\x01c\x00\x00\x01d") == [b"ab", b"c", b"d"]
    assert split_annex_b(b"nothing") == []


def test_exponential_golomb() -> None:
    bits = BitReader(bytes([0b10100110, 0b01000010, 0b10000000]))
    assert [bits.ue() for _ in range(5)] == [0, 1, 2, 3, 4]
    assert [BitReader(bytes([byte])).se() for byte in (0x80, 0x40, 0x60, 0x20)] == [0, 1, -1, 2]
