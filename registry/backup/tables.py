"""The tables that a backup holds, and their rows as plain values: text, numbers and None.

A row is the same whichever database it comes from, and goes into either: ids and documents as
text, times as ``2026-03-01 08:30:15.250000`` in UTC, truth as 0 and 1, bytes in hex.
"""

import dataclasses
import itertools
import sqlite3
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Any, cast

import psycopg
from sqlalchemy import (
    Boolean,
    Connection,
    DateTime,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    create_engine,
    inspect,
    select,
    text,
)
from sqlalchemy.pool import StaticPool

from registry import audit, journal, migrations
from registry.database import Database, beside
from registry.exchange.bulk import insert_rows, named
from registry.models import METADATA
from registry.models.audit import AUDIT_METADATA
from registry.models.journal import JOURNAL_METADATA

Value = str | int | float | None
Row = tuple[Value, ...]
AT_ONCE = 500
LARGE_AT_ONCE = 16
"""Rows that may hold a picture."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Tables with steps of their own. file: where they are with SQLite, beside the registry's;
    empty for the registry's own."""

    name: str
    lineage: migrations.Lineage
    metadata: MetaData
    file: str = ""

    def url(self, registry_url: str) -> str:
        """Raises: DatabaseUnusable."""
        return beside(registry_url, self.file) if self.file else registry_url

    def open(self, registry_url: str) -> Database:
        """Raises: DatabaseUnusable."""
        return Database(self.url(registry_url), lineage=self.lineage)


REGISTRY = Part(name="registry", lineage=migrations.REGISTRY, metadata=METADATA)
AUDIT = Part(name="audit", lineage=migrations.AUDIT, metadata=AUDIT_METADATA, file=audit.FILE)
JOURNAL = Part(
    name="journal", lineage=journal.LINEAGE, metadata=JOURNAL_METADATA, file=journal.FILE
)
PARTS = (REGISTRY, AUDIT, JOURNAL)
LEFT_OUT = frozenset({("registry", "sessions")})
"""A session that was ended since would begin again, so everybody signs in anew."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """kind: text, integer, number, boolean, time or bytes."""

    name: str
    kind: str


def tables_at(part: Part, revision: str) -> list[str]:
    """All tables of a part at a step, without `LEFT_OUT`."""
    if revision == migrations.revisions(part.lineage)[-1]:
        names = set(part.metadata.tables)
    else:
        names = _made_by_steps(part.lineage, revision)
    return sorted(name for name in names if (part.name, name) not in LEFT_OUT)


def _made_by_steps(lineage: migrations.Lineage, revision: str) -> set[str]:
    engine = create_engine("sqlite://", poolclass=StaticPool)
    try:
        with engine.connect() as connection:
            migrations.upgrade(connection, revision, lineage)
            return set(inspect(connection).get_table_names()) - {lineage.version_table}
    finally:
        engine.dispose()


def columns_of(connection: Connection, table: str) -> list[Column]:
    """Those that are written; what the database computes by itself is left to it."""
    return [
        Column(name=each["name"], kind=_kind(each["type"]))
        for each in inspect(connection).get_columns(table)
        if "computed" not in each
    ]


def _kind(type_: object) -> str:
    match type_:
        case Boolean():
            return "boolean"
        case Integer():
            return "integer"
        case Float():
            return "number"
        case DateTime():
            return "time"
        case LargeBinary():
            return "bytes"
        case _:
            return "text"


# --- reading --------------------------------------------------------------------------------------


def read_rows(
    connection: Connection, table: str, columns: Sequence[Column]
) -> Generator[Sequence[Row]]:
    """All rows by their key, some hundred at once, never the whole table in memory."""
    quote = connection.dialect.identifier_preparer.quote
    key = inspect(connection).get_pk_constraint(table)["constrained_columns"]
    sqlite = connection.dialect.name == "sqlite"
    wanted = [(_SQLITE if sqlite else _POSTGRESQL)[c.kind].format(quote(c.name)) for c in columns]
    statement = f"SELECT {', '.join(wanted)} FROM {quote(table)}"
    if key:
        statement += f" ORDER BY {', '.join(map(quote, key))}"
    at_once = LARGE_AT_ONCE if any(c.kind == "bytes" for c in columns) else AT_ONCE
    if sqlite:
        yield from _read_sqlite(connection, statement, at_once)
    else:
        types = [_POSTGRESQL_TYPES.get(c.kind, "text") for c in columns]
        yield from _read_postgresql(connection, statement, types, at_once)


_SQLITE = {
    "text": "CAST({0} AS TEXT)",
    "integer": "{0}",
    "number": "{0}",
    "boolean": "{0}",
    "time": "CAST({0} AS TEXT)",
    "bytes": "CASE WHEN {0} IS NOT NULL THEN lower(hex({0})) END",
}
_POSTGRESQL = {
    "text": "{0}::text",
    "integer": "{0}::bigint",
    "number": "{0}::float8",
    "boolean": "{0}::int::bigint",
    "time": "to_char({0} AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')",
    "bytes": "encode({0}, 'hex')",
}
_POSTGRESQL_TYPES = {"integer": "int8", "number": "float8", "boolean": "int8"}


def _read_sqlite(connection: Connection, statement: str, at_once: int) -> Iterator[Sequence[Row]]:
    # SQLAlchemy would make an object of each row.
    cursor = cast(Any, connection.connection.cursor())
    try:
        cursor.execute(statement)
        while rows := cursor.fetchmany(at_once):
            yield rows
    except sqlite3.Error as error:
        raise named(connection, statement, error) from error
    finally:
        cursor.close()


def _read_postgresql(
    connection: Connection, statement: str, types: Sequence[str], at_once: int
) -> Iterator[Sequence[Row]]:
    cursor = cast("psycopg.Cursor[Any]", connection.connection.cursor())
    try:
        with cursor, cursor.copy(f"COPY ({statement}) TO STDOUT") as copy:
            copy.set_types(types)
            rows = copy.rows()
            while gathered := list(itertools.islice(rows, at_once)):
                yield gathered
    except psycopg.Error as error:
        raise named(connection, statement, error) from error


# --- writing --------------------------------------------------------------------------------------


def write_rows(
    connection: Connection, table: Table, columns: Sequence[Column], batches: Iterable[list[Row]]
) -> None:
    """Insert rows as `read_rows` gives them. Raises: DBAPIError; ValueError, TypeError and
    OverflowError for values that are none."""
    names = [each.name for each in columns]
    binary = [place for place, each in enumerate(columns) if each.kind == "bytes"]
    if connection.dialect.name == "sqlite":
        for rows in batches:
            insert_rows(connection, table, names, _with_bytes(rows, binary, bytes.fromhex))
        return
    turned = (_with_bytes(rows, binary, lambda each: rf"\x{each}") for rows in batches)
    insert_rows(connection, table, names, itertools.chain.from_iterable(turned))


def _with_bytes(rows: list[Row], places: Sequence[int], turn: Callable[[str], Any]) -> list[Row]:
    if not places:
        return rows
    turned: list[Row] = []
    for row in rows:
        values: list[Any] = list(row)
        for place in places:
            if values[place] is not None:
                values[place] = turn(values[place])
        turned.append(tuple(values))
    return turned


def silence_triggers(connection: Connection, tables: Sequence[str]) -> list[str]:
    """What is loaded was counted before; gives the statements that let the triggers speak again."""
    quote = connection.dialect.identifier_preparer.quote
    if connection.dialect.name == "sqlite":
        found = connection.execute(
            text("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'")
        ).all()
        for name, _ in found:
            connection.exec_driver_sql(f"DROP TRIGGER {quote(name)}")
        return [sql for _, sql in found]
    for table in tables:
        connection.exec_driver_sql(f"ALTER TABLE {quote(table)} DISABLE TRIGGER USER")
    return [f"ALTER TABLE {quote(table)} ENABLE TRIGGER USER" for table in tables]


def in_order(connection: Connection, tables: Sequence[str]) -> list[Table]:
    """These tables, those first that foreign keys of others name."""
    found = MetaData()
    found.reflect(connection, only=list(tables))
    return [table for table in found.sorted_tables if table.name in set(tables)]


def count_on(connection: Connection, tables: Sequence[str]) -> None:
    """Let PostgreSQL number new rows after those that were loaded; SQLite does by itself."""
    if connection.dialect.name != "postgresql":
        return
    quote = connection.dialect.identifier_preparer.quote
    for table in tables:
        for column in columns_of(connection, table):
            if column.kind != "integer":
                continue
            sequence = connection.execute(
                text("SELECT pg_get_serial_sequence(:table, :column)"),
                {"table": quote(table), "column": column.name},
            ).scalar()
            if sequence is not None:
                connection.exec_driver_sql(
                    f"SELECT setval('{sequence}', coalesce(max({quote(column.name)}), 0) + 1, "
                    f"false) FROM {quote(table)}"
                )


def sealed_in(connection: Connection) -> list[bytes]:
    """All that the gateway sealed with its secret key: columns of bytes named ``secret…``."""
    found: list[bytes] = []
    present = set(inspect(connection).get_table_names())
    for table in METADATA.sorted_tables:
        for column in table.columns:
            sealed = isinstance(column.type, LargeBinary) and column.name.startswith("secret")
            if sealed and table.name in present:
                wanted = select(column).where(column.is_not(None))
                found += connection.execute(wanted).scalars()
    return found
