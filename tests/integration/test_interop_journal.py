"""The journal on a real broker and both databases: once, in order, caught up, acknowledged."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from brokers import RunningBroker
from databases import ON_SQLITE, PostgresServer, migrate
from lab import ORG, PTT_CHANNEL, TRUNK, TRUNK_CHANNEL, running
from patience import wait_until
from test_interop_two_bridges import Agents, Party, agents, party

from gateway.bus.messages import CloudEvent, decode, encode_event
from gateway.interop.definitions import UnitDefinition
from gateway.interop.directory import Directory
from gateway.interop.journal import Journal, Retention
from registry import journal, organizations
from registry.database import Connection, Database
from registry.journal import Call, Event, Scope, Wanted
from registry.organizations import NewOrganization
from registry.partition import SYSTEM, Grant, Principal, Role

pytest_plugins = ["databases"]
ALL = Scope(everything=True, ids=frozenset())


def fill(connection: Connection) -> None:
    """The organisations of the lab's topics, and a neighbour."""
    for kind, parent, slug in (
        ("district", None, "shenhe"),
        ("station", "shenhe", "wanlian"),
        ("station", "shenhe", "beita"),
    ):
        new = NewOrganization(kind=kind, name=slug, slug=slug, parent=parent)
        organizations.create(connection, SYSTEM, new)


@contextlib.asynccontextmanager
async def journalling(
    broker: RunningBroker, store: Database, registry: Database, **options: Any
) -> AsyncIterator[tuple[Agents, Party, Journal]]:
    await registry.write(fill)
    async with agents(broker) as air, party(broker, "one") as one:
        it = Journal(one.bus, one.lease, store, registry, **options)
        async with running(it.run()):
            await wait_until(lambda: one.held and air.healthy())
            yield air, one, it


async def events_of(store: Database, scope: Scope = ALL, **wanted: Any) -> list[Event]:
    """Oldest first."""
    page = await store.read(
        lambda c: journal.read_events(c, scope, Wanted(**wanted), limit=500, cursor=None)
    )
    return list(reversed(page.items))


async def calls_of(store: Database) -> list[Call]:
    page = await store.read(lambda c: journal.read_calls(c, ALL, Wanted(), limit=500, cursor=None))
    return list(page.items)


async def until_stored(it: Journal, count: int, timeout_s: float = 30.0) -> None:
    await wait_until(lambda: it.counters.stored >= count, timeout_s=timeout_s, what=f"{count}")


def acknowledgements(air: Agents) -> list[dict[str, Any]]:
    """What the trunk's outbox is told, as it comes."""
    told: list[dict[str, Any]] = []
    topic = air.bus.topics.system_acknowledged(TRUNK)
    air.bus.subscribe(topic, lambda _topic, payload: told.append(decode(payload)))
    return told


async def test_every_event_but_refreshes_is_stored_once_and_in_order(
    embedded_broker: RunningBroker, journal_store: Database, database: Database
) -> None:
    async with journalling(embedded_broker, journal_store, database) as (air, _, it):
        acknowledged = acknowledgements(air)
        for number in range(20):
            air.say("floor.taken", stream=f"s{number}", hold_s=20)
            air.say("floor.refreshed", stream=f"s{number}", hold_s=20)
            air.say("floor.idle", stream=f"s{number}", reason="released")
        await wait_until(lambda: acknowledged and acknowledged[-1]["sequence"] == 60)
        assert acknowledged[-1]["epoch"] == air.bus.epoch
        found = await events_of(journal_store, subject=TRUNK_CHANNEL)
        air_said = [each for each in found if each.source.endswith(TRUNK)]
        assert [each.type for each in air_said] == ["floor.taken", "floor.idle"] * 20
        assert [each.sequence for each in air_said] == sorted(each.sequence for each in air_said)
        assert {each.type for each in found} >= {"floor.granted"}
        assert len({(each.source, each.id) for each in found}) == len(found)
        (path,) = {each.organization_id for each in found}
        tree = await database.read(lambda c: organizations.tree(c, SYSTEM))
        assert path == next(each.id for each in tree if each.path == ORG)
        await wait_until(lambda: not it.waiting)
        calls = await calls_of(journal_store)
        assert len(calls) == 20
        assert {(c.outcome, c.end_reason) for c in calls} == {("bridged", "released")}
        assert (await journal_store.read(journal.positions))[TRUNK] == (air.bus.epoch, 60)


async def test_people_are_named_in_history_as_they_are_named_everywhere(
    embedded_broker: RunningBroker, journal_store: Database, database: Database
) -> None:
    unit = UnitDefinition(alias="张伟", priority=0, addresses={TRUNK: "12"})
    async with journalling(
        embedded_broker, journal_store, database, directory=Directory([unit])
    ) as (air, _, it):
        air.say("floor.taken", talker_alias="RADIO 12")
        air.say("floor.idle")
        air.say("text.message", talker=f"{TRUNK}/77", talker_alias="RADIO 77")
        await wait_until(lambda: it.counters.stored >= 4 and not it.waiting, timeout_s=30)
        found = await events_of(journal_store, subject=TRUNK_CHANNEL)
        aliases = {e.type: e.data.get("talker_alias") for e in found if "talker" in e.data}
        assert aliases["floor.taken"] == "张伟"
        assert aliases["text.message"] == "RADIO 77"
        (call,) = await calls_of(journal_store)
        assert (call.talker, call.talker_alias) == (f"{TRUNK}/12", "张伟")


async def test_what_comes_again_and_what_comes_late_is_stored_once(
    embedded_broker: RunningBroker, journal_store: Database, database: Database
) -> None:
    async with journalling(embedded_broker, journal_store, database) as (air, _, it):
        event = CloudEvent(
            id="occurrence-1",
            source=f"hutong/{air.bus.node}/{TRUNK}",
            type="emergency.raised",
            subject=TRUNK_CHANNEL,
            time="2026-11-21T09:00:00.000Z",
            epoch="an earlier life",
            sequence=7,
            uptime_ms=1,
            data={"talker": "x/1"},
        )
        for _ in range(3):
            air.bus.publish(air.bus.topics.system_backlog(TRUNK), encode_event(event))
        air.say("text.message", text="last")
        await until_stored(it, 4)
        found = await events_of(journal_store, subject=TRUNK_CHANNEL)
        late = [each for each in found if each.late]
        assert [(each.id, each.time.hour) for each in late] == [("occurrence-1", 9)]
        assert air.shown()["emergency"] is False  # an old one pre-empts nothing
        assert air.keys() == []


async def test_history_is_read_in_pages_within_the_readers_partition(
    embedded_broker: RunningBroker, journal_store: Database, database: Database
) -> None:
    def reader(path: str) -> Principal:
        grant = Grant(role=Role.VIEWER, organization_id="", path=path)
        return Principal(user_id="u", name="u", grants=(grant,))

    async with journalling(embedded_broker, journal_store, database) as (air, _, it):
        for number in range(7):
            air.say("text.message", text=f"{number}")
        await until_stored(it, 7)
    mine = await database.read(lambda c: journal.scope_of(c, reader(ORG)))
    theirs = await database.read(lambda c: journal.scope_of(c, reader("shenhe/beita")))
    nobody = await database.read(lambda c: journal.scope_of(c, Principal(user_id="x", name="x")))
    assert len(await events_of(journal_store, mine, type="text.message")) == 7
    assert await events_of(journal_store, theirs) == []
    assert await events_of(journal_store, nobody) == []
    texts: list[str] = []
    cursor: str | None = None
    while True:
        page = await journal_store.read(
            lambda c, cursor=cursor: journal.read_events(
                c, mine, Wanted(type="text.message"), limit=3, cursor=cursor
            )
        )
        assert page.total == 7
        texts += [each.data["text"] for each in page.items]
        if (cursor := page.next) is None:
            break
    assert texts == ["6", "5", "4", "3", "2", "1", "0"]
    noon = datetime(2026, 1, 1, tzinfo=UTC)  # what the lab writes as its time
    assert await events_of(journal_store, mine, until=noon) == []
    assert len(await events_of(journal_store, mine, since=noon, type="text.message")) == 7


@ON_SQLITE
async def test_what_the_store_refuses_holds_up_nothing(
    embedded_broker: RunningBroker,
    journal_store: Database,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stored = journal.store

    def picky(connection: Connection, events: Any, calls: Any, positions: Any) -> None:
        if any(event.data.get("text") == "poison" for event in events):
            raise ValueError("cannot be stored")
        stored(connection, events, calls, positions)

    monkeypatch.setattr(journal, "store", picky)
    async with journalling(embedded_broker, journal_store, database) as (air, _, it):
        for text in ("before", "poison", "after"):
            air.say("text.message", text=text)
        await until_stored(it, 2)
        await wait_until(lambda: it.counters.refused == 1)
        found = await events_of(journal_store, type="text.message")
        assert [each.data["text"] for each in found] == ["before", "after"]


@ON_SQLITE
async def test_what_is_past_its_time_is_forgotten(
    embedded_broker: RunningBroker, journal_store: Database, database: Database
) -> None:
    retention = Retention(events_days=0.0, calls_days=10.0)
    async with journalling(embedded_broker, journal_store, database, retention=retention) as (
        air,
        _,
        it,
    ):
        air.say("floor.taken")
        air.say("floor.idle")
        await until_stored(it, 2)
        await wait_until(lambda: not it.waiting)
        assert await it.forget_old() > 0
        assert await events_of(journal_store) == []
        assert await calls_of(journal_store) == []  # the lab's clock stands in January
        assert await it.forget_old() == 0


async def test_with_the_database_away_bridging_goes_on_and_the_journal_catches_up(
    embedded_broker: RunningBroker, postgres_server: PostgresServer
) -> None:
    url = postgres_server.create()
    migrate(url)
    registry, store = Database(url, connect_timeout_s=2), journal.open_store(url)
    await store.upgrade()
    try:
        async with journalling(embedded_broker, store, registry) as (air, _, it):
            air.say("floor.taken", hold_s=20)
            await until_stored(it, 2)
            postgres_server.stop(signal.SIGINT)
            try:
                air.say("floor.idle", reason="released")
                for number in range(50):
                    air.say("floor.taken", PTT_CHANNEL, stream=f"p{number}")
                    air.say("floor.idle", PTT_CHANNEL, stream=f"p{number}", reason="released")
                await wait_until(lambda: len(air.keys()) >= 51)
                await wait_until(lambda: it.waiting >= 101)
                assert it.behind_s() > 0
            finally:
                postgres_server.start()
            await wait_until(lambda: not it.waiting, timeout_s=15, what="caught up")
            found = await events_of(store, subject=PTT_CHANNEL)
            said = [each.type for each in found if "bridge" not in each.source]
            assert [each for each in said if each != "command.result"] == [
                "floor.taken",
                "floor.idle",
            ] * 50
            assert it.counters.dropped == 0
            await wait_until(lambda: it.counters.stored >= 103)
            await asyncio.sleep(0)
            calls = await calls_of(store)
            assert len([call for call in calls if call.channel_id == PTT_CHANNEL]) == 50
    finally:
        await store.close()
        await registry.close()
        postgres_server.drop(url)


@ON_SQLITE
async def test_a_full_spool_drops_the_newest_counts_them_and_acknowledges_none_of_them(
    embedded_broker: RunningBroker, journal_store: Database, database: Database
) -> None:
    await database.write(fill)
    async with agents(embedded_broker) as air, party(embedded_broker, "one") as one:
        it = Journal(one.bus, one.lease, journal_store, database, spool=10)
        await wait_until(lambda: one.held and air.healthy())
        acknowledged = acknowledgements(air)
        for number in range(30):
            air.say("text.message", text=f"{number}")
        await wait_until(lambda: it.counters.dropped == 20)
        async with running(it.run()):
            await until_stored(it, 10)
            await wait_until(lambda: acknowledged and acknowledged[-1]["sequence"] == 10)
        assert (await journal_store.read(journal.positions))[TRUNK] == (air.bus.epoch, 10)


@ON_SQLITE
async def test_who_takes_over_has_what_the_one_before_had_not_written(
    embedded_broker: RunningBroker, journal_store: Database, database: Database
) -> None:
    await database.write(fill)
    async with agents(embedded_broker) as air, party(embedded_broker, "one") as one:
        await wait_until(lambda: one.held and air.healthy())
        async with party(embedded_broker, "two") as two:
            standby = Journal(two.bus, two.lease, journal_store, database)
            async with running(standby.run()):
                received = two.bus.counters.received
                air.say("text.message", text="while nobody writes")
                await wait_until(lambda: two.bus.counters.received > received)
                await wait_until(lambda: standby.waiting == 1)
                assert await events_of(journal_store) == []
                one.task.cancel()
                await wait_until(lambda: two.held)
                await until_stored(standby, 1)
                (found,) = await events_of(journal_store, type="text.message")
                assert found.data["text"] == "while nobody writes"


@ON_SQLITE
async def test_what_a_standby_let_go_is_acknowledged_by_nobody(
    embedded_broker: RunningBroker,
    journal_store: Database,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who wrote then may have died before they stored it: the outbox must keep it."""
    monkeypatch.setattr("gateway.interop.journal.KEPT_BESIDE_S", 0.0)
    await database.write(fill)
    async with agents(embedded_broker) as air, party(embedded_broker, "one") as one:
        await wait_until(lambda: one.held and air.healthy())
        acknowledged = acknowledgements(air)
        async with party(embedded_broker, "two") as two:
            standby = Journal(two.bus, two.lease, journal_store, database)
            async with running(standby.run()):
                received = two.bus.counters.received
                air.say("text.message", text="let go")
                await wait_until(lambda: two.bus.counters.received > received)
                await wait_until(lambda: standby.waiting == 0)
                one.task.cancel()
                await wait_until(lambda: two.held)
                air.say("text.message", text="written")
                await until_stored(standby, 1)
                await asyncio.sleep(1.5)  # long enough to acknowledge what should not be
        assert acknowledged == []
        assert (await journal_store.read(journal.positions)).get(TRUNK) is None
