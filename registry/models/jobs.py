"""Long work."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Index, String, false
from sqlalchemy import UniqueConstraint as Unique
from sqlalchemy.orm import Mapped, mapped_column

from registry.models.base import DOCUMENT, ID, Base, UtcDateTime, table


class JobRow(Base):
    """done, total: units of work; total is 0 while unknown. user_id: who asked for it, no foreign
    key, since a record outlives its user. node: where it is at work. seen_at: when that node last
    said so, by the database's own clock. interrupted: it failed as its node ended. token_id: of the
    access token by which it was asked for, empty for a person."""

    __tablename__ = "jobs"

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    kind: Mapped[str] = mapped_column(String(64))
    state: Mapped[str] = mapped_column(String(16))
    done: Mapped[int]
    total: Mapped[int]
    report: Mapped[dict[str, Any]] = mapped_column(DOCUMENT)
    user_id: Mapped[str] = mapped_column(String(36))
    idempotency_key: Mapped[str | None] = mapped_column(String(200))
    node: Mapped[str] = mapped_column(String(64), server_default="")
    seen_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    interrupted: Mapped[bool] = mapped_column(server_default=false())
    token_id: Mapped[str] = mapped_column(String(36), server_default="")
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)

    __table_args__ = (
        Unique("user_id", "kind", "idempotency_key"),
        CheckConstraint(
            "state IN ('queued', 'running', 'done', 'failed', 'cancelled')", name="state"
        ),
        Index(None, "state"),
    )


JOBS = table(JobRow)
