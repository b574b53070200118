"""What the latest look at each point's picture said."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0005"
down_revision = "0004"

ID = sa.Uuid(as_uuid=False).with_variant(sa.CHAR(36), "sqlite")
INSTANT = sa.DateTime(timezone=True)
DOCUMENT = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


def upgrade() -> None:
    op.create_table(
        "point_quality",
        sa.Column("point_id", ID, nullable=False),
        sa.Column("thresholds", DOCUMENT, nullable=False),
        sa.Column("device_id", ID, nullable=True),
        sa.Column("address", sa.String(length=200), nullable=True),
        sa.Column("memory", sa.LargeBinary(), nullable=True),
        sa.Column("looked_at", INSTANT, nullable=True),
        sa.Column("outcome", sa.String(length=12), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("scores", DOCUMENT, nullable=False),
        sa.Column("faults", DOCUMENT, nullable=False),
        sa.Column("faults_since", INSTANT, nullable=True),
        sa.Column("evidence", sa.LargeBinary(), nullable=True),
        sa.CheckConstraint(
            "outcome IN ('none', 'judged', 'no_picture')", name=op.f("ck_point_quality_outcome")
        ),
        sa.ForeignKeyConstraint(
            ["point_id"],
            ["points.id"],
            name=op.f("fk_point_quality_point_id_points"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("point_id", name=op.f("pk_point_quality")),
    )


def downgrade() -> None:
    op.drop_table("point_quality")
