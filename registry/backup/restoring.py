"""From a file into databases, all or nothing.

Into PostgreSQL in one transaction. For SQLite new files are made beside those that are there, and
take their places when all of them are whole.
"""

import contextlib
import functools
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import sqlalchemy.exc
from sqlalchemy import URL, Connection, Table, create_engine, inspect, make_url, text, update
from sqlalchemy.pool import NullPool

from registry import audit, migrations
from registry.backup import manifest
from registry.backup.archive import Archive, flush_folder
from registry.backup.refused import BackupRefused
from registry.backup.tables import (
    AUDIT,
    PARTS,
    REGISTRY,
    Column,
    Part,
    Row,
    columns_of,
    count_on,
    in_order,
    silence_triggers,
    tables_at,
    write_rows,
)
from registry.database import Database
from registry.errors import Conflict, DatabaseAway
from registry.holding import LOCK
from registry.identity import now
from registry.models import JOBS
from registry.partition import SYSTEM

ASIDE = "restore.part"
"""Folder beside the registry's file in which new files are made."""
Told = Callable[[int], None]


def check(archive: Archive, *, version: str) -> None:
    """Can this version restore it? version: of this program. Raises: BackupRefused."""
    said = archive.manifest
    for part in PARTS:
        if part.name not in said.parts:
            raise BackupRefused("member_missing", file=archive.path, member=part.name)
        revisions, revision = migrations.revisions(part.lineage), said.parts[part.name].revision
        if revision not in revisions:
            raise BackupRefused(
                "newer_schema",
                file=archive.path,
                made_by=said.version,
                revision=revision,
                part=part.name,
                version=version,
                newest=revisions[-1],
            )
        wanted, found = set(tables_at(part, revision)), set(said.parts[part.name].tables)
        for table in sorted(wanted - found):
            name = manifest.member(part.name, table)
            raise BackupRefused("member_missing", file=archive.path, member=name)
        for table in sorted(found - wanted):
            name = manifest.member(part.name, table)
            raise BackupRefused("member_unknown", file=archive.path, member=name)
    for name in sorted(said.parts.keys() - {part.name for part in PARTS}):
        raise BackupRefused("member_unknown", file=archive.path, member=name)


# --- SQLite ---------------------------------------------------------------------------------------


def is_sqlite(url: str) -> bool:
    return make_url(url).get_backend_name() == "sqlite"


def places(url: str) -> list[Path]:
    """Where the files of all parts are, with SQLite."""
    return [_file_of(part.url(url)) for part in PARTS]


def check_free(url: str, *, force: bool) -> None:
    """With SQLite, while we alone hold the databases. force: although they are not empty.

    Raises: BackupRefused where a table has a row, a file cannot be read, or somebody has one open
    who knows nothing of our locks, such as a gateway of before they were.
    """
    for place, part in zip(places(url), PARTS, strict=True):
        if not place.exists():
            continue
        # `Database` would wait for whoever holds it alone, and that is us.
        opened = URL.create("sqlite", database=str(place))
        engine = create_engine(opened, connect_args={"timeout": 1.0}, poolclass=NullPool)
        try:
            with engine.connect() as connection:
                # This takes that nobody else is connected; `Database` turns it back.
                connection.exec_driver_sql("PRAGMA journal_mode = DELETE")
                if not force:
                    _check_empty(connection, part, str(place))
        except sqlalchemy.exc.DBAPIError as error:
            if "locked" in str(error.orig):
                raise BackupRefused("in_use", place=place) from None
            if not force:
                raise BackupRefused("unreadable_there", database=place, why=error.orig) from None
        finally:
            engine.dispose()


def _file_of(url: str) -> Path:
    return Path(make_url(url).database or "")


@contextlib.contextmanager
def into_sqlite(url: str, archive: Archive, told: Told = lambda _: None) -> Iterator[list[Path]]:
    """New files, whole and on the disk, for the block to put where they belong by `replace`; what
    it leaves of them is removed. Nobody else may have the databases open.

    Raises: BackupRefused, DatabaseAway, OSError.
    """
    file = _file_of(url)
    folder = file.parent / ASIDE
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    try:
        aside = make_url(url).set(database=str(folder / file.name))
        made = aside.render_as_string(hide_password=False)
        files = [_make(part, made, archive, told) for part in PARTS]
        flush_folder(folder)
        yield files
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def replace(fresh: Path, place: Path) -> None:
    """Put a new SQLite file where another one is, whose own log must not be taken for its."""
    for suffix in ("-wal", "-shm"):
        place.with_name(place.name + suffix).unlink(missing_ok=True)
    fresh.replace(place)


def _make(part: Part, url: str, archive: Archive, told: Told) -> Path:
    database = part.open(url)
    try:
        said = archive.manifest.parts[part.name]
        database.upgrade_now(said.revision)
        tables = list(said.tables)
        triggers = database.write_now(lambda c: silence_triggers(c, tables))
        # Nobody sees these files before all is done, so each table is written by itself.
        for table in database.read_now(lambda c: in_order(c, tables)):
            with _named(archive, manifest.member(part.name, table.name)):
                load = functools.partial(
                    _load, archive=archive, part=part.name, table=table, told=told
                )
                database.write_now(load)
        database.write_now(lambda c: _run(c, triggers))
        database.upgrade_now()
        database.write_now(lambda c: _settle(c, part, archive))
    finally:
        database.close_now()
    made = _file_of(part.url(url))
    if made.with_name(f"{made.name}-wal").exists():
        raise DatabaseAway(f"the database file {made} cannot be written to its end")
    descriptor = os.open(made, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return made


# --- PostgreSQL -----------------------------------------------------------------------------------


def into_postgresql(
    url: str,
    archive: Archive,
    *,
    force: bool,
    before_commit: Callable[[], None],
    told: Told = lambda _: None,
) -> None:
    """Replace what is there in one transaction. force: although it is not empty.

    before_commit: called when nothing is left to do but that. Raises: BackupRefused, DatabaseAway.
    """
    database = Database(url)

    def run(connection: Connection) -> None:
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        # Somebody who looks into a table with a program of their own.
        connection.execute(text("SET LOCAL lock_timeout = '20s'"))
        alone = text("SELECT pg_try_advisory_xact_lock(:lock)")
        if not connection.execute(alone, {"lock": LOCK}).scalar():
            raise BackupRefused("in_use", place=database.shown_url)
        for part in PARTS:
            _check_known(connection, part, database.shown_url)
            if not force:
                _check_empty(connection, part, database.shown_url)
        for part in PARTS:
            _replace_part(connection, part, archive, told)
        before_commit()

    try:
        database.write_now(run)
    finally:
        database.close_now()


def _replace_part(connection: Connection, part: Part, archive: Archive, told: Told) -> None:
    said = archive.manifest.parts[part.name]
    tables = list(said.tables)
    _truncate(connection, part)
    _go_to(connection, part, said.revision)
    _truncate(connection, part)  # of what steps put in
    triggers = silence_triggers(connection, tables)
    for table in in_order(connection, tables):
        _load(connection, archive, part.name, table, told)
    _run(connection, triggers)
    _go_to(connection, part, migrations.revisions(part.lineage)[-1])
    _settle(connection, part, archive)


def _truncate(connection: Connection, part: Part) -> None:
    quote = connection.dialect.identifier_preparer.quote
    if present := _present(connection, part):
        connection.exec_driver_sql(f"TRUNCATE {', '.join(map(quote, present))}")


def _go_to(connection: Connection, part: Part, revision: str) -> None:
    from alembic import command

    found = migrations.revision_of(connection, part.lineage)
    if found == revision:
        return
    with migrations.alone(connection, part.lineage) as config:
        if found is not None and found > revision:
            command.downgrade(config, revision)
        else:
            command.upgrade(config, revision)


# --- both -----------------------------------------------------------------------------------------


def _check_known(connection: Connection, part: Part, shown_url: str) -> None:
    """Raises: BackupRefused for a database that a newer version made."""
    revision = migrations.revision_of(connection, part.lineage)
    if revision is not None and revision not in migrations.revisions(part.lineage):
        raise BackupRefused("newer_database", database=shown_url, part=part.name, revision=revision)


def _check_empty(connection: Connection, part: Part, shown_url: str) -> None:
    """Raises: BackupRefused where a table has a row."""
    quote = connection.dialect.identifier_preparer.quote
    for table in _present(connection, part):
        if connection.exec_driver_sql(f"SELECT 1 FROM {quote(table)} LIMIT 1").first():
            raise BackupRefused("not_empty", database=shown_url, table=table)


def _present(connection: Connection, part: Part) -> list[str]:
    there = set(inspect(connection).get_table_names())
    return sorted(there & set(part.metadata.tables))


def _load(connection: Connection, archive: Archive, part: str, table: Table, told: Told) -> None:
    if connection.dialect.name == "sqlite":
        # Rows of a tree come in any order.
        connection.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
    name = manifest.member(part, table.name)
    said = archive.manifest.parts[part].tables[table.name]
    columns = _fitting(archive, name, said.columns, columns_of(connection, table.name), part)
    count = 0

    def batches() -> Iterator[list[Row]]:
        nonlocal count
        for rows in archive.rows(name, len(columns)):
            yield rows
            count += len(rows)
            told(len(rows))

    try:
        write_rows(connection, table, columns, batches())
    except (sqlalchemy.exc.IntegrityError, sqlalchemy.exc.DataError) as error:
        why = _why(error.orig)
        raise BackupRefused("cannot_be_stored", file=archive.path, member=name, why=why) from None
    except (ValueError, TypeError, OverflowError) as error:
        raise BackupRefused("cannot_be_stored", file=archive.path, member=name, why=error) from None
    if count != said.rows:
        raise BackupRefused("member_damaged", file=archive.path, member=name)


def _why(error: BaseException | None) -> str:
    """In one line, with the row where the database says it."""
    context = getattr(getattr(error, "diag", None), "context", None) or ""
    row = re.search(r"line \d+", context)
    return str(error).partition("\n")[0] + (f" ({row[0]})" if row else "")


def _fitting(
    archive: Archive, name: str, said: Sequence[str], there: Sequence[Column], part: str
) -> list[Column]:
    """The columns in the order of the file's. Raises: BackupRefused unless they are the same."""
    known = {each.name: each for each in there}
    if sorted(said) != sorted(known):
        odd = ", ".join(sorted(set(said) ^ known.keys())) or "a column is named twice"
        revision = archive.manifest.parts[part].revision
        raise BackupRefused(
            "does_not_fit", file=archive.path, revision=revision, member=name, why=odd
        )
    return [known[each] for each in said]


@contextlib.contextmanager
def _named(archive: Archive, name: str) -> Iterator[None]:
    """What only the end of a transaction finds."""
    try:
        yield
    except Conflict as error:
        raise BackupRefused(
            "cannot_be_stored", file=archive.path, member=name, why=error.message
        ) from None


def _run(connection: Connection, statements: Sequence[str]) -> None:
    for statement in statements:
        connection.exec_driver_sql(statement)


def _settle(connection: Connection, part: Part, archive: Archive) -> None:
    """What is no longer so on a gateway that begins anew."""
    tables = _present(connection, part)
    count_on(connection, tables)
    quote = connection.dialect.identifier_preparer.quote
    if connection.dialect.name == "postgresql":
        for table in tables:
            connection.exec_driver_sql(f"ANALYZE {quote(table)}")
    if part is REGISTRY:
        connection.execute(
            update(JOBS)
            .where(JOBS.c.state.in_(("queued", "running")))
            .values(
                state="failed",
                report={"error": "the gateway was restored from a backup meanwhile"},
                interrupted=True,
                updated_at=now(),
            )
        )
    if part is AUDIT:
        audit.record(
            connection,
            principal=SYSTEM,
            action="restore",
            kind="backup",
            object_id="",
            organization=None,
            details={"made_at": archive.manifest.made_at, "version": archive.manifest.version},
        )
