"""Video quality over HTTP: the report, thresholds, the scene, and who sees the evidence."""

from datetime import timedelta
from typing import Any

import pytest
from core_api import Caller, CoreApi
from databases import ON_SQLITE

from gateway.api import PREFIX
from gateway.api import quality as routes
from gateway.vision.diagnosis import DEFAULT_THRESHOLDS
from registry import devices, points, quality, users
from registry.devices import NewDevice
from registry.identity import now
from registry.partition import SYSTEM
from registry.quality import FaultScore, Finding
from registry.sources import FoundSource
from registry.users import NewRole

pytest_plugins = ["core_api"]
pytestmark = ON_SQLITE

BLURRED = FaultScore(fault="blur", score=0.83, threshold=0.7, found=True)
UNJUDGED = FaultScore(
    fault="scene_moved", score=None, threshold=0.55, found=False, note="no scene is known"
)


@pytest.fixture
async def point_id(core_api: CoreApi) -> str:
    core_api.app.include_router(routes.router, prefix=PREFIX)

    def write(connection: Any) -> str:
        new = NewDevice(adapter="onvif", endpoint="camera", organization="d/s1/w1")
        made = devices.register(connection, SYSTEM, new, [FoundSource(address="1")])
        device = devices.get(connection, SYSTEM, made.device_id)
        return device.sources[0].point_id or ""

    return await core_api.context.database.write(write)


async def find(core_api: CoreApi, point_id: str, **finding: Any) -> None:
    def write(connection: Any) -> None:
        subject = quality.subject(connection, point_id)
        assert subject is not None
        given = {"looked_at": now(), "outcome": "judged", **finding}
        quality.store(connection, subject, Finding(**given))

    await core_api.context.database.write(write)


async def fault(core_api: CoreApi, point_id: str) -> None:
    await find(
        core_api,
        point_id,
        scores=(BLURRED, UNJUDGED),
        faults=("blur",),
        memory=b"m",
        evidence=b"\xff\xd8picture",
    )


async def test_before_and_after_a_look(core_api: CoreApi, point_id: str) -> None:
    viewer = await core_api.sign_in("viewer")
    before = await viewer("GET", f"/points/{point_id}/quality")
    assert before.status == 200
    assert before.body == {
        "point": point_id,
        "outcome": "none",
        "at": None,
        "reason": "",
        "faults": [],
        "since": None,
        "scores": [],
        "evidence": None,
        "thresholds": {each.value: value for each, value in DEFAULT_THRESHOLDS.items()},
        "own_thresholds": [],
    }
    await fault(core_api, point_id)
    after = (await viewer("GET", f"/points/{point_id}/quality")).body
    assert (after["outcome"], after["faults"]) == ("judged", ["blur"])
    assert after["at"] == after["since"]
    assert after["at"].endswith("Z")
    assert after["scores"][0] == {
        "fault": "blur",
        "score": 0.83,
        "threshold": 0.7,
        "found": True,
        "note": "",
    }
    assert after["scores"][1]["score"] is None
    evidence = await core_api.session.get(
        f"{core_api.url}{after['evidence']}", headers={"Authorization": f"Bearer {viewer.token}"}
    )
    assert (evidence.status, evidence.headers["Content-Type"]) == (200, "image/jpeg")
    assert evidence.headers["Cache-Control"] == "no-store"
    assert await evidence.read() == b"\xff\xd8picture"


async def test_a_list_of_what_is_to_be_mended(core_api: CoreApi, point_id: str) -> None:
    viewer = await core_api.sign_in("viewer")
    assert (await viewer("GET", "/quality")).body == {"items": [], "next": None, "total": 0}
    await fault(core_api, point_id)
    (only,) = (await viewer("GET", "/quality", fault="blur")).body["items"]
    assert (only["point"], only["faults"]) == (point_id, ["blur"])
    assert only["organization"]["path"] == "d/s1/w1"
    assert only["since"] == only["at"]
    assert (await viewer("GET", "/quality", fault="noise")).body["total"] == 0
    assert (await viewer("GET", "/quality", fault="beauty")).status == 422
    assert (await viewer("GET", "/quality", organization="d/s2")).status == 404
    auditor = await core_api.sign_in("auditor")
    assert (await auditor("GET", "/quality")).body["items"] == []


async def evidence_of(caller: Caller, point_id: str) -> tuple[int, bool]:
    """Status of the picture, and whether the report names it."""
    shown = (await caller("GET", f"/points/{point_id}/quality")).body.get("evidence")
    return (await caller("GET", f"/points/{point_id}/quality/evidence.jpg")).status, bool(shown)


async def test_evidence_is_a_picture_and_seen_by_who_may_see_pictures(
    core_api: CoreApi, point_id: str
) -> None:
    await fault(core_api, point_id)
    for name, expected in (
        ("viewer", (200, True)),
        ("dispatcher", (200, True)),
        ("admin", (200, True)),
        ("integrator", (403, False)),  # no picture of any kind, but the numbers
        ("auditor", (404, False)),
    ):
        caller = await core_api.sign_in(name)
        assert await evidence_of(caller, point_id) == expected, name
    auditor = await core_api.sign_in("auditor")
    seen = (await auditor("GET", "/audit", action="quality_evidence")).body["items"]
    assert [each["user"]["name"] for each in seen] == ["admin", "dispatcher", "viewer"]


async def test_evidence_of_a_point_that_was_masked_since_needs_clear_view(
    core_api: CoreApi, point_id: str
) -> None:
    await fault(core_api, point_id)
    await core_api.context.database.write(
        lambda c: points.update(c, SYSTEM, point_id, {"masked": True})
    )
    admin = await core_api.sign_in("admin")
    assert await evidence_of(admin, point_id) == (403, False)

    def grant(connection: Any) -> None:
        viewer = next(
            each for each in users.page(connection, SYSTEM).items if each.name == "viewer"
        )
        roles = [
            NewRole(role="viewer", organization="d/s1/w1"),
            NewRole(
                role="clear_view",
                organization="d/s1/w1",
                purpose="a case",
                ends_at=now() + timedelta(days=1),
            ),
        ]
        users.set_roles(connection, SYSTEM, viewer.id, roles)

    await core_api.context.database.write(grant)
    viewer = await core_api.sign_in("viewer")
    assert await evidence_of(viewer, point_id) == (200, True)
    await fault(core_api, point_id)  # the next report of a masked point has no picture at all
    assert await evidence_of(viewer, point_id) == (404, False)


async def test_a_point_outside_the_partition_is_not_there(core_api: CoreApi, point_id: str) -> None:
    other = await core_api.sign_in("viewer")
    await core_api.context.database.write(lambda c: points.assign(c, SYSTEM, [point_id], "d/s2/w3"))
    for method, path, body in (
        ("GET", "quality", None),
        ("GET", "quality/evidence.jpg", None),
        ("PUT", "quality/thresholds", {"thresholds": {}}),
        ("DELETE", "quality/scene", None),
    ):
        answer = await other(method, f"/points/{point_id}/{path}", body)
        assert answer.status == 404, path


async def test_thresholds_are_set_and_refused(core_api: CoreApi, point_id: str) -> None:
    integrator = await core_api.sign_in("integrator")
    path = f"/points/{point_id}/quality/thresholds"
    done = await integrator("PUT", path, {"thresholds": {"blur": 0.9, "noise": 1.5}})
    assert done.status == 200
    assert done.body["thresholds"]["blur"] == 0.9
    assert done.body["thresholds"]["freeze"] == DEFAULT_THRESHOLDS[routes.Fault.FREEZE]
    assert done.body["own_thresholds"] == ["blur", "noise"]
    for bad in ({"beauty": 0.5}, {"blur": 0}, {"blur": 3}, {"blur": "much"}):
        assert (await integrator("PUT", path, {"thresholds": bad})).status == 422, bad
    assert (await integrator("PUT", path, {"thresholds": {}})).body["own_thresholds"] == []
    viewer = await core_api.sign_in("viewer")
    assert (await viewer("PUT", path, {"thresholds": {}})).status == 403


async def test_a_scene_is_forgotten(core_api: CoreApi, point_id: str) -> None:
    integrator = await core_api.sign_in("integrator")
    path = f"/points/{point_id}/quality/scene"
    assert (await integrator("DELETE", path)).status == 409  # nothing is known of it yet
    await fault(core_api, point_id)
    assert (await integrator("DELETE", path)).status == 204
    viewer = await core_api.sign_in("viewer")
    assert (await viewer("DELETE", path)).status == 403
