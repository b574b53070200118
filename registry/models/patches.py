"""Patches and the channels in them."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, String, false
from sqlalchemy.orm import Mapped, mapped_column

from registry.models.base import DOCUMENT, ID, Base, UtcDateTime, Versioned, table


class PatchRow(Versioned, Base):
    """until: the patch is off from then on. schedule: when it is on, None for always. options: the
    finer rules, as `registry.patch_options` writes them."""

    __tablename__ = "patches"

    name: Mapped[str] = mapped_column(String(200))
    organization_id: Mapped[str] = mapped_column(ID, ForeignKey("organizations.id"), index=True)
    enabled: Mapped[bool]
    hang_s: Mapped[float]
    max_talk_s: Mapped[float]
    queue: Mapped[bool]
    until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    schedule: Mapped[dict[str, Any] | None] = mapped_column(DOCUMENT)
    voice: Mapped[str] = mapped_column(String(8))
    options: Mapped[dict[str, Any]] = mapped_column(DOCUMENT, server_default="{}")

    __table_args__ = (
        CheckConstraint("voice IN ('frames', 'silence', 'events')", name="voice"),
        CheckConstraint("hang_s >= 0 AND max_talk_s > 0", name="times"),
    )


class PatchMemberRow(Base):
    __tablename__ = "patch_members"

    patch_id: Mapped[str] = mapped_column(
        ID, ForeignKey("patches.id", ondelete="CASCADE"), primary_key=True
    )
    channel_id: Mapped[str] = mapped_column(
        ID, ForeignKey("channels.id"), primary_key=True, index=True
    )
    position: Mapped[int]
    direction: Mapped[str] = mapped_column(String(8))
    priority: Mapped[int]
    muted: Mapped[bool] = mapped_column(server_default=false())

    __table_args__ = (
        CheckConstraint("direction IN ('both', 'talk', 'listen')", name="direction"),
        CheckConstraint("priority BETWEEN 0 AND 255", name="priority"),
    )


PATCHES = table(PatchRow)
PATCH_MEMBERS = table(PatchMemberRow)
