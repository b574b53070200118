"""What organisations show one another."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

ID = sa.Uuid(as_uuid=False).with_variant(sa.CHAR(36), "sqlite")
INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "shares",
        sa.Column("id", ID, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("owner_id", ID, nullable=False),
        sa.Column("point_id", ID, nullable=True),
        sa.Column("receiver_id", ID, nullable=False),
        sa.Column("purpose", sa.String(length=400), nullable=False),
        sa.Column("approved_by_id", sa.String(length=36), nullable=False),
        sa.Column("approved_by_name", sa.String(length=100), nullable=False),
        sa.Column("starts_at", INSTANT, nullable=False),
        sa.Column("ends_at", INSTANT, nullable=False),
        sa.Column("ptz", sa.Boolean(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.CheckConstraint("starts_at < ends_at", name=op.f("ck_shares_starts_before_it_ends")),
        sa.CheckConstraint("owner_id <> receiver_id", name=op.f("ck_shares_to_another")),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["organizations.id"], name=op.f("fk_shares_owner_id_organizations")
        ),
        sa.ForeignKeyConstraint(
            ["point_id"],
            ["points.id"],
            name=op.f("fk_shares_point_id_points"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["receiver_id"], ["organizations.id"], name=op.f("fk_shares_receiver_id_organizations")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shares")),
    )
    for column in ("owner_id", "point_id", "receiver_id"):
        op.create_index(op.f(f"ix_shares_{column}"), "shares", [column])


def downgrade() -> None:
    op.drop_table("shares")
