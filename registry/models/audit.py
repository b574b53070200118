"""Who looked, moved a camera or signed in, and when. In a file of its own on SQLite."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index, MetaData, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from registry.models.base import DOCUMENT, ID, NAMES, PATH, UtcDateTime, table


class AuditBase(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMES)


class AuditRow(AuditBase):
    """One act. No foreign keys: the record outlives what it is about, and lies elsewhere.

    organization_id: where it counts, empty for nowhere; organization_path: its path at that time.
    address: where the person was, empty where nobody asked.
    """

    __tablename__ = "audit"

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    user_id: Mapped[str] = mapped_column(String(36))
    user_name: Mapped[str] = mapped_column(String(100))
    action: Mapped[str] = mapped_column(String(32))
    kind: Mapped[str] = mapped_column(String(32))
    object_id: Mapped[str] = mapped_column(String(36))
    organization_id: Mapped[str] = mapped_column(String(36))
    organization_path: Mapped[str] = mapped_column(PATH)
    address: Mapped[str] = mapped_column(String(64))
    details: Mapped[dict[str, Any]] = mapped_column(DOCUMENT)

    __table_args__ = (
        Index(None, "organization_id", "id"),
        Index(None, "object_id", "id"),
        Index(None, "user_id", "id"),
    )


AUDIT = table(AuditRow)
AUDIT_METADATA = AuditBase.metadata
