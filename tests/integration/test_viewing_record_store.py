"""Writing down views in masses, on both databases, also while a database is away."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from databases import ON_SQLITE
from patience import wait_until
from sqlalchemy import select

from gateway.access.audit import Audit
from gateway.live import Viewing
from gateway.live import record as recording
from gateway.live.record import ViewingRecord
from registry import organizations, points, users
from registry.database import Connection, Database
from registry.errors import DatabaseAway
from registry.identity import new_id
from registry.models.audit import AUDIT
from registry.organizations import NewOrganization
from registry.partition import SYSTEM
from registry.points import NewPoint
from registry.users import NewRole, NewUser

pytest_plugins = ["databases"]


def seed(connection: Connection) -> tuple[str, str]:
    """A user and a point."""
    new = NewOrganization(kind="district", name="D", slug="d")
    organizations.create(connection, SYSTEM, new)
    roles = (NewRole(role="viewer", organization="d"),)
    user = users.create(connection, SYSTEM, NewUser(name="值班", password_hash="x", roles=roles))
    point = points.create(connection, SYSTEM, NewPoint(organization="d", name="gate"))
    return user.id, point.id


def viewing(user_id: str, point_id: str, **more: Any) -> Viewing:
    given: dict[str, Any] = {
        "id": new_id(),
        "user_id": user_id,
        "point_id": point_id,
        "profile": "main",
        "transport": "frames",
        "clear": True,
        "jpeg": False,
        "purpose": "",
        "opened_at": datetime(2026, 11, 1, 8, 0, tzinfo=UTC),
        "seconds": 1.5,
        "ended": "the viewer left",
    }
    return Viewing(**{**given, **more})


def written(store: Database) -> list[Any]:
    return store.read_now(lambda c: c.execute(select(AUDIT).order_by(AUDIT.c.id)).all())


class Away:
    """A database that is away until it is told otherwise."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.away = True
        self.asked = 0

    async def write(self, work: Callable[[Connection], Any]) -> Any:
        self.asked += 1
        if self.away:
            raise DatabaseAway("the database is away")
        return await self._database.write(work)

    async def read(self, work: Callable[[Connection], Any]) -> Any:
        return await self._database.read(work)


async def test_views_are_written_with_who_and_where(
    database: Database, audit_store: Database
) -> None:
    user_id, point_id = await database.write(seed)
    async with ViewingRecord(audit_store, database) as record:
        record.told(viewing(user_id, point_id))
        record.told(viewing(new_id(), point_id, seconds=2.0))
        record.told(viewing(user_id, new_id(), ended=None))
        await wait_until(lambda: not record.waiting)
    first, gone_user, gone_point = written(audit_store)
    assert (first.user_name, first.organization_path, first.action) == ("值班", "d", "live_closed")
    assert first.at.isoformat() == "2026-11-01T08:00:01.500000+00:00"
    assert (gone_user.user_name, gone_user.organization_path) == ("", "d")
    assert (gone_point.user_name, gone_point.organization_id) == ("值班", "")
    assert gone_point.action == "live_opened"


@ON_SQLITE
async def test_thousands_at_once_are_few_writes(database: Database, audit_store: Database) -> None:
    user_id, point_id = await database.write(seed)
    counted = Away(audit_store)
    counted.away = False
    async with ViewingRecord(counted, database) as record:  # type: ignore[arg-type]
        for _ in range(1_200):
            record.told(viewing(user_id, point_id))
        await wait_until(lambda: not record.waiting)
    assert len(written(audit_store)) == 1_200
    assert counted.asked == 3


@ON_SQLITE
async def test_what_cannot_be_written_waits(
    database: Database, audit_store: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "RETRY_S", 0.02)
    monkeypatch.setattr(recording, "MAX_WAITING", 10)
    user_id, point_id = await database.write(seed)
    store = Away(audit_store)
    async with ViewingRecord(store, database) as record:  # type: ignore[arg-type]
        for _ in range(13):
            record.told(viewing(user_id, point_id))
        await wait_until(lambda: store.asked >= 3)
        assert (record.waiting, record.lost) == (10, 3)
        store.away = False
        await wait_until(lambda: not record.waiting)
    assert len(written(audit_store)) == 10


@ON_SQLITE
async def test_what_waits_at_the_end_is_written_then(
    database: Database, audit_store: Database
) -> None:
    user_id, point_id = await database.write(seed)
    async with ViewingRecord(audit_store, database) as record:
        for _ in range(700):
            record.told(viewing(user_id, point_id))
    assert len(written(audit_store)) == 700
    async with ViewingRecord(Away(audit_store), database) as away:  # type: ignore[arg-type]
        away.told(viewing(user_id, point_id))
    assert away.lost == 1


async def test_looks_that_come_together_are_written_together(
    database: Database, audit_store: Database
) -> None:
    counted = Away(audit_store)
    counted.away = False
    audit = Audit(counted, database)  # type: ignore[arg-type]

    async def look(number: int, details: dict[str, Any]) -> None:
        await audit.record(SYSTEM, "snapshot", "point", str(number), None, details)

    await asyncio.gather(*(look(number, {}) for number in range(300)))
    assert len(written(audit_store)) == 300
    assert counted.asked < 10
    # One that cannot be written is told so, and keeps nobody else out.
    unwritable: dict[str, Any] = {"at": object()}
    told = await asyncio.gather(
        *(look(number, unwritable if number == 2 else {}) for number in range(5)),
        return_exceptions=True,
    )
    assert [isinstance(each, Exception) for each in told] == [False, False, True, False, False]
    assert len(written(audit_store)) == 304
    counted.away = True
    told = await asyncio.gather(*(look(n, {}) for n in range(3)), return_exceptions=True)
    assert all(isinstance(each, DatabaseAway) for each in told)
    counted.away = False
    gone = asyncio.create_task(look(9, {}))
    await asyncio.sleep(0)
    gone.cancel()
    await look(10, {})
