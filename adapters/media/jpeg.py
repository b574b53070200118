"""The little that is needed of JPEG (ITU-T T.81): the size of a picture."""

from adapters.errors import ProtocolViolation

_FRAME_HEADERS = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB})


def jpeg_size(data: bytes) -> tuple[int, int]:
    """(width, height) in pixels. Raises: ProtocolViolation when this is not a JPEG."""
    if data[:2] != b"\xff\xd8":
        raise ProtocolViolation("this is not a JPEG picture")
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker in _FRAME_HEADERS:
            height, width = data[at + 5 : at + 7], data[at + 7 : at + 9]
            return int.from_bytes(width, "big"), int.from_bytes(height, "big")
        at += 2 + max(2, int.from_bytes(data[at + 2 : at + 4], "big"))
    raise ProtocolViolation("a JPEG picture without a frame header")
