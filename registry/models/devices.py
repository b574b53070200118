"""Cameras and recorders."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, LargeBinary, String, Text
from sqlalchemy import UniqueConstraint as Unique
from sqlalchemy.orm import Mapped, mapped_column

from registry.models.base import DOCUMENT, ID, Base, UtcDateTime, Versioned, table


class DeviceRow(Versioned, Base):
    """secret: the password as the gateway sealed it; the registry never sees it in clear.

    sources: what the last probe found, a list of objects as in `registry.sources`. notes: what was
    odd about it, sentences for a person.
    """

    __tablename__ = "devices"

    adapter: Mapped[str] = mapped_column(String(64))
    endpoint: Mapped[str] = mapped_column(String(500))
    name: Mapped[str] = mapped_column(String(200))
    organization_id: Mapped[str] = mapped_column(ID, ForeignKey("organizations.id"), index=True)
    username: Mapped[str] = mapped_column(String(200))
    secret: Mapped[bytes | None] = mapped_column(LargeBinary)
    settings: Mapped[dict[str, Any]] = mapped_column(DOCUMENT)
    manufacturer: Mapped[str] = mapped_column(String(200))
    model: Mapped[str] = mapped_column(String(200))
    serial: Mapped[str] = mapped_column(String(200), index=True)
    firmware: Mapped[str] = mapped_column(String(200))
    endpoint_reference: Mapped[str] = mapped_column(String(200), index=True)
    clock_offset_s: Mapped[float | None]
    status: Mapped[str] = mapped_column(String(8))
    status_since: Mapped[datetime] = mapped_column(UtcDateTime)
    last_error: Mapped[str] = mapped_column(Text)
    sources: Mapped[list[Any]] = mapped_column(DOCUMENT)
    notes: Mapped[list[Any] | None] = mapped_column(DOCUMENT)

    __table_args__ = (
        Unique("organization_id", "adapter", "endpoint"),
        CheckConstraint("status IN ('online', 'offline', 'fault', 'unknown')", name="status"),
    )


DEVICES = table(DeviceRow)
