"""Which node does a job, and whether it still does."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    node = sa.Column("node", sa.String(length=64), nullable=False, server_default="")
    op.add_column("jobs", node)
    op.add_column("jobs", sa.Column("seen_at", sa.DateTime(timezone=True), nullable=True))
    no = sa.false()
    op.add_column("jobs", sa.Column("interrupted", sa.Boolean(), nullable=False, server_default=no))


def downgrade() -> None:
    for column in ("interrupted", "seen_at", "node"):
        op.drop_column("jobs", column)
