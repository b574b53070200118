"""Long work: its progress and its report."""

import dataclasses
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, insert, select
from sqlalchemy import update as sql_update

from registry.errors import Conflict, NotFound
from registry.identity import new_id, now
from registry.models import JOBS
from registry.partition import SYSTEM, Principal
from registry.rows import known_id

_J = JOBS.c
STATES = ("queued", "running", "done", "failed", "cancelled")
_OPEN = ("queued", "running")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """state: queued, running, done, failed or cancelled. done, total: units of work, total 0 while
    unknown. user_id: who asked, empty for the gateway itself."""

    id: str
    kind: str
    state: str
    done: int
    total: int
    report: Mapping[str, Any]
    user_id: str
    created_at: datetime
    updated_at: datetime

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
)


def create(
    connection: Connection,
    principal: Principal,
    kind: str,
    *,
    idempotency_key: str | None = None,
    total: int = 0,
) -> tuple[Job, bool]:
    """A queued job and True; or, where the same user gave the same key before, that job and False,
    whatever became of it."""
    if idempotency_key is not None:
        row = connection.execute(
            _COLUMNS.where(
                _J.user_id == principal.user_id,
                _J.kind == kind,
                _J.idempotency_key == idempotency_key,
            )
        ).one_or_none()
        if row is not None:
            return Job(**row._mapping), False
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
        insert(JOBS).values(**dataclasses.asdict(job), idempotency_key=idempotency_key)
    )
    return job, True


def get(connection: Connection, principal: Principal, job_id: str) -> Job:
    """A job of the principal's own; the gateway itself sees all. Raises: NotFound."""
    wanted = _COLUMNS.where(_J.id == known_id("job", job_id))
    if principal != SYSTEM:
        wanted = wanted.where(_J.user_id == principal.user_id)
    row = connection.execute(wanted).one_or_none()
    if row is None:
        raise NotFound("job", job_id)
    return Job(**row._mapping)


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


def fail_open(connection: Connection, reason: str) -> int:
    """At start: whatever a process that died left open has failed. How many there were."""
    return connection.execute(
        sql_update(JOBS)
        .where(_J.state.in_(_OPEN))
        .values(state="failed", report={"error": reason}, updated_at=now())
    ).rowcount


def _write(connection: Connection, job_id: str, values: Mapping[str, Any]) -> bool:
    changed = connection.execute(
        sql_update(JOBS)
        .where(_J.id == job_id, _J.state.in_(_OPEN))
        .values(**values, updated_at=now())
    )
    return changed.rowcount > 0
