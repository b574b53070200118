"""Sign-in sessions. The registry knows hashes of tokens, never a token."""

import dataclasses
from datetime import datetime

from sqlalchemy import Connection, insert, select
from sqlalchemy import delete as sql_delete

from registry.identity import new_id, now
from registry.models import SESSIONS, USERS

_S = SESSIONS.c


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """signed_in_at: when the password was given; refreshes keep it."""

    id: str
    user_id: str
    signed_in_at: datetime
    expires_at: datetime


def open_session(
    connection: Connection,
    user_id: str,
    token_hash: bytes,
    expires_at: datetime,
    signed_in_at: datetime | None = None,
) -> Session:
    """Begin a session, and forget those of the user that are over."""
    at = now()
    connection.execute(sql_delete(SESSIONS).where(_S.user_id == user_id, _S.expires_at <= at))
    session = Session(
        id=new_id(), user_id=user_id, signed_in_at=signed_in_at or at, expires_at=expires_at
    )
    connection.execute(
        insert(SESSIONS).values(**dataclasses.asdict(session), token_hash=token_hash, created_at=at)
    )
    return session


def find_session(connection: Connection, token_hash: bytes) -> Session | None:
    """The running session of a token; None when it is over, or its user gone or disabled."""
    row = connection.execute(
        select(_S.id, _S.user_id, _S.signed_in_at, _S.expires_at)
        .join_from(SESSIONS, USERS, _S.user_id == USERS.c.id)
        .where(_S.token_hash == token_hash, _S.expires_at > now(), USERS.c.disabled.is_(False))
    ).one_or_none()
    if row is None:
        return None
    return Session(
        id=row.id, user_id=row.user_id, signed_in_at=row.signed_in_at, expires_at=row.expires_at
    )


def close_session(connection: Connection, token_hash: bytes) -> bool:
    """End a session; whether there was one."""
    closed = connection.execute(sql_delete(SESSIONS).where(_S.token_hash == token_hash))
    return closed.rowcount > 0


def close_sessions_of(connection: Connection, user_id: str) -> int:
    """End all sessions of a user; how many there were."""
    return connection.execute(sql_delete(SESSIONS).where(_S.user_id == user_id)).rowcount
