"""Pictures: decoding keyframes with PyAV, and OpenCV where the machine has what it needs."""

from gateway.vision.availability import VisionUnavailable, available
from gateway.vision.diagnosis import DEFAULT_THRESHOLDS, Diagnosis, Fault, Score
from gateway.vision.keyframes import Look, look
from gateway.vision.pictures import PicturePool, keyframe_jpeg, unit_jpeg
from gateway.vision.resize import resize_jpeg

__all__ = [
    "DEFAULT_THRESHOLDS",
    "Diagnosis",
    "Fault",
    "Look",
    "PicturePool",
    "Score",
    "VisionUnavailable",
    "available",
    "keyframe_jpeg",
    "look",
    "resize_jpeg",
    "unit_jpeg",
]
