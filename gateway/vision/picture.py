"""A decoded keyframe as arrays, in the encoder's own colours: diagnosis needs no RGB."""

import dataclasses
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from gateway.vision.availability import opencv

Plane = NDArray[np.uint8]
_FULL_RANGE = 2  # AVCOL_RANGE_JPEG


@dataclasses.dataclass(frozen=True, slots=True)
class Picture:
    """luma: height x width. cb, cr: half of both, 128 is no colour. full_range: luma is 0..255,
    else 16..235."""

    luma: Plane
    cb: Plane
    cr: Plane
    full_range: bool


def picture_of(frame: av.VideoFrame) -> Picture:
    """The picture of a decoded frame; of the usual format nothing is copied."""
    full_range = frame.format.name.startswith("yuvj") or frame.color_range == _FULL_RANGE
    if frame.format.name not in ("yuv420p", "yuvj420p"):
        frame = frame.reformat(format="yuvj420p" if full_range else "yuv420p")
    luma, cb, cr = (_plane(plane) for plane in frame.planes[:3])
    return Picture(luma, cb, cr, full_range)


def picture_of_jpeg(data: bytes) -> Picture:
    """Raises: ValueError when data is no picture; VisionUnavailable."""
    cv2 = opencv()
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if pixels is None:
        raise ValueError("this is not a picture")
    return picture_of_pixels(pixels)


def picture_of_pixels(pixels: Plane) -> Picture:
    """pixels: height x width x 3, in OpenCV's order blue, green, red."""
    cv2 = opencv()
    luma, cr, cb = cv2.split(cv2.cvtColor(pixels, cv2.COLOR_BGR2YCrCb))
    half = (max(1, luma.shape[1] // 2), max(1, luma.shape[0] // 2))
    cb, cr = (cv2.resize(plane, half, interpolation=cv2.INTER_AREA) for plane in (cb, cr))
    return Picture(luma, cb, cr, True)


def _plane(plane: Any) -> Plane:
    rows = np.frombuffer(plane, np.uint8)[: plane.height * plane.line_size]
    return rows.reshape(plane.height, plane.line_size)[:, : plane.width]
