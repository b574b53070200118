"""PostgreSQL goes away and comes back under a running gateway."""

import asyncio
import signal

import pytest
from databases import PostgresServer, empty
from sqlalchemy import text

from registry import organizations
from registry.database import Database
from registry.errors import DatabaseAway
from registry.organizations import NewOrganization
from registry.partition import SYSTEM

pytest_plugins = ["databases"]


def district(slug: str) -> NewOrganization:
    return NewOrganization(kind="district", name=slug, slug=slug)


async def test_a_server_that_goes_and_comes_back(postgres_server: PostgresServer) -> None:
    database = Database(postgres_server.shared_url, connect_timeout_s=2)
    await database.write(empty)

    async def write(slug: str) -> None:
        await database.write(lambda c: organizations.create(c, SYSTEM, district(slug)))

    async def read() -> list[str]:
        tree = await database.read(lambda c: organizations.tree(c, SYSTEM))
        return [each.path for each in tree]

    try:
        await write("before")
        # Fill the pool, so that every connection in it is dead afterwards.
        await asyncio.gather(*(read() for _ in range(8)))
        postgres_server.stop(signal.SIGINT)
        try:
            for attempt in (read, lambda: write("lost"), database.ping):
                try:
                    await attempt()
                except DatabaseAway as away:
                    assert away.retryable
                    assert away.retry_after_s >= 1
                    assert f"127.0.0.1:{postgres_server.port}" in away.message
                else:
                    raise AssertionError("nothing answers, and yet it worked")
        finally:
            postgres_server.start()
        # Neither the reads nor the write see the dead connections that the pool still holds.
        assert await read() == ["before"]
        await write("after")
        assert await asyncio.gather(*(read() for _ in range(8))) == [["after", "before"]] * 8
    finally:
        await database.close()


async def test_dead_connections_cost_nobody_an_answer(postgres_server: PostgresServer) -> None:
    database = Database(postgres_server.shared_url)
    try:
        await database.write(empty)
        await asyncio.gather(*(database.ping() for _ in range(8)))
        postgres_server.stop(signal.SIGINT)
        postgres_server.start()
        await database.write(lambda c: organizations.create(c, SYSTEM, district("d")))
        tree = await database.read(lambda c: organizations.tree(c, SYSTEM))
        assert [each.path for each in tree] == ["d"]
    finally:
        await database.close()


async def test_a_statement_that_takes_too_long_is_given_up(postgres_server: PostgresServer) -> None:
    database = Database(postgres_server.shared_url, statement_timeout_s=0.2)
    try:
        with pytest.raises(DatabaseAway) as given_up:
            async with asyncio.timeout(30):
                await database.read(lambda c: c.execute(text("SELECT pg_sleep(60)")))
        assert given_up.value.retry_after_s >= 1
        assert await database.read(lambda c: c.scalar(text("SELECT 1"))) == 1
    finally:
        await database.close()
