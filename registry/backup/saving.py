"""From databases into a file, while others write to them.

All parts are read as they were at one moment: in PostgreSQL in one snapshot, with SQLite, where
they are files, each in a snapshot of its own that begins before anything is written.
"""

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import IO, TypeVar

from sqlalchemy import Connection, text

from registry import migrations
from registry.backup import manifest
from registry.backup.archive import Writer
from registry.backup.manifest import Manifest
from registry.backup.refused import BackupRefused
from registry.backup.tables import PARTS, REGISTRY, Part, Row, columns_of, read_rows, tables_at
from registry.database import Database
from registry.identity import now

T = TypeVar("T")
Told = Callable[[int], None]


def save(
    url: str,
    file: IO[bytes],
    *,
    version: str,
    key: str | None,
    key_check: str,
    told: Told = lambda _: None,
) -> Manifest:
    """Write a backup; gives what it says of itself. file: can be sought, and is ours alone.

    url: of the registry's database. version: of this program. key: the secret key, None to leave it
    out. key_check: see `manifest.Key`, empty where there is no key at all. told: gets how many rows
    more were written. Raises: BackupRefused, DatabaseAway, DatabaseUnusable, OSError.
    """
    databases = [part.open(url) for part in PARTS]
    try:
        _make_missing(databases)

        def write(connections: Sequence[Connection]) -> Manifest:
            file.seek(0)  # a dead connection is tried again
            file.truncate(0)
            writer = Writer(file)
            try:
                parts = {
                    part.name: _write_part(part, connection, writer, told)
                    for part, connection in zip(PARTS, connections, strict=True)
                }
                stored = None if key is None else writer.add(manifest.KEY, [f"{key}\n".encode()])
                said = Manifest(
                    product=manifest.PRODUCT,
                    format=manifest.FORMAT,
                    version=version,
                    made_at=now().isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                    database=databases[0].kind,
                    parts=parts,
                    key=manifest.Key(check=key_check, stored=stored) if key_check else None,
                )
                writer.finish(said)
            except BaseException:
                writer.give_up()
                raise
            return said

        return at_one_moment(databases, write)
    finally:
        for database in databases:
            database.close_now()


def at_one_moment(databases: Sequence[Database], fn: Callable[[Sequence[Connection]], T]) -> T:
    """The answer of fn, which reads them all and sees no write that comes meanwhile."""
    if databases[0].kind == "postgresql":

        def run(connection: Connection) -> T:
            isolation = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
            connection.execute(text(isolation))
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            return fn([connection] * len(databases))

        return databases[0].write_now(run)
    return _nested(databases, fn, [])


def _nested(
    databases: Sequence[Database],
    fn: Callable[[Sequence[Connection]], T],
    connections: list[Connection],
) -> T:
    if not databases:
        return fn(connections)

    def run(connection: Connection) -> T:
        # A snapshot begins with what is read first.
        connection.execute(text("SELECT count(*) FROM sqlite_schema"))
        return _nested(databases[1:], fn, [*connections, connection])

    return databases[0].read_now(run)


def _make_missing(databases: Sequence[Database]) -> None:
    """The registry must be there, the others may never have been used.

    Raises: BackupRefused.
    """
    for part, database in zip(PARTS, databases, strict=True):
        find = functools.partial(migrations.revision_of, lineage=part.lineage)
        revision = database.read_now(find)
        if revision is None and part is REGISTRY:
            raise BackupRefused("nothing_there", database=database.shown_url)
        if revision is None:
            database.upgrade_now()
        elif revision not in migrations.revisions(part.lineage):
            raise BackupRefused(
                "newer_database", database=database.shown_url, part=part.name, revision=revision
            )


def _write_part(part: Part, connection: Connection, writer: Writer, told: Told) -> manifest.Part:
    revision = migrations.revision_of(connection, part.lineage) or ""
    tables: dict[str, manifest.Table] = {}
    for name in tables_at(part, revision):
        columns = columns_of(connection, name)
        with contextlib.closing(read_rows(connection, name, columns)) as read:
            stored, rows = writer.add_rows(manifest.member(part.name, name), _counted(read, told))
        tables[name] = manifest.Table(
            columns=[each.name for each in columns], rows=rows, stored=stored
        )
    return manifest.Part(revision=revision, tables=tables)


def _counted(batches: Iterable[Sequence[Row]], told: Told) -> Iterator[Sequence[Row]]:
    for rows in batches:
        yield rows
        told(len(rows))
