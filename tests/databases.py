"""Real databases for the tests: SQLite files, and a private PostgreSQL.

A test module says ``pytest_plugins = ["databases"]``; a test that asks for `database` runs on
both, and finds the tables there and empty.

PYTEST_DONT_REWRITE: test modules import this before pytest does, and it asserts nothing.
"""

import contextlib
import dataclasses
import functools
import glob
import os
import pwd
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import psycopg
import pytest
from brokers import free_port

from registry import audit, journal
from registry.database import Connection, Database
from registry.models import METADATA
from registry.models.audit import AUDIT
from registry.models.journal import JOURNAL_METADATA

T = TypeVar("T")

ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For a test whose answer cannot depend on the kind of database."""

SUPERUSER = "hutong"


def binaries() -> Path | None:
    """Where initdb and postgres are: the newest in Debian's place, else on the PATH."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"), key=_version)
    path = found[-1] if found else shutil.which("initdb")
    return Path(path).parent if path else None


def _version(path: str) -> int:
    return int(path.split("/")[4])


class PostgresServer:
    """A PostgreSQL of our own on 127.0.0.1, its data in a temporary folder, never flushed."""

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        self._folder = Path(tempfile.mkdtemp(prefix="hutong-postgres-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._made = 0
        self.port = free_port()
        # PostgreSQL refuses to run as root.
        self._as: dict[str, object] = {}
        if os.getuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(self._folder, user.pw_uid, user.pw_gid)
            self._as = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        self._run(
            "initdb",
            *("-D", str(self._folder / "data"), "-U", SUPERUSER, "--auth=trust"),
            *("--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"),
        )

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), *arguments]
        subprocess.run(command, check=True, capture_output=True, cwd=self._folder, **self._as)

    def start(self) -> None:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self._folder),
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
            "max_connections": "60",
        }
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    str(self._programs / "postgres"),
                    *("-D", str(self._folder / "data")),
                    *(f"--{name}={value}" for name, value in settings.items()),
                ],
                stdout=log,
                stderr=log,
                cwd=self._folder,
                **self._as,
            )
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(psycopg.OperationalError), self._connect("postgres"):
                return
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self._folder / "log").read_text())
            time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT ends it with a checkpoint, SIGQUIT as a crash would."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(20)
            self._process = None

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self._folder)

    def url(self, name: str) -> str:
        return f"postgresql://{SUPERUSER}@127.0.0.1:{self.port}/{name}"

    def create(self) -> str:
        """A fresh database; its URL."""
        self._made += 1
        name = f"test_{self._made}"
        with self._connect("postgres") as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        return self.url(name)

    @functools.cached_property
    def shared_url(self) -> str:
        """The one migrated database that most tests share, one after another."""
        url = self.create()
        migrate(url)
        return url

    def drop(self, url: str) -> None:
        with self._connect("postgres") as connection:
            connection.execute(f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE)")

    def _connect(self, name: str) -> psycopg.Connection:
        return psycopg.connect(self.url(name), autocommit=True, connect_timeout=5)


def _differs(*columns: str) -> str:
    return "({}) IS NOT ({})".format(
        ", ".join(f"old.{each}" for each in columns), ", ".join(f"new.{each}" for each in columns)
    )


SHOWN = (
    *("code", "name", "place", "organization_id", "assigned_by", "longitude", "latitude"),
    *("category", "ownership", "device_id", "address", "profiles", "capabilities", "masked"),
    "attributes",
)
STAMPED = f"""
CREATE TRIGGER stamped BEFORE UPDATE ON points
WHEN {_differs(*SHOWN)}
AND NOT {_differs("updated_at", "status", "status_since", "status_reason")}
BEGIN SELECT RAISE(ABORT, 'a point is shown anew, and its stamp stays as it was'); END
"""
"""In all tests: what is kept of points is known by their stamps (`point_statements.stamp`)."""


def migrate(url: str) -> None:
    database = Database(url)
    try:
        database.upgrade_now()
    finally:
        database.close_now()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One server for the whole run; tests that stop it start it again."""
    programs = binaries()
    if programs is None:
        pytest.skip("no PostgreSQL on this machine: install the Debian package postgresql")
    server = PostgresServer(programs)
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with the tables in it, to copy."""
    path = tmp_path_factory.mktemp("sqlite") / "migrated.db"
    migrate(f"sqlite:///{path}")
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(STAMPED)
    return path


@pytest.fixture(scope="session")
def shared_databases() -> Iterator[dict[str, Database]]:
    """Opened databases by URL. Tests share them one after another, and with them the statements
    that SQLAlchemy has compiled."""
    opened: dict[str, Database] = {}
    yield opened
    for database in opened.values():
        database.close_now()


@pytest.fixture(scope="session")
def shared_sqlite_url(migrated_sqlite: Path) -> str:
    path = migrated_sqlite.with_name("shared.db")
    shutil.copy(migrated_sqlite, path)
    return f"sqlite:///{path}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, shared_databases: dict[str, Database]) -> str:
    """A migrated, empty database; every test that asks runs on both kinds."""
    if request.param == "sqlite":
        url: str = request.getfixturevalue("shared_sqlite_url")
    else:
        url = request.getfixturevalue("postgres_server").shared_url
    if url not in shared_databases:
        shared_databases[url] = Database(url)
    shared_databases[url].write_now(empty)
    return url


def empty(connection: Connection) -> None:
    """Take every row out; cheaper by far than another database."""
    for table in reversed(METADATA.sorted_tables):
        connection.execute(table.delete())


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database without tables; on both kinds."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    url = server.create()
    yield url
    server.drop(url)


@pytest.fixture
def database(database_url: str, shared_databases: dict[str, Database]) -> Database:
    """`database_url`, open. A test that closes it opens one of its own."""
    return shared_databases[database_url]


@pytest.fixture
def audit_store(database_url: str, shared_databases: dict[str, Database]) -> Database:
    """The record of viewing that belongs to `database_url`, empty."""
    key = f"{database_url} audit"
    if key not in shared_databases:
        shared_databases[key] = audit.open_store(database_url)
        shared_databases[key].upgrade_now()
    store = shared_databases[key]
    store.write_now(lambda c: c.execute(AUDIT.delete()))
    return store


@pytest.fixture
def journal_store(database_url: str, shared_databases: dict[str, Database]) -> Database:
    """The journal that belongs to `database_url`, empty."""
    key = f"{database_url} journal"
    if key not in shared_databases:
        shared_databases[key] = journal.open_store(database_url)
        shared_databases[key].upgrade_now()
    store = shared_databases[key]
    for table in JOURNAL_METADATA.sorted_tables:
        store.write_now(lambda c, table=table: c.execute(table.delete()))  # type: ignore[misc]
    return store


@dataclasses.dataclass(frozen=True, slots=True)
class Registry:
    """Calls functions of the registry, each in a transaction of its own: ``registry(points.get,
    SYSTEM, point_id)``."""

    database: Database

    def __call__(self, fn: Callable[..., T], *arguments: object, **named: object) -> T:
        return self.database.write_now(lambda connection: fn(connection, *arguments, **named))

    def undone(self, fn: Callable[[Connection], T]) -> T:
        """The answer of fn, of which nothing stays in the database."""
        answers: list[T] = []

        def run(connection: Connection) -> None:
            answers.append(fn(connection))
            raise _Undo

        with contextlib.suppress(_Undo):
            self.database.write_now(run)
        return answers[0]


class _Undo(Exception):
    pass


@pytest.fixture
def registry(database: Database) -> Registry:
    return Registry(database)


@functools.cache
def square(west: float, south: float, side: float = 1.0) -> dict[str, object]:
    """GeoJSON of a square, sides in degrees."""
    east, north = west + side, south + side
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}
