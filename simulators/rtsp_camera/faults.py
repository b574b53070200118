"""What happens to packets on the way out of a bad camera; pure but for chance."""

import random
from collections.abc import Sequence

from simulators.rtsp_camera.spec import RtspQuirks

JUNK = b"\x00\xfe stray \x81"
_EXTENSION = b"\xbe\xde\x00\x01\x10\xff\x00\x00"
_PADDING = b"\x00\x00\x00\x04"


def spoil(packets: Sequence[bytes], quirks: RtspQuirks, chance: random.Random) -> list[bytes]:
    """The RTP packets of a frame as they leave."""
    left = [one for one in packets if not quirks.loss or chance.random() >= quirks.loss]
    if quirks.extensions:
        left = [_extended(one) for one in left]
    if quirks.swap:
        for at in range(0, len(left) - 1, 2):
            left[at], left[at + 1] = left[at + 1], left[at]
    return left


def _extended(packet: bytes) -> bytes:
    head = bytes((packet[0] | 0x30,)) + packet[1:12]
    return head + _EXTENSION + packet[12:] + _PADDING
