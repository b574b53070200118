"""Video points."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    Computed,
    ForeignKey,
    Index,
    SmallInteger,
    String,
    Text,
    text,
)
from sqlalchemy import UniqueConstraint as Unique
from sqlalchemy.orm import Mapped, mapped_column

from registry.models.base import DOCUMENT, ID, Base, UtcDateTime, Versioned, table

SEARCHED = "lower(name || '\n' || place || '\n' || coalesce(code, ''))"
"""What a search looks through; no word that is looked for holds a line break."""


class PointRow(Versioned, Base):
    """organization_id: the owner. home_id: the organisation under which it was created or
    imported, inside which a polygon may give it away, and to which it falls back.

    device_id, address: the source it shows, both or neither. host, channel_number: where a
    spreadsheet says the camera is, so that a device registered later finds its points. search:
    made by the database.
    """

    __tablename__ = "points"

    code: Mapped[str | None] = mapped_column(String(20))
    name: Mapped[str] = mapped_column(String(200))
    place: Mapped[str] = mapped_column(String(400))
    organization_id: Mapped[str] = mapped_column(ID, ForeignKey("organizations.id"))
    home_id: Mapped[str] = mapped_column(ID, ForeignKey("organizations.id"), index=True)
    assigned_by: Mapped[str] = mapped_column(String(8))
    longitude: Mapped[float | None]
    latitude: Mapped[float | None]
    category: Mapped[int] = mapped_column(SmallInteger)
    ownership: Mapped[str] = mapped_column(String(16))
    device_id: Mapped[str | None] = mapped_column(ID, ForeignKey("devices.id"))
    address: Mapped[str | None] = mapped_column(String(200))
    host: Mapped[str | None] = mapped_column(String(255))
    channel_number: Mapped[int | None]
    profiles: Mapped[list[Any]] = mapped_column(DOCUMENT)
    capabilities: Mapped[list[Any]] = mapped_column(DOCUMENT)
    masked: Mapped[bool]
    status: Mapped[str] = mapped_column(String(8))
    status_since: Mapped[datetime] = mapped_column(UtcDateTime)
    status_reason: Mapped[str] = mapped_column(Text)
    attributes: Mapped[dict[str, Any]] = mapped_column(DOCUMENT)
    search: Mapped[str] = mapped_column(Text, Computed(SEARCHED, persisted=True), sort_order=92)

    __table_args__ = (
        Unique("code"),
        Unique("device_id", "address"),
        CheckConstraint("assigned_by IN ('explicit', 'polygon', 'none')", name="assigned_by"),
        CheckConstraint("category IN (1, 2, 3, 9)", name="category"),
        CheckConstraint(
            "ownership IN ('public_security', 'community', 'property', 'enterprise', 'other')",
            name="ownership",
        ),
        CheckConstraint("status IN ('online', 'offline', 'fault', 'unknown')", name="status"),
        CheckConstraint("(device_id IS NULL) = (address IS NULL)", name="source_is_whole"),
        CheckConstraint("(longitude IS NULL) = (latitude IS NULL)", name="position_is_whole"),
        CheckConstraint(
            "longitude BETWEEN -180 AND 180 AND latitude BETWEEN -90 AND 90", name="position"
        ),
        # Reading on from one organisation, and searching it without touching its rows.
        Index("ix_points_search", "organization_id", "id", "search"),
        Index(None, "organization_id", "status", "id"),
        Index(
            "ix_points_unassigned",
            "organization_id",
            "id",
            sqlite_where=text("assigned_by = 'none'"),
            postgresql_where=text("assigned_by = 'none'"),
        ),
        Index(None, "latitude", "longitude"),
        Index(
            None,
            "host",
            "channel_number",
            sqlite_where=text("host IS NOT NULL"),
            postgresql_where=text("host IS NOT NULL"),
        ),
    )


POINTS = table(PointRow)
