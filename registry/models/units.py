"""Units: people with radios and phones."""

from sqlalchemy import CheckConstraint, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from registry.models.base import ID, Base, Versioned, table


class UnitRow(Versioned, Base):
    __tablename__ = "units"

    alias: Mapped[str] = mapped_column(String(200))
    organization_id: Mapped[str] = mapped_column(ID, ForeignKey("organizations.id"), index=True)
    priority: Mapped[int]

    __table_args__ = (CheckConstraint("priority BETWEEN 0 AND 255", name="priority"),)


class UnitAddressRow(Base):
    """An address belongs to one unit at most."""

    __tablename__ = "unit_addresses"

    system_id: Mapped[str] = mapped_column(ID, ForeignKey("systems.id"), primary_key=True)
    address: Mapped[str] = mapped_column(String(200), primary_key=True)
    unit_id: Mapped[str] = mapped_column(ID, ForeignKey("units.id", ondelete="CASCADE"), index=True)


UNITS = table(UnitRow)
UNIT_ADDRESSES = table(UnitAddressRow)
