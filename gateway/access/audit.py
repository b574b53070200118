"""The record of who looked, moved a camera or signed in; kept before it happens."""

import asyncio
from collections.abc import Mapping
from typing import Any

import structlog

from registry import audit, users
from registry.audit import Act, ActFilter
from registry.database import Database
from registry.errors import DatabaseAway
from registry.organizations import OrganizationRef
from registry.paging import Page
from registry.partition import Principal

log = structlog.get_logger(__name__)


class Audit:
    """store: the record's own database. registry: where writes are recorded, with them."""

    def __init__(self, store: Database, registry: Database) -> None:
        self._store = store
        self._registry = registry
        self.lost = 0

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
        await self._store.write(
            lambda store: audit.record(
                store,
                principal=principal,
                action=action,
                kind=kind,
                object_id=object_id,
                organization=organization,
                details=details,
                address=address,
            )
        )

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
