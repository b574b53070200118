"""Access tokens, which programs show in place of a session's: how one looks, and noting its use."""

import asyncio
import functools
import secrets
from datetime import datetime, timedelta

import structlog

from registry import tokens
from registry.database import Connection, Database
from registry.errors import DatabaseAway
from registry.identity import now

log = structlog.get_logger(__name__)

PREFIX = "hutong_"
"""By it people, and programs that look for secrets, know one where they find it."""

TOKEN_BYTES = 32
NOTED_EVERY = timedelta(minutes=5)
RETRY_S = 5.0


def new_access_token() -> str:
    """256 random bits behind the prefix."""
    return PREFIX + secrets.token_urlsafe(TOKEN_BYTES)


def is_access_token(token: str) -> bool:
    """Whether it says that it is one; whether it is, the registry knows."""
    return token.startswith(PREFIX)


class TokenUses:
    """Writes down when tokens were used, each at most every five minutes: nobody waits for it,
    least of all behind a long import. Only the latest use of each token waits."""

    def __init__(self, database: Database, retry_s: float = RETRY_S) -> None:
        self._database = database
        self._retry_s = retry_s
        self._waiting: dict[str, datetime] = {}
        self._came = asyncio.Event()

    def used(self, token_id: str, known: datetime | None) -> None:
        """known: the use that is written down already."""
        at = now()
        if known is None or at - known >= NOTED_EVERY:
            self._waiting[token_id] = at
            self._came.set()

    async def run(self) -> None:
        """Write until cancelled; what cannot be written waits."""
        away = False
        while True:
            await self._came.wait()
            self._came.clear()
            some = dict(self._waiting)
            try:
                await self._database.write(functools.partial(_note, some))
            except DatabaseAway as error:
                if not away:
                    log.warning("use of tokens not written", reason=error.message)
                away = True
                await asyncio.sleep(self._retry_s)
                self._came.set()
                continue
            away = False
            for token_id, at in some.items():
                if self._waiting.get(token_id) == at:
                    del self._waiting[token_id]


def _note(uses: dict[str, datetime], connection: Connection) -> None:
    tokens.note_uses(connection, uses)
