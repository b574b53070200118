"""Masked pictures: what is hidden is a flat colour, what is not is shown."""

import itertools
from collections.abc import Iterator

import av
import cv2
import numpy as np
import pytest

from adapters.base import AccessUnit, MediaItem, TrackFormat
from adapters.errors import NotSupported
from adapters.media.h264 import H264
from adapters.media.h265 import H265
from adapters.media.jpeg import jpeg_size
from adapters.media.nal import join_with_lengths
from gateway.vision.masking import (
    EVERYTHING,
    KEYFRAME_US,
    MAX_WIDTH,
    NOTHING,
    Cover,
    MaskedPictures,
    fitted,
    mask_jpeg,
)
from gateway.vision.pictures import UnitDecoder
from simulators.clips import Clip, ClipParameters, Codec, encode_clip

GREY = 64
HALF = Cover(polygons=(((0.5, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 1.0)),))
CORNER = Cover(polygons=(((0.0, 0.0), (0.25, 0.0), (0.0, 0.5)),))
Pixels = np.ndarray


def clip(codec: Codec = "h264", width: int = 320, height: int = 180) -> Clip:
    parameters = ClipParameters(
        width=width, height=height, gop_s=0.4, duration_s=2.0, codec=codec, bitrate_bps=2_000_000
    )
    return encode_clip(parameters)


def items_of(of: Clip) -> Iterator[MediaItem]:
    codec = H265() if of.vps else H264()
    known = codec.video_format(of.parameter_sets)
    assert known is not None
    yield TrackFormat(
        track=0,
        kind="video",
        codec=known.codec,
        description=known.description,
        width=known.width,
        height=known.height,
    )
    for number, nals in enumerate(of.frames):
        yield AccessUnit(
            track=0,
            pts_us=number * 1_000_000 // of.parameters.fps,
            keyframe=of.is_keyframe(number),
            data=join_with_lengths(nals),
        )


class Screen:
    """Decodes what is made, as a browser would."""

    def __init__(self) -> None:
        self.formats: list[TrackFormat] = []
        self.units: list[AccessUnit] = []
        self.pictures: list[Pixels] = []
        self._decoder: UnitDecoder | None = None

    def show(self, items: list[MediaItem]) -> None:
        for item in items:
            if isinstance(item, TrackFormat):
                self.formats.append(item)
                self._decoder = UnitDecoder(item)
                continue
            assert self._decoder is not None
            frame = self._decoder.decode(item)
            assert frame is not None, "baseline without delay: each unit gives its picture"
            self.units.append(item)
            self.pictures.append(luma(frame))


def luma(frame: av.VideoFrame) -> Pixels:
    return frame.to_ndarray()[: frame.height].astype(int)


def play(of: Clip, covers: dict[int, Cover]) -> Screen:
    """covers: by the number of the unit from which they hold."""
    items = items_of(of)
    track = next(items)
    assert isinstance(track, TrackFormat)
    pictures, screen, cover = MaskedPictures(track), Screen(), covers[0]
    for number, item in enumerate(items):
        assert isinstance(item, AccessUnit)
        cover = covers.get(number, cover)
        screen.show(pictures.make(item, cover))
    return screen


def is_flat(part: Pixels) -> bool:
    return bool(np.abs(part - GREY).max() <= 6)


def original(of: Clip, group: int = 0) -> Pixels:
    """As the encoder wrote it: 16 is black."""
    data = np.frombuffer(of.pictures[group], np.uint8)
    return cv2.imdecode(data, cv2.IMREAD_GRAYSCALE).astype(int) * 219 // 255 + 16


@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_what_is_hidden_is_flat_and_the_rest_is_the_picture(codec: Codec) -> None:
    of = clip(codec)
    screen = play(of, {0: HALF})
    (only,) = screen.formats
    assert (only.codec[:9], only.width, only.height) == ("avc1.42c0", 320, 180)
    assert len(screen.pictures) == len(of.frames)
    assert screen.units[0].keyframe
    for shown in screen.pictures:
        assert is_flat(shown[:, 162:])
        assert shown[:, :150].std() > 15
    difference = np.abs(screen.pictures[0][:, :150] - original(of)[:, :150])
    assert difference.mean() < 12


def test_a_polygon_hides_its_corners_and_its_edge() -> None:
    of = clip()
    shown = play(of, {0: CORNER}).pictures[-1]
    for x, y in ((0, 0), (78, 0), (0, 88), (38, 43)):
        assert is_flat(shown[y, x])
    assert not is_flat(shown[100:, 100:])


def test_another_cover_begins_with_a_keyframe() -> None:
    screen = play(clip(), {0: HALF, 10: CORNER})
    assert [n for n, unit in enumerate(screen.units) if unit.keyframe] == [0, 10]
    assert is_flat(screen.pictures[9][:, 160:])
    assert not is_flat(screen.pictures[10][:, 160:])
    assert is_flat(screen.pictures[10][0, :78])


def test_what_is_wholly_hidden_is_not_decoded_and_comes_back_with_a_keyframe() -> None:
    of = clip()
    assert of.parameters.gop_frames == 6
    screen = play(of, {0: EVERYTHING, 8: NOTHING})
    gone = [unit.pts_us for unit in screen.units if unit.pts_us < 12 * 1_000_000 // 15]
    assert 2 <= len(gone) <= 6
    for unit, shown in zip(screen.units, screen.pictures, strict=True):
        # From unit 8 on it may be shown; what comes before the keyframe 12 cannot be decoded.
        assert is_flat(shown) == (unit.pts_us < 800_000)


def test_keyframes_come_again_so_that_people_can_join() -> None:
    track = TrackFormat(track=0, kind="video", codec="jpeg", description=b"", width=160, height=96)
    data = bytes(cv2.imencode(".jpg", np.full((96, 160, 3), 200, np.uint8))[1])
    pictures = MaskedPictures(track)
    keys: list[int] = []
    for number in range(100):
        unit = AccessUnit(track=0, pts_us=number * 66_667, keyframe=True, data=data)
        made = [each for each in pictures.make(unit, HALF) if isinstance(each, AccessUnit)]
        keys += [each.pts_us for each in made if each.keyframe]
    assert len(keys) == 4
    assert all(0 <= b - a - KEYFRAME_US < 100_000 for a, b in itertools.pairwise(keys))


def test_after_a_gap_it_begins_anew() -> None:
    of = clip()
    items = list(items_of(of))
    track = items[0]
    assert isinstance(track, TrackFormat)
    pictures, screen = MaskedPictures(track), Screen()
    for item in [*items[1:4], *items[7:]]:
        assert isinstance(item, AccessUnit)
        gap = item is items[7]
        given = AccessUnit(
            track=0,
            pts_us=item.pts_us,
            keyframe=item.keyframe,
            data=item.data,
            discontinuity=gap,
        )
        screen.show(pictures.make(given, HALF))
    (after,) = [unit for unit in screen.units if unit.discontinuity]
    assert after.keyframe


def test_a_large_picture_is_made_smaller() -> None:
    assert fitted(3840, 2160) == (MAX_WIDTH, 720)
    assert fitted(321, 181) == (320, 180) or fitted(321, 181) == (322, 182)
    assert fitted(0, 0) == (640, 360)
    assert play(clip(width=1920, height=1080), {0: HALF}).pictures[0].shape == (720, 1280)


def test_what_cannot_be_decoded_is_refused() -> None:
    track = TrackFormat(track=0, kind="video", codec="vp09", description=b"")
    with pytest.raises(NotSupported):
        MaskedPictures(track)


def test_garbage_shows_nothing() -> None:
    of = clip()
    items = items_of(of)
    track = next(items)
    assert isinstance(track, TrackFormat)
    pictures = MaskedPictures(track)
    for number in range(20):
        data = join_with_lengths([bytes([0x65]) + bytes(range(200))])
        unit = AccessUnit(track=0, pts_us=number * 66_667, keyframe=number == 0, data=data)
        assert pictures.make(unit, HALF) == []


def test_a_jpeg_is_painted_over_and_loses_what_came_with_it() -> None:
    pixels = np.full((120, 200, 3), 220, np.uint8)
    data = bytes(cv2.imencode(".jpg", pixels)[1])
    secret = b"a small picture of all of it"
    with_exif = data[:2] + b"\xff\xe1" + (len(secret) + 2).to_bytes(2, "big") + secret + data[2:]
    masked = mask_jpeg(with_exif, HALF)
    assert secret in with_exif
    assert secret not in masked
    assert jpeg_size(masked) == (200, 120)
    shown = cv2.imdecode(np.frombuffer(masked, np.uint8), cv2.IMREAD_GRAYSCALE).astype(int)
    assert is_flat(shown[:, 100:])
    assert shown[:, :90].min() > 200
    blank = cv2.imdecode(np.frombuffer(mask_jpeg(data, EVERYTHING), np.uint8), 0).astype(int)
    assert is_flat(blank)
    assert mask_jpeg(data, NOTHING) is data
    for bad in (b"", b"no picture"):
        with pytest.raises(ValueError, match="not a picture"):
            mask_jpeg(bad, HALF)
