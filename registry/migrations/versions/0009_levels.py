"""Response levels."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0009"
down_revision = "0008"

ID = sa.Uuid(as_uuid=False).with_variant(sa.CHAR(36), "sqlite")
INSTANT = sa.DateTime(timezone=True)
DOCUMENT = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


def _organization(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["organization_id"],
        ["organizations.id"],
        name=op.f(f"fk_{table}_organization_id_organizations"),
        ondelete="CASCADE",
    )


def upgrade() -> None:
    op.create_table(
        "levels",
        sa.Column("id", ID, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("organization_id", ID, nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("plan", DOCUMENT, nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        _organization("levels"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_levels")),
        sa.UniqueConstraint("organization_id", "name", name=op.f("uq_levels_organization_id_name")),
    )
    op.create_index(op.f("ix_levels_organization_id"), "levels", ["organization_id"])
    op.create_table(
        "applied_levels",
        sa.Column("organization_id", ID, nullable=False),
        sa.Column("level_id", ID, nullable=False),
        sa.Column("applied_at", INSTANT, nullable=False),
        sa.Column("applied_by_id", sa.String(length=36), nullable=False),
        sa.Column("applied_by_name", sa.String(length=100), nullable=False),
        sa.Column("before", DOCUMENT, nullable=False),
        sa.Column("after", DOCUMENT, nullable=False),
        _organization("applied_levels"),
        sa.ForeignKeyConstraint(
            ["level_id"], ["levels.id"], name=op.f("fk_applied_levels_level_id_levels")
        ),
        sa.PrimaryKeyConstraint("organization_id", name=op.f("pk_applied_levels")),
    )
    op.create_index(op.f("ix_applied_levels_level_id"), "applied_levels", ["level_id"])


def downgrade() -> None:
    op.drop_table("applied_levels")
    op.drop_table("levels")
