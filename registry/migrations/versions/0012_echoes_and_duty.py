"""How late keys were measured to come back, and tours that are on duty."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.add_column("channels", sa.Column("measured_echo_s", sa.Double(), nullable=True))
    op.add_column(
        "tours", sa.Column("on_duty", sa.Boolean(), nullable=False, server_default=sa.false())
    )


def downgrade() -> None:
    op.drop_column("tours", "on_duty")
    op.drop_column("channels", "measured_echo_s")
