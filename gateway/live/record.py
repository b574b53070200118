"""The record of viewing: that a view opened and closed, by whom, of what, how and for how long.

Nobody waits for it: that somebody may look was recorded with their ticket. Views end in masses,
when a wall is closed or a gateway stops, so they are written many at a time; while the record
cannot be written they wait.
"""

import asyncio
import contextlib
from collections import deque
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

import structlog

from gateway.live.viewings import Viewing
from registry import audit
from registry.audit import Act
from registry.database import Database
from registry.errors import DatabaseAway
from registry.identity import new_id

MAX_WAITING = 20_000
AT_ONCE = 500
GATHER_S = 0.1
RETRY_S = 2.0
FAREWELL_S = 5.0

log = structlog.get_logger(__name__)


class ViewingRecord:
    """`async with ViewingRecord(store, registry) as record:` writes until it is left, and then
    what still waits. store: of the record; registry: tells who and where. lost: what could not
    be kept, as too much waited."""

    def __init__(self, store: Database, registry: Database) -> None:
        self._store = store
        self._registry = registry
        self._waiting: deque[Viewing] = deque()
        self._came = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.lost = 0

    @property
    def waiting(self) -> int:
        """Lines that are not written yet."""
        return len(self._waiting)

    def told(self, viewing: Viewing) -> None:
        """A view opened or closed."""
        if len(self._waiting) >= MAX_WAITING:
            if not self.lost:
                log.error("live.record_full", waiting=len(self._waiting))
            self.lost += 1
            return
        self._waiting.append(viewing)
        self._came.set()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._write(), name="viewing-record")
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
        with contextlib.suppress(TimeoutError, DatabaseAway):
            async with asyncio.timeout(FAREWELL_S):
                while self._waiting:
                    await self._write_some()
        if self._waiting:
            self.lost += len(self._waiting)
            log.error("live.record_lost", views=len(self._waiting))

    async def _write(self) -> None:
        away = False
        while True:
            await self._came.wait()
            await asyncio.sleep(GATHER_S)
            self._came.clear()
            while self._waiting:
                try:
                    await self._write_some()
                    away = False
                except DatabaseAway as error:
                    if not away:
                        log.warning("live.record_away", reason=error.message)
                    away = True
                    await asyncio.sleep(RETRY_S)
                except Exception:
                    # One line that nobody foresaw must not end the record of all others.
                    log.exception("live.record_failed")
                    self.lost += 1
                    self._waiting.popleft()

    async def _write_some(self) -> None:
        some = [self._waiting[n] for n in range(min(AT_ONCE, len(self._waiting)))]
        users, points = {each.user_id for each in some}, {each.point_id for each in some}
        known = await self._registry.read(lambda c: audit.who_and_where(c, users, points))
        acts = [_act_of(each, known) for each in some]
        # Shielded, so that nothing is written twice: the outcome is known before it is left.
        writing = asyncio.ensure_future(
            self._store.write(lambda c: audit.record_all(c, acts, known.places))
        )
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            await asyncio.wait([writing])
            if writing.cancelled() or writing.exception() is not None:
                raise
            self._forget(len(some))
            raise
        self._forget(len(some))

    def _forget(self, number: int) -> None:
        for _ in range(number):
            self._waiting.popleft()


def _act_of(viewing: Viewing, known: audit.Known) -> Act:
    over = viewing.ended is not None
    place = known.places.get(viewing.point_id)
    return Act(
        id=new_id(),
        at=viewing.opened_at + timedelta(seconds=viewing.seconds),
        user_id=viewing.user_id,
        user_name=known.names.get(viewing.user_id, ""),
        action="live_closed" if over else "live_opened",
        kind="point",
        object_id=viewing.point_id,
        organization_path=place.path if place else "",
        address="",
        details=_details(viewing),
    )


def _details(viewing: Viewing) -> dict[str, Any]:
    details: dict[str, Any] = {
        "view": viewing.id,
        "profile": viewing.profile,
        "transport": viewing.transport,
        "clear": viewing.clear,
        "jpeg": viewing.jpeg,
        "purpose": viewing.purpose,
    }
    if viewing.token_id:
        details["token"] = {"id": viewing.token_id}
    if viewing.ended is not None:
        details |= {"seconds": round(viewing.seconds, 1), "ended": viewing.ended}
    return details
