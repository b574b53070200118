"""Write the dumps of a schema: ``python tests/schemas/make.py 0002``; see the README here.

A server of PostgreSQL is made and removed again, as the tests do.
"""

import re
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent.parent)]

from databases import PostgresServer, binaries  # noqa: E402
from schemas.rows import fill  # noqa: E402

from registry.database import Database  # noqa: E402


def make(revision: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "made.db"
        _fill(f"sqlite:///{path}", revision)
        with sqlite3.connect(path) as connection:
            dump = "\n".join(connection.iterdump()) + "\n"
        (HERE / f"{revision}.sqlite.sql").write_text(dump)
    programs = binaries()
    if programs is None:
        sys.exit("no PostgreSQL on this machine: install the Debian package postgresql")
    server = PostgresServer(programs)
    try:
        server.start()
        url = server.create()
        _fill(url, revision)
        (HERE / f"{revision}.postgresql.sql").write_text(_pg_dump(programs, url))
    finally:
        server.remove()


def _fill(url: str, revision: str) -> None:
    database = Database(url)
    try:
        database.upgrade_now(revision)
        database.write_now(fill)
    finally:
        database.close_now()


def _pg_dump(programs: Path, url: str) -> str:
    options = ("--no-owner", "--no-privileges", "--inserts", "--rows-per-insert=50")
    command = [str(programs / "pg_dump"), *options, url]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    # What psql alone understands, and what older servers do not.
    lines = [
        line
        for line in text.splitlines()
        if not re.match(r"\\|--|SET (transaction_timeout|default_table_access_method)|$", line)
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python tests/schemas/make.py REVISION")
    make(sys.argv[1])
