"""Where a radio is, as it says with its voice: the GPS information of the link control. Pure.

Source: ETSI TS 102 361-2, clauses 7.1.1.3 and 7.2; g4klx/MMDVMHost DMRSlot.cpp.
"""

import dataclasses
from collections import OrderedDict

LENGTH = 7
"""Bytes: 4 bits reserved, 3 of position error, 25 of longitude, 24 of latitude."""
AGAIN_S = 30.0
"""A radio that stays where it is says so with each superframe; it is told this often."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """WGS-84, degrees. error_m: within which it is, None if the radio does not know."""

    longitude_deg: float
    latitude_deg: float
    error_m: float | None


_ERRORS_M = (2.0, 20.0, 200.0, 2_000.0, 20_000.0, 200_000.0, None, None)


def decode_position(data: bytes) -> Position:
    """Read the 7 bytes that follow the opcodes of a GPS information link control.

    Raises: ValueError when there are not 7.
    """
    if len(data) != LENGTH:
        raise ValueError(f"GPS information of {len(data)} bytes; it has {LENGTH}")
    bits = int.from_bytes(data, "big")
    return Position(
        longitude_deg=round(_signed(bits >> 24, 25) * 360 / (1 << 25), 6),
        latitude_deg=round(_signed(bits, 24) * 180 / (1 << 24), 6),
        error_m=_ERRORS_M[bits >> 49 & 0x7],
    )


def _signed(bits: int, width: int) -> int:
    value = bits & (1 << width) - 1
    return value - (1 << width) if value >> width - 1 else value


class PositionBook:
    """Where the radios were last. Bounded: the one heard longest ago goes first."""

    def __init__(self, capacity: int = 1024) -> None:
        self._capacity = capacity
        self._last: OrderedDict[int, tuple[Position, float]] = OrderedDict()

    def is_news(self, source_id: int, position: Position, now_s: float) -> bool:
        """Whether to tell of it: it has moved, or nothing was told for a while."""
        before = self._last.get(source_id)
        if before is not None and before[0] == position and now_s < before[1] + AGAIN_S:
            return False
        self._last[source_id] = (position, now_s)
        self._last.move_to_end(source_id)
        if len(self._last) > self._capacity:
            self._last.popitem(last=False)
        return True
