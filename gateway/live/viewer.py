"""One viewer of a relay: a bounded queue that skips to the next keyframe when it overflows."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable

from gateway.live.frames import Entry, LiveFormat, LiveState, LiveUnit

_SOUND_FACTOR = 5


class ViewClosed(Exception):
    """The view is over. code: WebSocket close code."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Viewer:
    """What the relay hands to one viewer. limit: access units that may wait.

    skips: how often it was too slow; dropped: the units that this cost it.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._room = limit
        self._waiting = 0
        self._entries: deque[Entry] = deque()
        self._awaiting_key = True
        self._fell_behind = False
        self._waiter: asyncio.Future[None] | None = None
        self._write: Callable[[Entry], bool] | None = None
        self._closed: ViewClosed | None = None
        self.closed = asyncio.Event()
        self.skips = 0
        self.dropped = 0

    def write_through(self, write: Callable[[Entry], bool]) -> None:
        """From now on hand entries over at once while nothing waits. write: tells whether it took
        one; what it does not take now waits for `take`."""
        self._write = write

    def begin(self, entries: Iterable[Entry]) -> None:
        """What is known and cached when it joins; the queue has room for it beyond its limit."""
        self._entries.extend(entries)
        units = [entry for entry in self._entries if isinstance(entry, LiveUnit)]
        self._waiting = len(self._entries)
        self._room = self._limit + self._waiting
        self._awaiting_key = not units
        self._wake()

    def offer(self, entry: Entry) -> None:
        if self._closed is not None:
            return
        if isinstance(entry, LiveUnit) and not entry.video:
            self._offer_sound(entry)
            return
        if self._waiting >= self._room:
            self._fall_behind()
        if isinstance(entry, LiveUnit) and self._awaiting_key:
            if not entry.opens_group:
                self.dropped += self._fell_behind
                return
            if self._fell_behind:
                entry = entry.resumed()
            self._awaiting_key = self._fell_behind = False
        if self._passes(entry):
            return
        self._entries.append(entry)
        self._waiting += 1
        self._wake()

    def _passes(self, entry: Entry) -> bool:
        """Hand an entry over at once, if who takes has dealt with all that was before it."""
        idle = self._waiter is not None and not self._waiter.done()
        return self._write is not None and idle and self._write(entry)

    def _offer_sound(self, entry: LiveUnit) -> None:
        """Frames of sound are small and many: they take no room from pictures, and are left out
        where there are too many of them."""
        if self._awaiting_key or len(self._entries) >= self._room * _SOUND_FACTOR:
            self.dropped += not self._awaiting_key or self._fell_behind
            return
        if not self._passes(entry):
            self._entries.append(entry)
            self._wake()

    @property
    def over(self) -> ViewClosed | None:
        """How the view ended; None while it runs."""
        return self._closed

    def interrupt(self) -> None:
        """The upstream broke: nothing is shown before its next keyframe."""
        self._awaiting_key = True

    def close(self, code: int, reason: str, *, at_once: bool = False) -> None:
        """End the view after what waits, or at once with only the last state shown."""
        if self._closed is not None:
            return
        if at_once:
            self._entries.clear()
        self._entries.append(LiveState(state="ended", reason=reason))
        self._closed = ViewClosed(code, reason)
        self.closed.set()
        self._wake()

    async def take(self) -> list[Entry]:
        """All that waits, at least one entry. Raises: ViewClosed when it is over."""
        while not self._entries:
            if self._closed is not None:
                raise self._closed
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        entries = list(self._entries)
        self._entries.clear()
        self._room, self._waiting = self._limit, 0
        return entries

    def _fall_behind(self) -> None:
        """Drop what waits, up to the latest keyframe in it or, if there is none but the first,
        up to the next that comes. What was said of formats and state is kept."""
        waiting = list(self._entries)
        units = [n for n, entry in enumerate(waiting) if isinstance(entry, LiveUnit)]
        keys = [n for n in units[1:] if _opens_group(waiting[n])]
        kept = waiting[keys[-1] :] if keys else []
        told: dict[int, Entry] = {}
        for entry in waiting[: len(waiting) - len(kept)]:
            if isinstance(entry, LiveUnit):
                self.dropped += 1
            else:
                told[entry.track.track if isinstance(entry, LiveFormat) else -1] = entry
        if kept:
            assert isinstance(kept[0], LiveUnit)
            kept[0] = kept[0].resumed()
        self._entries = deque([*told.values(), *kept])
        self._room = self._limit
        self._waiting = sum(not isinstance(one, LiveUnit) or one.video for one in self._entries)
        self.skips += not self._fell_behind
        self._awaiting_key = self._fell_behind = not kept

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _opens_group(entry: Entry) -> bool:
    return isinstance(entry, LiveUnit) and entry.opens_group
