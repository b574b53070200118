"""Whether OpenCV can be used on this machine."""

import importlib
from types import ModuleType

# What the wheel of opencv-python links and does not carry.
DEBIAN_PACKAGES = ("libgl1", "libglib2.0-0", "libx11-6", "libxcb1")


class VisionUnavailable(Exception):
    """OpenCV cannot be loaded. reason: one sentence that says what to install."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def opencv() -> ModuleType:
    """The `cv2` module. Raises: VisionUnavailable."""
    try:
        module = importlib.import_module("cv2")
    except ImportError as error:
        packages = " ".join(DEBIAN_PACKAGES)
        raise VisionUnavailable(
            f"OpenCV cannot be loaded ({error}): pictures are neither resized nor judged until "
            f"you run apt-get install {packages}."
        ) from None
    # Our pools say how many threads there are; its own would only wait for each other.
    if module.getNumThreads() != 1:
        module.setNumThreads(1)
    return module


def available() -> tuple[bool, str]:
    """Whether OpenCV works, and if not one sentence that says what to install."""
    try:
        opencv()
    except VisionUnavailable as error:
        return False, error.reason
    return True, ""
