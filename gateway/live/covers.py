"""What is hidden of each point's picture now: its masks, and where its camera looks."""

import asyncio
import contextlib
import dataclasses
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from types import TracebackType
from typing import Self

import structlog

from adapters.errors import AdapterError, Unreachable
from gateway.live.whereabouts import NOWHERE, Presets, Whereabouts
from gateway.vision.masking import EVERYTHING, NOTHING, Cover
from registry.masks import Masks

READ_EVERY_S = 1.0
ARRIVAL_S = 1.0
"""What a picture may need from the camera's eye to us: so long before it came, the camera must
have stood still."""

Read = Callable[[Collection[str]], Awaitable[Mapping[str, Masks]]]
"""The masks of these points, without those that are gone."""

log = structlog.get_logger(__name__)


def cover_of(masks: Masks | None, presets: Presets) -> Cover:
    """What is hidden while the camera stands at these presets. Of a point that is gone, all."""
    if masks is None:
        return EVERYTHING
    if not masks.masked:
        return NOTHING
    if not masks.movable:
        polygons = masks.at(None)
    else:
        polygons = tuple(each for name in sorted(presets) for each in masks.at(name))
    return Cover(polygons=polygons) if polygons else EVERYTHING


@dataclasses.dataclass(slots=True)
class Watched:
    """One point's cover while somebody watches it."""

    masks: Masks | None
    whereabouts: Whereabouts
    point_id: str

    @property
    def held(self) -> bool:
        """Whether a picture waits until it is known where the camera stood."""
        return self.masks is not None and self.masks.masked and self.masks.movable

    def at(self, moment_s: float) -> Cover | None:
        """Of a picture that came at a moment of the clock; None while that is not known yet."""
        presets: Presets | None = NOWHERE
        if self.held:
            presets = self.whereabouts.stood_at(self.point_id, moment_s, ARRIVAL_S)
        return None if presets is None else cover_of(self.masks, presets)


class Covers:
    """`async with Covers(read, whereabouts) as covers:` keeps the covers of running views."""

    def __init__(
        self,
        read: Read,
        whereabouts: Whereabouts,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.whereabouts = whereabouts
        self._read = read
        self._sleep = sleep
        self._watchers: Counter[str] = Counter()
        self._watched: dict[str, Watched] = {}
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._follow(), name="covers")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def masks(self, point_id: str) -> Masks | None:
        """Those of now; None where the point is gone. Raises: DatabaseAway and such."""
        return (await self._read([point_id])).get(point_id)

    @contextlib.asynccontextmanager
    async def watch(self, point_id: str) -> AsyncIterator[Watched]:
        """Follow a point's cover. Raises: Unreachable while nobody can say what is hidden."""
        watched = self._watched.get(point_id)
        if watched is None:
            watched = Watched(await self._first(point_id), self.whereabouts, point_id)
            watched = self._watched.setdefault(point_id, watched)
        self._watchers[point_id] += 1
        try:
            async with self._position(watched):
                yield watched
        finally:
            self._watchers[point_id] -= 1
            if not self._watchers[point_id]:
                del self._watchers[point_id]
                self._watched.pop(point_id, None)

    @contextlib.asynccontextmanager
    async def _position(self, watched: Watched) -> AsyncIterator[None]:
        if watched.masks is None or not watched.masks.movable:
            yield
            return
        async with self.whereabouts.watched(watched.point_id):
            yield

    async def _first(self, point_id: str) -> Masks | None:
        try:
            return await self.masks(point_id)
        except AdapterError:
            raise
        except Exception:
            raise Unreachable("which parts of it are hidden cannot be read now") from None

    async def _follow(self) -> None:
        """Read the masks of all that is watched again and again."""
        away = False
        while True:
            await self._sleep(READ_EVERY_S)
            if not self._watched:
                continue
            wanted = dict(self._watched)
            try:
                found = await self._read(list(wanted))
            except Exception as error:
                # The last known masks stay; who watches loses the right to after a minute anyway.
                if not away:
                    log.warning("live.masks_away", reason=str(error))
                away = True
                continue
            away = False
            for point_id, watched in wanted.items():
                watched.masks = found.get(point_id)
