"""The finer rules of patches, muted members, and which talkgroup a channel hears."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0007"
down_revision = "0006"

DOCUMENT = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


def upgrade() -> None:
    op.add_column("patches", sa.Column("options", DOCUMENT, nullable=False, server_default="{}"))
    op.add_column(
        "patch_members",
        sa.Column("muted", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
    op.add_column(
        "channels", sa.Column("air", sa.String(length=64), nullable=False, server_default="")
    )


def downgrade() -> None:
    op.drop_column("channels", "air")
    op.drop_column("patch_members", "muted")
    op.drop_column("patches", "options")
