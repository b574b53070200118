"""Jobs of several nodes: who does them, who still lives, who goes on; on both databases."""

import asyncio
from typing import Any

import pytest
from databases import Registry
from sqlalchemy import func, update

from gateway.api.background import Jobs
from registry import jobs
from registry.jobs import LEASE_S, Job
from registry.models import JOBS
from registry.partition import SYSTEM

pytest_plugins = ["databases"]


def state(registry: Registry, job: Job) -> tuple[str, bool]:
    found = registry(jobs.get, SYSTEM, job.id)
    return found.state, found.interrupted


def let_the_lease_run_out(registry: Registry, job: Job) -> None:
    if registry.database.kind == "sqlite":
        long_ago = func.datetime("now", f"-{LEASE_S + 5} seconds")
    else:
        long_ago = func.now() - func.make_interval(0, 0, 0, 0, 0, 0, LEASE_S + 5)
    aged = update(JOBS).where(JOBS.c.id == job.id).values(seen_at=long_ago)
    registry.database.write_now(lambda connection: connection.execute(aged))


def test_a_node_that_starts_leaves_the_jobs_of_others(registry: Registry) -> None:
    mine, _ = registry(jobs.create, SYSTEM, "x", node="a")
    others, _ = registry(jobs.create, SYSTEM, "x", node="b")
    silent, _ = registry(jobs.create, SYSTEM, "x", node="c")
    let_the_lease_run_out(registry, silent)
    assert registry(jobs.fail_open, "it ended", "a") == 2
    assert state(registry, mine) == ("failed", True)
    assert state(registry, silent) == ("failed", True)
    assert state(registry, others) == ("queued", False)


def test_only_what_was_interrupted_is_done_again(registry: Registry) -> None:
    def ask(node: str, resume: bool = True) -> tuple[Job, bool]:
        return registry(jobs.create, SYSTEM, "x", idempotency_key="k", node=node, resume=resume)

    job, fresh = ask("a")
    assert fresh
    assert not ask("b")[1]  # a is at work
    let_the_lease_run_out(registry, job)
    assert not ask("b", resume=False)[1]
    again, fresh = ask("b")
    assert (again.id, fresh) == (job.id, True)
    assert registry(jobs.see, "a", [job.id]) == {job.id}  # a is told that it lost it
    assert registry(jobs.see, "b", [job.id]) == set()
    registry(jobs.fail_open, "b ended", "b")
    again, fresh = ask("a")
    assert (again.state, again.report, fresh) == ("queued", {}, True)
    registry(jobs.finish, job.id, "failed", {"error": "by itself"})
    assert not ask("a")[1]
    assert not registry(jobs.interrupt, job.id, "too late")


def test_a_node_that_speaks_keeps_its_job(registry: Registry) -> None:
    job, _ = registry(jobs.create, SYSTEM, "x", node="a")
    let_the_lease_run_out(registry, job)
    assert registry(jobs.see, "a", [job.id]) == set()
    assert registry(jobs.fail_open, "it ended", "b") == 0
    registry(jobs.cancel, SYSTEM, job.id)
    assert registry(jobs.see, "a", [job.id]) == {job.id}


async def test_a_job_cancelled_at_another_node_ends(registry: Registry) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def work(_progress: Any) -> dict[str, Any]:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        raise AssertionError

    running = Jobs(registry.database, node="a", seen_every_s=0.01)
    job = await running.start(SYSTEM, "x", work)
    async with asyncio.timeout(20):
        await begun.wait()
        await registry.database.write(lambda c: jobs.cancel(c, SYSTEM, job.id))
        await ended.wait()
    await running.close()
    assert state(registry, job) == ("cancelled", False)


async def test_progress_tells_that_a_job_is_over(registry: Registry) -> None:
    reached: list[str] = []

    async def work(progress: Any) -> dict[str, Any]:
        await registry.database.write(lambda c: jobs.cancel(c, SYSTEM, job.id))
        reached.append("cancelled")
        await progress(1)
        reached.append("went on")
        return {}

    running = Jobs(registry.database, node="a")
    job, fresh = await running.open(SYSTEM, "x")
    assert fresh
    running.run(job, work)
    (task,) = running._running.values()
    async with asyncio.timeout(20):
        await task
    await running.close()
    assert reached == ["cancelled"]
    assert state(registry, job) == ("cancelled", False)


async def test_what_ends_with_its_node_was_interrupted(registry: Registry) -> None:
    begun = asyncio.Event()

    async def work(_progress: Any) -> dict[str, Any]:
        begun.set()
        await asyncio.Event().wait()
        return {}

    running = Jobs(registry.database, node="a")
    job = await running.start(SYSTEM, "x", work)
    async with asyncio.timeout(20):
        await begun.wait()
    await running.close()
    assert state(registry, job) == ("failed", True)
    with pytest.raises(ValueError, match="cannot end"):
        registry(jobs.finish, job.id, "running", {})
