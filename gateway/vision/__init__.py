"""Pictures: decoding keyframes with PyAV, and OpenCV where the machine has what it needs."""

from gateway.vision.availability import VisionUnavailable, available
from gateway.vision.pictures import PicturePool, keyframe_jpeg, unit_jpeg
from gateway.vision.resize import resize_jpeg

__all__ = [
    "PicturePool",
    "VisionUnavailable",
    "available",
    "keyframe_jpeg",
    "resize_jpeg",
    "unit_jpeg",
]
