"""How many connection attempts may be under way at once, and who goes first."""

import asyncio
import contextlib
import enum
import heapq
from collections.abc import AsyncIterator


class Urgency(enum.IntEnum):
    """Who gets a slot first. CALLED: it said hello, or somebody changed it. RECENT: it was there
    a short while ago, or was never tried. DEAD: away so long that it most likely stays away."""

    CALLED = 0
    RECENT = 1
    DEAD = 2


class Place:
    """One that waits for a slot or holds it."""

    __slots__ = ("given", "holds", "urgency")

    def __init__(self, urgency: Urgency = Urgency.RECENT) -> None:
        self.urgency = urgency
        self.holds: Urgency | None = None
        self.given: asyncio.Future[None] | None = None


class Budget:
    """Slots for attempts, over all devices of a node.

    attempts: how many at once. Of those a quarter at most go to the dead, which wait for their
    time-outs and would hold up those that come back. highest: most that were ever under way.
    """

    def __init__(self, attempts: int = 64) -> None:
        self.limit = attempts
        self.under_way = 0
        self.highest = 0
        self._dead = 0
        self._dead_limit = max(1, attempts // 4)
        self._queue: list[tuple[int, int, Place]] = []
        self._order = 0

    @property
    def waiting(self) -> int:
        return sum(
            place.given is not None and urgency == place.urgency
            for urgency, _, place in self._queue
        )

    @contextlib.asynccontextmanager
    async def attempt(self, place: Place | None = None) -> AsyncIterator[None]:
        """To be held from the first packet until the device is online."""
        place = place or Place()
        await self._enter(place)
        try:
            yield
        finally:
            self._leave(place)

    def hurry(self, place: Place, urgency: Urgency) -> None:
        """Let one that waits go before the less urgent."""
        if urgency < place.urgency:
            place.urgency = urgency
            if place.given is not None:
                self._push(place)
                self._give()

    async def _enter(self, place: Place) -> None:
        place.given = asyncio.get_running_loop().create_future()
        self._push(place)
        self._give()
        try:
            await place.given
        except BaseException:
            if place.holds is not None:  # given and cancelled at the same moment
                self._leave(place)
            raise
        finally:
            place.given = None

    def _leave(self, place: Place) -> None:
        self.under_way -= 1
        self._dead -= place.holds is Urgency.DEAD
        place.holds = None
        self._give()

    def _push(self, place: Place) -> None:
        self._order += 1
        heapq.heappush(self._queue, (place.urgency, self._order, place))

    def _give(self) -> None:
        while self._queue and self.under_way < self.limit:
            urgency, _, place = self._queue[0]
            # One that hurried is in the queue twice, and one that gave up is still in it.
            waits = place.given is not None and not place.given.done()
            if (
                waits
                and urgency == place.urgency == Urgency.DEAD
                and self._dead >= self._dead_limit
            ):
                return
            heapq.heappop(self._queue)
            if waits and urgency == place.urgency and place.given is not None:
                place.holds = place.urgency
                self.under_way += 1
                self._dead += place.holds is Urgency.DEAD
                self.highest = max(self.highest, self.under_way)
                place.given.set_result(None)
