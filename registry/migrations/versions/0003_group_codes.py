"""Catalogue codes of organisations: business group (215) and virtual organisation (216)."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

COLUMNS = ("business_group_code", "virtual_organization_code")


def upgrade() -> None:
    for column in COLUMNS:
        op.add_column("organizations", sa.Column(column, sa.String(length=20), nullable=True))
        op.create_index(op.f(f"ix_organizations_{column}"), "organizations", [column], unique=True)


def downgrade() -> None:
    for column in COLUMNS:
        op.drop_index(op.f(f"ix_organizations_{column}"), table_name="organizations")
        op.drop_column("organizations", column)
