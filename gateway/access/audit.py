"""The record of who looked, moved a camera or signed in; kept before it happens."""

import asyncio
import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import structlog

from registry import audit, users
from registry.audit import Act, ActFilter
from registry.database import Connection, Database
from registry.errors import DatabaseAway
from registry.organizations import OrganizationRef
from registry.paging import Page
from registry.partition import Principal

log = structlog.get_logger(__name__)

AT_ONCE = 500
Waiting = tuple[dict[str, Any], asyncio.Future[None]]
"""What is to be written, and who waits for it."""


class Audit:
    """store: the record's own database. registry: where writes are recorded, with them."""

    def __init__(self, store: Database, registry: Database) -> None:
        self._store = store
        self._registry = registry
        self._waiting: list[Waiting] = []
        self._writing: asyncio.Task[None] | None = None
        self.lost = 0

    @property
    def store(self) -> Database:
        return self._store

    async def record(
        self,
        principal: Principal,
        action: str,
        kind: str,
        object_id: str,
        organization: OrganizationRef | None,
        details: Mapping[str, Any],
        address: str = "",
    ) -> None:
        """Nobody looks without it, so call it first. Raises: DatabaseAway."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        given: dict[str, Any] = {
            "principal": principal,
            "action": action,
            "kind": kind,
            "object_id": object_id,
            "organization": organization,
            "details": details,
            "address": address,
        }
        self._waiting.append((given, done))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write(), name="audit")
        await done

    async def _write(self) -> None:
        """Whoever came while others were written is written together: a wall that opens asks for
        hundreds at once."""
        while self._waiting:
            some, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
            try:
                await self._write_all(some)
            except DatabaseAway as away:
                _tell(some, away)
            except Exception:
                # What cannot be written must not keep the others from it.
                for each in some:
                    try:
                        await self._write_all([each])
                    except Exception as error:
                        _tell([each], error)

    async def _write_all(self, some: Sequence[Waiting]) -> None:
        acts = [given for given, done in some if not done.done()]
        await self._store.write(functools.partial(_record_each, acts))
        _tell(some, None)

    async def record_sign_in(self, name: str, address: str, refused: str = "") -> None:
        """Somebody signed in, or tried to under the name of somebody there is. refused: why.

        Of a name that nobody has nothing is kept: people type passwords there. A record that
        cannot be written is counted, and keeps nobody out.
        """
        try:
            found = await self._registry.read(lambda c: users.place_of(c, name))
            if found is None:
                return
            who, place = found
            action = "sign_in_refused" if refused else "sign_in"
            details = {"reason": refused} if refused else {}
            await self.record(who, action, "user", who.user_id, place, details, address)
        except DatabaseAway as away:
            self.lost += 1
            log.warning("sign-in not recorded", reason=away.message)

    async def page(
        self, principal: Principal, wanted: ActFilter, *, limit: int, cursor: str | None
    ) -> Page[Act]:
        """What was done where the principal audits, writes included, newest first.

        Raises: Forbidden, Invalid, DatabaseAway.
        """
        before = audit.position(cursor, limit)
        scope = await self._registry.read(lambda c: audit.scope_of(c, principal))
        acts, writes = await asyncio.gather(
            self._store.read(
                lambda c: audit.read_acts(c, scope, wanted, before=before, limit=limit)
            ),
            self._registry.read(
                lambda c: audit.read_changes(c, scope, wanted, before=before, limit=limit)
            ),
        )
        return audit.merge(acts, writes, limit=limit)


def _tell(some: Iterable[Waiting], error: Exception | None) -> None:
    for _, done in some:
        if not done.done() and error is not None:
            done.set_exception(error)
        elif not done.done():
            done.set_result(None)


def _record_each(acts: Iterable[Mapping[str, Any]], store: Connection) -> None:
    for given in acts:
        audit.record(store, **given)
