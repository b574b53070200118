"""How far a system's events are stored, so that its outbox may forget them. Pure.

A gap holds the position back: an outbox sends again what is missing. What still is missing
`GAP_S` after something later came was nothing that an outbox keeps, and is passed over and counted.
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
        self._ahead: dict[int, float] = {}
        self._waiting: collections.deque[int] = collections.deque()

    def heard(self, epoch: str, sequence: int, now_s: float, *, to_store: bool) -> None:
        """An event came; to_store: it is acknowledged only when `stored` says so."""
        if epoch != self.epoch:
            self.epoch, self._upto = epoch, 0
            self._ahead.clear()
            self._waiting.clear()
        if to_store:
            self._waiting.append(sequence)
        if sequence > self._upto:
            self._ahead.setdefault(sequence, now_s)
        self._close_up()
        if len(self._ahead) > MOST_AHEAD:
            self._skip(min(self._ahead))

    def stored(self, epoch: str, sequence: int) -> None:
        if epoch == self.epoch and sequence in self._waiting:
            self._waiting.remove(sequence)

    def sequence(self, now_s: float) -> int:
        """All up to this one are stored, or were nothing to store."""
        for first in sorted(self._ahead):
            if now_s - self._ahead.get(first, now_s) >= GAP_S:
                self._skip(first)
        return min((self._upto, *(each - 1 for each in self._waiting)))

    def _close_up(self) -> None:
        while self._upto + 1 in self._ahead:
            self._upto += 1
            del self._ahead[self._upto]

    def _skip(self, first: int) -> None:
        came = [each for each in self._ahead if each < first]
        self.skipped += first - self._upto - 1 - len(came)
        for each in came:
            del self._ahead[each]
        self._upto = first - 1
        self._close_up()
