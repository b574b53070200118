"""The fMP4 writer, judged by FFmpeg."""

import io
import itertools
import json
import shutil
import subprocess
from pathlib import Path

import av
import pytest
from media_samples import Sample, rtp_stream, sample
from test_media_track import read

from adapters.base import AccessUnit, TrackFormat
from adapters.errors import NotSupported
from adapters.media import fmp4
from adapters.media.h264 import H264
from adapters.media.h265 import H265
from adapters.media.track import VideoTrack
from simulators.rtsp_camera.sound import sound


def written(clip: Sample) -> tuple[TrackFormat, list[AccessUnit], bytes]:
    codec = H264() if clip.codec == "h264" else H265()
    track, *units = read(VideoTrack(codec), rtp_stream(clip))
    assert isinstance(track, TrackFormat)
    timeline, pieces, kept = fmp4.DecodeTimeline(clip.fps), [fmp4.init_segment(track)], []
    for sequence, unit in enumerate(units, 1):
        assert isinstance(unit, AccessUnit)
        kept.append(unit)
        place = timeline.place(unit.pts_us, unit.keyframe)
        pieces.append(fmp4.fragment(sequence, place, unit))
    return track, kept, b"".join(pieces)


@pytest.mark.parametrize("codec", ["h264", "h265"])
@pytest.mark.parametrize("bframes", [0, 2])
def test_ffmpeg_reads_every_picture_at_its_time(codec: str, bframes: int) -> None:
    clip = sample(codec, 320, 180, bframes=bframes)
    _, units, data = written(clip)
    with av.open(io.BytesIO(data), format="mp4") as container:
        stream = container.streams.video[0]
        packets = [packet for packet in container.demux(stream) if packet.size]
    assert [bytes(packet) for packet in packets] == [unit.data for unit in units]
    assert [packet.is_keyframe for packet in packets] == [unit.keyframe for unit in units]
    times_us = [float(packet.pts * packet.time_base) * 1_000_000 for packet in packets]
    # FFmpeg moves all of a reordered stream so that no offset is negative.
    moved = [time_us - times_us[0] for time_us in times_us]
    assert moved == pytest.approx([unit.pts_us - units[0].pts_us for unit in units], abs=13)
    decoding = [packet.dts for packet in packets]
    assert decoding == sorted(set(decoding))
    with av.open(io.BytesIO(data), format="mp4") as container:
        pictures = list(container.decode(video=0))
    assert len(pictures) == len(clip.units)
    assert [(p.width, p.height) for p in pictures] == [(320, 180)] * len(pictures)


@pytest.mark.skipif(shutil.which("ffprobe") is None, reason="ffprobe is not installed")
@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_ffprobe_has_nothing_to_complain_of(codec: str, tmp_path: Path) -> None:
    track, units, data = written(sample(codec, 320, 180))
    file = tmp_path / "live.mp4"
    file.write_bytes(data)
    command = ["ffprobe", "-v", "warning", "-of", "json", "-show_streams", "-count_packets", file]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    stream = json.loads(done.stdout)["streams"][0]
    assert done.stderr == ""
    assert stream["codec_tag_string"] == track.codec[:4]
    assert (stream["width"], stream["height"]) == (320, 180)
    assert int(stream["nb_read_packets"]) == len(units)


def test_uneven_times_leave_no_hole_in_decoding_time() -> None:
    """A browser drops all up to the next keyframe where decoding time leaps."""
    timeline = fmp4.DecodeTimeline(25)
    times_ms = (0, 40, 400, 440, 480, 520, 560, 600)
    places = [timeline.place(ms * 1000, index in (0, 6)) for index, ms in enumerate(times_ms)]
    for index, (place, following) in enumerate(itertools.pairwise(places)):
        if index != 5:
            assert following.decode_time == place.decode_time + place.duration
    assert [place.decode_time + place.offset for place in places] == [ms * 90 for ms in times_ms]
    assert places[6].decode_time == 560 * 90


def test_decoding_time_never_goes_back() -> None:
    timeline = fmp4.DecodeTimeline(5)
    times_ms = (0, 40, 80, 120, 160, 200, 240)
    places = [timeline.place(ms * 1000, index % 2 == 0) for index, ms in enumerate(times_ms)]
    decoding = [place.decode_time for place in places]
    assert decoding == sorted(set(decoding))


def test_mime_type_and_other_codecs() -> None:
    track, *_ = written(sample())
    assert fmp4.mime_type(track) == f'video/mp4; codecs="{track.codec}"'
    jpeg = TrackFormat(track=0, kind="video", codec="jpeg", description=b"")
    with pytest.raises(NotSupported):
        fmp4.init_segment(jpeg)


# --- sound beside the pictures ----------------------------------------------------------------


def sound_of(count: int) -> tuple[TrackFormat, list[AccessUnit]]:
    """AAC of 16 kHz, a frame every 64 ms."""
    made = sound("aac")
    assert made is not None
    config = bytes.fromhex(made.lines[1].rpartition("config=")[2])
    track = TrackFormat(
        track=1,
        kind="audio",
        codec="mp4a.40.2",
        description=config,
        sample_rate_hz=16_000,
        channels=1,
    )
    units = [
        AccessUnit(
            track=1,
            pts_us=10_000 + index * 1024 * 1_000_000 // 16_000,
            keyframe=True,
            data=made.payloads[index % len(made.payloads)][4:],
        )
        for index in range(count)
    ]
    return track, units


def test_ffmpeg_plays_sound_beside_the_pictures(tmp_path: Path) -> None:
    clip = sample("h264", 320, 180)
    picture_track, pictures, _ = written(clip)
    sound_track, sounds = sound_of(12)
    assert fmp4.carries(sound_track)
    timeline, beat = fmp4.DecodeTimeline(clip.fps), fmp4.AudioTimeline(sound_track)
    pieces = [fmp4.init_segment(picture_track, sound_track)]
    for sequence, unit in enumerate(sorted([*pictures, *sounds], key=lambda u: u.pts_us), 1):
        if unit.track == 0:
            place = timeline.place(unit.pts_us, unit.keyframe)
            pieces.append(fmp4.fragment(sequence, place, unit))
        else:
            place = beat.place(unit.pts_us)
            pieces.append(fmp4.fragment(sequence, place, unit, fmp4.AUDIO_ID))
    file = tmp_path / "live.mp4"
    file.write_bytes(b"".join(pieces))
    with av.open(file) as container:
        stream = container.streams.audio[0]
        packets = [packet for packet in container.demux(stream) if packet.size]
    assert [bytes(packet) for packet in packets] == [unit.data for unit in sounds]
    times_us = [float(packet.pts * packet.time_base) * 1_000_000 for packet in packets]
    assert times_us == pytest.approx([unit.pts_us for unit in sounds], abs=100)
    assert {packet.duration for packet in packets} == {1024}
    with av.open(file) as container:
        assert len(list(container.decode(video=0))) == len(pictures)
    with av.open(file) as container:
        assert sum(frame.samples for frame in container.decode(audio=0)) >= 11 * 1024
    command = ["ffprobe", "-v", "warning", "-show_streams", file]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    assert done.stderr == ""


def test_sound_leaves_no_gaps_of_rounding_and_keeps_true_ones() -> None:
    track, _ = sound_of(1)
    beat = fmp4.AudioTimeline(track)
    times = [beat.place(pts_us).decode_time for pts_us in (0, 63_999, 128_001, 500_000, 564_000)]
    assert times == [0, 1024, 2048, 8000, 9024]


def test_sound_that_browsers_do_not_play_is_left_out() -> None:
    law = TrackFormat(track=1, kind="audio", codec="pcma", description=b"", sample_rate_hz=8000)
    broken = TrackFormat(track=1, kind="audio", codec="mp4a.40.2", description=b"")
    assert not any(fmp4.carries(track) for track in (None, law, broken))
    pictures, *_ = written(sample())
    sound_track, _ = sound_of(1)
    codecs = f"{pictures.codec},mp4a.40.2"
    assert fmp4.mime_type(pictures, sound_track) == f'video/mp4; codecs="{codecs}"'
