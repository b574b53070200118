"""What all tables share: names of constraints, types of ids, times and documents."""

from datetime import UTC, datetime
from typing import Any, cast

from sqlalchemy import CHAR, JSON, DateTime, Dialect, MetaData, Table, Text, Uuid
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator, TypeEngine

from registry.identity import to_milliseconds

# On SQLite an id is stored as it is written, which saves turning 200 of them a page into text.
ID: TypeEngine[str] = Uuid(as_uuid=False).with_variant(CHAR(36), "sqlite")

DOCUMENT: TypeEngine[Any] = JSON(none_as_null=True).with_variant(
    JSONB(none_as_null=True), "postgresql"
)

# Byte order, whatever the server's locale: subtrees are ranges of paths, and "/" < "0".
PATH: TypeEngine[str] = Text().with_variant(Text(collation="C"), "postgresql")


class UtcDateTime(TypeDecorator[datetime]):
    """Instants: with a zone in Python, UTC and cut to milliseconds in the database."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else to_milliseconds(value)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


NAMES = {
    "pk": "pk_%(table_name)s",
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
}


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMES)


class Versioned:
    """Columns of every object that people edit. version: counts edits, for optimistic locking."""

    id: Mapped[str] = mapped_column(ID, primary_key=True, sort_order=-2)
    version: Mapped[int] = mapped_column(default=1, sort_order=-1)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, sort_order=90)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime, sort_order=91)


def table(model: type[DeclarativeBase]) -> Table:
    """The table of a model, for SQLAlchemy Core."""
    return cast(Table, model.__table__)
