"""The steps from each shape of the database to the next, run by Alembic."""

import contextlib
from collections.abc import Iterator

from alembic import command
from alembic.config import Config
from alembic.util.exc import CommandError
from sqlalchemy import Connection, text

UPGRADE_LOCK = 7_310_417
"""Number of the PostgreSQL advisory lock that lets one process upgrade at a time."""


class Unknown(Exception):
    """The database is at a revision that this version does not have."""


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Raises: Unknown when the database was made by a newer version."""
    with connection.begin(), alone(connection) as config:
        command.upgrade(config, revision)


def downgrade(connection: Connection, revision: str) -> None:
    """revision: ``base`` removes every table. Raises: Unknown."""
    with connection.begin(), alone(connection) as config:
        command.downgrade(config, revision)


@contextlib.contextmanager
def alone(connection: Connection) -> Iterator[Config]:
    """Alembic on this connection, in its transaction, with every other process waiting.

    Raises: Unknown.
    """
    config = Config()
    config.set_main_option("script_location", "registry:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": UPGRADE_LOCK})
    try:
        yield config
    except CommandError as failure:
        raise Unknown(str(failure)) from failure
