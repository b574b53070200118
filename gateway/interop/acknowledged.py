"""How far a system's events are stored, so that its outbox may forget them. Pure.

A gap holds the position back: an outbox sends again what is missing. What still is missing after
`GAP_S` was nothing that an outbox keeps, and is passed over and counted.
"""

import collections

GAP_S = 30.0
MOST_AHEAD = 20_000


class Position:
    """Of one system. epoch, sequence: where storing got to before. now_s: monotonic."""

    def __init__(self, epoch: str = "", sequence: int = 0) -> None:
        self.epoch = epoch
        self.skipped = 0
        self._upto = sequence
        self._ahead: set[int] = set()
        self._waiting: collections.deque[int] = collections.deque()
        self._gap_since_s: float | None = None

    def heard(self, epoch: str, sequence: int, now_s: float, *, to_store: bool) -> None:
        """An event came; to_store: it is acknowledged only when `stored` says so."""
        if epoch != self.epoch:
            self.epoch, self._upto, self._gap_since_s = epoch, 0, None
            self._ahead.clear()
            self._waiting.clear()
        if to_store:
            self._waiting.append(sequence)
        if sequence > self._upto:
            self._ahead.add(sequence)
        self._close_up(now_s)

    def stored(self, epoch: str, sequence: int) -> None:
        if epoch == self.epoch and sequence in self._waiting:
            self._waiting.remove(sequence)

    def sequence(self, now_s: float) -> int:
        """All up to this one are stored, or were nothing to store."""
        if self._gap_since_s is not None and now_s - self._gap_since_s >= GAP_S:
            self._skip(now_s)
        return (
            min(self._upto, *(each - 1 for each in self._waiting))
            if self._waiting
            else (self._upto)
        )

    def _close_up(self, now_s: float) -> None:
        while self._upto + 1 in self._ahead:
            self._upto += 1
            self._ahead.discard(self._upto)
        if len(self._ahead) > MOST_AHEAD:
            self._skip(now_s)
        if not self._ahead:
            self._gap_since_s = None
        elif self._gap_since_s is None:
            self._gap_since_s = now_s

    def _skip(self, now_s: float) -> None:
        first = min(self._ahead)
        self.skipped += first - self._upto - 1
        self._upto = first - 1
        self._gap_since_s = None
        self._close_up(now_s)
