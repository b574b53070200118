"""The database itself: migrations, transactions, and one clear sentence when it is not there."""

import asyncio
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from databases import Registry
from sqlalchemy import inspect, select, text
from sqlalchemy import update as sql_update

from registry import organizations
from registry.database import Connection, Database
from registry.errors import Conflict, DatabaseAway, DatabaseUnusable, Invalid
from registry.identity import new_id
from registry.models import METADATA, ORGANIZATIONS
from registry.organizations import NewOrganization
from registry.partition import SYSTEM

pytest_plugins = ["databases"]

DISTRICT = NewOrganization(kind="district", name="D", slug="d")


def tables(connection: Connection) -> set[str]:
    return set(inspect(connection).get_table_names()) - {"alembic_version"}


def test_migrations_make_what_the_models_say_and_unmake_it(empty_database_url: str) -> None:
    database = Database(empty_database_url)
    try:
        database.upgrade_now()
        assert database.read_now(tables) == set(METADATA.tables)

        def differences(connection: Connection) -> list[object]:
            context = MigrationContext.configure(connection)
            return list(compare_metadata(context, METADATA))

        assert database.read_now(differences) == []
        database.write_now(lambda c: organizations.create(c, SYSTEM, DISTRICT))
        # Once more changes nothing.
        database.upgrade_now()
        assert [each.path for each in database.read_now(lambda c: organizations.tree(c, SYSTEM))]
        database.downgrade_now("base")
        assert database.read_now(tables) == set()
        database.upgrade_now()
        assert database.read_now(tables) == set(METADATA.tables)
    finally:
        database.close_now()


def test_a_database_of_a_newer_version_is_left_alone(database: Database) -> None:
    head = database.read_now(lambda c: c.scalar(text("SELECT version_num FROM alembic_version")))
    database.write_now(lambda c: c.execute(text("UPDATE alembic_version SET version_num='9999'")))
    try:
        with pytest.raises(DatabaseUnusable, match="newer version"):
            database.upgrade_now()
    finally:
        database.write_now(
            lambda c: c.execute(text(f"UPDATE alembic_version SET version_num='{head}'"))
        )


UPGRADE = """
import sys
from registry.database import Database
database = Database(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
database.upgrade_now()
database.close_now()
"""


def test_several_processes_may_upgrade_at_once(empty_database_url: str) -> None:
    other = subprocess.Popen(
        [sys.executable, "-c", UPGRADE, empty_database_url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    database = Database(empty_database_url)
    try:
        assert other.stdout is not None
        assert other.stdin is not None
        assert other.stdout.readline() == "ready\n"
        other.stdin.write("\n")
        other.stdin.flush()
        database.upgrade_now()
        _, errors = other.communicate(timeout=30)
        assert other.returncode == 0, errors
        assert database.read_now(tables) == set(METADATA.tables)
    finally:
        other.kill()
        other.communicate()
        database.close_now()


async def test_a_write_that_fails_leaves_nothing(database: Database) -> None:
    def fail(connection: Connection) -> None:
        organizations.create(connection, SYSTEM, DISTRICT)
        raise LookupError("on purpose")

    with pytest.raises(LookupError, match="on purpose"):
        await database.write(fail)
    assert await database.read(lambda c: organizations.tree(c, SYSTEM)) == ()


async def test_writers_wait_for_each_other_and_none_is_lost(database: Database) -> None:
    await database.write(lambda c: organizations.create(c, SYSTEM, DISTRICT))

    def count_up(connection: Connection) -> None:
        version = connection.scalar(select(ORGANIZATIONS.c.version).with_for_update())
        assert version is not None
        connection.execute(sql_update(ORGANIZATIONS).values(version=version + 1))

    async with asyncio.TaskGroup() as group:
        for _ in range(30):
            group.create_task(database.write(count_up))
            group.create_task(database.ping())
    tree = await database.read(lambda c: organizations.tree(c, SYSTEM))
    assert tree[0].version == 31


async def test_another_process_that_writes_is_waited_for_and_then_given_up(
    tmp_path: Path, migrated_sqlite: Path
) -> None:
    path = tmp_path / "busy.db"
    shutil.copy(migrated_sqlite, path)
    ours = Database(f"sqlite:///{path}", busy_timeout_s=0.05)
    theirs = Database(f"sqlite:///{path}")
    try:

        def hold(connection: Connection) -> None:
            organizations.create(connection, SYSTEM, DISTRICT)
            with pytest.raises(DatabaseAway, match="locked"):
                ours.write_now(lambda c: organizations.create(c, SYSTEM, DISTRICT))
            # Readers never wait.
            assert ours.read_now(lambda c: organizations.tree(c, SYSTEM)) == ()

        theirs.write_now(hold)
        with pytest.raises(Conflict):
            ours.write_now(lambda c: organizations.create(c, SYSTEM, DISTRICT))
    finally:
        ours.close_now()
        theirs.close_now()


async def test_too_many_calls_are_refused_and_counted(database_url: str) -> None:
    database = Database(database_url, readers=1, waiting=3)
    gate = threading.Event()
    try:
        held = [asyncio.create_task(database.read(lambda _: gate.wait(10))) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(DatabaseAway, match="too busy") as refused:
            await database.ping()
        assert refused.value.retry_after_s >= 1
        assert database.refused == 1
        gate.set()
        assert await asyncio.gather(*held) == [True] * 3
        await database.ping()
    finally:
        gate.set()
        await database.close()


def test_a_broken_constraint_is_a_conflict_and_a_wrong_value_invalid(database: Database) -> None:
    Registry(database)(organizations.create, SYSTEM, DISTRICT)

    def break_it(connection: Connection) -> None:
        row = connection.execute(select(ORGANIZATIONS)).one()._mapping
        connection.execute(ORGANIZATIONS.insert().values(**{**row, "id": new_id()}))

    with pytest.raises(Conflict, match=r"uq_organizations_path|organizations\.path"):
        database.write_now(break_it)

    if database.kind == "postgresql":
        with pytest.raises(Invalid, match="cannot be stored"):
            database.write_now(
                lambda c: c.execute(sql_update(ORGANIZATIONS).values(name="x" * 500))
            )


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("nonsense", "cannot be read"),
        ("mysql://u:secret@h/x", "only sqlite and postgresql"),
        ("sqlite://", "must name a file"),
        ("sqlite:///:memory:", "must name a file"),
    ],
)
def test_a_url_that_cannot_work_is_named_without_its_password(url: str, sentence: str) -> None:
    with pytest.raises(DatabaseUnusable, match=sentence) as refused:
        Database(url)
    assert "secret" not in str(refused.value)


async def upgrade_fails(url: str, kind: type[Exception]) -> str:
    database = Database(url, connect_timeout_s=2)
    try:
        with pytest.raises(kind) as refused:
            await database.upgrade()
        return str(refused.value)
    finally:
        await database.close()


async def test_a_server_that_does_not_answer_is_named_without_its_password() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        url = f"postgresql://hutong:planted-secret@127.0.0.1:{port}/hutong"
        sentence = await upgrade_fails(url, DatabaseAway)
    assert f"postgresql://hutong:***@127.0.0.1:{port}/hutong does not answer" in sentence
    assert "planted-secret" not in sentence
    assert "\n" not in sentence


async def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    sentence = await upgrade_fails(f"sqlite:///{blocked}/registry.db", DatabaseUnusable)
    assert f"{blocked}/registry.db cannot be written" in sentence
    sentence = await upgrade_fails(f"sqlite:///{tmp_path}", DatabaseUnusable)
    assert "cannot be written: Is a directory" in sentence


async def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "registry.db"
    path.write_bytes(b"not a database at all, but quite a bit of text" * 100)
    assert str(path) in await upgrade_fails(f"sqlite:///{path}", DatabaseAway)
    assert path.read_bytes().startswith(b"not a database")


async def test_closing_leaves_no_thread(database_url: str) -> None:
    before = set(threading.enumerate())
    database = Database(database_url)
    await asyncio.gather(*(database.ping() for _ in range(8)))
    ours = set(threading.enumerate()) - before
    assert {thread.name.rpartition("_")[0] for thread in ours} == {"registry-read"}
    await database.close()
    assert not any(thread.is_alive() for thread in ours)
