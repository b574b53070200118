"""Access tokens: what programs act by, for a user."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from registry.models.base import ID, Base, UtcDateTime, Versioned, table


class TokenRow(Versioned, Base):
    """user_id: for whom it acts. token_hash: SHA-256 of the token. narrowed: it carries the roles
    of `token_roles` and no other, none where none is left; otherwise all that its user has.
    last_used_at: to some minutes. created_by_id, created_by_name: who made it; no foreign key,
    since a record outlives its user."""

    __tablename__ = "tokens"

    user_id: Mapped[str] = mapped_column(ID, ForeignKey("users.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(100))
    token_hash: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    narrowed: Mapped[bool]
    ends_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_by_id: Mapped[str] = mapped_column(String(36))
    created_by_name: Mapped[str] = mapped_column(String(100))


class TokenRoleRow(Base):
    """A role at an organisation that a narrowed token carries, while its user has it."""

    __tablename__ = "token_roles"

    token_id: Mapped[str] = mapped_column(
        ID, ForeignKey("tokens.id", ondelete="CASCADE"), primary_key=True
    )
    role: Mapped[str] = mapped_column(String(16), primary_key=True)
    organization_id: Mapped[str] = mapped_column(
        ID, ForeignKey("organizations.id", ondelete="CASCADE"), primary_key=True, index=True
    )

    __table_args__ = (
        CheckConstraint(
            "role IN ('viewer', 'dispatcher', 'integrator', 'auditor', 'admin')", name="role"
        ),
    )


TOKENS = table(TokenRow)
TOKEN_ROLES = table(TokenRoleRow)
