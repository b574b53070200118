"""Waiting for a condition on something that changes, without polling."""

import asyncio
from collections.abc import Callable


class Changes:
    """Tells those that wait that something may have changed.

    The owner of some state calls `notify` after each change; `until` returns as soon as a
    condition on that state holds. One event loop only.
    """

    def __init__(self) -> None:
        self._next = asyncio.Event()
        self._waiting = 0

    def notify(self) -> None:
        if self._waiting:
            changed, self._next = self._next, asyncio.Event()
            changed.set()

    async def until(self, condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
        """Return when the condition holds.

        Raises: TimeoutError after timeout_s.
        """
        self._waiting += 1
        try:
            async with asyncio.timeout(timeout_s):
                while not condition():
                    await self._next.wait()
        finally:
            self._waiting -= 1
