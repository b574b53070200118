"""What an outbox keeps on disk: one SQLite file for each radio system. Blocking."""

import contextlib
import os
import sqlite3
from collections.abc import Collection, Sequence
from pathlib import Path

_BUSY_S = 5.0


class OutboxFile:
    """Opened at the first use, and again after it failed. put_aside: how often it was not whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.put_aside = 0
        self._connection: sqlite3.Connection | None = None

    def load(self) -> list[tuple[int, str, bytes]]:
        """(key, topic, event) of all that is kept, in order.

        A file that is not whole is put aside as ``*.broken``. Raises: OSError, sqlite3.Error.
        """
        try:
            return self._read()
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:
            self._put_aside()
            return self._read()

    def _read(self) -> list[tuple[int, str, bytes]]:
        found = self._open().execute("SELECT key, topic, event FROM waiting ORDER BY key")
        return [(int(key), str(topic), bytes(event)) for key, topic, event in found]

    def write(self, added: Sequence[tuple[int, str, bytes]], gone: Collection[int]) -> None:
        """Both or neither; on the disk when this returns.

        Raises: OSError, sqlite3.Error; where the file is not whole it was put aside then, and what
        it held is to be written again.
        """
        try:
            connection = self._open()
            with connection:
                connection.executemany("INSERT OR IGNORE INTO waiting VALUES (?, ?, ?)", added)
                connection.executemany(
                    "DELETE FROM waiting WHERE key = ?", [(key,) for key in gone]
                )
        except sqlite3.OperationalError:
            self.close()
            raise
        except sqlite3.DatabaseError:
            self._put_aside()
            raise

    def _put_aside(self) -> None:
        self.close()
        os.replace(self.path, self.path.with_suffix(".broken"))
        for end in ("-wal", "-shm"):  # of the old file: the new one must not read them
            Path(f"{self.path}{end}").unlink(missing_ok=True)
        self.put_aside += 1

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None:
            return self._connection
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Used by one thread after the other, never by two at once.
        connection = sqlite3.connect(self.path, timeout=_BUSY_S, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(
                "CREATE TABLE IF NOT EXISTS waiting ("
                "key INTEGER PRIMARY KEY, topic TEXT NOT NULL, event BLOB NOT NULL)"
            )
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection
