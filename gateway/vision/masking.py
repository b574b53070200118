"""Hiding parts of pictures: solid colour drawn over what was decoded, then encoded anew.

Nothing of what is hidden is in what comes out: no blur that could be undone, no layer above.
"""

import dataclasses
import functools
from fractions import Fraction

import av
import numpy as np
from av.codec.context import CodecContext
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType
from numpy.typing import NDArray

from adapters.base import AccessUnit, MediaItem, TrackFormat
from adapters.media.h264 import H264, PPS, SPS
from adapters.media.nal import join_with_lengths, split_annex_b
from gateway.vision.availability import opencv
from gateway.vision.pictures import UnitDecoder

Polygon = tuple[tuple[float, float], ...]
"""Corners as x, y in 0..1 of the frame."""

MAX_WIDTH = 1280
"""Pixels of a masked stream; wider ones are made smaller."""
FRAME_US = 62_000
"""At most 16 pictures a second are encoded anew."""
BLANK_US = 200_000
KEYFRAME_US = 2_000_000
_LUMA, _CHROMA = 64, 128
"""A dark grey, whether the range is full or not."""
_QUALITY = "27"

Stencil = NDArray[np.bool_]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Cover:
    """What is hidden of a picture: these polygons, or the whole of it."""

    polygons: tuple[Polygon, ...] = ()
    whole: bool = False


NOTHING = Cover()
EVERYTHING = Cover(whole=True)


def mask_jpeg(data: bytes, cover: Cover, quality: int = 90) -> bytes:
    """A JPEG with what is covered painted over, encoded anew: nothing that was beside the picture,
    such as a small one of it, is kept. Blocks for some milliseconds: call it in a thread.

    Raises: ValueError when data is no picture; VisionUnavailable.
    """
    if cover == NOTHING:
        return data
    cv2 = opencv()
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if pixels is None:
        raise ValueError("this is not a picture")
    height, width = pixels.shape[:2]
    pixels[_stencil(cover, width, height)] = _LUMA
    written, encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not written:
        raise ValueError("this picture cannot be written")
    return bytes(encoded)


def blank_jpeg(width: int) -> bytes:
    """A JPEG, 16 to 9, that shows nothing. Raises: VisionUnavailable."""
    cv2 = opencv()
    pixels = np.full((max(1, width * 9 // 16), width, 3), _LUMA, np.uint8)
    _written, encoded = cv2.imencode(".jpg", pixels)
    return bytes(encoded)


def paint(frame: av.VideoFrame, cover: Cover, width: int, height: int) -> av.VideoFrame:
    """The frame as yuv420p of this size, both even, with what is covered painted over."""
    frame = frame.reformat(width=width, height=height, format="yuv420p")
    planes = frame.to_ndarray()
    if cover != NOTHING:
        luma, chroma = _stencils(cover, width, height)
        planes[:height][luma] = _LUMA
        planes[height:].reshape(2, height // 2, width // 2)[:, chroma] = _CHROMA
    return av.VideoFrame.from_ndarray(planes, format="yuv420p")


def blank(width: int, height: int) -> av.VideoFrame:
    """A picture that shows nothing."""
    planes = np.full((height * 3 // 2, width), _CHROMA, np.uint8)
    planes[:height] = _LUMA
    return av.VideoFrame.from_ndarray(planes, format="yuv420p")


@functools.lru_cache(maxsize=64)
def _stencils(cover: Cover, width: int, height: int) -> tuple[Stencil, Stencil]:
    """Of luma, and of colours, which four pixels share: hidden where any of them is."""
    luma = _stencil(cover, width, height)
    chroma: Stencil = np.logical_or.reduce(luma.reshape(height // 2, 2, width // 2, 2), axis=(1, 3))
    return luma, chroma


def _stencil(cover: Cover, width: int, height: int) -> Stencil:
    """True where a picture of this size is hidden; a pixel more all round than was drawn."""
    if cover.whole:
        return np.ones((height, width), np.bool_)
    cv2 = opencv()
    drawn = np.zeros((height, width), np.uint8)
    for polygon in cover.polygons:
        corners = np.array(polygon) * (width, height)
        cv2.fillPoly(drawn, [np.rint(corners).astype(np.int32)], 1)
    grown: NDArray[np.uint8] = cv2.dilate(drawn, np.ones((3, 3), np.uint8))
    return grown.astype(np.bool_)


def fitted(width: int, height: int) -> tuple[int, int]:
    """The size of a masked stream: even, not wider than `MAX_WIDTH`."""
    if width < 2 or height < 2:
        return 640, 360
    scale = min(1.0, MAX_WIDTH / width)
    return max(2, round(width * scale / 2) * 2), max(2, round(height * scale / 2) * 2)


class Encoder:
    """H.264 baseline without delay: a picture in, its unit out. Not for several threads at once."""

    def __init__(self, width: int, height: int) -> None:
        context = CodecContext.create("libx264", "w")
        assert isinstance(context, VideoCodecContext)
        context.width, context.height, context.pix_fmt = width, height, "yuv420p"
        context.time_base = Fraction(1, 15)
        context.framerate = Fraction(15)
        context.thread_count = 1
        context.options = {
            "preset": "ultrafast",
            "tune": "zerolatency",
            "profile": "baseline",
            "crf": _QUALITY,
            "forced-idr": "1",
            # Keyframes come when they are asked for.
            "x264-params": "keyint=100000:scenecut=0",
        }
        context.open()
        self._context = context
        self._number = 0
        self.width, self.height = width, height

    def encode(self, frame: av.VideoFrame, *, key: bool) -> tuple[list[bytes], list[bytes]]:
        """Its parameter sets, which come with a keyframe, and its other NAL units."""
        frame.pts, self._number = self._number, self._number + 1
        frame.pict_type = PictureType.I if key else PictureType.NONE
        nals = [
            nal for packet in self._context.encode(frame) for nal in split_annex_b(bytes(packet))
        ]
        sets = [nal for nal in nals if nal[0] & 0x1F in (SPS, PPS)]
        return sets, [nal for nal in nals if nal[0] & 0x1F not in (SPS, PPS)]


class MaskedPictures:
    """The pictures of one video track, masked and encoded anew as H.264. Not for several threads
    at once. Raises on creation: NotSupported for a codec that is not decoded."""

    def __init__(self, track: TrackFormat) -> None:
        UnitDecoder(track, keyframes_only=True)
        self._track = track
        self._decoder: UnitDecoder | None = None
        self._encoder: Encoder | None = None
        self._cover: Cover | None = None
        self._told: TrackFormat | None = None
        self._next_us = self._next_key_us = self._last_us = -1
        self._force = True

    def make(self, unit: AccessUnit, cover: Cover) -> list[MediaItem]:
        """What is shown of a unit; none where it is left out. Blocks while it works."""
        if cover != self._cover or unit.discontinuity:
            self._cover, self._force = cover, True
        if unit.discontinuity:
            self._decoder = None
        frame = None if cover.whole else self._decoded(unit)
        if cover.whole:
            self._decoder = None
        elif frame is None and self._decoder is not None:
            return []
        if not self._due(unit):
            return []
        if frame is None:
            size = fitted(self._track.width, self._track.height)
            picture, wait_us = blank(*size), BLANK_US
        else:
            size = fitted(frame.width, frame.height)
            picture, wait_us = paint(frame, cover, *size), FRAME_US
        self._next_us = unit.pts_us + wait_us
        return self._encoded(unit, picture, size)

    def _decoded(self, unit: AccessUnit) -> av.VideoFrame | None:
        """None while a keyframe is awaited, which leaves no decoder, or it gives no picture."""
        if self._decoder is None:
            if not unit.keyframe:
                return None
            self._decoder = UnitDecoder(self._track)
            self._force = True
        return self._decoder.decode(unit)

    def _due(self, unit: AccessUnit) -> bool:
        return self._force or unit.pts_us >= self._next_us

    def _encoded(
        self, unit: AccessUnit, picture: av.VideoFrame, size: tuple[int, int]
    ) -> list[MediaItem]:
        if self._encoder is None or (self._encoder.width, self._encoder.height) != size:
            self._encoder, self._force = Encoder(*size), True
        # Of what the camera sent out of order the times are those of arrival: they only grow.
        pts_us = max(unit.pts_us, self._last_us + 1)
        key = self._force or unit.pts_us >= self._next_key_us
        sets, nals = self._encoder.encode(picture, key=key)
        items: list[MediaItem] = []
        if key:
            self._next_key_us = unit.pts_us + KEYFRAME_US
            items.extend(self._format(sets))
        items.append(
            AccessUnit(
                track=self._track.track,
                pts_us=pts_us,
                keyframe=key,
                data=join_with_lengths(nals),
                discontinuity=unit.discontinuity,
            )
        )
        self._last_us, self._force = pts_us, False
        return items

    def _format(self, sets: list[bytes]) -> list[MediaItem]:
        found = H264().video_format(sets)
        if found is None:
            return []
        told = TrackFormat(
            track=self._track.track,
            kind="video",
            codec=found.codec,
            description=found.description,
            width=found.width,
            height=found.height,
        )
        if told == self._told:
            return []
        self._told = told
        return [told]
