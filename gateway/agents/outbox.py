"""The outbox of a radio system: occurrences wait on disk until the journal has stored them.

What can be sent is sent at once. What was not, or may be lost, is sent when the broker is there;
after `LATE_S` to the backlog, which only the journal reads. An occurrence is numbered when it is
first sent, so that the journal never waits for a number that was not, and leaves when the
journal's `acknowledged` covers that number.
"""

import asyncio
import collections
import contextlib
import dataclasses
import itertools
import os
import sqlite3
from pathlib import Path
from typing import Self

import structlog

from gateway.agents.outbox_file import OutboxFile
from gateway.bus.client import Bus
from gateway.bus.messages import CloudEvent, decode, decode_event, encode_event

log = structlog.get_logger("outbox")

KEPT = frozenset(
    {"emergency.raised", "emergency.cleared", "floor.idle", "text.message", "system.alarm"}
)
SPARED = ("emergency", "system.alarm")
LATE_S = 5.0
AGAIN_S = 10.0
"""Without an acknowledgement an occurrence is sent again after this, then twice that, …"""
AGAIN_AT_MOST_S = 300.0
PROBE_AGAIN_S = 2.0
PROBE_AGAIN_AT_MOST_S = 20.0
"""A broker that comes back may have nobody yet who hears: of what is late the oldest goes alone
until something is acknowledged, or the rest would be stored before it."""
TRUSTED_S = 25.0
"""The journal passes over what it did not hear for 30 s: an acknowledgement that comes longer after
something was sent proves nothing of it."""
MOST_ENTRIES = 50_000
MOST_BYTES = 32 * 1024 * 1024
MOST_AGE_S = 7 * 86_400.0
WINDOW = 1000
"""So many may wait for their acknowledgement before more of what waited is sent."""
MOST_UNCONFIRMED = 200
LOOK_EVERY_S = 0.5
WRITE_AGAIN_S = 2.0


def is_kept(event: CloudEvent) -> bool:
    """Is this an occurrence: an emergency, the end of a call, a text, an alarm?"""
    if event.type == "floor.taken":
        return bool(event.data.get("emergency")) and not event.data.get("caused_by")
    return event.type in KEPT and not event.data.get("caused_by")


@dataclasses.dataclass(slots=True)
class OutboxCounters:
    """kept, released: occurrences; late: sent to the backlog; again: sent once more; dropped: over
    a bound, and lost; unreadable: what the disk held and cannot be read, a whole file counted once.
    """

    kept: int = 0
    released: int = 0
    late: int = 0
    again: int = 0
    dropped: int = 0
    unreadable: int = 0

    @property
    def lost(self) -> int:
        return self.dropped + self.unreadable


@dataclasses.dataclass(slots=True, kw_only=True)
class _Entry:
    topic: str
    event: CloudEvent
    size: int
    heard_s: float
    written: bool
    earlier_life: bool = False
    numbered_s: float = 0.0
    sent_s: float = float("-inf")
    due_s: float = float("-inf")
    tries: int = 0


class Outbox:
    """`async with Outbox(...)`: loads what an earlier life left, and sends and writes until left.

    path: its file. most_entries, most_bytes, most_age_s: beyond these the oldest are dropped,
    emergencies last. The age counts while a process runs: no wall clock is asked. fault: why the
    disk does not take what is kept, lost_why: why some was lost; a clause each, empty if none.
    """

    def __init__(
        self,
        bus: Bus,
        system_id: str,
        path: Path,
        *,
        most_entries: int = MOST_ENTRIES,
        most_bytes: int = MOST_BYTES,
        most_age_s: float = MOST_AGE_S,
    ) -> None:
        self.counters = OutboxCounters()
        self.fault = ""
        self.lost_why = ""
        self._bus, self._system_id = bus, system_id
        self._file = OutboxFile(path)
        self._aside = 0
        self._loaded = False
        self._most_entries, self._most_bytes = most_entries, most_bytes
        self._most_age_s = most_age_s
        self._entries: collections.OrderedDict[int, _Entry] = collections.OrderedDict()
        self._numbers: collections.OrderedDict[int, int] = collections.OrderedDict()
        self._unwritten: collections.deque[int] = collections.deque()
        self._gone: set[int] = set()
        self._size = 0
        self._next_key = 1
        self._lost_s = float("-inf")
        self._heard = False
        self._loop = asyncio.get_running_loop()
        self._to_write, self._to_send = asyncio.Event(), asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def waiting(self) -> int:
        """How many occurrences the journal has not acknowledged."""
        return len(self._entries)

    @property
    def path(self) -> Path:
        return self._file.path

    def oldest_s(self) -> float:
        """How long the oldest has waited, as far as this process knows."""
        if not self._entries:
            return 0.0
        return self._loop.time() - next(iter(self._entries.values())).heard_s

    async def __aenter__(self) -> Self:
        await self._load()
        self._bus.on_lost(self._on_lost)
        topic = self._bus.topics.system_acknowledged(self._system_id)
        self._bus.subscribe(topic, self._on_acknowledged, kept=True)
        self._tasks = [
            asyncio.create_task(self._write_on()),
            asyncio.create_task(self._send_on()),
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._bus.off_lost(self._on_lost)
        self._bus.unsubscribe(self._bus.topics.system_acknowledged(self._system_id))
        if self._loaded or await self._load():
            added, gone = self._batch()
            self._wrote(self._write(added, gone), added, gone)
        self._file.close()

    # --- what comes in --------------------------------------------------------------------------

    def say(self, topic: str, event: CloudEvent) -> None:
        """Keep an occurrence, and send it at once where that can be. event: without number."""
        key = self._keep(topic, event, len(encode_event(event)), written=False)
        self.counters.kept += 1
        self._unwritten.append(key)
        self._to_write.set()
        if self._bus.connected.is_set():
            self._send(key, self._loop.time())
        self._bound()

    def _keep(
        self, topic: str, event: CloudEvent, size: int, *, written: bool, key: int = 0
    ) -> int:
        key = key or self._next_key
        self._next_key = key + 1
        self._entries[key] = _Entry(
            topic=topic,
            event=event,
            size=size,
            heard_s=self._loop.time(),
            written=written,
            earlier_life=written,
        )
        self._size += size
        return key

    def _bound(self) -> None:
        while len(self._entries) > self._most_entries or self._size > self._most_bytes:
            self._drop(self._least(), f"it is full, {len(self._entries) - 1} wait")
        before_s = self._loop.time() - self._most_age_s
        while self._entries:
            oldest = next(iter(self._entries))
            if self._entries[oldest].heard_s >= before_s:
                return
            self._drop(oldest, f"nobody stored them for {self._most_age_s / 86_400:.3g} days")

    def _least(self) -> int:
        """The oldest that is no emergency, else the oldest."""
        first = next(iter(self._entries))
        calm = (k for k, e in self._entries.items() if not e.event.type.startswith(SPARED))
        return next(calm, first)

    def _drop(self, key: int, why: str) -> None:
        self._forget(key)
        self.counters.dropped += 1
        self.lost_why = why
        if str(self.counters.dropped).rstrip("0") == "1":  # the first, the tenth, the hundredth
            log.error(
                "outbox is full, the oldest are lost",
                system=self._system_id,
                dropped=self.counters.dropped,
                waiting=len(self._entries),
            )

    def _forget(self, key: int) -> None:
        entry = self._entries.pop(key)
        self._size -= entry.size
        self._numbers.pop(entry.event.sequence, None)
        if entry.written:
            self._gone.add(key)
            self._to_write.set()

    # --- what is sent ---------------------------------------------------------------------------

    def _on_lost(self) -> None:
        """Whatever is not acknowledged may be lost with the connection."""
        self._lost_s = self._loop.time()
        self._heard = False

    async def _send_on(self) -> None:
        while True:
            await self._bus.connected.wait()
            self._bound()
            self._send_due()
            self._to_send.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._to_send.wait()

    def _send_due(self) -> None:
        """In order, as far as the window goes."""
        now_s = self._loop.time()
        probed = False
        for key in list(itertools.islice(self._entries, WINDOW)):
            entry = self._entries[key]
            if not self._heard and self._is_late(entry, now_s):
                if probed:
                    continue
                probed = True
            if entry.due_s > now_s and entry.sent_s > self._lost_s:
                continue
            full = self._bus.unconfirmed >= MOST_UNCONFIRMED
            if full or not self._send(key, now_s):
                self._loop.call_later(LOOK_EVERY_S / 10, self._to_send.set)
                return

    def _send(self, key: int, now_s: float) -> bool:
        entry = self._entries[key]
        if not entry.tries or now_s - entry.numbered_s > TRUSTED_S:
            self._number(key, entry, now_s)
        late = self._is_late(entry, now_s)
        topic = self._bus.topics.system_backlog(self._system_id) if late else entry.topic
        if not self._bus.publish(topic, encode_event(entry.event)):
            return False
        self.counters.late += late
        self.counters.again += entry.tries > 0
        entry.sent_s = now_s
        first_s, most_s = AGAIN_S, AGAIN_AT_MOST_S
        if late and not self._heard:
            first_s, most_s = PROBE_AGAIN_S, PROBE_AGAIN_AT_MOST_S
        entry.due_s = now_s + min(first_s * 2 ** min(entry.tries, 10), most_s)
        entry.tries += 1
        return True

    def _is_late(self, entry: _Entry, now_s: float) -> bool:
        return entry.earlier_life or now_s - entry.heard_s > LATE_S

    def _number(self, key: int, entry: _Entry, now_s: float) -> None:
        """A new place in what this life of the agent says."""
        self._numbers.pop(entry.event.sequence, None)
        entry.event = dataclasses.replace(
            entry.event,
            epoch=self._bus.epoch,
            sequence=self._bus.next_sequence(self._system_id),
            uptime_ms=self._bus.uptime_ms(),
        )
        entry.numbered_s = now_s
        self._numbers[entry.event.sequence] = key

    def _on_acknowledged(self, _topic: str, payload: bytes) -> None:
        said = decode(payload) if payload else {}
        upto = said.get("sequence")
        if said.get("epoch") != self._bus.epoch or not isinstance(upto, int):
            return
        now_s = self._loop.time()
        while self._numbers and (number := next(iter(self._numbers))) <= upto:
            key = self._numbers.pop(number)
            entry = self._entries[key]
            if now_s - entry.sent_s > TRUSTED_S or entry.sent_s <= self._lost_s:
                entry.due_s = float("-inf")
                entry.numbered_s = float("-inf")
                continue
            self._forget(key)
            self.counters.released += 1
            self._heard = True
        self._to_send.set()

    # --- what is on disk ------------------------------------------------------------------------

    async def _load(self) -> bool:
        """Take in what an earlier life left, before what this one heard. False where the disk does
        not give it: nothing is written then, or it would be written over."""
        loading = asyncio.ensure_future(asyncio.to_thread(self._read))
        try:
            found = await asyncio.shield(loading)
        except asyncio.CancelledError:
            with contextlib.suppress(OSError, sqlite3.Error):
                await loading
            raise
        except (OSError, sqlite3.Error) as error:
            self._has_fault(error)
            return False
        self._loaded = True
        if self._note_aside():
            self.counters.unreadable += 1
            self.lost_why = "the file that kept them was not whole"
        if self.fault:
            self._to_write.set()
        young, self._entries = list(self._entries.values()), collections.OrderedDict()
        self._next_key = 1
        self._numbers.clear()
        self._unwritten.clear()
        self._size = 0
        for key, topic, event, size in found:
            if event is not None:
                self._keep(topic, event, size, written=True, key=key)
            else:
                self._gone.add(key)
                self.counters.unreadable += 1
                self.lost_why = "some of what the disk held cannot be read"
        for entry in young:
            self._keep_young(entry)
        if found:
            log.info("outbox has occurrences", system=self._system_id, waiting=len(found))
        return True

    def _read(self) -> list[tuple[int, str, CloudEvent | None, int]]:
        """In a thread. Raises: OSError, sqlite3.Error."""
        return [
            (key, topic, self._decoded(payload), len(payload))
            for key, topic, payload in self._file.load()
        ]

    def _decoded(self, payload: bytes) -> CloudEvent | None:
        try:
            return dataclasses.replace(decode_event(payload), sequence=0)
        except ValueError as error:
            log.error("outbox entry unreadable", system=self._system_id, reason=str(error))
            return None

    def _keep_young(self, entry: _Entry) -> None:
        """After what was loaded; it may have been sent already."""
        key = self._next_key
        self._next_key += 1
        self._entries[key] = entry
        self._size += entry.size
        if entry.tries:
            self._numbers[entry.event.sequence] = key
        self._unwritten.append(key)
        self._to_write.set()

    def _note_aside(self) -> bool:
        """Whether the file was put aside since we looked."""
        if self._file.put_aside == self._aside:
            return False
        self._aside = self._file.put_aside
        log.error(
            "outbox file is not whole, put aside",
            system=self._system_id,
            file=str(self._file.path.with_suffix(".broken")),
        )
        return True

    async def _write_on(self) -> None:
        while True:
            if not self._loaded and not await self._load():
                await asyncio.sleep(WRITE_AGAIN_S)
                continue
            await self._to_write.wait()
            self._to_write.clear()
            added, gone = self._batch()
            writing = asyncio.ensure_future(asyncio.to_thread(self._write, added, gone))
            try:
                error = await asyncio.shield(writing)
            except asyncio.CancelledError:
                # The file is one thread's at a time.
                self._wrote(await writing, added, gone)
                raise
            self._wrote(error, added, gone)
            if error is not None:
                await asyncio.sleep(WRITE_AGAIN_S)

    def _batch(self) -> tuple[list[tuple[int, str, bytes]], set[int]]:
        """All that is to be written, and to be removed. What came and went meanwhile is neither."""
        added = [
            (key, entry.topic, encode_event(entry.event))
            for key in self._unwritten
            if (entry := self._entries.get(key)) is not None
        ]
        for key, _, _ in added:
            self._entries[key].written = True
        self._unwritten.clear()
        gone, self._gone = self._gone, set()
        return added, gone

    def _write(
        self, added: list[tuple[int, str, bytes]], gone: set[int]
    ) -> OSError | sqlite3.Error | None:
        """In a thread. Gives what kept the disk from taking it."""
        try:
            if added or gone:
                self._file.write(added, gone)
        except (OSError, sqlite3.Error) as error:
            return error
        return None

    def _wrote(
        self,
        error: OSError | sqlite3.Error | None,
        added: list[tuple[int, str, bytes]],
        gone: set[int],
    ) -> None:
        """What the disk did not take is tried again."""
        if error is not None:
            if self._note_aside():  # a new file begins empty, and all is still in memory
                self._unwritten = collections.deque(self._entries)
                self._gone.clear()
            else:
                self._unwritten.extendleft(key for key, _, _ in reversed(added))
                self._gone |= gone
            self._to_write.set()
            self._has_fault(error)
        elif self.fault:
            log.info("outbox is written again", system=self._system_id)
            self.fault = ""

    def _has_fault(self, error: OSError | sqlite3.Error) -> None:
        """Occurrences are then kept in memory alone: told once."""
        reason = _clause(error)
        if reason != self.fault:
            log.error(
                "outbox is not written: what waits is lost if this process ends",
                system=self._system_id,
                file=str(self._file.path),
                reason=reason,
                error=str(error),
            )
        self.fault = reason


def _clause(error: OSError | sqlite3.Error) -> str:
    """What is wrong with the disk, for a person."""
    if isinstance(error, OSError):
        return os.strerror(error.errno).lower() if error.errno else type(error).__name__
    name = getattr(error, "sqlite_errorname", "") or str(error)
    for found, clause in _CLAUSES.items():
        if found in name:
            return clause
    return str(error)


_CLAUSES = {
    "SQLITE_FULL": "the disk is full",
    "disk is full": "the disk is full",
    "SQLITE_CANTOPEN": "the file cannot be opened",
    "SQLITE_READONLY": "the file or its disk is read-only",
    "SQLITE_IOERR": "the disk reports an error",
    "SQLITE_BUSY": "another process uses the file",
    "SQLITE_CORRUPT": "the file is not whole",
    "SQLITE_NOTADB": "the file is not whole",
}
