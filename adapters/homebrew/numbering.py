"""Which piece of its talk a voice burst is, though some were lost, late or came twice. Pure."""

from adapters.homebrew.dmr import BURST_MS

FURTHEST_BACK = 16
"""So many bursts behind the newest one is too late to be told."""
BURST_S = BURST_MS / 1000
_LATEST_S = 1.0
"""After such a silence nothing is late any more."""

_SUPERFRAME = 6
_REPEAT_S = 0.18
"""Within it, the same place of a superframe is the same burst; after it, that of the next."""


class Numbering:
    """Numbers the voice bursts of one talk from 0, where it was first heard.

    A burst says its place in the superframe and its DMRD sequence number. Where the two agree on
    how far it is from the newest one, so it is. Some senders do not count, or count both timeslots
    together; then the place alone tells, which is right while fewer than six are lost in a row.
    """

    __slots__ = ("_newest", "_newest_s", "_place", "_seen", "_sequence")

    def __init__(self) -> None:
        self._newest = -1
        self._newest_s = 0.0
        self._sequence = 0
        self._place = 0
        self._seen = 0

    @property
    def following(self) -> int:
        """The number after the newest."""
        return self._newest + 1

    def number(self, sequence: int, place: int, now_s: float) -> int | None:
        """The number of a burst; None for one that was told before or comes too late.

        sequence: 0..255, wraps. place: 0..5 for A to F.
        """
        step = self._step(sequence, place, now_s) if self._newest >= 0 else 1
        if step <= 0:
            return self._late(-step)
        self._newest += step
        self._newest_s, self._sequence, self._place = now_s, sequence, place
        self._seen = (self._seen << step | 1) & (1 << FURTHEST_BACK) - 1
        return self._newest

    def _step(self, sequence: int, place: int, now_s: float) -> int:
        by_place = (place - self._place) % _SUPERFRAME
        by_sequence = (sequence - self._sequence + 128) % 256 - 128
        passed_s = now_s - self._newest_s
        furthest = passed_s / BURST_S + FURTHEST_BACK
        agreed = by_sequence % _SUPERFRAME == by_place
        if agreed and by_sequence <= furthest and (by_sequence >= 0 or passed_s < _LATEST_S):
            return by_sequence
        if by_place == 0 and passed_s > _REPEAT_S:
            return _SUPERFRAME
        return by_place

    def _late(self, back: int) -> int | None:
        if back >= FURTHEST_BACK or back > self._newest or self._seen >> back & 1:
            return None
        self._seen |= 1 << back
        return self._newest - back
