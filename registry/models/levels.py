"""Response levels: an organisation's named plans, and which of them is applied."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from registry.models.base import DOCUMENT, ID, Base, UtcDateTime, Versioned, table


class LevelRow(Versioned, Base):
    """rank: 0 is the calmest. plan: as `registry.levels` writes it."""

    __tablename__ = "levels"

    organization_id: Mapped[str] = mapped_column(
        ID, ForeignKey("organizations.id", ondelete="CASCADE"), index=True
    )
    name: Mapped[str] = mapped_column(String(200))
    rank: Mapped[int]
    plan: Mapped[dict[str, Any]] = mapped_column(DOCUMENT)

    __table_args__ = (UniqueConstraint("organization_id", "name"),)


class AppliedLevelRow(Base):
    """The level in force at an organisation. before, after: the values that it changed, as they
    were and as it set them, ``[kind, id, field, value]`` each."""

    __tablename__ = "applied_levels"

    organization_id: Mapped[str] = mapped_column(
        ID, ForeignKey("organizations.id", ondelete="CASCADE"), primary_key=True
    )
    level_id: Mapped[str] = mapped_column(ID, ForeignKey("levels.id"), index=True)
    applied_at: Mapped[datetime] = mapped_column(UtcDateTime)
    applied_by_id: Mapped[str] = mapped_column(String(36))
    applied_by_name: Mapped[str] = mapped_column(String(100))
    before: Mapped[list[list[Any]]] = mapped_column(DOCUMENT)
    after: Mapped[list[list[Any]]] = mapped_column(DOCUMENT)


LEVELS = table(LevelRow)
APPLIED_LEVELS = table(AppliedLevelRow)
