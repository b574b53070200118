"""The journal's own tables: made, unmade, and apart from the registry's."""

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect

from registry import journal
from registry.database import Connection, Database
from registry.models.journal import JOURNAL_METADATA

pytest_plugins = ["databases"]


def tables(connection: Connection) -> set[str]:
    return {name for name in inspect(connection).get_table_names() if name.startswith("journal_")}


def test_its_steps_make_what_the_models_say_and_unmake_it(empty_database_url: str) -> None:
    registry, store = Database(empty_database_url), journal.open_store(empty_database_url)
    wanted = set(JOURNAL_METADATA.tables)

    def differences(connection: Connection) -> list[object]:
        ours = {"include_name": lambda name, kind, _: kind != "table" or name in wanted}
        context = MigrationContext.configure(connection, opts=ours)
        return list(compare_metadata(context, JOURNAL_METADATA))

    try:
        registry.upgrade_now()
        store.upgrade_now()
        assert store.read_now(tables) == {*wanted, "journal_version"}
        assert store.read_now(differences) == []
        registry.downgrade_now("base")
        assert wanted <= store.read_now(tables)  # each goes its own way
        store.downgrade_now("base")
        assert store.read_now(tables) <= {"journal_version"}
        store.upgrade_now()
        assert store.read_now(differences) == []
    finally:
        store.close_now()
        registry.close_now()
