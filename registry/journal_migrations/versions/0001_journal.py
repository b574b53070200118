"""Events, calls, positions."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
INSTANT = sa.DateTime(timezone=True)
DOCUMENT = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


def upgrade() -> None:
    op.create_table(
        "journal_events",
        sa.Column("number", NUMBER, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("source", sa.String(length=200), nullable=False),
        sa.Column("type", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("organization_id", sa.String(length=36), nullable=False),
        sa.Column("time", INSTANT, nullable=False),
        sa.Column("received_at", INSTANT, nullable=False),
        sa.Column("epoch", sa.String(length=64), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("uptime_ms", sa.BigInteger(), nullable=False),
        sa.Column("late", sa.Boolean(), nullable=False),
        sa.Column("data", DOCUMENT, nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_journal_events")),
        sa.UniqueConstraint("source", "id", name=op.f("uq_journal_events_source_id")),
    )
    for column in ("subject", "organization_id"):
        name = op.f(f"ix_journal_events_{column}_number")
        op.create_index(name, "journal_events", [column, "number"])
    op.create_index(op.f("ix_journal_events_received_at"), "journal_events", ["received_at"])
    op.create_table(
        "journal_calls",
        sa.Column("number", NUMBER, autoincrement=True, nullable=False),
        sa.Column("key", sa.String(length=36), nullable=False),
        sa.Column("channel_id", sa.String(length=64), nullable=False),
        sa.Column("organization_id", sa.String(length=36), nullable=False),
        sa.Column("patch_id", sa.String(length=64), nullable=False),
        sa.Column("talker", sa.String(length=300), nullable=False),
        sa.Column("talker_alias", sa.String(length=200), nullable=False),
        sa.Column("emergency", sa.Boolean(), nullable=False),
        sa.Column("encrypted", sa.Boolean(), nullable=False),
        sa.Column("started_at", INSTANT, nullable=False),
        sa.Column("ended_at", INSTANT, nullable=True),
        sa.Column("duration_s", sa.Double(), nullable=True),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("end_reason", sa.String(length=200), nullable=False),
        sa.Column("bridged_to", DOCUMENT, nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_journal_calls")),
        sa.UniqueConstraint("key", name=op.f("uq_journal_calls_key")),
    )
    for column in ("channel_id", "organization_id"):
        name = op.f(f"ix_journal_calls_{column}_number")
        op.create_index(name, "journal_calls", [column, "number"])
    op.create_index(op.f("ix_journal_calls_started_at"), "journal_calls", ["started_at"])
    op.create_table(
        "journal_positions",
        sa.Column("system_id", sa.String(length=64), nullable=False),
        sa.Column("epoch", sa.String(length=64), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("system_id", name=op.f("pk_journal_positions")),
    )


def downgrade() -> None:
    for table in ("journal_positions", "journal_calls", "journal_events"):
        op.drop_table(table)
