"""The steps from each shape of the database to the next, run by Alembic."""

import contextlib
import dataclasses
from collections.abc import Iterator
from importlib import resources
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text

if TYPE_CHECKING:
    from alembic.config import Config

UPGRADE_LOCK = 7_310_417
"""Number of the PostgreSQL advisory lock that lets one process upgrade at a time."""

REVISION_LENGTH = 4
"""Steps are numbered in their files' names."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """Tables that have steps of their own: on SQLite they are a file, on PostgreSQL they stand in
    one database with the others. location: of the steps. version_table: where they got to."""

    location: str
    version_table: str


REGISTRY = Lineage(location="registry:migrations", version_table="alembic_version")
AUDIT = Lineage(location="registry:audit_migrations", version_table="audit_version")


class Unknown(Exception):
    """The database is at a revision that this version does not have."""


def upgrade(connection: Connection, revision: str = "head", lineage: Lineage = REGISTRY) -> None:
    """Raises: Unknown when the database was made by a newer version."""
    if revision == "head" and _is_newest(connection, lineage):
        return
    from alembic import command

    with connection.begin(), alone(connection, lineage) as config:
        command.upgrade(config, revision)


def revisions(lineage: Lineage = REGISTRY) -> list[str]:
    """All that this version has, the newest last. Known without Alembic, which takes a command a
    quarter of a second to load."""
    package, _, folder = lineage.location.partition(":")
    steps = resources.files(package).joinpath(folder, "versions").iterdir()
    return sorted(each.name[:REVISION_LENGTH] for each in steps if each.name[0].isdigit())


def revision_of(connection: Connection, lineage: Lineage = REGISTRY) -> str | None:
    """Where a database got to, None where its tables were never made."""
    if not inspect(connection).has_table(lineage.version_table):
        return None
    found = connection.execute(text(f"SELECT version_num FROM {lineage.version_table}"))
    return found.scalar()


def _is_newest(connection: Connection, lineage: Lineage) -> bool:
    with connection.begin():
        return revision_of(connection, lineage) == revisions(lineage)[-1]


def downgrade(connection: Connection, revision: str, lineage: Lineage = REGISTRY) -> None:
    """revision: ``base`` removes every table. Raises: Unknown."""
    from alembic import command

    with connection.begin(), alone(connection, lineage) as config:
        command.downgrade(config, revision)


@contextlib.contextmanager
def alone(connection: Connection, lineage: Lineage = REGISTRY) -> Iterator["Config"]:
    """Alembic on this connection, in its transaction, with every other process waiting.

    Raises: Unknown.
    """
    from alembic.config import Config
    from alembic.util.exc import CommandError

    config = Config()
    config.set_main_option("script_location", lineage.location)
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    config.attributes["version_table"] = lineage.version_table
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": UPGRADE_LOCK})
    try:
        yield config
    except CommandError as failure:
        raise Unknown(str(failure)) from failure
