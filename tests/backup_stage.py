"""Databases with a row in every table, for tests of backups.

PYTEST_DONT_REWRITE: the tests import this before pytest does, and it asserts nothing.
"""

import contextlib
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from schemas.rows import fill
from sqlalchemy import Connection, insert, select

from gateway.access.secrets import Sealer, new_key, read_key
from gateway.settings import Settings
from registry.backup.tables import PARTS
from registry.database import Database
from registry.models import DEVICES, JOBS, POINT_QUALITY, POINTS, SYSTEMS, UNCOUNTED_WRITES
from registry.models.audit import AUDIT
from registry.models.journal import (
    JOURNAL_ALARMS,
    JOURNAL_CALLS,
    JOURNAL_EVENTS,
    JOURNAL_POSITIONS,
)

AT = datetime(2026, 11, 1, 7, 30, 15, 250_000, tzinfo=UTC)
PASSWORD = "pass 口令 of a camera"
NEVER_FILLED = frozenset({UNCOUNTED_WRITES.name})
Contents = dict[str, list[dict[str, Any]]]


@contextlib.contextmanager
def in_memory() -> Iterator[Path]:
    """A folder where flushing costs nothing, where the machine has one."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as folder:
        yield Path(folder)


def settings_for(folder: Path, url: str | None = None, **more: Any) -> Settings:
    """url: of the database, None for SQLite in the folder."""
    return Settings(data_dir=folder, database_url=url, **more)


def fill_registry(connection: Connection, key: str) -> None:
    fill(connection)
    sealed = Sealer(read_key(key)).seal(PASSWORD)
    connection.execute(DEVICES.update().values(secret=sealed))
    connection.execute(SYSTEMS.update().values(secrets=sealed))
    connection.execute(POINT_QUALITY.update().values(evidence=random.randbytes(60_000)))
    connection.execute(JOBS.update().values(state="running"))


def fill_audit(connection: Connection, _key: str = "") -> None:
    act = {"at": AT, "user_id": "u", "user_name": "值班", "action": "live", "kind": "point"}
    place = {"organization_id": "", "organization_path": "shenhe", "address": "192.0.2.1"}
    rows = [
        {"id": f"019ca880-0000-7000-8000-{n:012x}", "object_id": "p", "details": {"n": n}}
        for n in range(3)
    ]
    connection.execute(insert(AUDIT), [{**act, **place, **row} for row in rows])


def fill_journal(connection: Connection, _key: str = "") -> None:
    event = {
        "id": "e1",
        "source": "s",
        "type": "floor.idle",
        "subject": "c",
        "epoch": "1",
        "organization_id": "",
        "time": AT,
        "received_at": AT,
        "sequence": 2**53 + 1,
        "uptime_ms": 17,
        "late": True,
        "data": {"talker": "张三", "x": 0.1},
    }
    call = {
        "key": "k",
        "channel_id": "c",
        "organization_id": "",
        "patch_id": "",
        "talker": "t",
        "talker_alias": "张三",
        "emergency": False,
        "encrypted": True,
        "started_at": AT,
        "outcome": "bridged",
        "end_reason": "",
        "bridged_to": ["d"],
        "duration_s": 1 / 3,
    }
    connection.execute(insert(JOURNAL_EVENTS).values(number=40, **event))
    connection.execute(insert(JOURNAL_CALLS).values(number=7, **call))
    alarm = {"acknowledged_by_id": "", "acknowledged_by_name": "", "received_at": AT}
    connection.execute(insert(JOURNAL_ALARMS).values(id="e1", source="s", **alarm))
    connection.execute(insert(JOURNAL_POSITIONS).values(system_id="s", epoch="1", sequence=9))


FILL = {"registry": fill_registry, "audit": fill_audit, "journal": fill_journal}


def make(url: str, folder: Path) -> None:
    """Databases with rows in every table, and the secret key in the folder."""
    folder.mkdir(exist_ok=True)
    key = new_key()
    (folder / "secret.key").write_text(f"{key}\n")
    (folder / "secret.key").chmod(0o600)
    for part in PARTS:
        with opened(part.url(url), part.lineage) as database:
            database.upgrade_now()
            database.write_now(lambda c, name=part.name: FILL[name](c, key))  # type: ignore[misc]


def copy(made: Path, folder: Path) -> None:
    """The SQLite databases of a folder that `make` made, with other points and another key; much
    quicker than to make them."""
    shutil.copytree(made, folder)
    (folder / "secret.key").write_text(f"{new_key()}\n")
    with opened(sqlite_url(folder)) as database:
        database.write_now(lambda c: c.execute(POINTS.update().values(name="changed")))


def in_child(act: Callable[[], object]) -> str:
    """What became of it in a process of its own: ``killed``, ``done``, or the error's sentence."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        said = "done"
        try:
            act()
        except Exception as error:
            said = str(error)
        finally:
            os.write(writing, said.encode())
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    return "killed" if os.WIFSIGNALED(status) else said


@contextlib.contextmanager
def opened(url: str, lineage: Any = PARTS[0].lineage) -> Iterator[Database]:
    database = Database(url, lineage=lineage)
    try:
        yield database
    finally:
        database.close_now()


def contents(url: str) -> Contents:
    """All rows of all tables of the metadata, as Python values."""
    found: Contents = {}
    for part in PARTS:
        with opened(part.url(url), part.lineage) as database:
            for table in part.metadata.sorted_tables:
                wanted = select(table).order_by(*table.primary_key.columns)
                rows = database.read_now(lambda c, w=wanted: c.execute(w).all())  # type: ignore[misc]
                found[table.name] = [dict(row._mapping) for row in rows]
    return found


def sqlite_url(folder: Path) -> str:
    return f"sqlite:///{folder.absolute() / 'hutong.db'}"
