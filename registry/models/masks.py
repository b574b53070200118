"""Privacy masks of points."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from registry.models.base import DOCUMENT, ID, Base, UtcDateTime, table


class PointMaskRow(Base):
    """polygons: of a point that stands still; presets: of one that moves, by name. Corners are
    x, y in 0..1 of the frame. Whether they are drawn is `masked` of the point."""

    __tablename__ = "point_masks"

    point_id: Mapped[str] = mapped_column(
        ID, ForeignKey("points.id", ondelete="CASCADE"), primary_key=True
    )
    version: Mapped[int]
    polygons: Mapped[list[Any]] = mapped_column(DOCUMENT)
    presets: Mapped[dict[str, Any]] = mapped_column(DOCUMENT)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)


POINT_MASKS = table(PointMaskRow)
