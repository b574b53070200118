"""Long work: its progress and its report.

A job is at work on one node, which says so every few seconds; one that says nothing for `LEASE_S`
has died, and its open jobs have failed. Only the database's clock is asked.
"""

import dataclasses
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, String, and_, func, insert, or_, select
from sqlalchemy import update as sql_update

from registry.errors import Conflict, NotFound
from registry.identity import new_id, now
from registry.models import JOBS
from registry.partition import SYSTEM, Principal
from registry.rows import known_id

_J = JOBS.c
STATES = ("queued", "running", "done", "failed", "cancelled")
_OPEN = ("queued", "running")
LEASE_S = 120


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """state: queued, running, done, failed or cancelled. done, total: units of work, total 0 while
    unknown. user_id: who asked, empty for the gateway itself. interrupted: it failed as its node
    ended, not by itself."""

    id: str
    kind: str
    state: str
    done: int
    total: int
    report: Mapping[str, Any]
    user_id: str
    created_at: datetime
    updated_at: datetime
    interrupted: bool = False

    @property
    def is_open(self) -> bool:
        return self.state in _OPEN


_COLUMNS: Select[Any] = select(
    _J.id,
    _J.kind,
    _J.state,
    _J.done,
    _J.total,
    _J.report,
    _J.user_id,
    _J.created_at,
    _J.updated_at,
    _J.interrupted,
)


def create(
    connection: Connection,
    principal: Principal,
    kind: str,
    *,
    idempotency_key: str | None = None,
    total: int = 0,
    node: str = "",
    resume: bool = False,
) -> tuple[Job, bool]:
    """A queued job and True; or, where the same user gave the same key before, that job and False,
    whatever became of it.

    node: which is going to do it. resume: a job of that key whose node ended is queued again, and
    True comes with it.
    """
    known = find(connection, principal, kind, idempotency_key) if idempotency_key else None
    if known is not None:
        if resume and _reopen(connection, known, node):
            return get(connection, principal, known.id), True
        return known, False
    at = now()
    job = Job(
        id=new_id(),
        kind=kind,
        state="queued",
        done=0,
        total=total,
        report={},
        user_id=principal.user_id,
        created_at=at,
        updated_at=at,
    )
    connection.execute(
        insert(JOBS).values(
            **dataclasses.asdict(job),
            token_id=principal.token.id if principal.token else "",
            idempotency_key=idempotency_key,
            node=node,
            seen_at=func.now(),
        )
    )
    return job, True


def find(
    connection: Connection, principal: Principal, kind: str, idempotency_key: str
) -> Job | None:
    """The job that the same user asked for with that key."""
    row = connection.execute(
        _COLUMNS.where(
            _own(principal),
            _J.kind == kind,
            _J.idempotency_key == idempotency_key,
        )
    ).one_or_none()
    return None if row is None else Job(**row._mapping)


def _reopen(connection: Connection, job: Job, node: str) -> bool:
    """Queue a job again whose node ended. False for another one."""
    ended = or_(_J.interrupted, and_(_J.state.in_(_OPEN), _unseen(connection)))
    changed = connection.execute(
        sql_update(JOBS)
        .where(_J.id == job.id, ended)
        .values(
            state="queued",
            done=0,
            report={},
            interrupted=False,
            node=node,
            seen_at=func.now(),
            updated_at=now(),
        )
    )
    return changed.rowcount > 0


def _unseen(connection: Connection) -> ColumnElement[bool]:
    """SQL: its node has said nothing of the job for too long."""
    if connection.dialect.name == "sqlite":
        return _J.seen_at < func.datetime("now", f"-{LEASE_S} seconds", type_=String)
    return _J.seen_at < func.now() - timedelta(seconds=LEASE_S)


def get(connection: Connection, principal: Principal, job_id: str) -> Job:
    """A job of the principal's own; the gateway itself sees all, and a narrowed token those that
    it asked for. Raises: NotFound."""
    wanted = _COLUMNS.where(_J.id == known_id("job", job_id))
    if principal != SYSTEM:
        wanted = wanted.where(_own(principal))
    row = connection.execute(wanted).one_or_none()
    if row is None:
        raise NotFound("job", job_id)
    return Job(**row._mapping)


def _own(principal: Principal) -> ColumnElement[bool]:
    """SQL: asked for by the principal. What a report says, a narrowed token need not see."""
    own = _J.user_id == principal.user_id
    if principal.token is None or not principal.token.narrowed:
        return own
    return and_(own, _J.token_id == principal.token.id)


def progress(
    connection: Connection,
    job_id: str,
    done: int,
    total: int | None = None,
    report: Mapping[str, Any] | None = None,
) -> bool:
    """Say how far a job is; it is running from the first time on. Whether to go on: False when it
    was cancelled meanwhile."""
    values: dict[str, Any] = {"state": "running", "done": done}
    if total is not None:
        values["total"] = total
    if report is not None:
        values["report"] = dict(report)
    return _write(connection, job_id, values)


def see(connection: Connection, node: str, job_ids: Collection[str]) -> set[str]:
    """Say that a node is at work on these jobs; which of them it should leave, as somebody
    cancelled them or another node does them."""
    named = _J.id.in_(job_ids)
    connection.execute(
        sql_update(JOBS)
        .where(named, _J.state.in_(_OPEN), _J.node == node)
        .values(seen_at=func.now())
    )
    lost = or_(_J.state == "cancelled", _J.node != node)
    return set(connection.scalars(select(_J.id).where(named, lost)))


def finish(connection: Connection, job_id: str, state: str, report: Mapping[str, Any]) -> bool:
    """End a job as done, failed or cancelled. False when it was over already."""
    if state not in STATES or state in _OPEN:
        raise ValueError(f"a job cannot end as {state!r}")
    return _write(connection, job_id, {"state": state, "report": dict(report)})


def cancel(connection: Connection, principal: Principal, job_id: str) -> Job:
    """Cancel a job that is not over. Raises: NotFound; Conflict when it is over."""
    job = get(connection, principal, job_id)
    if not _write(connection, job.id, {"state": "cancelled"}):
        raise Conflict(f"the job is over: {job.state}")
    return get(connection, principal, job_id)


def interrupt(connection: Connection, job_id: str, reason: str) -> bool:
    """A job has failed as its node ends. False when it was over already."""
    return _write(
        connection, job_id, {"state": "failed", "report": {"error": reason}, "interrupted": True}
    )


def amend(connection: Connection, job_id: str, report: Mapping[str, Any]) -> None:
    """Put more in the report of a job that is done."""
    connection.execute(
        sql_update(JOBS).where(_J.id == job_id, _J.state == "done").values(report=dict(report))
    )


def fail_open(connection: Connection, reason: str, node: str = "") -> int:
    """When a node starts: what it left open, or one that says nothing any more, has failed. How
    many those were. Those of nodes that are at work go on."""
    return connection.execute(
        sql_update(JOBS)
        .where(_J.state.in_(_OPEN), or_(_J.node == node, _unseen(connection)))
        .values(state="failed", report={"error": reason}, interrupted=True, updated_at=now())
    ).rowcount


def _write(connection: Connection, job_id: str, values: Mapping[str, Any]) -> bool:
    changed = connection.execute(
        sql_update(JOBS)
        .where(_J.id == job_id, _J.state.in_(_OPEN))
        .values(**values, updated_at=now())
    )
    return changed.rowcount > 0
