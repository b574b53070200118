"""The journal: every event but `floor.refreshed`, once, in order of arrival, in batches; and calls.

It hears what all nodes write, and writes what it hears to the store while this node holds the
bridge lease. A node that does not hold it keeps the last seconds in memory, so that nothing is
missing between two holders: repeats are dropped by source and id. With the store away it keeps a
bounded spool and catches up. What is stored is acknowledged to each system's outbox.
"""

import asyncio
import collections
import contextlib
import dataclasses
import itertools
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import structlog

from gateway.bus.client import Bus
from gateway.bus.messages import CloudEvent, Repeats, decode_event
from gateway.bus.topics import OrgTopic
from gateway.interop.acknowledged import Position
from gateway.interop.calls import CallBook
from gateway.interop.directory import Directory
from gateway.interop.hearing import writer_of
from gateway.interop.lease import BridgeLease
from registry import journal
from registry.database import Database
from registry.errors import DatabaseAway
from registry.journal import Call, Event

log = structlog.get_logger("journal")

BATCH = 1000
LINGER_S = 0.25
"""Writing waits a little: what is heard now is a press on its way to the air, and the thread that
writes would hold the interpreter up to 5 ms at a time."""
SPOOL = 100_000
KEPT_BESIDE_S = 10.0
RETRY_S = 1.0
CLEAN_EVERY_S = 600.0
ACKNOWLEDGE_EVERY_S = 1.0
NOT_KEPT = frozenset({"floor.refreshed", "request.result"})
"""A refresh says only that a talk goes on; an answer is for who asked."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long what is kept, in days."""

    events_days: float = 180.0
    calls_days: float = 730.0


@dataclasses.dataclass(slots=True)
class JournalCounters:
    stored: int = 0
    repeats: int = 0
    dropped: int = 0
    skipped: int = 0
    refused: int = 0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    heard_s: float
    org: str
    system_id: str
    event: CloudEvent
    at: datetime
    received_at: datetime
    late: bool


class Journal:
    """One for each node with the role `bridge`. store: the journal's database; registry: who has
    which path. directory: by which people are named as they are everywhere, now and not when
    somebody reads it: radios change hands. spool: the most entries that wait."""

    def __init__(
        self,
        bus: Bus,
        lease: BridgeLease,
        store: Database,
        registry: Database,
        *,
        directory: Directory | None = None,
        retention: Retention | None = None,
        spool: int = SPOOL,
    ) -> None:
        self.counters = JournalCounters()
        self._bus, self._lease = bus, lease
        self._store, self._registry = store, registry
        self._directory = directory or Directory()
        self._retention = retention or Retention()
        self._loop = asyncio.get_running_loop()
        self._spool: collections.deque[_Entry] = collections.deque()
        self._most = spool
        self._calls: collections.OrderedDict[str, tuple[str, Call]] = collections.OrderedDict()
        self._book = CallBook()
        self._writers: dict[str, Repeats] = {}
        self._positions: dict[str, Position] = {}
        self._told: dict[str, tuple[str, int]] = {}
        self._let_go: dict[str, tuple[str, int]] = {}
        self._known_positions = False
        self._away = False
        self._wake = asyncio.Event()
        topics = bus.topics
        for family in ("channels", "points", "systems"):
            bus.subscribe_events(family, "event", self._on_event, later=True)
        bus.subscribe_events("channels", "decision", self._on_event, later=True)
        bus.subscribe(topics.system_backlog_all(), self._on_backlog, later=True)
        lease.on_lost(self._disown)

    @property
    def waiting(self) -> int:
        """How much is heard and not yet stored."""
        return len(self._spool)

    def behind_s(self) -> float:
        """How old the oldest is that waits, in seconds."""
        return self._loop.time() - self._spool[0].heard_s if self._spool else 0.0

    # --- what is heard --------------------------------------------------------------------------

    def _on_event(self, parts: OrgTopic, event: CloudEvent) -> None:
        writer_of(event)
        if not self._writers.setdefault(event.source, Repeats()).passes(
            event.epoch, event.sequence
        ):
            self.counters.repeats += 1
            return
        self._keep(parts.org, event, late=False)

    def _on_backlog(self, _topic: str, payload: bytes) -> None:
        """What an outbox held back; whose it is, the registry says by its subject."""
        event = decode_event(payload)
        writer_of(event)
        self._keep("", event, late=True)

    def _keep(self, org: str, event: CloudEvent, *, late: bool) -> None:
        now_s, received_at = self._loop.time(), datetime.now(UTC)
        data = self._directory.named(event.data)
        if data is not event.data:
            event = dataclasses.replace(event, data=data)
        at = _time_of(event, received_at)
        system_id = event.source.rsplit("/", 1)[1]
        kept = event.type not in NOT_KEPT
        if not late:
            for call in self._book.take(event, at, now_s):
                self._note_call(org, call)
        full = kept and len(self._spool) >= self._most
        if full:
            self.counters.dropped += 1
        else:
            self._position(system_id).heard(event.epoch, event.sequence, now_s, to_store=kept)
        if kept and not full:
            self._spool.append(
                _Entry(
                    heard_s=now_s,
                    org=org,
                    system_id=system_id,
                    event=event,
                    at=at,
                    received_at=received_at,
                    late=late,
                )
            )
        self._wake.set()

    def _note_call(self, org: str, call: Call) -> None:
        """Only the latest of a call is written; where it was is where it began."""
        known = self._calls.get(call.key)
        self._calls[call.key] = (org or (known[0] if known else ""), call)
        if len(self._calls) > self._most:
            self._calls.popitem(last=False)
            self.counters.dropped += 1

    def _position(self, system_id: str) -> Position:
        return self._positions.setdefault(system_id, Position())

    # --- what is stored -------------------------------------------------------------------------

    async def run(self) -> None:
        """Until cancelled; what waits then is written, if the store takes it at once."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._write_on())
                group.create_task(self._clean())
        finally:
            with contextlib.suppress(DatabaseAway, TimeoutError):
                async with asyncio.timeout(RETRY_S):
                    while self._lease.held and (self._spool or self._calls):
                        await self._write()

    async def _write_on(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ACKNOWLEDGE_EVERY_S):
                    await self._wake.wait()
            await asyncio.sleep(LINGER_S)
            self._wake.clear()
            for call in self._book.close_silent(datetime.now(UTC), self._loop.time()):
                self._note_call("", call)
            if not self._lease.held:
                self._known_positions = False
                if self._lease.held_elsewhere:
                    self._keep_beside()
                continue
            try:
                await self._load_positions()
                while self._spool or self._calls:
                    await self._write()
                self._is_back()
            except DatabaseAway as error:
                self._is_away(error)
                await asyncio.sleep(RETRY_S)
            except Exception:
                # Bridging must not end because of what is only written down.
                log.exception("journal failed, tries again")
                await asyncio.sleep(RETRY_S)
            await self._acknowledge()

    def _keep_beside(self) -> None:
        """Somebody else writes; what they may not have written when they die, we have."""
        before_s = self._loop.time() - KEPT_BESIDE_S
        while self._spool and self._spool[0].heard_s < before_s:
            gone = self._spool.popleft()
            self._took(gone)
            self._let_go[gone.system_id] = (gone.event.epoch, gone.event.sequence)
        ended = [key for key, (_, call) in self._calls.items() if call.ended_at is not None]
        for key in ended[:-BATCH] if len(ended) > BATCH else ():
            del self._calls[key]

    async def _load_positions(self) -> None:
        """Where the journal got to before this one began to write. What it heard before and let go
        is not its to acknowledge: who wrote then may have died before they stored it."""
        if self._known_positions:
            return
        stored = await self._store.read(journal.positions)
        for system_id, (epoch, sequence) in stored.items():
            self._positions.setdefault(system_id, Position(epoch, sequence))
        for system_id, (epoch, sequence) in self._let_go.items():
            known = stored.get(system_id, ("", 0))
            if known[0] != epoch or known[1] < sequence:
                self._positions[system_id] = Position(*known)
                self._hear_again(system_id)
        self._let_go.clear()
        self._known_positions = True

    def _hear_again(self, system_id: str) -> None:
        for entry in self._spool:
            if entry.system_id == system_id:
                epoch, sequence = entry.event.epoch, entry.event.sequence
                self._positions[system_id].heard(epoch, sequence, entry.heard_s, to_store=True)

    async def _write(self) -> None:
        """One batch, in order. Raises: DatabaseAway, and then nothing is lost."""
        batch = list(itertools.islice(self._spool, BATCH))
        calls = list(itertools.islice(self._calls.items(), BATCH))
        paths = {entry.org for entry in batch} | {org for _, (org, _) in calls}
        nameless = {entry.event.subject for entry in batch if not entry.org}
        nameless |= {call.channel_id for _, (org, call) in calls if not org}
        ids, owners = await self._registry.read(
            lambda c: (journal.organization_ids(c, paths - {""}), journal.owners(c, nameless))
        )
        events = [
            _event(entry, ids.get(entry.org) or owners.get(entry.event.subject, ""))
            for entry in batch
        ]
        rows = [
            dataclasses.replace(
                call, organization_id=ids.get(org) or owners.get(call.channel_id, "")
            )
            for _, (org, call) in calls
        ]
        await self._store_all(events, rows)
        for entry in batch:
            self._spool.popleft()
            self._took(entry)
        for key, written in calls:
            if self._calls.get(key) == written:
                del self._calls[key]

    async def _store_all(self, events: list[Event], calls: list[Call]) -> None:
        """All at once; where the store refuses that, one by one, without what it refuses."""
        try:
            await self._store.write(lambda c: journal.store(c, events, calls, {}))
            self.counters.stored += len(events)
            return
        except DatabaseAway:
            raise
        except Exception:
            log.exception("batch refused by the journal's store", events=len(events))
        for event in events:
            await self._store_one((event,), ())
        for call in calls:
            await self._store_one((), (call,))

    async def _store_one(self, events: Sequence[Event], calls: Sequence[Call]) -> None:
        try:
            await self._store.write(lambda c: journal.store(c, events, calls, {}))
            self.counters.stored += len(events)
        except DatabaseAway:
            raise
        except Exception as error:
            self.counters.refused += 1
            log.warning("not stored", reason=str(error)[:200])

    def _took(self, entry: _Entry) -> None:
        self._position(entry.system_id).stored(entry.event.epoch, entry.event.sequence)

    async def _acknowledge(self) -> None:
        """Tell each outbox how far we are, once the store has it too, for who writes after us."""
        now_s = self._loop.time()
        fresh: dict[str, tuple[str, int]] = {}
        for system_id, position in self._positions.items():
            place = (position.epoch, position.sequence(now_s))
            if position.epoch and place[1] and self._told.get(system_id) != place:
                fresh[system_id] = place
        self.counters.skipped = sum(each.skipped for each in self._positions.values())
        if not fresh or not self._lease.held or self._away:
            return
        try:
            await self._store.write(lambda c: journal.store(c, (), (), fresh))
        except DatabaseAway:
            return
        except Exception:
            log.exception("positions not stored")
            return
        self._told |= fresh
        for system_id, (epoch, sequence) in fresh.items():
            topic = self._bus.topics.system_acknowledged(system_id)
            self._bus.set_state(topic, {"epoch": epoch, "sequence": sequence})

    def _disown(self) -> None:
        """Another journal acknowledges from here on."""
        for system_id in self._told:
            self._bus.disown(self._bus.topics.system_acknowledged(system_id))
        self._told.clear()

    def _is_away(self, error: DatabaseAway) -> None:
        if not self._away:
            log.warning("journal's store is away", reason=error.message)
        self._away = True

    def _is_back(self) -> None:
        if self._away:
            log.info("journal's store is back", stored=self.counters.stored)
        self._away = False

    # --- what is forgotten ----------------------------------------------------------------------

    async def _clean(self) -> None:
        while True:
            gone = 0
            if self._lease.held:
                try:
                    gone = await self.forget_old()
                except DatabaseAway:
                    pass
                except Exception:
                    log.exception("old events not removed")
            # Where there is more, others write in between.
            await asyncio.sleep(LINGER_S if gone else CLEAN_EVERY_S)

    async def forget_old(self) -> int:
        """Remove some of what is past its time; how many. Raises: DatabaseAway."""
        now = datetime.now(UTC)
        events = now - timedelta(days=self._retention.events_days)
        calls = now - timedelta(days=self._retention.calls_days)
        return await self._store.write(
            lambda c: journal.forget(c, events_before=events, calls_before=calls)
        )


def _time_of(event: CloudEvent, received_at: datetime) -> datetime:
    """As its writer says; a writer without a zone, or without sense, is not believed."""
    try:
        at = datetime.fromisoformat(event.time)
    except ValueError:
        return received_at
    return at if at.tzinfo is not None else received_at


def _event(entry: _Entry, organization_id: str) -> Event:
    event = entry.event
    return Event(
        id=event.id[:128],
        source=event.source[:200],
        type=event.type[:64],
        subject=event.subject[:64],
        organization_id=organization_id,
        time=entry.at,
        received_at=entry.received_at,
        epoch=event.epoch[:64],
        sequence=min(event.sequence, 2**63 - 1),
        uptime_ms=min(event.uptime_ms, 2**63 - 1),
        late=entry.late,
        data=event.data,
    )
