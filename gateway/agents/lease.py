"""A key is a lease: what an agent keys ends by itself unless it is renewed. Pure.

So neither a lost release, nor a dead bridge, nor a dead broker leaves a radio keyed.
"""

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    transmission: str
    until_s: float


class Leases:
    """The keyed channels of one agent. Times are seconds of its own monotonic clock."""

    def __init__(self) -> None:
        self._held: dict[str, Lease] = {}

    def __len__(self) -> int:
        return len(self._held)

    def transmission(self, channel: str) -> str | None:
        lease = self._held.get(channel)
        return lease.transmission if lease else None

    def request(self, channel: str, transmission: str, lease_s: float, now_s: float) -> str | None:
        """Key or renew; gives the transmission that must be unkeyed first, if there is another."""
        before = self._held.get(channel)
        self._held[channel] = Lease(transmission=transmission, until_s=now_s + lease_s)
        if before is not None and before.transmission != transmission:
            return before.transmission
        return None

    def release(self, channel: str, transmission: str) -> bool:
        """False when this transmission is not keyed there."""
        lease = self._held.get(channel)
        if lease is None or lease.transmission != transmission:
            return False
        del self._held[channel]
        return True

    def expire(self, now_s: float) -> list[tuple[str, str]]:
        """(channel, transmission) of all whose time is up; they are forgotten."""
        over = [
            (c, lease.transmission) for c, lease in self._held.items() if now_s >= lease.until_s
        ]
        for channel, _ in over:
            del self._held[channel]
        return over

    def drop_all(self) -> list[tuple[str, str]]:
        """Everything that is keyed, forgotten at once: the broker or the adapter is gone."""
        held = [(channel, lease.transmission) for channel, lease in self._held.items()]
        self._held.clear()
        return held

    def next_s(self) -> float | None:
        return min((lease.until_s for lease in self._held.values()), default=None)
