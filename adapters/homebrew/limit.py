"""How many reports of bad input go out. Pure; the clock is passed in."""


class Limit:
    """At most per_s in each second that begins with one; the rest is counted."""

    def __init__(self, per_s: int) -> None:
        self._per_s = per_s
        self._since_s = float("-inf")
        self._admitted = 0
        self._left_out = 0

    def admit(self, now_s: float) -> int | None:
        """None when this one is one too many, else how many were left out before it."""
        if now_s - self._since_s >= 1.0:
            self._since_s, self._admitted = now_s, 0
        if self._admitted >= self._per_s:
            self._left_out += 1
            return None
        self._admitted += 1
        left_out, self._left_out = self._left_out, 0
        return left_out
