"""Walls and tours."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

ID = sa.Uuid(as_uuid=False).with_variant(sa.CHAR(36), "sqlite")
INSTANT = sa.DateTime(timezone=True)


def _of(table: str, column: str, other: str, *, cascade: bool = True) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        [column],
        [f"{other}.id"],
        name=op.f(f"fk_{table}_{column}_{other}"),
        ondelete="CASCADE" if cascade else None,
    )


def _small(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.SmallInteger(), autoincrement=False, nullable=False)


def upgrade() -> None:
    op.create_table(
        "walls",
        sa.Column("id", ID, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("tiles", sa.SmallInteger(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.CheckConstraint("tiles IN (1, 4, 9, 16, 25)", name=op.f("ck_walls_tiles")),
        _of("walls", "user_id", "users"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_walls")),
        sa.UniqueConstraint("user_id", "name", name=op.f("uq_walls_user_id_name")),
    )
    op.create_table(
        "wall_places",
        sa.Column("wall_id", ID, nullable=False),
        _small("place"),
        sa.Column("point_id", ID, nullable=False),
        _of("wall_places", "wall_id", "walls"),
        _of("wall_places", "point_id", "points"),
        sa.PrimaryKeyConstraint("wall_id", "place", name=op.f("pk_wall_places")),
    )
    op.create_index(op.f("ix_wall_places_point_id"), "wall_places", ["point_id"])
    op.create_table(
        "tours",
        sa.Column("id", ID, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("organization_id", ID, nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("dwell_s", sa.Integer(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.CheckConstraint("dwell_s BETWEEN 5 AND 3600", name=op.f("ck_tours_dwell")),
        _of("tours", "organization_id", "organizations", cascade=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tours")),
        sa.UniqueConstraint("organization_id", "name", name=op.f("uq_tours_organization_id_name")),
    )
    op.create_index(op.f("ix_tours_organization_id"), "tours", ["organization_id"])
    op.create_table(
        "tour_groups",
        sa.Column("tour_id", ID, nullable=False),
        _small("position"),
        sa.Column("name", sa.String(length=200), nullable=False),
        _of("tour_groups", "tour_id", "tours"),
        sa.PrimaryKeyConstraint("tour_id", "position", name=op.f("pk_tour_groups")),
    )
    op.create_table(
        "tour_stops",
        sa.Column("tour_id", ID, nullable=False),
        _small("turn"),
        _small("place"),
        sa.Column("point_id", ID, nullable=False),
        _of("tour_stops", "tour_id", "tours"),
        _of("tour_stops", "point_id", "points"),
        sa.PrimaryKeyConstraint("tour_id", "turn", "place", name=op.f("pk_tour_stops")),
    )
    op.create_index(op.f("ix_tour_stops_point_id"), "tour_stops", ["point_id"])


def downgrade() -> None:
    for table in ("tour_stops", "tour_groups", "tours", "wall_places", "walls"):
        op.drop_table(table)
