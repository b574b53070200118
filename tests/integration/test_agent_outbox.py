"""The outbox on real brokers with a real journal: nothing lost, nothing twice, nothing early."""

import asyncio
import contextlib
import dataclasses
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from brokers import RunningBroker
from brokers import running as running_broker
from databases import ON_SQLITE
from lab import ORG, TRUNK, TRUNK_CHANNEL, running
from patience import wait_until
from scripted import Script, maker, now
from test_interop_journal import events_of, fill
from test_interop_two_bridges import party
from wire_schema import faults

from adapters.base import RadioTraits
from adapters.events import EmergencyRaised, FloorIdle, FloorTaken, TextMessage
from gateway.agents import outbox as rules
from gateway.agents.outbox import Outbox
from gateway.agents.outbox_file import OutboxFile
from gateway.agents.radio import Channel, RadioAgent
from gateway.agents.supervisor import Budget
from gateway.bus.client import Bus
from gateway.bus.messages import CloudEvent, decode_event, encode
from gateway.bus.topics import Topics
from gateway.interop.journal import Journal
from registry.database import Database

pytest_plugins = ["databases"]


@dataclasses.dataclass(slots=True)
class Site:
    """A radio agent with its outbox, and what others hear of it."""

    bus: Bus
    outbox: Outbox
    script: Script
    live: list[CloudEvent] = dataclasses.field(default_factory=list)
    late: list[CloudEvent] = dataclasses.field(default_factory=list)
    faults: list[str] = dataclasses.field(default_factory=list)

    def text(self, text: str) -> None:
        self.script.say(TextMessage(at=now(), address="7", unit="12", text=text))

    def emergency(self) -> None:
        self.script.say(EmergencyRaised(at=now(), address="7", unit="12"))


@contextlib.asynccontextmanager
async def site(
    broker: RunningBroker, file: Path, node: str = "agent", **bounds: Any
) -> AsyncIterator[Site]:
    bus = Bus(broker.address, node=node, topics=Topics(), roles=("agent",))
    watch = Bus(broker.address, node="watch", topics=Topics())
    script, outbox = Script(), Outbox(bus, TRUNK, file, **bounds)
    it = Site(bus, outbox, script)

    def hear(into: list[CloudEvent], topic: str, payload: bytes) -> None:
        it.faults += faults(topic, payload)
        into.append(decode_event(payload))

    watch.subscribe(watch.topics.org_all("channels", "event"), lambda t, p: hear(it.live, t, p))
    watch.subscribe(watch.topics.system_backlog_all(), lambda t, p: hear(it.late, t, p))
    agent = RadioAgent(
        bus,
        system_id=TRUNK,
        org=ORG,
        make=maker(script),
        traits=RadioTraits(),
        channels=(Channel(id=TRUNK_CHANNEL, address="7", org=ORG),),
        budget=Budget(),
        outbox=outbox,
    )
    async with running(watch.run()):
        await watch.connected.wait()
        async with running(bus.run(), agent.run()):
            await wait_until(lambda: script.emit is not None and bus.connected.is_set())
            yield it
    assert it.faults == []


@contextlib.asynccontextmanager
async def journalled(
    broker: RunningBroker, store: Database, registry: Database
) -> AsyncIterator[Journal]:
    async with party(broker, "one") as one:
        it = Journal(one.bus, one.lease, store, registry)
        async with running(it.run()):
            await wait_until(lambda: one.held)
            yield it


def texts(events: list[Any]) -> list[str]:
    return [str(each.data["text"]) for each in events if each.type == "text.message"]


@ON_SQLITE
async def test_what_happened_while_the_broker_was_dead_comes_late_once_and_in_order(
    tmp_path: Path, journal_store: Database, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "LATE_S", 0.2)
    await database.write(fill)
    folder = tmp_path / "broker"
    folder.mkdir()
    async with (
        running_broker("mosquitto", folder) as broker,
        journalled(broker, journal_store, database),
        site(broker, tmp_path / "outbox" / "trunk.db") as it,
    ):
        it.text("before")
        await wait_until(lambda: it.outbox.waiting == 0, what="acknowledged")
        await broker.kill()
        await wait_until(lambda: not it.bus.connected.is_set())
        it.emergency()
        for number in range(300):
            taken = FloorTaken(at=now(), address="7", stream=f"s{number}", talker="12", hold_s=20.0)
            it.script.say(taken)
            it.script.say(FloorIdle(at=now(), address="7", stream=f"s{number}", reason="released"))
            it.text(f"{number}")
        assert it.outbox.waiting == 601
        await asyncio.sleep(0.3)  # what is told at once must be late by then
        await broker.start()
        await wait_until(lambda: it.outbox.waiting == 0, timeout_s=60, what="acknowledged")
        assert texts(it.live) == ["before"]
        stored = await events_of(journal_store, type="emergency.raised")
        assert [(each.late, each.subject) for each in stored] == [(True, TRUNK_CHANNEL)]
        found = await events_of(journal_store, type="floor.idle")
        assert [each.data["stream"] for each in found] == [f"s{n}" for n in range(300)]
        told = texts(await events_of(journal_store, type="text.message"))
        assert told == ["before", *(f"{number}" for number in range(300))]
        assert it.outbox.counters.released == 602
        assert it.outbox.counters.dropped == 0


@ON_SQLITE
async def test_what_nobody_acknowledged_waits_for_the_next_life_of_the_agent(
    embedded_broker: RunningBroker, tmp_path: Path, journal_store: Database, database: Database
) -> None:
    file = tmp_path / "trunk.db"
    await database.write(fill)
    async with site(embedded_broker, file) as it:
        for number in range(5):
            it.text(f"{number}")
        await wait_until(lambda: len(texts(it.live)) == 5)
        first = [each.id for each in it.live if each.type == "text.message"]
        assert it.outbox.waiting == 5
    async with (
        journalled(embedded_broker, journal_store, database),
        site(embedded_broker, file) as again,
    ):
        await wait_until(lambda: len({each.id for each in again.late}) == 5)
        assert list(dict.fromkeys(each.id for each in again.late)) == first
        assert {each.epoch for each in again.late} == {again.bus.epoch}
        again.text("new")
        await wait_until(lambda: again.outbox.waiting == 0, what="acknowledged")
        assert texts(again.live) == ["new"]
        assert texts(await events_of(journal_store)) == ["0", "1", "2", "3", "4", "new"]
    with contextlib.closing(sqlite3.connect(file)) as left:
        assert left.execute("SELECT count(*) FROM waiting").fetchone() == (0,)


async def test_an_acknowledgement_that_proves_nothing_releases_nothing(
    embedded_broker: RunningBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A journal that was away passes over what it did not hear."""
    async with site(embedded_broker, tmp_path / "trunk.db") as it:
        it.text("said to nobody")
        await wait_until(lambda: it.live)
        topic = it.bus.topics.system_acknowledged(TRUNK)
        for epoch in ("another life", it.bus.epoch):
            monkeypatch.setattr(rules, "TRUSTED_S", 0.0)
            it.bus.publish_retained(topic, encode({"epoch": epoch, "sequence": 900}))
        await wait_until(lambda: len(it.live) == 2, what="said again")
        assert it.outbox.waiting == 1
        assert it.live[0].id == it.live[1].id
        assert it.live[0].sequence < it.live[1].sequence
        monkeypatch.undo()
        it.bus.publish_retained(topic, encode({"epoch": it.bus.epoch, "sequence": 901}))
        await wait_until(lambda: it.outbox.waiting == 0)
        assert it.outbox.counters.again == 1


async def test_what_the_broker_acknowledges_and_drops_is_said_again(
    embedded_broker: RunningBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "AGAIN_S", 0.1)
    async with site(embedded_broker, tmp_path / "trunk.db") as it:
        with monkeypatch.context() as broker:
            broker.setattr(it.bus, "publish", lambda *_: True)
            it.text("dropped")
        it.text("heard")
        await wait_until(lambda: {"dropped", "heard"} <= set(texts(it.live)))
        assert it.outbox.waiting == 2
        assert it.outbox.counters.again >= 1


async def test_a_full_outbox_loses_the_oldest_but_no_emergency_and_counts_them(
    embedded_broker: RunningBroker, tmp_path: Path
) -> None:
    async with site(embedded_broker, tmp_path / "trunk.db", most_entries=3) as it:
        it.emergency()
        for number in range(10):
            it.text(f"{number}")
        assert (it.outbox.waiting, it.outbox.counters.dropped) == (3, 8)
    kept = [decode_event(event) for _, _, event in OutboxFile(tmp_path / "trunk.db").load()]
    assert [each.type for each in kept] == ["emergency.raised", "text.message", "text.message"]
    assert texts(kept) == ["8", "9"]


async def test_a_full_disk_is_named_and_written_again_when_there_is_room(
    embedded_broker: RunningBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "WRITE_AGAIN_S", 0.05)
    write = OutboxFile.write
    full = True

    def picky(self: OutboxFile, *what: Any) -> None:
        if full:
            raise sqlite3.OperationalError("database or disk is full")
        write(self, *what)

    monkeypatch.setattr(OutboxFile, "write", picky)
    async with site(embedded_broker, tmp_path / "trunk.db") as it:
        it.text("kept in memory")
        await wait_until(lambda: it.outbox.fault == "the disk is full")
        await wait_until(lambda: texts(it.live) == ["kept in memory"])
        full = False
        await wait_until(lambda: it.outbox.fault == "")
    assert len(OutboxFile(tmp_path / "trunk.db").load()) == 1


def test_a_file_that_is_not_whole_is_put_aside(tmp_path: Path) -> None:
    file = tmp_path / "trunk.db"
    file.write_bytes(b"this was a database once" * 100)
    kept = OutboxFile(file)
    assert kept.load() == []
    kept.close()
    assert (tmp_path / "trunk.broken").exists()
