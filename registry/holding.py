"""Who uses a database, and who replaces it: many may use it at once, one alone may replace it.

Every connection of ours holds the database for as long as it is open: with SQLite by a lock on a
file beside the database, with PostgreSQL by an advisory lock. `hutong restore` takes it alone, so
it begins only when nobody has it open, and whoever comes meanwhile is told to wait. Both locks go
with the process, however it ends.
"""

import os
import sqlite3
from pathlib import Path
from typing import Any

import psycopg

try:
    import fcntl
except ImportError:  # Windows: nobody is kept away there
    fcntl = None  # type: ignore[assignment]

FILE = "hutong.lock"
LOCK = 7_310_423
"""Number of the PostgreSQL advisory lock: shared by each connection, exclusive for who replaces."""
BEING_REPLACED = "it is being restored from a backup"


def hold(folder: Path, *, alone: bool = False) -> int | None:
    """Hold what is in a folder; the descriptor that does, for `os.close`. None where there is
    nothing to hold by, such as a folder that cannot be written.

    alone: as the only one. Raises: BlockingIOError where somebody else has it.
    """
    if fcntl is None:
        return None
    try:
        descriptor = os.open(folder / FILE, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError:
        if alone:
            raise
        return None
    try:
        lock(descriptor, alone=alone)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def lock(descriptor: int, *, alone: bool) -> None:
    """Hold an open file until it is closed. Raises: BlockingIOError where somebody else has it."""
    if fcntl is not None:
        fcntl.flock(descriptor, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)


class HoldingConnection(sqlite3.Connection):
    """Holds the folder of its file while it is open."""

    _held: int | None = None

    def __init__(self, database: str, *arguments: Any, **named: Any) -> None:
        try:
            self._held = hold(Path(database).parent)
        except BlockingIOError:
            refused = sqlite3.OperationalError(BEING_REPLACED)
            refused.sqlite_errorcode = sqlite3.SQLITE_BUSY
            raise refused from None
        try:
            super().__init__(database, *arguments, **named)
        except BaseException:
            self._let_go()
            raise

    def close(self) -> None:
        super().close()
        self._let_go()

    def __del__(self) -> None:
        self._let_go()

    def _let_go(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            os.close(held)


def hold_postgresql(connection: "psycopg.Connection[Any]", _record: object = None) -> None:
    """Hold the database for as long as this connection is open. Raises: psycopg.OperationalError
    where somebody replaces it."""
    connection.autocommit = True
    held = connection.execute("SELECT pg_try_advisory_lock_shared(%s)", (LOCK,)).fetchone()
    connection.autocommit = False
    if held is None or not held[0]:
        connection.close()
        raise psycopg.OperationalError(BEING_REPLACED)
