"""The bounded queue between what reads a stream and who consumes it."""

import asyncio
import dataclasses
from collections import deque
from collections.abc import Callable

from adapters.base import AccessUnit, MediaItem, TrackFormat


class MediaQueue:
    """Items of a stream, newest kept: when it is full all that waits is dropped and counted, and
    what follows begins at each track's next keyframe, marked as a discontinuity.

    For one event loop and one consumer, which either takes item after item, or has them poured
    to it as they come. limit: items that may wait; max_bytes: what their data may take.
    """

    def __init__(self, limit: int = 512, max_bytes: int = 64 * 1024 * 1024) -> None:
        self._limit = limit
        self._max_bytes = max_bytes
        self._bytes = 0
        self._items: deque[MediaItem] = deque()
        self._resumed: set[int] | None = None
        self._error: BaseException | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._sink: Callable[[MediaItem], None] | None = None
        self.dropped = 0

    def put(self, item: MediaItem) -> None:
        if self._sink is not None:
            try:
                self._sink(item)
            except Exception as error:
                self.fail(error)
            return
        if isinstance(item, AccessUnit):
            if len(self._items) >= self._limit or self._bytes > self._max_bytes:
                self._drop_waiting()
            if self._resumed is not None and item.track not in self._resumed:
                if not item.keyframe:
                    self.dropped += 1
                    return
                self._resumed.add(item.track)
                item = dataclasses.replace(item, discontinuity=True)
            self._bytes += len(item.data)
        elif len(self._items) >= self._limit:
            self._drop_waiting()
        self._items.append(item)
        self._wake()

    def fail(self, error: BaseException) -> None:
        """The stream is over: raised once what waits has been taken. The first error counts."""
        if self._error is None:
            self._error = error
            self._wake()

    async def take(self) -> MediaItem:
        """The oldest item. Raises: what `fail` was given."""
        while not self._items:
            if self._error is not None:
                raise self._error
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        item = self._items.popleft()
        if isinstance(item, AccessUnit):
            self._bytes -= len(item.data)
        return item

    async def pour(self, sink: Callable[[MediaItem], None]) -> None:
        """Give sink what waits, and from then on each item at once, without a task in between.

        Raises: what `fail` was given, or what sink raised.
        """
        while self._items:
            sink(self._items.popleft())
        self._bytes = 0
        self._sink = sink
        try:
            await self.take()
        finally:
            self._sink = None

    def _drop_waiting(self) -> None:
        formats = {item.track: item for item in self._items if isinstance(item, TrackFormat)}
        self.dropped += sum(isinstance(item, AccessUnit) for item in self._items)
        self._items, self._bytes = deque(formats.values()), 0
        self._resumed = set()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
