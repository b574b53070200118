"""What happened, for good: events, calls, and how far each writer's are stored.

In a file of its own on SQLite, so that a burst of calls and a long import never wait for each
other.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Index, Integer, MetaData, String, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from registry.models.base import DOCUMENT, NAMES, UtcDateTime, table

# SQLite counts rows by itself only where the key is exactly INTEGER.
NUMBER = BigInteger().with_variant(Integer, "sqlite")


class JournalBase(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMES)


class EventRow(JournalBase):
    """A CloudEvent. number: order of storing. type: without ``hutong.``. organization_id: whose it
    was, empty where the path was nobody's any more. late: it came through an outbox."""

    __tablename__ = "journal_events"

    number: Mapped[int] = mapped_column(NUMBER, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(128))
    source: Mapped[str] = mapped_column(String(200))
    type: Mapped[str] = mapped_column(String(64))
    subject: Mapped[str] = mapped_column(String(64))
    organization_id: Mapped[str] = mapped_column(String(36))
    time: Mapped[datetime] = mapped_column(UtcDateTime)
    received_at: Mapped[datetime] = mapped_column(UtcDateTime)
    epoch: Mapped[str] = mapped_column(String(64))
    sequence: Mapped[int] = mapped_column(BigInteger)
    uptime_ms: Mapped[int] = mapped_column(BigInteger)
    late: Mapped[bool]
    data: Mapped[dict[str, Any]] = mapped_column(DOCUMENT)

    __table_args__ = (
        UniqueConstraint("source", "id"),
        Index(None, "subject", "number"),
        Index(None, "organization_id", "number"),
        Index(None, "received_at"),
    )


class CallRow(JournalBase):
    """Somebody's talk. key: the same for whoever records it. outcome: ``local``, ``bridged``,
    ``queued``, ``denied``, ``revoked``. bridged_to: ids of the channels that carried it. stored_at:
    when it was first written, by the journal's clock; None of those from before that was kept."""

    __tablename__ = "journal_calls"

    number: Mapped[int] = mapped_column(NUMBER, primary_key=True, autoincrement=True)
    key: Mapped[str] = mapped_column(String(36))
    channel_id: Mapped[str] = mapped_column(String(64))
    organization_id: Mapped[str] = mapped_column(String(36))
    patch_id: Mapped[str] = mapped_column(String(64))
    talker: Mapped[str] = mapped_column(String(300))
    talker_alias: Mapped[str] = mapped_column(String(200))
    emergency: Mapped[bool]
    encrypted: Mapped[bool]
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    duration_s: Mapped[float | None]
    outcome: Mapped[str] = mapped_column(String(16))
    end_reason: Mapped[str] = mapped_column(String(200))
    bridged_to: Mapped[list[str]] = mapped_column(DOCUMENT)
    stored_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    __table_args__ = (
        UniqueConstraint("key"),
        Index(None, "channel_id", "number"),
        Index(None, "organization_id", "number"),
        Index(None, "started_at"),
    )


class AlarmRow(JournalBase):
    """An event that somebody should see to, and who has. acknowledged_by_…: empty while nobody
    has; no foreign key, since a record outlives its user."""

    __tablename__ = "journal_alarms"

    id: Mapped[str] = mapped_column(String(128), primary_key=True)
    source: Mapped[str] = mapped_column(String(200), primary_key=True)
    received_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    acknowledged_at: Mapped[datetime | None] = mapped_column(UtcDateTime, index=True)
    acknowledged_by_id: Mapped[str] = mapped_column(String(36))
    acknowledged_by_name: Mapped[str] = mapped_column(String(100))


class PositionRow(JournalBase):
    """How far a system's events are stored."""

    __tablename__ = "journal_positions"

    system_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    epoch: Mapped[str] = mapped_column(String(64))
    sequence: Mapped[int] = mapped_column(BigInteger)


JOURNAL_EVENTS = table(EventRow)
JOURNAL_CALLS = table(CallRow)
JOURNAL_ALARMS = table(AlarmRow)
JOURNAL_POSITIONS = table(PositionRow)
JOURNAL_METADATA = JournalBase.metadata
