"""One SQLite file, opened twice in a process and once in another: nobody's locks get lost."""

import subprocess
import sys
from pathlib import Path

from sqlalchemy import text

from registry.database import Connection, Database

ANOTHER = """
import sys
from registry.database import Database
database = Database(sys.argv[1])
database.upgrade_now()
database.write_now(lambda connection: None)
database.close_now()
"""


def number(connection: Connection) -> int:
    return int(connection.scalar(text("SELECT count(*) FROM noted")) or 0)


def test_another_process_that_leaves_takes_no_log_of_writes_along(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'registry.db'}"
    first = Database(url)
    try:
        first.upgrade_now()
        first.write_now(lambda c: c.execute(text("CREATE TABLE noted (what TEXT)")))
        second = Database(url)
        second.upgrade_now()
        second.close_now()
        subprocess.run([sys.executable, "-c", ANOTHER, url], check=True, timeout=60)
        # Whoever leaves last removes it: that was not the other process.
        assert (tmp_path / "registry.db-wal").exists()
        first.write_now(lambda c: c.execute(text("INSERT INTO noted VALUES ('kept')")))
        third = Database(url)
        assert third.read_now(number) == 1
        third.close_now()
    finally:
        first.close_now()
