"""Small pictures of hundreds of points, kept fresh in the background while somebody asks for them.

A list or a wall of snapshots asks for all of its points every few seconds; here each is taken
again at a bounded rate, whoever asks and however often, and forgotten when nobody does any more.
"""

import asyncio
import dataclasses
import hashlib
import time
from collections.abc import Awaitable, Callable, Hashable
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

import structlog

from adapters.errors import AdapterError
from gateway.live.snapshots import Snapshot
from gateway.vision import VisionUnavailable

WIDTH = 320
"""Pixels."""

log = structlog.get_logger(__name__)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ThumbnailSettings:
    """refresh_s: how old a picture may become while it is asked for. wanted_s: so long after it was
    asked for last. failed_s: after which a camera that gave none is asked again, twice as long each
    time up to max_failed_s. rate_per_s, at_once: of pictures that are taken, of all points.
    max_points: more are not kept; max_bytes: of all pictures."""

    refresh_s: float = 60.0
    wanted_s: float = 180.0
    failed_s: float = 60.0
    max_failed_s: float = 900.0
    rate_per_s: float = 8.0
    at_once: int = 4
    max_points: int = 5_000
    max_bytes: int = 64 * 1024 * 1024


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Thumbnail:
    """A JPEG `WIDTH` pixels wide. at: when it was taken."""

    data: bytes
    etag: str
    at: datetime


@dataclasses.dataclass(slots=True)
class _Point:
    """stamp: of the masks and the source that `kept` was taken with. next_s: not before this.
    failures: since it last gave a picture."""

    wanted_s: float
    next_s: float
    stamp: Hashable = None
    kept: Thumbnail | None = None
    reason: str = ""
    failures: int = 0
    taking: bool = False
    taken: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)


class Thumbnails:
    """`async with Thumbnails(take, stamp_of) as thumbnails:` takes pictures until it is left.

    take: a picture of a point so many pixels wide, masked as it has to be. stamp_of: what a
    picture of it depends on now, its masks and its source; a picture with another stamp is never
    shown. clock: monotonic seconds.
    """

    def __init__(
        self,
        take: Callable[[str, int], Awaitable[Snapshot]],
        stamp_of: Callable[[str], Awaitable[Hashable]],
        *,
        settings: ThumbnailSettings | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.settings = settings or ThumbnailSettings()
        self._take = take
        self._stamp_of = stamp_of
        self._clock = clock
        self._sleep = sleep
        self._points: dict[str, _Point] = {}
        self._came = asyncio.Event()
        self._free = asyncio.Semaphore(self.settings.at_once)
        self._task: asyncio.Task[None] | None = None
        self.taken = self.failed = 0

    def __len__(self) -> int:
        return len(self._points)

    @property
    def bytes_kept(self) -> int:
        return sum(len(each.kept.data) for each in self._points.values() if each.kept)

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name="thumbnails")
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

    async def get(
        self, point_id: str, stamp: Hashable, wait_s: float = 0.0, *, away: bool = False
    ) -> Thumbnail | None:
        """The latest picture with this stamp; where there is none, the first that is taken within
        wait_s, or None. Whoever asks keeps it fresh for a while. away: its camera is known to be,
        and is spared the question: a hundred that do not answer would hold up all others."""
        if away:
            known = self._points.get(point_id)
            return known.kept if known is not None and known.stamp == stamp else None
        point = self._wanted(point_id, stamp)
        if point is None:
            return None
        if point.kept is None and wait_s > 0:
            try:
                async with asyncio.timeout(wait_s):
                    await point.taken.wait()
            except TimeoutError:
                return None
        return point.kept if point.stamp == stamp else None

    def reason(self, point_id: str) -> str:
        """Why there is no picture of it; empty where none was tried."""
        point = self._points.get(point_id)
        return point.reason if point else ""

    def _wanted(self, point_id: str, stamp: Hashable) -> _Point | None:
        now_s = self._clock()
        point = self._points.get(point_id)
        if point is None:
            if len(self._points) >= self.settings.max_points:
                self._forget_unwanted()
            if len(self._points) >= self.settings.max_points:
                return None
            point = self._points[point_id] = _Point(now_s, now_s)
        point.wanted_s = now_s
        if point.kept is not None and point.stamp != stamp:
            point.kept, point.next_s = None, now_s
            point.taken.clear()
        if point.next_s <= now_s:
            self._came.set()
        return point

    # --- taking them --------------------------------------------------------------------------

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as group:
            while True:
                await self._free.acquire()
                found = await self._next()
                found[1].taking = True
                group.create_task(self._take_one(*found))
                await self._sleep(1 / self.settings.rate_per_s)

    async def _next(self) -> tuple[str, _Point]:
        """The point that is due, those without any picture first; waits for one."""
        while True:
            self._forget_unwanted()
            self._came.clear()
            now_s = self._clock()
            idle = [(i, p) for i, p in self._points.items() if not p.taking]
            due = [(i, p) for i, p in idle if p.next_s <= now_s]
            if due:
                return min(due, key=lambda each: (each[1].kept is not None, each[1].next_s))
            wait_s = min((p.next_s - now_s for _, p in idle), default=self.settings.wanted_s)
            waiting = asyncio.ensure_future(self._came.wait())
            sleeping = asyncio.ensure_future(self._sleep(wait_s))
            try:
                await asyncio.wait({waiting, sleeping}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for each in (waiting, sleeping):
                    each.cancel()
                await asyncio.gather(waiting, sleeping, return_exceptions=True)

    async def _take_one(self, point_id: str, point: _Point) -> None:
        wait_s = self.settings.failed_s
        try:
            before = await self._stamp_of(point_id)
            snapshot = await self._take(point_id, WIDTH)
            if await self._stamp_of(point_id) == before:
                self._keep(point_id, point, before, snapshot)
                wait_s = self.settings.refresh_s
            else:
                wait_s = 0.0  # masks or source changed meanwhile: nobody may see this one
        except (AdapterError, VisionUnavailable) as error:
            wait_s = self._put_off(point, getattr(error, "message", "") or str(error))
        except Exception as error:
            # The point has gone, the database is away: the next turn may tell.
            wait_s = self._put_off(point, "it could not be taken now")
            log.info("live.thumbnail_failed", point=point_id, error=type(error).__name__)
        finally:
            point.taking = False
            point.next_s = self._clock() + wait_s
            if wait_s:
                point.taken.set()
            self._free.release()
            self._came.set()

    def _put_off(self, point: _Point, reason: str) -> float:
        """Seconds until it is tried again."""
        self.failed += 1
        point.reason = reason
        wait_s = self.settings.failed_s * 2.0 ** min(point.failures, 10)
        point.failures += 1
        return min(wait_s, self.settings.max_failed_s)

    def _keep(self, point_id: str, point: _Point, stamp: Hashable, snapshot: Snapshot) -> None:
        if self._points.get(point_id) is not point:
            return
        etag = hashlib.blake2b(snapshot.data, digest_size=12).hexdigest()
        at = datetime.now(UTC)
        point.kept = Thumbnail(data=snapshot.data, etag=etag, at=at)
        point.stamp, point.reason, point.failures = stamp, "", 0
        self.taken += 1
        excess = self.bytes_kept - self.settings.max_bytes
        for each in sorted(self._points.values(), key=lambda p: p.wanted_s):
            if excess <= 0:
                break
            if each.kept is not None and each is not point:
                excess -= len(each.kept.data)
                each.kept = None
                each.taken.clear()

    def _forget_unwanted(self) -> None:
        before_s = self._clock() - self.settings.wanted_s
        for point_id in [
            i for i, p in self._points.items() if p.wanted_s < before_s and not p.taking
        ]:
            del self._points[point_id]
