"""Voice that comes when it can, made into one burst each 60 ms. Pure; the clock is passed in.

It waits 60 ms for what is late, and up to 300 ms when that was not enough; sending on a grid of
60 ms adds less than 60 ms to that. It grows at once and shrinks slowly.

What is missing is filled as others do it: the last 20 ms are repeated (MMDVMHost
CDMRSlot::insertSilence does so), three times at most, for that is how long mbelib's decoder
repeats before it mutes; then there is AMBE silence.
"""

import dataclasses
import math
from collections import OrderedDict

from adapters.homebrew.dmr import AMBE_LENGTH, AMBE_SILENCE, BURST_MS

SILENCE = AMBE_SILENCE * 3
BURST_S = BURST_MS / 1000
SHALLOWEST, DEEPEST = 1, 5
"""Bursts that it waits."""
LONGEST_S = 0.36
"""Nothing waits longer: older bursts are skipped rather."""
ROUNDING_S = 1e-6
MOST_REPEATS = 1
CALM_BURSTS = 5_000 // BURST_MS
"""So many bursts with more than is needed make it shrink by one."""
CALM_AT_A_HOLE = CALM_BURSTS // 4
"""So many, where there is a burst missing that can be left out."""
CAPACITY = 64
FURTHEST_AHEAD = 1_000
REMEMBERED = 16


@dataclasses.dataclass(slots=True)
class VoiceCounts:
    """Bursts. played: as they came. repeated, silent: filled in. late: came after they had been
    filled in. twice: came again, or from before the first that was played. skipped: left out to
    catch up. unfit: not voice that can be sent.
    """

    played: int = 0
    repeated: int = 0
    silent: int = 0
    late: int = 0
    twice: int = 0
    skipped: int = 0
    unfit: int = 0


class JitterBuffer:
    """The voice of one transmission. depth: how many bursts it waits now.

    `put` takes voice as it comes; `pull` gives 27 bytes and is called every 60 ms.
    """

    def __init__(self) -> None:
        self.depth = SHALLOWEST
        self.counts = VoiceCounts()
        self._waiting: dict[int, tuple[bytes, float]] = {}
        self._newest = -1
        self._next: int | None = None
        self._first_s = 0.0
        self._held = 0
        self._wants_more = False
        self._filled: OrderedDict[int, None] = OrderedDict()
        self._calm = 0
        self._most_spare = self._since_measured = 0
        self._last = b""
        self._fills = 0
        self._end: int | None = None
        self._closed = False

    @property
    def is_over(self) -> bool:
        """All that there was has been given, and no more is to come."""
        if self._waiting:
            return False
        at_the_end = self._end is not None and (self._next is None or self._next >= self._end)
        return self._closed or at_the_end

    def open(self) -> None:
        """More is to come."""
        self._closed = False

    def close(self) -> None:
        """No more is to come; what waits is given without waiting for what is missing."""
        self._closed = True

    def end(self, sequence: int) -> None:
        """The talk has no burst of this number or after it."""
        self._end = sequence

    def put(self, sequence: int, ambe: bytes, now_s: float) -> None:
        """Take a burst of voice. One that cannot be used is counted and dropped."""
        if not self._is_fit(sequence, ambe):
            self.counts.unfit += 1
            return
        if self._next is not None and sequence < self._next:
            if not self._waiting and sequence > self._newest:
                self._next = sequence  # all was silent meanwhile: go on from here
                self._filled.clear()
            else:
                self._came_late(sequence)
                return
        if sequence in self._waiting:
            self.counts.twice += 1
            return
        if self._newest < 0:
            self._first_s = now_s
        self._waiting[sequence] = (ambe, now_s)
        self._newest = max(self._newest, sequence)
        if len(self._waiting) > CAPACITY:
            del self._waiting[min(self._waiting)]
            self.counts.skipped += 1

    def pull(self, now_s: float) -> bytes:
        """The voice of the burst that is due: what was put, or what fills its place."""
        if self._next is None:
            if not self._is_ready(now_s):
                return SILENCE
            self._next = min(self._waiting)
        if self.is_over:
            return SILENCE
        at = self._catch_up(self._next, now_s)
        if self._wants_more:
            self._wants_more = False
            if self._has_room(at, now_s):
                self.depth += 1
                return self._fill()
        return self._take(at)

    def _is_fit(self, sequence: int, ambe: bytes) -> bool:
        base = self._newest if self._next is None else self._next
        ahead = sequence - max(base, 0) > FURTHEST_AHEAD and self._newest >= 0
        ended = self._end is not None and sequence >= self._end
        return len(ambe) == AMBE_LENGTH and sequence >= 0 and not ahead and not ended

    def _is_ready(self, now_s: float) -> bool:
        waited = now_s - self._first_s >= self.depth * BURST_S
        return bool(self._waiting) and (waited or self._closed)

    def _has_room(self, at: int, now_s: float) -> bool:
        """Whether what waits may wait for a burst longer."""
        if not self._waiting or self._closed or self.depth >= DEEPEST:
            return False
        return self._longest_s(at, now_s) + BURST_S <= LONGEST_S

    def _came_late(self, sequence: int) -> None:
        if sequence in self._filled:
            del self._filled[sequence]
            self.counts.late += 1
            self._wants_more = True
            self._calm = 0
        else:
            self.counts.twice += 1

    def _catch_up(self, at: int, now_s: float) -> int:
        """Skip the oldest, so that nothing waits too long. Gives the number that is due then."""
        excess_s = self._longest_s(at, now_s) - LONGEST_S
        if excess_s > ROUNDING_S:
            at += math.ceil((excess_s - ROUNDING_S) / BURST_S)
            for sequence in [each for each in self._waiting if each < at]:
                del self._waiting[sequence]
                self.counts.skipped += 1
            self._held = 0
        return at

    def _longest_s(self, at: int, now_s: float) -> float:
        """How long something will have waited when its turn comes."""
        return max(
            (
                now_s - put_s + (sequence - at) * BURST_S
                for sequence, (_, put_s) in self._waiting.items()
            ),
            default=0.0,
        )

    def _take(self, at: int) -> bytes:
        """Give the burst that is due. One that is missing while later ones are there is lost, and
        its time passes; where nothing is there the time is held, while that is not too long."""
        while at not in self._waiting:
            if not self._waiting and not self._closed and self.depth + self._held < DEEPEST:
                self._held += 1
                self._next = at
                return self._fill()
            self._note_filled(at)
            at += 1
            if self._waiting and self._held:
                self._held -= 1  # it has been filled already
            elif self._waiting and self._calm >= CALM_AT_A_HOLE:
                self._shrink()
            else:
                self._next = at
                return self._fill()
        self.depth = min(self.depth + self._held, DEEPEST)
        self._held = 0
        self._last, self._fills = self._waiting.pop(at)[0], 0
        self._next = at + 1
        self.counts.played += 1
        self._watch_the_spare()
        return self._last

    def _watch_the_spare(self) -> None:
        """Skip a burst where for long there was always more at hand than was needed."""
        assert self._next is not None
        spare = self._newest + 1 - self._next
        self._measure(spare)
        self._calm = self._calm + 1 if spare > SHALLOWEST else 0
        if self._calm >= CALM_BURSTS:
            if self._waiting.pop(self._next, None) is not None:
                self.counts.skipped += 1
            self._next += 1
            self._shrink()

    def _measure(self, spare: int) -> None:
        """A sender whose clock is slow uses up what was waited; then it is waited no longer."""
        self._most_spare = max(self._most_spare, spare)
        self._since_measured += 1
        if self._since_measured >= CALM_BURSTS:
            self.depth = max(SHALLOWEST, min(self.depth, self._most_spare))
            self._most_spare = self._since_measured = 0

    def _shrink(self) -> None:
        self.depth = max(self.depth - 1, SHALLOWEST)
        self._calm = 0

    def _note_filled(self, sequence: int) -> None:
        self._filled[sequence] = None
        if len(self._filled) > REMEMBERED:
            self._filled.popitem(last=False)

    def _fill(self) -> bytes:
        if self._last and self._fills < MOST_REPEATS:
            self._fills += 1
            self.counts.repeated += 1
            return self._last[-len(AMBE_SILENCE) :] * 3
        self.counts.silent += 1
        return SILENCE
