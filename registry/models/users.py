"""Users, what they may do where, and their sessions."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from registry.models.base import ID, Base, UtcDateTime, Versioned, table


class UserRow(Versioned, Base):
    """password_hash: as the gateway hashed it."""

    __tablename__ = "users"

    name: Mapped[str] = mapped_column(String(100), unique=True)
    password_hash: Mapped[str] = mapped_column(Text)
    disabled: Mapped[bool]


class RoleRow(Base):
    """A role at an organisation, inherited below it. purpose, ends_at: of `clear_view`."""

    __tablename__ = "roles"

    user_id: Mapped[str] = mapped_column(
        ID, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True
    )
    role: Mapped[str] = mapped_column(String(16), primary_key=True)
    organization_id: Mapped[str] = mapped_column(
        ID, ForeignKey("organizations.id"), primary_key=True, index=True
    )
    purpose: Mapped[str] = mapped_column(Text)
    ends_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    __table_args__ = (
        CheckConstraint(
            "role IN ('viewer', 'dispatcher', 'integrator', 'auditor', 'clear_view', 'admin')",
            name="role",
        ),
    )


class SessionRow(Base):
    """token_hash: SHA-256 of the token. signed_in_at: when the chain of refreshes began."""

    __tablename__ = "sessions"

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    user_id: Mapped[str] = mapped_column(ID, ForeignKey("users.id", ondelete="CASCADE"), index=True)
    token_hash: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    signed_in_at: Mapped[datetime] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)


USERS = table(UserRow)
ROLES = table(RoleRow)
SESSIONS = table(SessionRow)
