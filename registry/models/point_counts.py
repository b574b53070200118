"""Counts of points, which triggers of the database keep: nobody needs to scan the points."""

from sqlalchemy import BigInteger, Index, SmallInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from registry.models.base import ID, Base, table

CELL_LEVELS = (6, 10, 14)
"""A cell of level n is 360/2^n degrees wide and high: 5.6°, 0.35° and 0.022° (some 2 km)."""


class PointCountRow(Base):
    """How many points of an organisation have these four values.

    slot: 0, or the number of the PostgreSQL transaction that could not wait for another one to
    end, and so wrote down a difference of its own: what counts is the sum.
    """

    __tablename__ = "point_counts"

    organization_id: Mapped[str] = mapped_column(ID, primary_key=True)
    status: Mapped[str] = mapped_column(String(8), primary_key=True)
    assigned_by: Mapped[str] = mapped_column(String(8), primary_key=True)
    category: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    ownership: Mapped[str] = mapped_column(String(16), primary_key=True)
    slot: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    points: Mapped[int]

    __table_args__ = (Index(None, "slot"),)


class PointCellRow(Base):
    """How many points of an organisation lie in a cell of the map.

    x, y: of the cell, from 180° west and 90° south. longitude_sum, latitude_sum: of its points,
    in whole millionths of a degree, so that taking one away leaves no error. slot: as above.
    """

    __tablename__ = "point_cells"

    level: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    organization_id: Mapped[str] = mapped_column(ID, primary_key=True)
    x: Mapped[int] = mapped_column(primary_key=True)
    y: Mapped[int] = mapped_column(primary_key=True)
    slot: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    points: Mapped[int]
    longitude_sum: Mapped[int] = mapped_column(BigInteger)
    latitude_sum: Mapped[int] = mapped_column(BigInteger)

    __table_args__ = (Index(None, "level", "x", "y"), Index(None, "slot"))


class UncountedWriteRow(Base):
    """A row in here stops the triggers of SQLite: one transaction that writes very many points
    puts it in, counts them all at once and takes it out again. Nobody else ever sees one."""

    __tablename__ = "uncounted_writes"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)


POINT_COUNTS = table(PointCountRow)
POINT_CELLS = table(PointCellRow)
UNCOUNTED_WRITES = table(UncountedWriteRow)
