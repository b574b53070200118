"""``python -m registry.migrations "Add shares"`` writes the next step from what the models say.

It compares the models with a fresh database of all steps so far, and what it writes is a draft:
read it, give it a downgrade that keeps data, and test it on both databases.
"""

import sys
import tempfile
from pathlib import Path

from alembic import command
from alembic.script import ScriptDirectory

from registry.database import Connection, Database
from registry.migrations import alone


def main(message: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{Path(folder) / 'fresh.db'}")
        try:
            database.upgrade_now()

            def draft(connection: Connection) -> None:
                with alone(connection) as config:
                    head = ScriptDirectory.from_config(config).get_current_head() or "0"
                    number = f"{int(head) + 1:04d}"
                    command.revision(config, message, autogenerate=True, rev_id=number)

            database.read_now(draft)
        finally:
            database.close_now()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit('usage: python -m registry.migrations "what changes"')
    main(sys.argv[1])
