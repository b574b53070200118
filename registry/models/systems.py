"""Radio and PTT systems, and their channels."""

from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, LargeBinary, String
from sqlalchemy import UniqueConstraint as Unique
from sqlalchemy.orm import Mapped, mapped_column

from registry.models.base import DOCUMENT, ID, Base, Versioned, table


class SystemRow(Versioned, Base):
    """secrets: the secret part of its settings as the gateway sealed it."""

    __tablename__ = "systems"

    adapter: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(String(200))
    organization_id: Mapped[str] = mapped_column(ID, ForeignKey("organizations.id"), index=True)
    settings: Mapped[dict[str, Any]] = mapped_column(DOCUMENT)
    secrets: Mapped[bytes | None] = mapped_column(LargeBinary)
    enabled: Mapped[bool]

    __table_args__ = (Unique("organization_id", "name"),)


class ChannelRow(Versioned, Base):
    """address: the system's own word for it. gateway_unit_id: who we are when we key it.
    hold_s: a talk is over when not refreshed within it; echo_s: how late our own key comes back;
    both None for what the adapter says. measured_echo_s: what the last test key that came back
    took; None where none did. air: which talkgroup of which network it is, however it is
    heard, such as ``bee00.1a2/3101``; empty where nobody said."""

    __tablename__ = "channels"

    system_id: Mapped[str] = mapped_column(ID, ForeignKey("systems.id"))
    address: Mapped[str] = mapped_column(String(200))
    name: Mapped[str] = mapped_column(String(200))
    organization_id: Mapped[str] = mapped_column(ID, ForeignKey("organizations.id"), index=True)
    kind: Mapped[str] = mapped_column(String(8))
    priority: Mapped[int]
    gateway_unit_id: Mapped[str] = mapped_column(String(64))
    hold_s: Mapped[float | None]
    echo_s: Mapped[float | None]
    measured_echo_s: Mapped[float | None]
    air: Mapped[str] = mapped_column(String(64), server_default="")

    __table_args__ = (
        Unique("system_id", "address"),
        CheckConstraint("kind IN ('trunk', 'ptt')", name="kind"),
        CheckConstraint("priority BETWEEN 0 AND 255", name="priority"),
    )


SYSTEMS = table(SystemRow)
CHANNELS = table(ChannelRow)
