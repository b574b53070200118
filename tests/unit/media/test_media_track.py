"""From RTP packets to access units: loss, joining in the middle, markers, changing formats."""

import contextlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from media_samples import (
    Sample,
    lengths,
    nal_type,
    parameter_sets,
    pictures_only,
    rtp,
    rtp_stream,
    sample,
)

from adapters.base import AccessUnit, MediaItem, TrackFormat
from adapters.errors import NotSupported, ProtocolViolation
from adapters.media.h264 import H264
from adapters.media.h265 import H265
from adapters.media.nal import MAX_FRAGMENTS
from adapters.media.rtp import parse_rtp
from adapters.media.track import VideoTrack

CODECS = {"h264": H264, "h265": H265}


def read(track: VideoTrack, stream: list[list[bytes]]) -> list[MediaItem]:
    return [item for unit in stream for data in unit for item in track.push(parse_rtp(data))]


def units(items: list[MediaItem]) -> list[AccessUnit]:
    return [item for item in items if isinstance(item, AccessUnit)]


def formats(items: list[MediaItem]) -> list[TrackFormat]:
    return [item for item in items if isinstance(item, TrackFormat)]


@pytest.mark.parametrize("codec", ["h264", "h265"])
@pytest.mark.parametrize("bframes", [0, 2])
@pytest.mark.parametrize("aggregate", [False, True])
def test_every_access_unit_comes_out(codec: str, bframes: int, aggregate: bool) -> None:
    clip = sample(codec, 320, 180, bframes=bframes)
    track = VideoTrack(CODECS[codec]())
    items = read(track, rtp_stream(clip, aggregate=aggregate))
    assert isinstance(items[0], TrackFormat)
    assert (items[0].width, items[0].height, items[0].kind) == (320, 180, "video")
    assert len(formats(items)) == 1
    assert [unit.data for unit in units(items)] == [
        lengths(pictures_only(codec, nals)) for nals in clip.units
    ]
    assert [unit.keyframe for unit in units(items)] == list(clip.keys)
    assert not any(unit.discontinuity for unit in units(items))
    for unit, time in zip(units(items), clip.times, strict=True):
        assert unit.pts_us == pytest.approx(time * 1_000_000 / clip.fps, abs=2)
    assert track.counters.lost == track.counters.bad == 0


def test_without_markers_a_new_timestamp_ends_a_unit() -> None:
    clip = sample()
    items = read(VideoTrack(H264()), rtp_stream(clip, markers=False))
    assert [unit.data for unit in units(items)] == [
        lengths(pictures_only("h264", nals)) for nals in clip.units[:-1]
    ]


@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_joined_in_the_middle_it_starts_with_the_first_keyframe(codec: str) -> None:
    clip = sample(codec)
    items = read(VideoTrack(CODECS[codec]()), rtp_stream(clip)[2:])
    first = units(items)[0]
    assert first.keyframe
    assert not first.discontinuity
    assert first.pts_us == 0
    assert len(units(items)) == len(clip.units) - 4


def test_parameter_sets_from_the_sdp_are_enough() -> None:
    clip = sample()
    bare = Sample(
        codec="h264",
        width=clip.width,
        height=clip.height,
        fps=clip.fps,
        units=tuple(tuple(pictures_only("h264", nals)) for nals in clip.units),
        keys=clip.keys,
        times=clip.times,
    )
    assert not read(VideoTrack(H264()), rtp_stream(bare))
    items = read(VideoTrack(H264(), sets=parameter_sets(clip)), rtp_stream(bare))
    assert len(units(items)) == len(clip.units)


def test_loss_waits_for_the_next_keyframe() -> None:
    clip = sample("h264", 320, 180, frames=16, gop=8)
    stream = rtp_stream(clip)
    damaged = next(index for index in range(1, 8) if len(stream[index]) > 1)
    del stream[damaged][0]
    track = VideoTrack(H264())
    got = units(read(track, stream))
    assert [unit.data for unit in got] == [
        lengths(pictures_only("h264", nals)) for nals in (*clip.units[:damaged], *clip.units[8:])
    ]
    assert [unit.discontinuity for unit in got] == [False] * damaged + [True] + [False] * 7
    assert track.counters.lost == 1


def test_a_keyframe_without_its_beginning_is_not_shown() -> None:
    clip = sample("h264", 320, 180)
    stream = rtp_stream(clip)
    fragments = [data for data in stream[0] if nal_type("h264", data[12:]) == 28]
    assert fragments
    stream[0].remove(fragments[0])
    got = units(read(VideoTrack(H264()), stream))
    assert got[0].data == lengths(pictures_only("h264", clip.units[4]))


def test_repeated_packets_are_dropped() -> None:
    stream = [
        [data for packet in unit for data in (packet, packet)] for unit in rtp_stream(sample())
    ]
    track = VideoTrack(H264())
    assert len(units(read(track, stream))) == len(stream)
    assert track.counters.late > 0


def test_broken_payloads_are_counted_and_the_next_good_one_is_read() -> None:
    stream = rtp_stream(sample())
    head = parse_rtp(stream[0][0])
    bad = rtp(head.sequence - 1, head.timestamp - 6_000, b"\x00", marker=True)
    track = VideoTrack(H264())
    assert len(units(read(track, [[bad], *stream]))) == len(stream)
    assert track.counters.bad == 1


def test_a_changed_format_is_told_before_its_keyframe() -> None:
    first, second = sample(), sample("h264", 128, 128)
    packets = [data for clip in (first, second) for unit in rtp_stream(clip) for data in unit]
    track, items = VideoTrack(H264()), []
    for index, data in enumerate(packets):
        packet = parse_rtp(data)._replace(sequence=index & 0xFFFF)
        items += track.push(packet)
    kinds = [(item.width, item.height) for item in formats(items)]
    assert kinds == [(160, 90), (128, 128)]
    after = items[items.index(formats(items)[1]) + 1]
    assert isinstance(after, AccessUnit)
    assert after.keyframe


def test_a_marker_that_comes_too_early_is_found_out() -> None:
    """The first picture is cut short by it; from the next keyframe on pictures are whole."""
    clip = sample(frames=12, gop=4)
    track, got, whole, sequence = VideoTrack(H264()), [], [], 0
    for index, nals in enumerate(clip.units):
        picture = next(nal for nal in nals if nal_type("h264", nal) in (1, 5))
        second_slice = bytes((picture[0], 0x40)) + picture[2:]
        sets = [nal for nal in nals if nal_type("h264", nal) in (7, 8)]
        whole.append(lengths([picture, second_slice]))
        for nal in (*sets, picture, second_slice):
            packet = parse_rtp(rtp(sequence, index * 6_000, nal, marker=True))
            got += units(track.push(packet))
            sequence += 1
    assert [unit.data for unit in got[1:]] == whole[4:-1]
    assert got[1].discontinuity


def test_leading_pictures_after_joining_at_a_cra_are_left_out() -> None:
    sets = parameter_sets(sample("h265"))

    def picture(kind: int) -> bytes:
        return bytes((kind << 1, 1, 0x80, 1, 2, 3))

    def play(kinds: list[int]) -> list[int]:
        track, shown = VideoTrack(H265(), sets=sets), []
        for index, kind in enumerate(kinds):
            data = rtp(index, index * 6_000, picture(kind), marker=True)
            shown += [unit.data[4] >> 1 for unit in units(track.push(parse_rtp(data)))]
        return shown

    cra, rasl, trail = 21, 8, 1
    assert play([cra, rasl, rasl, trail, cra, rasl, trail]) == [cra, trail, cra, rasl, trail]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), loss=st.floats(0, 0.3))
def test_whatever_is_lost_only_whole_units_come_out(seed: int, loss: float) -> None:
    clip = sample("h264", 320, 180)
    chance = random.Random(seed)
    stream = [[data for data in unit if chance.random() >= loss] for unit in rtp_stream(clip)]
    got = units(read(VideoTrack(H264()), stream))
    whole = {lengths(pictures_only("h264", nals)) for nals in clip.units}
    assert {unit.data for unit in got} <= whole
    assert not got or got[0].keyframe


@given(
    data=st.lists(st.binary(min_size=12, max_size=60), max_size=20),
    codec=st.sampled_from(["h264", "h265"]),
)
def test_any_packets_are_survived(data: list[bytes], codec: str) -> None:
    track = VideoTrack(CODECS[codec]())
    for index, payload in enumerate(data):
        packet = parse_rtp(rtp(index, index // 2, payload, marker=payload[0] % 2 == 0))
        # Types of the interleaved mode are for the other reader; see test_media_codecs.
        if not (codec == "h264" and payload[0] & 0x1F in (25, 26, 27, 29)) and not (
            codec == "h265" and payload[0] >> 1 & 0x3F == 50
        ):
            track.push(packet)
    assert track.counters.packets <= len(data)


# --- packets as they come ---------------------------------------------------------------------


@pytest.mark.parametrize("codec", ["h264", "h265"])
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_the_quick_way_through_gives_what_the_slow_one_gives(
    codec: str, data: st.DataObject
) -> None:
    stream = [packet for unit in rtp_stream(sample(codec, 320, 180)) for packet in unit]
    order = list(range(len(stream)))
    for _ in range(data.draw(st.integers(0, 12))):
        at = data.draw(st.integers(0, len(order) - 2))
        match data.draw(st.sampled_from(("lose", "swap", "repeat", "cut"))):
            case "lose":
                del order[at]
            case "swap":
                order[at], order[at + 1] = order[at + 1], order[at]
            case "repeat":
                order.insert(at, order[at])
            case "cut":
                stream[order[at]] = stream[order[at]][:14]
    quick, slow = (VideoTrack(CODECS[codec]()) for _ in range(2))
    quick.expect(96)
    for number in order:
        assert list(quick.take(stream[number])) == slow.push(parse_rtp(stream[number]))
    assert quick.counters == slow.counters


@given(packets=st.lists(st.binary(max_size=40), max_size=30))
def test_any_packets_are_read_or_refused(packets: list[bytes]) -> None:
    for codec in CODECS.values():
        track = VideoTrack(codec())
        track.expect(96)
        for packet in packets:
            with contextlib.suppress(ProtocolViolation, NotSupported):
                track.take(packet)
                track.take(rtp(1, 1, packet))


def test_another_payload_type_between_the_packets() -> None:
    clip = sample()
    track = VideoTrack(H264())
    track.expect(96)
    items: list[MediaItem] = []
    for unit in rtp_stream(clip):
        for packet in unit:
            items += track.take(packet)
            items += track.take(rtp(9, 9, b"\x41strange", payload_type=97))
    assert len(units(items)) == len(clip.units)
    assert track.counters.lost == 0
    assert track.counters.other == sum(map(len, rtp_stream(clip)))


def test_a_camera_that_lies_about_its_payload_type() -> None:
    clip = sample()
    track = VideoTrack(H264())
    track.expect(98)
    assert not track.take(rtp(9, 9, b"", payload_type=72))  # a report, which is no picture
    items = [item for unit in rtp_stream(clip) for data in unit for item in track.take(data)]
    assert len(units(items)) == len(clip.units)


def test_shreds_are_refused_before_they_fill_the_memory() -> None:
    track = VideoTrack(H264())
    shreds = b"\x78" + b"\x00\x01\x06" * 400
    for number in range(30):
        track.push(parse_rtp(rtp(number, 1, shreds)))
    assert track.counters.bad
    depacketiser = H264().depacketiser()
    depacketiser.push(b"\x7c\x85x")
    for _ in range(MAX_FRAGMENTS - 2):
        depacketiser.push(b"\x7c\x05x")
    with pytest.raises(ProtocolViolation):
        depacketiser.push(b"\x7c\x05x")
    with pytest.raises(ProtocolViolation, match="number"):
        H264().parameter_key(b"\x68\x00\x00\x80\x00\x00\x00\x00\x00")
