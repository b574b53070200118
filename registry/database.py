"""The connection to SQLite or PostgreSQL: bounded threads, transactions, our own errors."""

import asyncio
import contextlib
import functools
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import psycopg
import sqlalchemy.exc
from sqlalchemy import (
    URL,
    Connection,
    Engine,
    PoolProxiedConnection,
    create_engine,
    event,
    make_url,
    text,
)

from registry import migrations
from registry.errors import Conflict, DatabaseAway, DatabaseUnusable, Invalid
from registry.holding import HoldingConnection, hold_postgresql

__all__ = ["Connection", "Database", "Driver"]

T = TypeVar("T")

SQLITE_AWAY = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
    }
)
WRITING = "hutong_writing"
UPGRADE_PATIENCE_S = 30.0


class Database:
    """A registry database. url: ``sqlite:////path/to/file`` or ``postgresql://user@host/name``.

    `read` and `write` run a function of one Connection in threads of their own: at most `readers`
    at once, on SQLite one writer at a time, and `waiting` calls in all before further ones are
    refused as DatabaseAway. The function may run twice (when a connection is found dead before
    the commit), so it must do nothing but use the connection. Reads on PostgreSQL see each
    statement's own snapshot; on SQLite, that of the first. `glance` is for what is asked a thousand
    times a second. lineage: whose tables `upgrade` makes.
    Raises: DatabaseUnusable for a URL that cannot work.
    """

    def __init__(
        self,
        url: str,
        *,
        readers: int = 4,
        waiting: int = 1024,
        busy_timeout_s: float = 5.0,
        statement_timeout_s: float = 15.0,
        connect_timeout_s: int = 5,
        lineage: migrations.Lineage = migrations.REGISTRY,
    ) -> None:
        parsed = _parse(url)
        self.kind = parsed.get_backend_name()
        self.shown_url = parsed.set(drivername=self.kind).render_as_string(hide_password=True)
        self._path = Path(parsed.database or "") if self.kind == "sqlite" else None
        writers = 1 if self._path else readers
        pool = {"pool_size": 2 * readers + writers, "max_overflow": 0, "pool_timeout": 5.0}
        json = {"json_deserializer": msgspec.json.decode, "json_serializer": _to_json}
        if self._path:
            self._engine = create_engine(
                parsed,
                connect_args={"timeout": busy_timeout_s, "factory": HoldingConnection},
                **pool,
                **json,
            )
            _prepare_sqlite(self._engine)
        else:
            options = f"-c statement_timeout={round(statement_timeout_s * 1000)} -c timezone=UTC"
            connect_args = {"connect_timeout": connect_timeout_s, "options": options}
            self._engine = create_engine(
                parsed, connect_args=connect_args, pool_use_lifo=True, **pool, **json
            )
            event.listen(self._engine, "connect", hold_postgresql)
        # A read of PostgreSQL that needs no BEGIN and ROLLBACK saves two round trips.
        self._reading = (
            self._engine
            if self._path
            else self._engine.execution_options(isolation_level="AUTOCOMMIT")
        )
        self._writing = self._engine.execution_options(**{WRITING: True})
        self._readers = ThreadPoolExecutor(readers, thread_name_prefix="registry-read")
        self._writers = ThreadPoolExecutor(writers, thread_name_prefix="registry-write")
        self._glancing = threading.local()
        self._glances: set[Driver] = set()
        self._lineage = lineage
        self._room = waiting
        self.refused = 0

    async def read(self, fn: Callable[[Connection], T]) -> T:
        """The answer of fn, which only reads. Raises: DatabaseAway, and what fn raises."""
        return await self._run(self._readers, functools.partial(self.read_now, fn))

    async def glance(
        self, quick: Callable[["Driver"], T | None], fn: Callable[[Connection], T]
    ) -> T:
        """The answer of quick, which has the driver alone and thereby takes half as long, else,
        where quick has none or anything goes wrong, that of fn. Raises: as `read`."""
        return await self._run(self._readers, functools.partial(self.glance_now, quick, fn))

    async def write(self, fn: Callable[[Connection], T]) -> T:
        """The answer of fn, run in one transaction that is undone when fn raises.

        Raises: DatabaseAway, Conflict where a constraint was broken, and what fn raises.
        """
        return await self._run(self._writers, functools.partial(self.write_now, fn))

    def read_now(self, fn: Callable[[Connection], T]) -> T:
        """`read` for a caller that is not asynchronous."""
        return self._attempt(self._reading, fn)

    def glance_now(self, quick: Callable[["Driver"], T | None], fn: Callable[[Connection], T]) -> T:
        """`glance` for a caller that is not asynchronous."""
        try:
            answer = quick(self._driver())
        except (sqlalchemy.exc.DBAPIError, sqlalchemy.exc.TimeoutError, *_DRIVER_ERRORS):
            # Whatever it was, the long way meets it too, and says what it is.
            self._let_go()
            answer = None
        return answer if answer is not None else self.read_now(fn)

    def _driver(self) -> "Driver":
        """This thread's own, kept as long as it works."""
        driver: Driver | None = getattr(self._glancing, "driver", None)
        if driver is None:
            driver = Driver(self.kind, self._engine.raw_connection())
            self._glancing.driver = driver
            self._glances.add(driver)
        return driver

    def _let_go(self) -> None:
        driver: Driver | None = getattr(self._glancing, "driver", None)
        self._glancing.driver = None
        if driver is not None:
            self._glances.discard(driver)
            driver.close()

    def write_now(self, fn: Callable[[Connection], T]) -> T:
        """`write` for a caller that is not asynchronous."""
        return self._attempt(self._writing, fn)

    async def ping(self) -> None:
        """Raises: DatabaseAway when no answer comes."""
        await self.read(lambda connection: connection.execute(text("SELECT 1")))

    async def upgrade(self) -> None:
        """Bring the tables to this version's shape, making file and folder where there are none.

        Raises: DatabaseAway; DatabaseUnusable when the folder or file cannot be written, or the
        database was made by a newer version.
        """
        await self._run(self._writers, self.upgrade_now)

    def upgrade_now(self, revision: str = "head") -> None:
        """`upgrade` for a caller that is not asynchronous. revision: one to stop at."""
        self._make_folder()
        give_up_s = time.monotonic() + UPGRADE_PATIENCE_S
        while True:
            try:
                with self._named_errors(), self._writing.connect() as connection:
                    migrations.upgrade(connection, revision, self._lineage)
                return
            except DatabaseAway as away:
                # Another process upgrades the same file; turning a new one to WAL does not wait.
                if not _is_locked(away) or time.monotonic() > give_up_s:
                    raise
            time.sleep(0.1)

    def downgrade_now(self, revision: str) -> None:
        """Take the tables back to an older revision, ``base`` for none at all."""
        with self._named_errors(), self._writing.connect() as connection:
            migrations.downgrade(connection, revision, self._lineage)

    async def close(self) -> None:
        """Wait for running calls, then close every connection. Nothing can be called after it."""
        await asyncio.to_thread(self.close_now)

    def close_now(self) -> None:
        self._readers.shutdown(wait=True, cancel_futures=True)
        self._writers.shutdown(wait=True, cancel_futures=True)
        for each in self._glances:
            each.close()
        self._engine.dispose()

    async def _run(self, pool: ThreadPoolExecutor, call: Callable[[], T]) -> T:
        if self._room <= 0:
            self.refused += 1
            raise DatabaseAway("the database is too busy: too many calls wait for it")
        self._room -= 1
        try:
            return await asyncio.get_running_loop().run_in_executor(pool, call)
        finally:
            self._room += 1

    def _attempt(self, engine: Engine, fn: Callable[[Connection], T]) -> T:
        try:
            return self._once(engine, fn)
        except sqlalchemy.exc.DBAPIError as failure:
            if not (failure.connection_invalidated and _before_commit(failure)):
                raise self._named(failure) from failure
        with self._named_errors():
            return self._once(engine, fn)

    def _once(self, engine: Engine, fn: Callable[[Connection], T]) -> T:
        try:
            with engine.connect() as connection, connection.begin() as transaction:
                answer = fn(connection)
                try:
                    transaction.commit()
                except sqlalchemy.exc.DBAPIError as failure:
                    # Nobody knows whether this commit took place, so it is not tried again.
                    failure.add_note("commit")
                    raise
                return answer
        except sqlalchemy.exc.IntegrityError as failure:
            raise Conflict(f"this collides with something else: {_constraint(failure)}") from None
        except sqlalchemy.exc.DataError as failure:
            # PostgreSQL refuses NUL characters, too long texts and too great numbers by itself.
            reason = str(failure.orig).partition("\n")[0]
            raise Invalid.at("value", f"cannot be stored: {reason}") from None

    @contextlib.contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlalchemy.exc.DBAPIError as failure:
            raise self._named(failure) from failure
        except sqlalchemy.exc.TimeoutError as failure:
            raise DatabaseAway("the database is too busy: every connection is taken") from failure
        except migrations.Unknown as failure:
            raise DatabaseUnusable(
                f"the database at {self.shown_url} was made by a newer version: {failure}"
            ) from failure

    def _named(self, failure: sqlalchemy.exc.DBAPIError) -> Exception:
        """The error that a caller sees: ours where the database is the trouble, else as it is."""
        origin = failure.orig
        if isinstance(origin, sqlite3.Error):
            # Extended codes carry the primary one in their low byte.
            if getattr(origin, "sqlite_errorcode", 0) & 0xFF not in SQLITE_AWAY:
                return failure
        elif not (failure.connection_invalidated or isinstance(failure, _AWAY)):
            return failure
        # Further lines of PostgreSQL's are advice of its own.
        reason = str(origin).partition("\n")[0].strip() or type(origin).__name__
        return DatabaseAway(
            f"the database at {self.shown_url} does not answer: {reason}",
            outward="the database does not answer",
        )

    def _make_folder(self) -> None:
        """Raises: DatabaseUnusable unless the file can be made and written."""
        if self._path is None:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if self._path.is_file() and os.access(self._path, os.W_OK):
                # Closing a file lets go of all locks that this process has on it, SQLite's too:
                # another process would believe that nobody else is there, and remove the WAL.
                return
            with self._path.open("ab"):
                pass
        except OSError as failure:
            raise DatabaseUnusable(
                f"the database file {self._path} cannot be written: {failure.strerror}"
            ) from failure


class Driver:
    """A connection without SQLAlchemy, for single statements that are kept as text. Every
    statement is a transaction of its own. kind: ``sqlite`` or ``postgresql``."""

    def __init__(self, kind: str, connection: PoolProxiedConnection) -> None:
        self.kind = kind
        self._connection = connection
        driver: Any = connection.driver_connection
        if kind == "postgresql":
            driver.autocommit = True
        self._execute = driver.execute

    def rows(self, sql: str, values: Any) -> Sequence[Sequence[Any]]:
        """All that a statement finds. Raises: what the driver raises."""
        found: Sequence[Sequence[Any]] = self._execute(sql, values).fetchall()
        return found

    def close(self) -> None:
        """For good: what it was told to be, it would stay for the next who gets it."""
        with contextlib.suppress(*_DRIVER_ERRORS):
            self._connection.invalidate()


_DRIVER_ERRORS = (sqlite3.Error, psycopg.Error)
_AWAY = (sqlalchemy.exc.OperationalError, sqlalchemy.exc.InterfaceError)


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (sqlalchemy.exc.ArgumentError, ValueError):  # ValueError: a port that is no number
        raise DatabaseUnusable(
            "the database URL cannot be read: write sqlite:////path/to/file "
            "or postgresql://user:password@host/name"
        ) from None
    match parsed.get_backend_name():
        case "sqlite":
            if parsed.database in (None, "", ":memory:"):
                raise DatabaseUnusable("a SQLite database URL must name a file")
            return parsed.set(drivername="sqlite+pysqlite")
        case "postgresql":
            return parsed.set(drivername="postgresql+psycopg")
        case other:
            raise DatabaseUnusable(
                f"the database URL names {other!r}: only sqlite and postgresql can be used"
            )


def beside(url: str, name: str) -> str:
    """Where tables with steps of their own go: with SQLite a file of that name beside the
    registry's, which a long write to the registry does not lock; with PostgreSQL the same
    database. Raises: DatabaseUnusable."""
    parsed = _parse(url)
    if parsed.get_backend_name() != "sqlite":
        return url
    other = Path(parsed.database or "").with_name(name)
    return parsed.set(database=str(other)).render_as_string(hide_password=False)


def _prepare_sqlite(engine: Engine) -> None:
    def on_connect(connection: sqlite3.Connection, _record: object) -> None:
        # The driver would begin transactions by itself, and too late; we say when and how.
        connection.isolation_level = None
        for pragma in (
            "journal_mode=WAL",
            "foreign_keys=ON",
            "synchronous=NORMAL",
            "temp_store=MEMORY",
            "cache_size=-16000",
        ):
            connection.execute(f"PRAGMA {pragma}").close()

    def on_begin(connection: Connection) -> None:
        # A writer that began as a reader could not wait for another one: SQLite refuses at once.
        writing = connection.get_execution_options().get(WRITING, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")

    event.listen(engine, "connect", on_connect)
    event.listen(engine, "begin", on_begin)


def _before_commit(failure: sqlalchemy.exc.DBAPIError) -> bool:
    return "commit" not in getattr(failure, "__notes__", ())


def _constraint(failure: sqlalchemy.exc.IntegrityError) -> str:
    """Which rule was broken, without the values, which may belong to somebody else."""
    diagnosis = getattr(failure.orig, "diag", None)
    name = getattr(diagnosis, "constraint_name", None)
    return name or str(failure.orig)


def _to_json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _is_locked(away: DatabaseAway) -> bool:
    origin = getattr(away.__cause__, "orig", None)
    code = getattr(origin, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
