"""Long work beside the requests: jobs that can be watched and cancelled."""

import asyncio
import contextlib
import functools
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import structlog

from adapters.errors import AdapterError
from registry import jobs
from registry.database import Connection, Database
from registry.errors import DatabaseAway, RegistryError
from registry.jobs import Job
from registry.partition import Principal

log = structlog.get_logger("jobs")

Progress = Callable[[int, int | None, Mapping[str, Any] | None], Awaitable[None]]
"""`await progress(done, total, report)`. Raises: JobOver."""
Work = Callable[[Progress], Awaitable[Mapping[str, Any]]]
"""Does the work and gives its report. Raises: RegistryError, AdapterError to fail the job."""
SEEN_EVERY_S = 10.0
RETRY_EVERY_S = 2.0


class JobOver(Exception):
    """Somebody cancelled the job, perhaps at another node."""


class Jobs:
    """The jobs of this process. node: its name. folder: where imports keep their files."""

    def __init__(
        self,
        database: Database,
        *,
        node: str = "",
        folder: Path | None = None,
        seen_every_s: float = SEEN_EVERY_S,
        retry_every_s: float = RETRY_EVERY_S,
    ) -> None:
        self._database = database
        self._node = node
        self.folder = folder or Path(tempfile.gettempdir()) / "hutong-imports"
        self._seen_every_s = seen_every_s
        self._retry_every_s = retry_every_s
        self._running: dict[str, asyncio.Task[None]] = {}
        self._watch: asyncio.Task[None] | None = None
        self.is_closing = False

    @property
    def at_work(self) -> frozenset[str]:
        """The ids of the jobs that run here."""
        return frozenset(self._running)

    async def start(
        self, principal: Principal, kind: str, work: Work, idempotency_key: str | None = None
    ) -> Job:
        """A new job at work; the same key of the same user gives the job it gave before."""
        job, fresh = await self.open(principal, kind, idempotency_key)
        if fresh:
            self.run(job, work)
        return job

    async def open(
        self,
        principal: Principal,
        kind: str,
        idempotency_key: str | None = None,
        *,
        resume: bool = False,
    ) -> tuple[Job, bool]:
        """A job for `run`, and whether there is something to do: not where the key gave one from
        before. resume: one whose node ended is to be done again."""
        return await self._database.write(
            lambda c: jobs.create(
                c,
                principal,
                kind,
                idempotency_key=idempotency_key,
                node=self._node,
                resume=resume,
            )
        )

    def run(self, job: Job, work: Work) -> None:
        """Have a job at work that was opened here."""
        task = asyncio.create_task(self._run(job.id, work))
        self._running[job.id] = task
        task.add_done_callback(lambda _: self._ended(job.id))
        if self._watch is None:
            self._watch = asyncio.create_task(self._stay_seen())

    def _ended(self, job_id: str) -> None:
        self._running.pop(job_id, None)
        if not self._running and self._watch is not None:
            self._watch.cancel()
            self._watch = None

    async def cancel(self, principal: Principal, job_id: str) -> Job:
        """Raises: NotFound; Conflict when it is over."""
        job = await self._database.read(lambda c: jobs.get(c, principal, job_id))
        task = self._running.get(job.id)
        if task is not None:
            # First, as its work may be what keeps everybody else from writing.
            task.cancel()
            await asyncio.wait({task})
        return await self._database.write(lambda c: jobs.cancel(c, principal, job_id))

    async def close(self) -> None:
        """End what is at work; those jobs have failed, and may be asked for again."""
        self.is_closing = True
        running = dict(self._running)
        for task in running.values():
            task.cancel()
        if running:
            await asyncio.wait(running.values())
        for job_id in running:
            with contextlib.suppress(DatabaseAway):
                await self._interrupt(job_id)

    async def _interrupt(self, job_id: str) -> None:
        await self._database.write(lambda c: jobs.interrupt(c, job_id, "the gateway stopped"))

    async def _run(self, job_id: str, work: Work) -> None:
        async def progress(
            done: int, total: int | None = None, report: Mapping[str, Any] | None = None
        ) -> None:
            try:
                goes_on = await self._database.write(
                    lambda c: jobs.progress(c, job_id, done, total, report)
                )
            except DatabaseAway:
                # Nobody can see how far it is, and that is all.
                return
            if not goes_on:
                raise JobOver

        try:
            await progress(0, None, None)
            report = await work(progress)
            await self._finish(job_id, "done", report)
        except JobOver:
            log.info("job was cancelled", job=job_id)
        except DatabaseAway:
            log.warning("job lost its database", job=job_id)
            await self._told(lambda c: jobs.interrupt(c, job_id, "the database went away"))
        except (RegistryError, AdapterError) as error:
            await self._finish(job_id, "failed", {"error": str(error)})
        except Exception:
            log.exception("job failed", job=job_id)
            await self._finish(
                job_id, "failed", {"error": "something went wrong here; see the log"}
            )

    async def _finish(self, job_id: str, state: str, report: Mapping[str, Any]) -> None:
        await self._told(lambda c: jobs.finish(c, job_id, state, report))

    async def _told(self, what: Callable[[Connection], object]) -> None:
        """Write what became of a job, as soon as the database is there."""
        while True:
            try:
                await self._database.write(what)
            except DatabaseAway:
                await asyncio.sleep(self._retry_every_s)
            else:
                return

    async def _stay_seen(self) -> None:
        """While there are jobs: say that they are at work here, and end those that are over."""
        while self._running:
            await asyncio.sleep(self._seen_every_s)
            see = functools.partial(jobs.see, node=self._node, job_ids=self.at_work)
            try:
                lost = await self._database.write(see)
            except DatabaseAway:
                continue
            for job_id in lost:
                if task := self._running.get(job_id):
                    task.cancel()
