"""Alembic's way in: uses the connection that `registry.migrations` hands over."""

from alembic import context

from registry.models.journal import JOURNAL_METADATA

context.configure(
    connection=context.config.attributes["connection"],
    version_table=context.config.attributes["version_table"],
    target_metadata=JOURNAL_METADATA,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
