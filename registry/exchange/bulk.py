"""Many rows of the registry at once: looked up, and written, by the shortest way each kind of
database has.

SQLite takes tuples through its driver; PostgreSQL takes them by COPY.
"""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, cast

import psycopg
import sqlalchemy.exc
from sqlalchemy import Column, ColumnElement, Connection, Table, Text, bindparam, func, select
from sqlalchemy.dialects.postgresql import ARRAY

CACHE_PAGES_KIB = 80 * 1024
_USUAL_CACHE_KIB = 16_000


def among(
    connection: Connection, column: Column[Any], keys: Sequence[str], name: str
) -> ColumnElement[bool]:
    """SQL: column is one of the keys, however many they are. name: of the parameter."""
    if connection.dialect.name == "sqlite":
        each = func.json_each(bindparam(name, json.dumps(keys, ensure_ascii=False), Text))
        return column.in_(select(each.table_valued("value").c.value))
    return column == func.any(bindparam(name, list(keys), ARRAY(column.type)))


def insert_rows(
    connection: Connection, table: Table, columns: Sequence[str], rows: Iterable[Sequence[Any]]
) -> None:
    """Insert rows of values as the driver takes them, see `stored`."""
    if connection.dialect.name == "sqlite":
        places = ", ".join("?" * len(columns))
        statement = f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({places})"
        batch = rows if isinstance(rows, list) else list(rows)
        if batch:
            connection.exec_driver_sql(statement, batch)
        return
    statement = f"COPY {table.name} ({', '.join(columns)}) FROM STDIN"
    cursor = cast(psycopg.Cursor[Any], connection.connection.cursor())
    try:
        with cursor, cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row(row)
    except psycopg.Error as error:
        raise named(connection, statement, error) from error


def named(connection: Connection, statement: str, error: Exception) -> BaseException:
    """What SQLAlchemy would have made of an error of the driver."""
    driver = connection.connection.driver_connection
    lost = isinstance(error, psycopg.OperationalError) and bool(
        cast(psycopg.Connection[Any], driver).closed
    )
    return sqlalchemy.exc.DBAPIError.instance(
        statement,
        None,
        error,
        connection.dialect.loaded_dbapi.Error,
        connection_invalidated=lost,
        dialect=connection.dialect,
    )


def stored(connection: Connection, at: datetime, column: Column[datetime]) -> Any:
    """An instant as the driver takes it."""
    process = column.type.dialect_impl(connection.dialect).bind_processor(connection.dialect)
    return process(at) if process else at


def widen_cache(connection: Connection) -> None:
    """SQLite keeps more pages in memory, so that it writes each of them once."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(f"PRAGMA cache_size=-{CACHE_PAGES_KIB}")


def narrow_cache(connection: Connection) -> None:
    """What `widen_cache` did, undone; the connection goes back to where others take it."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(f"PRAGMA cache_size=-{_USUAL_CACHE_KIB}")
