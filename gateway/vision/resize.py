"""Smaller pictures, by OpenCV."""

from gateway.vision.availability import opencv


def resize_jpeg(data: bytes, width: int, quality: int = 85) -> bytes:
    """A JPEG no wider than `width` pixels, its proportions kept; one that is not is left alone.

    quality: 1 to 100. Blocks for some milliseconds: call it in a thread.
    Raises: ValueError when data is no picture; VisionUnavailable.
    """
    cv2 = opencv()
    import numpy as np

    if width < 1:
        raise ValueError("a picture is at least one pixel wide")
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if pixels is None:
        raise ValueError("this is not a picture")
    height_now, width_now = pixels.shape[:2]
    if width_now <= width:
        return data
    height = max(1, round(height_now * width / width_now))
    smaller = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    written, encoded = cv2.imencode(".jpg", smaller, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not written:
        raise ValueError("the picture cannot be encoded")
    return bytes(encoded)
