"""Long work beside the requests: jobs that can be watched and cancelled."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog

from adapters.errors import AdapterError
from registry import jobs
from registry.database import Database
from registry.errors import DatabaseAway, RegistryError
from registry.jobs import Job
from registry.partition import Principal

log = structlog.get_logger("jobs")

Progress = Callable[[int, int | None, Mapping[str, Any] | None], Awaitable[None]]
"""`await progress(done, total, report)`."""
Work = Callable[[Progress], Awaitable[Mapping[str, Any]]]
"""Does the work and gives its report. Raises: RegistryError, AdapterError to fail the job."""


class Jobs:
    """The jobs of this process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._running: dict[str, asyncio.Task[None]] = {}

    async def start(
        self, principal: Principal, kind: str, work: Work, idempotency_key: str | None = None
    ) -> Job:
        """A new job at work; the same key of the same user gives the job it gave before."""
        job, fresh = await self._database.write(
            lambda c: jobs.create(c, principal, kind, idempotency_key=idempotency_key)
        )
        if fresh:
            task = asyncio.create_task(self._run(job.id, work))
            self._running[job.id] = task
            task.add_done_callback(lambda _: self._running.pop(job.id, None))
        return job

    async def cancel(self, principal: Principal, job_id: str) -> Job:
        """Raises: NotFound; Conflict when it is over."""
        job = await self._database.write(lambda c: jobs.cancel(c, principal, job_id))
        task = self._running.get(job_id)
        if task is not None:
            task.cancel()
        return job

    async def close(self) -> None:
        """End what is at work; those jobs have failed."""
        running = dict(self._running)
        for task in running.values():
            task.cancel()
        if running:
            await asyncio.wait(running.values())
        for job_id in running:
            await self._finish(job_id, "failed", {"error": "the gateway stopped"})

    async def _run(self, job_id: str, work: Work) -> None:
        async def progress(
            done: int, total: int | None = None, report: Mapping[str, Any] | None = None
        ) -> None:
            await self._database.write(lambda c: jobs.progress(c, job_id, done, total, report))

        try:
            await progress(0, None, None)
            report = await work(progress)
            await self._finish(job_id, "done", report)
        except (RegistryError, AdapterError) as error:
            await self._finish(job_id, "failed", {"error": str(error)})
        except Exception:
            log.exception("job failed", job=job_id)
            await self._finish(
                job_id, "failed", {"error": "something went wrong here; see the log"}
            )

    async def _finish(self, job_id: str, state: str, report: Mapping[str, Any]) -> None:
        with contextlib.suppress(DatabaseAway):
            await self._database.write(lambda c: jobs.finish(c, job_id, state, report))
