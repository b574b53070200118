"""Re-partition over HTTP: a dry run, the answer's reasons, who may, and long work as a job."""

import asyncio
import types
from typing import Any

import pytest
from core_api import Caller, CoreApi, square

from gateway.api import PREFIX, jobs, organizations
from gateway.api.background import Jobs

pytest_plugins = ["core_api"]


async def put(caller: Caller, longitude: float, latitude: float) -> str:
    answer = await caller(
        "POST",
        "/points",
        {"organization": "d", "name": "p", "longitude": longitude, "latitude": latitude},
    )
    assert answer.status == 201, answer.body
    point_id: str = answer.body["id"]
    return point_id


async def widen(caller: Caller, path: str, polygon: Any) -> None:
    answer = await caller("PUT", f"/organizations/{path}/jurisdiction", polygon)
    assert answer.status == 200, answer.body


async def test_a_dry_run_then_the_real_one(core_api: CoreApi) -> None:
    admin = await core_api.sign_in("admin")
    point = await put(admin, 2, 2)
    assert (await admin("GET", f"/points/{point}")).body["organization"]["path"] == "d/s1/w1"
    await widen(admin, "d/s1/w1", square(50, 50))
    await widen(admin, "d/s1/w2", square(0, 0, 5))
    dry = await admin("POST", "/organizations/d/partition", dry_run="true")
    assert dry.status == 200
    (move,) = dry.body["moves"]
    assert (move["point"], move["from"], move["to"]) == (point, "d/s1/w1", "d/s1/w2")
    assert move["why"]["rule"] == "deepest"
    assert move["why"]["covered_by"] == ["d/s1/w2", "d/s1"]
    assert "deepest" in move["why"]["sentence"]
    assert (dry.body["dry_run"], dry.body["moved"], dry.body["examined"]) == (True, 1, 1)
    assert (await admin("GET", f"/points/{point}")).body["organization"]["path"] == "d/s1/w1"
    done = await admin("POST", "/organizations/d/partition")
    assert done.body == {**dry.body, "dry_run": False}
    assert (await admin("GET", f"/points/{point}")).body["organization"]["path"] == "d/s1/w2"
    again = await admin("POST", "/organizations/d/partition")
    assert (again.body["moved"], again.body["moves"], again.body["flows"]) == (0, [], [])


async def test_who_may_partition(core_api: CoreApi) -> None:
    for name, path, status in (
        ("integrator", "d", 403),
        ("auditor", "d", 403),
        ("station-admin", "d/s1", 200),
        ("station-admin", "d", 404),
        ("station-admin", "d/s2", 404),
        ("viewer", "d/s1/w1", 403),
    ):
        caller = await core_api.sign_in(name)
        answer = await caller("POST", f"/organizations/{path}/partition", dry_run="true")
        assert answer.status == status, (name, path, answer.body)


async def test_polygons_that_cannot_be_one_are_refused_with_the_place(core_api: CoreApi) -> None:
    admin = await core_api.sign_in("admin")
    bow = {"type": "Polygon", "coordinates": [[[0, 0], [2, 2], [2, 0], [0, 2], [0, 0]]]}
    refused = await admin("PUT", "/organizations/d/s1/jurisdiction", bow)
    assert refused.status == 422
    assert "Self-intersection[1 1]" in str(refused.body)


async def test_long_work_is_a_job_that_can_be_watched(
    core_api: CoreApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(organizations, "LONG_POINTS", 0)
    app = core_api.app
    background = Jobs(core_api.context.database)
    app.state.services = types.SimpleNamespace(jobs=background)
    app.include_router(jobs.router, prefix=PREFIX)
    admin = await core_api.sign_in("admin")
    point = await put(admin, 2, 2)
    await widen(admin, "d/s1/w1", square(50, 50))
    accepted = await admin("POST", "/organizations/d/partition", headers={"Idempotency-Key": "k"})
    assert accepted.status == 202
    place = accepted.headers["Location"].removeprefix("/api/v1")
    async with asyncio.timeout(10):
        while (found := await admin("GET", place)).body["state"] in ("queued", "running"):
            pass
    assert found.body["state"] == "done", found.body
    assert found.body["report"]["moved"] == 1
    assert (await admin("GET", f"/points/{point}")).body["organization"]["path"] == "d/s1"
    same = await admin("POST", "/organizations/d/partition", headers={"Idempotency-Key": "k"})
    assert same.headers["Location"] == accepted.headers["Location"]
    await background.close()
