"""Alarms, and who has seen to them."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "journal_alarms",
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("source", sa.String(length=200), nullable=False),
        sa.Column("received_at", INSTANT, nullable=False),
        sa.Column("acknowledged_at", INSTANT, nullable=True),
        sa.Column("acknowledged_by_id", sa.String(length=36), nullable=False),
        sa.Column("acknowledged_by_name", sa.String(length=100), nullable=False),
        sa.PrimaryKeyConstraint("id", "source", name=op.f("pk_journal_alarms")),
    )
    for column in ("received_at", "acknowledged_at"):
        op.create_index(op.f(f"ix_journal_alarms_{column}"), "journal_alarms", [column])


def downgrade() -> None:
    op.drop_table("journal_alarms")
