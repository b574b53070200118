"""What the latest look at each point's picture said."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from registry.models.base import DOCUMENT, ID, Base, UtcDateTime, table


class PointQualityRow(Base):
    """One row a point, replaced by each look: a picture is kept no longer than its report.

    thresholds: the point's own, by fault. device_id, address: the source that memory is of.
    looked_at, outcome, reason, scores, evidence: of the latest look. faults, faults_since: of the
    latest look that saw a picture.
    """

    __tablename__ = "point_quality"

    point_id: Mapped[str] = mapped_column(
        ID, ForeignKey("points.id", ondelete="CASCADE"), primary_key=True
    )
    thresholds: Mapped[dict[str, Any]] = mapped_column(DOCUMENT)
    device_id: Mapped[str | None] = mapped_column(ID)
    address: Mapped[str | None] = mapped_column(String(200))
    memory: Mapped[bytes | None] = mapped_column(LargeBinary)
    looked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    outcome: Mapped[str] = mapped_column(String(12))
    reason: Mapped[str] = mapped_column(Text)
    scores: Mapped[list[Any]] = mapped_column(DOCUMENT)
    faults: Mapped[list[Any]] = mapped_column(DOCUMENT)
    faults_since: Mapped[datetime | None] = mapped_column(UtcDateTime)
    evidence: Mapped[bytes | None] = mapped_column(LargeBinary)

    __table_args__ = (
        CheckConstraint("outcome IN ('none', 'judged', 'no_picture')", name="outcome"),
    )


POINT_QUALITY = table(PointQualityRow)
