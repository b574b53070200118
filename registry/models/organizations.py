"""The tree of organisations."""

from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, false
from sqlalchemy.orm import Mapped, mapped_column

from registry.models.base import DOCUMENT, ID, PATH, Base, Versioned, table


class OrganizationRow(Versioned, Base):
    """path: the slugs from the root down, joined by "/". depth: 1 for a root.

    jurisdiction: GeoJSON Polygon or MultiPolygon, WGS-84; its area in whole m² and its box in
    degrees are kept beside it, so that few polygons need to be read for a point.
    purpose_required: nobody opens a picture of its points, or of those below it, without a purpose.
    """

    __tablename__ = "organizations"

    kind: Mapped[str] = mapped_column(String(16))
    name: Mapped[str] = mapped_column(String(200))
    slug: Mapped[str] = mapped_column(String(63))
    path: Mapped[str] = mapped_column(PATH, unique=True)
    depth: Mapped[int]
    parent_id: Mapped[str | None] = mapped_column(ID, ForeignKey("organizations.id"), index=True)
    code: Mapped[str | None] = mapped_column(String(12), unique=True)
    region: Mapped[str | None] = mapped_column(String(12))
    business_group_code: Mapped[str | None] = mapped_column(String(20))
    virtual_organization_code: Mapped[str | None] = mapped_column(String(20))
    jurisdiction: Mapped[dict[str, Any] | None] = mapped_column(DOCUMENT)
    area_m2: Mapped[int | None] = mapped_column(BigInteger)
    west_deg: Mapped[float | None]
    south_deg: Mapped[float | None]
    east_deg: Mapped[float | None]
    north_deg: Mapped[float | None]
    purpose_required: Mapped[bool] = mapped_column(server_default=false())

    __table_args__ = (
        CheckConstraint("kind IN ('district', 'station', 'workroom')", name="kind"),
        CheckConstraint("kind = 'district' OR parent_id IS NOT NULL", name="root_is_district"),
        Index(None, "west_deg", "east_deg"),
        # Unique indexes, not constraints: SQLite can add them without writing the table anew.
        Index(None, "business_group_code", unique=True),
        Index(None, "virtual_organization_code", unique=True),
    )


ORGANIZATIONS = table(OrganizationRow)
