"""Every released schema, with rows in it, comes up to today's and goes back; on both databases."""

import itertools
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from schemas.rows import CHIEF, GATE, TABLES, contents, fill
from sqlalchemy import text

from registry import organizations, point_lists, shares, users
from registry.database import Connection, Database
from registry.models import METADATA
from registry.partition import SYSTEM
from registry.point_lists import PointFilter

pytest_plugins = ["databases"]

FOLDER = Path(__file__).parents[2] / "schemas"
RELEASED = sorted({path.name.split(".")[0] for path in FOLDER.glob("*.sql")})
Contents = dict[str, list[dict[str, Any]]]


def load(url: str, dump: str) -> None:
    if url.startswith("sqlite"):
        with sqlite3.connect(url.removeprefix("sqlite:///")) as opened:
            opened.executescript(dump)
        opened.close()
        return
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(dump.encode())


def all_of(database: Database) -> Contents:
    return database.read_now(contents)


def revision(connection: Connection) -> str:
    return str(connection.scalar(text("SELECT version_num FROM alembic_version")))


def kept(before: Contents, after: Contents) -> None:
    """Every row is there as it was, in the columns that both schemas have."""
    assert set(before) <= set(after)
    for name, rows in before.items():
        assert len(rows) == len(after[name]), name
        for old, new in zip(rows, after[name], strict=True):
            shared = old.keys() & new.keys()
            assert {c: new[c] for c in shared} == {c: old[c] for c in shared}, name


def differences(connection: Connection) -> list[object]:
    return list(compare_metadata(MigrationContext.configure(connection), METADATA))


@pytest.fixture
def opened(empty_database_url: str) -> Iterator[Database]:
    database = Database(empty_database_url)
    yield database
    database.close_now()


@pytest.mark.parametrize("released", RELEASED)
def test_a_released_schema_comes_up_and_goes_back(
    opened: Database, empty_database_url: str, released: str
) -> None:
    load(empty_database_url, (FOLDER / f"{released}.{opened.kind}.sql").read_text())
    assert opened.read_now(revision) == released
    before = all_of(opened)
    assert all(before.values()), "a dump has rows in every table"
    assert {name: len(TABLES[name]) for name in before} == {n: len(r) for n, r in before.items()}
    opened.upgrade_now()
    assert opened.read_now(differences) == []
    kept(before, all_of(opened))
    opened.read_now(_is_in_use)
    opened.downgrade_now(released)
    assert opened.read_now(revision) == released
    after = all_of(opened)
    kept(before, after)
    kept(after, before)
    opened.upgrade_now()
    kept(before, all_of(opened))
    opened.downgrade_now("base")
    assert all_of(opened) == {}


def test_todays_schema_goes_back_and_comes_up(opened: Database) -> None:
    """Before it is released, too: what the older schema has no place for is lost, nothing else."""
    by_triggers = {"point_counts", "point_cells", "uncounted_writes"}
    missing = set(METADATA.tables) - by_triggers - set(TABLES)
    assert not missing, f"give {missing} a row in tests/schemas/rows.py"
    opened.upgrade_now()
    opened.write_now(fill)
    newest = all_of(opened)
    assert {name: len(rows) for name, rows in newest.items()} == {
        name: len(rows) for name, rows in TABLES.items()
    }
    opened.downgrade_now(RELEASED[0])
    oldest = all_of(opened)
    kept(oldest, newest)
    opened.upgrade_now()
    kept(oldest, all_of(opened))
    opened.read_now(_is_in_use)


def test_each_schema_has_a_dump_for_both_databases() -> None:
    assert {path.name for path in FOLDER.glob("*.sql")} == {
        f"{each}.{kind}.sql" for each, kind in itertools.product(RELEASED, ("postgresql", "sqlite"))
    }
    assert {"0001", "0002"} <= set(RELEASED)


def _is_in_use(connection: Connection) -> None:
    """The registry itself reads what came up."""
    paths = [each.path for each in organizations.tree(connection, SYSTEM)]
    assert len(paths) == len(TABLES["organizations"])
    chief = users.principal_of(connection, CHIEF)
    assert chief is not None
    listed = point_lists.page(connection, chief)
    assert listed.total == len(TABLES["points"])
    found = point_lists.page(connection, chief, PointFilter(q="北门"))
    assert [each.id for each in found.items] == [GATE]
    counts = organizations.counts(connection, chief)["shenhe"]
    assert (counts.points, counts.online, counts.unassigned) == (3, 1, 1)
    assert shares.page(connection, chief).total == len(contents(connection)["shares"])
