"""Privacy masks, and organisations that ask for a purpose."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0010"
down_revision = "0009"

ID = sa.Uuid(as_uuid=False).with_variant(sa.CHAR(36), "sqlite")
DOCUMENT = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


def upgrade() -> None:
    op.create_table(
        "point_masks",
        sa.Column("point_id", ID, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("polygons", DOCUMENT, nullable=False),
        sa.Column("presets", DOCUMENT, nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["point_id"],
            ["points.id"],
            name=op.f("fk_point_masks_point_id_points"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("point_id", name=op.f("pk_point_masks")),
    )
    no = sa.false()
    op.add_column(
        "organizations",
        sa.Column("purpose_required", sa.Boolean(), nullable=False, server_default=no),
    )


def downgrade() -> None:
    op.drop_column("organizations", "purpose_required")
    op.drop_table("point_masks")
