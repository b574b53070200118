"""Whether a device flaps: comes and goes so often that each time is no news. Pure."""

from collections import deque

LOSSES = 4
WITHIN_S = 600.0
CALM_S = 300.0


class Steadiness:
    """Times are seconds of one monotonic clock.

    losses within within_s make an episode of flapping; it ends when the device has stayed online,
    or stayed away, for calm_s.
    """

    def __init__(
        self, *, losses: int = LOSSES, within_s: float = WITHIN_S, calm_s: float = CALM_S
    ) -> None:
        self.flapping = False
        self.calm_s = calm_s
        self._within_s = within_s
        self._lost_s: deque[float] = deque(maxlen=losses)

    def lost(self, now_s: float) -> bool:
        """It was online and is not any more. True when an episode begins with that."""
        self._lost_s.append(now_s)
        full = len(self._lost_s) == self._lost_s.maxlen
        begins = full and now_s - self._lost_s[0] <= self._within_s and not self.flapping
        self.flapping = self.flapping or begins
        return begins

    def calm(self, now_s: float) -> bool:
        """Whether an episode, if there is one, is over for a device away since its last loss."""
        return not self._lost_s or now_s - self._lost_s[-1] >= self.calm_s

    def settle(self) -> None:
        """The episode is over."""
        self.flapping = False
        self._lost_s.clear()
