"""Walls, the saved layouts of a user, and tours, the patrols of an organisation.

Places and stops hang on the point that they show: a deleted point leaves every wall and tour.
"""

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    SmallInteger,
    String,
    UniqueConstraint,
    false,
)
from sqlalchemy.orm import Mapped, mapped_column

from registry.models.base import ID, Base, Versioned, table


class WallRow(Versioned, Base):
    """tiles: how many places it has."""

    __tablename__ = "walls"

    user_id: Mapped[str] = mapped_column(ID, ForeignKey("users.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(200))
    tiles: Mapped[int] = mapped_column(SmallInteger)

    __table_args__ = (
        UniqueConstraint("user_id", "name"),
        CheckConstraint("tiles IN (1, 4, 9, 16, 25)", name="tiles"),
    )


class WallPlaceRow(Base):
    """place: counted from 0, by rows."""

    __tablename__ = "wall_places"

    wall_id: Mapped[str] = mapped_column(
        ID, ForeignKey("walls.id", ondelete="CASCADE"), primary_key=True
    )
    place: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    point_id: Mapped[str] = mapped_column(
        ID, ForeignKey("points.id", ondelete="CASCADE"), index=True
    )


class TourRow(Versioned, Base):
    """dwell_s: how long a group stands. on_duty: whether it is asked for now."""

    __tablename__ = "tours"

    organization_id: Mapped[str] = mapped_column(ID, ForeignKey("organizations.id"), index=True)
    name: Mapped[str] = mapped_column(String(200))
    dwell_s: Mapped[int]
    on_duty: Mapped[bool] = mapped_column(default=False, server_default=false())

    __table_args__ = (
        UniqueConstraint("organization_id", "name"),
        CheckConstraint("dwell_s BETWEEN 5 AND 3600", name="dwell"),
    )


class TourGroupRow(Base):
    """position: its turn, from 0."""

    __tablename__ = "tour_groups"

    tour_id: Mapped[str] = mapped_column(
        ID, ForeignKey("tours.id", ondelete="CASCADE"), primary_key=True
    )
    position: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(String(200))


class TourStopRow(Base):
    """A point in a group. turn: the position of its group; place: its own in it, from 0."""

    __tablename__ = "tour_stops"

    tour_id: Mapped[str] = mapped_column(
        ID, ForeignKey("tours.id", ondelete="CASCADE"), primary_key=True
    )
    turn: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    place: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    point_id: Mapped[str] = mapped_column(
        ID, ForeignKey("points.id", ondelete="CASCADE"), index=True
    )


WALLS = table(WallRow)
WALL_PLACES = table(WallPlaceRow)
TOURS = table(TourRow)
TOUR_GROUPS = table(TourGroupRow)
TOUR_STOPS = table(TourStopRow)
