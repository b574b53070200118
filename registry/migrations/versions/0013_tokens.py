"""Access tokens, and the token by which a job was asked for."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"

ID = sa.Uuid(as_uuid=False).with_variant(sa.CHAR(36), "sqlite")
INSTANT = sa.DateTime(timezone=True)


def _of(table: str, column: str, other: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        [column],
        [f"{other}.id"],
        name=op.f(f"fk_{table}_{column}_{other}"),
        ondelete="CASCADE",
    )


def upgrade() -> None:
    op.create_table(
        "tokens",
        sa.Column("id", ID, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("narrowed", sa.Boolean(), nullable=False),
        sa.Column("ends_at", INSTANT, nullable=False),
        sa.Column("last_used_at", INSTANT, nullable=True),
        sa.Column("created_by_id", sa.String(length=36), nullable=False),
        sa.Column("created_by_name", sa.String(length=100), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        _of("tokens", "user_id", "users"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tokens")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_tokens_token_hash")),
    )
    op.create_index(op.f("ix_tokens_user_id"), "tokens", ["user_id"])
    op.create_table(
        "token_roles",
        sa.Column("token_id", ID, nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("organization_id", ID, nullable=False),
        sa.CheckConstraint(
            "role IN ('viewer', 'dispatcher', 'integrator', 'auditor', 'admin')",
            name=op.f("ck_token_roles_role"),
        ),
        _of("token_roles", "token_id", "tokens"),
        _of("token_roles", "organization_id", "organizations"),
        sa.PrimaryKeyConstraint("token_id", "role", "organization_id", name=op.f("pk_token_roles")),
    )
    op.create_index(op.f("ix_token_roles_organization_id"), "token_roles", ["organization_id"])
    op.add_column(
        "jobs", sa.Column("token_id", sa.String(length=36), nullable=False, server_default="")
    )


def downgrade() -> None:
    op.drop_column("jobs", "token_id")
    op.drop_table("token_roles")
    op.drop_table("tokens")
