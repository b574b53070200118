"""What is odd about a device, and finding one again by its serial number."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0006"
down_revision = "0005"

DOCUMENT = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


def upgrade() -> None:
    op.add_column("devices", sa.Column("notes", DOCUMENT, nullable=True))
    op.create_index(op.f("ix_devices_serial"), "devices", ["serial"])


def downgrade() -> None:
    op.drop_index(op.f("ix_devices_serial"), table_name="devices")
    op.drop_column("devices", "notes")
