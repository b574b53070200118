"""Who changed what, and when."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, mapped_column

from registry.models.base import DOCUMENT, ID, PATH, Base, UtcDateTime, table


class ChangeRow(Base):
    """One write. No foreign keys: the record outlives what it is about.

    details: of an update ``{field: [before, after]}``, of the others what was made or removed.
    """

    __tablename__ = "changes"

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    user_id: Mapped[str] = mapped_column(String(36))
    user_name: Mapped[str] = mapped_column(String(100))
    action: Mapped[str] = mapped_column(String(32))
    kind: Mapped[str] = mapped_column(String(32))
    object_id: Mapped[str] = mapped_column(String(36))
    organization_path: Mapped[str] = mapped_column(PATH)
    details: Mapped[dict[str, Any]] = mapped_column(DOCUMENT)

    __table_args__ = (
        Index(None, "kind", "object_id"),
        Index(None, "organization_path", "id"),
    )


CHANGES = table(ChangeRow)
