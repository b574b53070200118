"""Ids and times of the registry's own objects."""

import re
from datetime import UTC, datetime

import uuid_utils

_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def new_id() -> str:
    """A UUIDv7 as lower-case text: ids made later in this process sort after it."""
    return str(uuid_utils.uuid7())


def parse_id(text: str) -> str | None:
    """The canonical form of an id, or None where the text is no UUID."""
    lowered = text.lower()
    return lowered if _ID.fullmatch(lowered) else None


def now() -> datetime:
    """This machine's time in UTC, cut to milliseconds as every time in the registry is."""
    return to_milliseconds(datetime.now(UTC))


def to_milliseconds(at: datetime) -> datetime:
    """at: with a zone. The same instant in UTC, cut (never rounded up) to milliseconds."""
    if at.tzinfo is None:
        raise ValueError(f"a time without a zone: {at!r}")
    utc = at.astimezone(UTC)
    return utc.replace(microsecond=utc.microsecond // 1000 * 1000)
