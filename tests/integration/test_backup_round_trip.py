"""What a backup holds comes back, whichever kind of database it was and goes to."""

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from backup_stage import (
    NEVER_FILLED,
    PASSWORD,
    Contents,
    contents,
    in_memory,
    make,
    opened,
    settings_for,
)
from databases import PostgresServer
from schemas.rows import GATE, fill
from sqlalchemy import func, insert, select, text, update

from gateway.access.secrets import Sealer, read_key
from gateway.backup_commands import restore_backup, save_backup
from gateway.settings import Settings
from registry import journal, migrations, points
from registry.backup import manifest
from registry.backup.archive import Archive
from registry.backup.refused import BackupRefused
from registry.backup.tables import JOURNAL, PARTS
from registry.database import Connection, Database
from registry.identity import new_id
from registry.models import CHANGES, DEVICES, POINT_COUNTS, POINTS
from registry.models.journal import JOURNAL_CALLS
from registry.partition import SYSTEM

pytest_plugins = ["databases"]

KINDS = ("sqlite", "postgresql")


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with in_memory() as it:
        yield it


@pytest.fixture(scope="module")
def filled(folder: Path, postgres_server: PostgresServer) -> Iterator[dict[str, Settings]]:
    """Gateways with rows in every table, by the kind of their database; nobody changes them."""
    url = postgres_server.create()
    at = {
        "sqlite": settings_for(folder / "sqlite"),
        "postgresql": settings_for(folder / "postgresql", url),
    }
    for settings in at.values():
        make(settings.database, settings.data_dir)
    yield at
    postgres_server.drop(url)


@pytest.fixture(scope="module")
def backups(filled: dict[str, Settings], folder: Path) -> dict[str, Path]:
    """A backup of each."""
    for kind, settings in filled.items():
        save(settings, folder / f"{kind}.backup")
    return {kind: folder / f"{kind}.backup" for kind in filled}


def save(settings: Settings, file: Path, *, without_key: bool = False, force: bool = False) -> int:
    return save_backup(settings, file, force=force, without_key=without_key, language="en")


def restore(settings: Settings, file: Path, *, force: bool = False) -> int:
    return restore_backup(settings, file, force=force, language="en")


@pytest.fixture(params=KINDS)
def target(request: pytest.FixtureRequest) -> Iterator[Settings]:
    """A machine where nothing is yet."""
    with in_memory() as empty:
        if request.param == "sqlite":
            yield settings_for(empty / "new")
            return
        server: PostgresServer = request.getfixturevalue("postgres_server")
        url = server.create()
        yield settings_for(empty / "new", url)
        server.drop(url)


def expected(before: Contents, after: Contents) -> Contents:
    """Nobody is signed in, work that was under way has failed, and the restore is recorded."""
    jobs = []
    for row, now in zip(before["jobs"], after["jobs"], strict=True):
        failed = {"state": "failed", "interrupted": True}
        told = {name: now[name] for name in ("report", "updated_at")}
        jobs.append({**row, **failed, **told} if row["state"] == "running" else row)
    restored = [row for row in after["audit"] if row["action"] == "restore"]
    assert len(restored) == 1
    acts = [*before["audit"], *restored]
    return {**before, "sessions": [], "jobs": jobs, "audit": acts}


@pytest.mark.parametrize("source", KINDS)
def test_every_table_comes_back_as_it_was(
    filled: dict[str, Settings], backups: dict[str, Path], source: str, target: Settings
) -> None:
    before = contents(filled[source].database)
    assert {name for name, rows in before.items() if not rows} == NEVER_FILLED

    assert restore(target, backups[source]) == 0

    after = contents(target.database)
    assert after == expected(before, after)
    key = target.data_dir / "secret.key"
    assert key.read_text() == (filled[source].data_dir / "secret.key").read_text()
    assert key.stat().st_mode & 0o777 == 0o600
    assert not list(target.data_dir.glob("*restore*"))
    with opened(target.database) as database:
        sealed = database.read_now(lambda c: c.scalar(select(DEVICES.c.secret)))
        assert Sealer(read_key(key.read_text())).open(sealed) == PASSWORD
        database.write_now(counts_go_on)
    with opened(JOURNAL.url(target.database), journal.LINEAGE) as past:
        past.write_now(numbers_go_on)


def counts_go_on(connection: Connection) -> None:
    """Triggers are there again: a point that goes is counted, once."""
    counted = select(func.sum(POINT_COUNTS.c.points))
    before = connection.scalar(counted)
    connection.execute(text("DELETE FROM tour_stops"))
    points.delete(connection, SYSTEM, GATE)
    assert connection.scalar(counted) == before - 1
    assert connection.scalar(select(func.count()).select_from(POINTS)) == before - 1


def numbers_go_on(connection: Connection) -> None:
    known_call = dict(connection.execute(select(JOURNAL_CALLS)).one()._mapping)
    del known_call["number"]
    connection.execute(insert(JOURNAL_CALLS).values({**known_call, "key": "another"}))
    assert connection.scalar(select(func.max(JOURNAL_CALLS.c.number))) == 8


def test_all_stores_of_ours_are_in_it() -> None:
    """A new one must be given to the backup."""
    lineages = {
        id(value)
        for module in (migrations, journal)
        for value in vars(module).values()
        if isinstance(value, migrations.Lineage)
    }
    assert {id(part.lineage) for part in PARTS} == lineages


def test_one_that_is_there_is_replaced_by_force_alone(
    filled: dict[str, Settings], backups: dict[str, Path], target: Settings
) -> None:
    make(target.database, target.data_dir)
    with opened(target.database) as database:
        database.write_now(lambda c: c.execute(update(POINTS).values(name="changed")))
    before, old_key = contents(target.database), (target.data_dir / "secret.key").read_text()
    for stale in ("broker/store", "outbox"):
        (target.data_dir / stale).mkdir(parents=True)
    (target.data_dir / "definitions.json").write_text("{}")

    with pytest.raises(BackupRefused, match="--force"):
        restore(target, backups["sqlite"])
    assert contents(target.database) == before

    assert restore(target, backups["sqlite"], force=True) == 0
    after = contents(target.database)
    assert after == expected(contents(filled["sqlite"].database), after)
    left = {path.name for path in target.data_dir.iterdir()}
    assert "outbox" in left, "what waits there did happen"
    assert not left & {"definitions.json", "broker", "restore.part", "restore.unfinished"}
    (kept,) = target.data_dir.glob("secret.key.before-*")
    assert kept.read_text() == old_key


def test_tables_of_an_older_version_are_brought_up_to_date(
    tmp_path: Path, target: Settings
) -> None:
    old = settings_for(target.data_dir.with_name("old"))
    old.data_dir.mkdir()
    with opened(old.database) as database:
        database.upgrade_now("0003")
        database.write_now(fill)
    save(old, tmp_path / "old.backup", without_key=True)

    assert restore(target, tmp_path / "old.backup") == 3, "there is no key for its passwords"
    assert restore(target, tmp_path / "old.backup", force=True) == 3, "over newer tables too"

    with opened(old.database) as database:
        database.upgrade_now()
    after = contents(target.database)
    assert after == expected(contents(old.database), after)
    assert sum(row["points"] for row in after["point_counts"]) == len(after["points"]) == 3


@pytest.mark.parametrize(
    ("values", "where"),
    [
        ({"name": "a\0b"}, "NUL"),
        ({"attributes": {"a": "\0"}}, "line 1"),
    ],
)
def test_what_postgresql_cannot_store_is_refused_whole(
    filled: dict[str, Settings],
    tmp_path: Path,
    postgres_server: PostgresServer,
    values: dict[str, Any],
    where: str,
) -> None:
    with in_memory() as place:
        source = settings_for(place / "old")
        shutil.copytree(filled["sqlite"].data_dir, source.data_dir)
        with opened(source.database) as database:
            database.write_now(lambda c: c.execute(update(POINTS).values(**values)))
        save(source, tmp_path / "a.backup")
        url = postgres_server.create()
        with pytest.raises(BackupRefused, match=r"registry/points\.jsonl") as refused:
            restore(settings_for(place / "new", url), tmp_path / "a.backup")
        assert where in refused.value.message
        assert "\n" not in refused.value.message
        with opened(url) as database:
            assert database.read_now(migrations.revision_of) is None
        assert not (place / "new" / "secret.key").exists()
        postgres_server.drop(url)


# --- while others write ---------------------------------------------------------------------------


def test_a_backup_is_of_one_moment_while_others_write(tmp_path: Path, target: Settings) -> None:
    make(target.database, target.data_dir)
    ended, written = threading.Event(), threading.Semaphore(0)
    with opened(target.database) as database:
        writer = threading.Thread(target=write_on, args=(database, ended, written))
        writer.start()
        try:
            for number in range(2):
                for _ in range(3):
                    assert written.acquire(timeout=60)
                save(target, tmp_path / f"{number}.backup")
            assert written.acquire(timeout=60), "writers were kept out"
        finally:
            ended.set()
            writer.join(60)

    for number in range(2):
        with Archive(tmp_path / f"{number}.backup", version="1") as archive:
            found = rows_of(archive, "points")
            names = {row["name"] for row in found}
            assert len(names) == 1, "one transaction wrote all of them"
            (name,) = names
            changes = rows_of(archive, "changes")
            assert sum(row["user_name"] == name for row in changes) == 1, "and their record"
            assert sum(row["points"] for row in rows_of(archive, "point_counts")) == len(found)


def write_on(database: Database, ended: threading.Event, written: threading.Semaphore) -> None:
    """Again and again: all points, a new one, and a record of it, in one transaction."""
    number = 0
    while not ended.is_set():
        number += 1

        def write(connection: Connection, name: str = f"w{number}") -> None:
            gate = connection.execute(select(POINTS).where(POINTS.c.id == GATE)).one()._mapping
            fresh = {"id": new_id(), "code": None, "device_id": None, "address": None}
            values = {c.name: gate[c.name] for c in POINTS.c if c.computed is None}
            connection.execute(insert(POINTS).values({**values, **fresh}))
            connection.execute(update(POINTS).values(name=name))
            (record,) = connection.execute(select(CHANGES).limit(1)).mappings()
            mine = {"id": new_id(), "user_name": name}
            connection.execute(insert(CHANGES).values({**record, **mine}))

        database.write_now(write)
        written.release()


def rows_of(archive: Archive, table: str) -> list[dict[str, Any]]:
    columns = archive.manifest.parts["registry"].tables[table].columns
    name = manifest.member("registry", table)
    return [
        dict(zip(columns, row, strict=True))
        for rows in archive.rows(name, len(columns))
        for row in rows
    ]
