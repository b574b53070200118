"""Who moves a camera: one person at a time, and whoever ranks higher takes over. Pure."""

import asyncio
import dataclasses
import enum
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

HELD_S = 10.0
"""After the last command; somebody who turned a camera wants to look at what it shows."""
_MOST = 10_000


class Rank(enum.IntEnum):
    """By what a person may move a camera; the higher takes over from the lower."""

    SHARE = 1
    DISPATCHER = 2
    ADMIN = 3


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """until: by this machine's clock, for showing."""

    user_id: str
    name: str
    rank: Rank
    until: datetime


class PtzLocks:
    """Of the cameras that this node serves, by point id. clock: monotonic seconds."""

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        self._clock = clock or (lambda: asyncio.get_running_loop().time())
        self._held: dict[str, tuple[float, Holder]] = {}

    def holder(self, point_id: str) -> Holder | None:
        """Whoever moves it now."""
        ends_s, holder = self._held.get(point_id, (0.0, None))
        if holder is None or ends_s <= self._clock():
            self._held.pop(point_id, None)
            return None
        return holder

    def in_the_way(self, point_id: str, user_id: str, rank: Rank) -> Holder | None:
        """Whoever keeps this user from moving it; of equals, the first stays."""
        holder = self.holder(point_id)
        if holder is None or holder.user_id == user_id or holder.rank < rank:
            return None
        return holder

    def take(
        self, point_id: str, user_id: str, name: str, rank: Rank, lasts_s: float = 0.0
    ) -> Holder | None:
        """Move it for lasts_s and `HELD_S` more; or whoever is in the way, and nothing happens."""
        if other := self.in_the_way(point_id, user_id, rank):
            return other
        now_s, held_s = self._clock(), lasts_s + HELD_S
        if len(self._held) >= _MOST:
            self._held = {k: v for k, v in self._held.items() if v[0] > now_s}
        until = datetime.now(UTC) + timedelta(seconds=held_s)
        holder = Holder(user_id=user_id, name=name, rank=rank, until=until)
        self._held[point_id] = (now_s + held_s, holder)
        return None
