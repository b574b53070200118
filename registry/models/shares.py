"""Points and subtrees that one organisation shows another."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from registry.models.base import ID, Base, UtcDateTime, Versioned, table


class ShareRow(Versioned, Base):
    """owner_id: the organisation that shows. point_id: the one point of its own that it shows,
    None for all points of it and of those below it, as they are now. receiver_id: to whom.

    approved_by_id, approved_by_name: who approved it; no foreign key, since a record outlives its
    user.
    """

    __tablename__ = "shares"

    owner_id: Mapped[str] = mapped_column(ID, ForeignKey("organizations.id"), index=True)
    point_id: Mapped[str | None] = mapped_column(
        ID, ForeignKey("points.id", ondelete="CASCADE"), index=True
    )
    receiver_id: Mapped[str] = mapped_column(ID, ForeignKey("organizations.id"), index=True)
    purpose: Mapped[str] = mapped_column(String(400))
    approved_by_id: Mapped[str] = mapped_column(String(36))
    approved_by_name: Mapped[str] = mapped_column(String(100))
    starts_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ends_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ptz: Mapped[bool]

    __table_args__ = (
        CheckConstraint("starts_at < ends_at", name="starts_before_it_ends"),
        CheckConstraint("owner_id <> receiver_id", name="to_another"),
    )


SHARES = table(ShareRow)
