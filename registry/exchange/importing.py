"""Points from a staged file into the registry: all of it, or, where asked, its good rows."""

import dataclasses
import time
from collections.abc import Callable

from sqlalchemy import Connection, func, select, text

from registry import organizations
from registry.database import Database
from registry.errors import Conflict, DatabaseAway, VersionMismatch
from registry.exchange.applying import apply
from registry.exchange.bulk import narrow_cache, widen_cache
from registry.exchange.matching import match
from registry.exchange.outside import Outside, outside
from registry.exchange.planning import Polygons, plan_creates, plan_updates
from registry.exchange.staging import Staging
from registry.models import CHANGES
from registry.partition import INTEGRATE, Principal, require

IMPORT_LOCK = 0x4855_494D
"""PostgreSQL's advisory lock: one import writes at a time."""
PATIENCE_S = 600.0
"""For how long an import waits for others to have written."""
ATTEMPTS = 3
_ASK_AGAIN_S = 0.2
_LATE_MS = 3_600_000
"""No transaction lasts longer: what it recorded has an id from then on."""


class _Stale(Exception):
    """Something was written since the registry was looked at."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """applied: whether anything was written. created, updated, unchanged, refused: rows; what
    would become of them where nothing was written. write_lock_s: for how long other writers of a
    SQLite registry had to wait at most."""

    applied: bool
    created: int
    updated: int
    unchanged: int
    refused: int
    outside: Outside
    write_lock_s: float


def run_import(
    database: Database,
    principal: Principal,
    staging: Staging,
    organization: str,
    *,
    dry_run: bool = False,
    partial: bool = False,
    keep_on: Callable[[], None] = lambda: None,
    after_look: Callable[[], None] = lambda: None,
    before_commit: Callable[[Connection, ImportReport], None] = lambda _connection, _report: None,
) -> ImportReport:
    """Write what a file says. organization: id or path, under which new points are created and in
    which names are looked up.

    All rows or none; with partial, the good ones. Needs `integrator` or `admin` there, and for
    each point that a row changes where that is. Blocks: call it in a thread. keep_on: called now
    and then; raises to stop, and then nothing was written. after_look: called when it is known
    which rows are refused, before anything is written; again, if that had to be found out again.
    before_commit: called last in the transaction that writes, if there is one; raises to undo it.
    Raises: NotFound, Forbidden, Conflict, VersionMismatch, DatabaseAway.
    """
    attempt = _Attempt(
        *(database, principal, staging, organization, partial),
        *(keep_on, after_look, before_commit),
    )
    for number in range(1, ATTEMPTS + 1):
        looked = database.read_now(attempt.look)
        after_look()
        counts = staging.counts()
        if dry_run or (counts["refused"] and not partial):
            break
        if not (counts["create"] + counts["update"]):
            break
        try:
            return attempt.write(looked, is_last=number == ATTEMPTS)
        except (_Stale, Conflict, VersionMismatch):
            # Somebody wrote meanwhile: look again, without keeping others from writing.
            if number == ATTEMPTS:
                raise
    return attempt.report(looked, applied=False)


@dataclasses.dataclass(frozen=True, slots=True)
class _Look:
    """What the registry was found to be. stamp: of what was written until then."""

    stamp: tuple[int, str]
    outside: Outside


@dataclasses.dataclass(slots=True)
class _Attempt:
    database: Database
    principal: Principal
    staging: Staging
    organization: str
    partial: bool
    keep_on: Callable[[], None]
    after_look: Callable[[], None]
    before_commit: Callable[[Connection, ImportReport], None]
    since: str = dataclasses.field(default_factory=lambda: _id_of(time.time_ns() // 1_000_000))

    def look(self, connection: Connection) -> _Look:
        """Decide for each row what is done with it; nothing is written to the registry."""
        # The stamp first: what is written meanwhile must be seen as a change.
        stamp = _stamp(connection, self.since)
        home = organizations.get(connection, self.principal, self.organization)
        require(self.principal, INTEGRATE, home.path)
        self.staging.forget()
        match(connection, self.principal, self.staging, home, self.keep_on)
        polygons = Polygons(connection)
        plan_creates(connection, self.staging, home, polygons, self.keep_on)
        plan_updates(connection, self.principal, self.staging, home, polygons, self.keep_on)
        return _Look(stamp, outside(connection, self.staging, home))

    def write(self, looked: _Look, *, is_last: bool) -> ImportReport:
        """Raises: _Stale where something was written meanwhile; the last attempt looks again while
        it keeps others from writing."""
        began: list[float] = []
        applied = True

        def run(connection: Connection) -> ImportReport:
            nonlocal applied, looked
            self._wait_for_others(connection)
            began.append(time.monotonic())
            if _stamp(connection, self.since) != looked.stamp:
                if not is_last:
                    raise _Stale
                looked = self.look(connection)
                self.after_look()
                if self.staging.counts()["refused"] and not self.partial:
                    return self.report(looked, applied=False)
            widen_cache(connection)
            try:
                apply(connection, self.principal, self.staging, self.keep_on)
                self.keep_on()
                report = self.report(looked, applied=True, lock_s=time.monotonic() - began[-1])
                self.before_commit(connection, report)
                return report
            finally:
                narrow_cache(connection)

        give_up_s = time.monotonic() + PATIENCE_S
        while True:
            try:
                report = self.database.write_now(run)
            except DatabaseAway:
                # SQLite lets one write, and this one was never its turn.
                if began or self.database.kind != "sqlite" or time.monotonic() > give_up_s:
                    raise
                self.keep_on()
            else:
                lock_s = time.monotonic() - began[-1] if report.applied else 0.0
                return dataclasses.replace(report, write_lock_s=round(lock_s, 3))

    def _wait_for_others(self, connection: Connection) -> None:
        if connection.dialect.name != "postgresql":
            return
        # A COPY of many rows takes longer than what people ask for may.
        connection.exec_driver_sql(f"SET LOCAL statement_timeout = {round(PATIENCE_S * 1000)}")
        give_up_s = time.monotonic() + PATIENCE_S
        asked = text("SELECT pg_try_advisory_xact_lock(:lock)")
        while not connection.scalar(asked, {"lock": IMPORT_LOCK}):
            self.keep_on()
            if time.monotonic() > give_up_s:
                raise DatabaseAway("other imports are still being written")
            time.sleep(_ASK_AGAIN_S)

    def report(self, looked: _Look, *, applied: bool, lock_s: float = 0.0) -> ImportReport:
        counts = self.staging.counts()
        return ImportReport(
            applied=applied,
            created=counts["create"],
            updated=counts["update"],
            unchanged=counts["same"],
            refused=counts["refused"],
            outside=looked.outside,
            write_lock_s=round(lock_s, 3),
        )


def _id_of(at_ms: int) -> str:
    """The least id of what was recorded an hour before, or later."""
    digits = f"{at_ms - _LATE_MS:012x}"
    return f"{digits[:8]}-{digits[8:]}-0000-0000-000000000000"


def _stamp(connection: Connection, since: str) -> tuple[int, str]:
    """Another one means that points or organisations were written. A change that is committed
    late, with an id from before, is counted too."""
    recent = (CHANGES.c.id >= since, CHANGES.c.kind.in_(("point", "organization")))
    count = connection.execute(select(func.count()).where(*recent)).scalar_one()
    latest = select(CHANGES.c.id).where(*recent).order_by(CHANGES.c.id.desc()).limit(1)
    return count, connection.scalar(latest) or ""
