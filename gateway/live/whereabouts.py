"""At which preset each camera that moves stands now, by its own word.

A mask holds at its preset only, and cameras are moved by others too: a position that was not read
twice in a row, and lately, is none.
"""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import structlog

from adapters.errors import NotSupported

INTERVAL_S = 1.0
ANSWER_S = 3.0
ASK_AGAIN_S = 60.0
"""A camera that cannot say where it stands."""

Presets = frozenset[str]
NOWHERE: Presets = frozenset()

log = structlog.get_logger(__name__)


class Whereabouts:
    """ask: the names of the presets at which a point's camera stands, none where it moves or
    stands elsewhere. clock: monotonic seconds."""

    def __init__(
        self,
        ask: Callable[[str], Awaitable[Presets]],
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._ask = ask
        self._clock = clock
        self._sleep = sleep
        self._watchers: Counter[str] = Counter()
        self._polls: dict[str, asyncio.Task[None]] = {}
        self._known: dict[str, tuple[Presets, float, float]] = {}
        self._moving: Counter[str] = Counter()
        self._moves: Counter[str] = Counter()

    def stood_at(self, point_id: str, moment_s: float, before_s: float) -> Presets | None:
        """Where it stood from before_s ahead of a moment, by the clock, up to it. None while that
        is not known yet: nobody has read the position since."""
        presets, since_s, read_s = self._known.get(point_id, (NOWHERE, 0.0, 0.0))
        if self._moving[point_id] or not presets or moment_s - before_s < since_s:
            return NOWHERE
        return presets if read_s >= moment_s else None

    async def ask(self, point_id: str) -> Presets:
        """Where it stands just now; nowhere while it is moved, or where it does not say."""
        moves = self._moves[point_id]
        try:
            async with asyncio.timeout(ANSWER_S):
                found = await self._ask(point_id)
        except Exception:
            return NOWHERE  # whatever keeps the camera from answering
        return NOWHERE if self._moving[point_id] or moves != self._moves[point_id] else found

    @contextlib.contextmanager
    def moves(self, point_id: str) -> Iterator[None]:
        """Somebody has it moved by us: it is nowhere until it was found at a preset again."""
        self._moving[point_id] += 1
        self._moves[point_id] += 1
        self._known.pop(point_id, None)
        try:
            yield
        finally:
            self._moves[point_id] += 1
            self._moving[point_id] -= 1
            if not self._moving[point_id]:
                del self._moving[point_id]

    @contextlib.asynccontextmanager
    async def watched(self, point_id: str) -> AsyncIterator[None]:
        """Keep asking while somebody needs to know."""
        self._watchers[point_id] += 1
        if point_id not in self._polls:
            work = self._poll(point_id)
            self._polls[point_id] = asyncio.create_task(work, name=f"whereabouts {point_id}")
        try:
            yield
        finally:
            self._watchers[point_id] -= 1
            if not self._watchers[point_id]:
                del self._watchers[point_id]
                task = self._polls.pop(point_id)
                task.cancel()
                await asyncio.wait([task])
                self._known.pop(point_id, None)

    async def _poll(self, point_id: str) -> None:
        said = ""
        before = NOWHERE
        while True:
            asked_s, wait_s, found = self._clock(), INTERVAL_S, NOWHERE
            moves = self._moves[point_id]
            try:
                async with asyncio.timeout(ANSWER_S):
                    found = await self._ask(point_id)
                said = ""
            except Exception as error:
                # Whatever keeps the camera from answering: then nobody knows where it looks.
                wait_s = ASK_AGAIN_S if isinstance(error, NotSupported) else INTERVAL_S
                if (sentence := str(error) or type(error).__name__) != said:
                    said = sentence
                    log.warning("live.position_unknown", point=point_id, reason=sentence)
            if moves != self._moves[point_id]:
                found = NOWHERE  # it was asked before a movement, which may not have begun yet
            self._note(point_id, before, found, asked_s)
            before = found
            await self._sleep(wait_s)

    def _note(self, point_id: str, before: Presets, found: Presets, asked_s: float) -> None:
        if self._moving[point_id] or not found:
            self._known.pop(point_id, None)
        elif before == found and self._known.get(point_id, (NOWHERE,))[0] == found:
            self._known[point_id] = (found, self._known[point_id][1], asked_s)
        elif before == found:
            self._known[point_id] = (found, asked_s, asked_s)
        else:
            self._known.pop(point_id, None)
