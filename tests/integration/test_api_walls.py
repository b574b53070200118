"""Walls and tours over HTTP."""

from typing import Any

from databases import ON_SQLITE

pytest_plugins = ["core_api"]
pytestmark = ON_SQLITE


async def _cameras(core_api: Any, *organizations: str) -> list[str]:
    integrator = await core_api.sign_in("integrator")
    found = []
    for number, organization in enumerate(organizations):
        body = {"name": f"camera {number}", "organization": organization}
        made = await integrator("POST", "/points", body)
        assert made.status == 201, made.body
        found.append(made.body["id"])
    return found


async def test_a_wall_is_saved_changed_and_removed(core_api: Any) -> None:
    a, b, foreign = await _cameras(core_api, "d/s1/w1", "d/s1/w1", "d/s2/w3")
    viewer, admin = await core_api.sign_in("viewer"), await core_api.sign_in("admin")
    body = {"name": "desk", "tiles": 4, "points": [a, None, b]}
    made = await viewer("POST", "/walls", body)
    assert made.status == 201, made.body
    path = f"/walls/{made.body['id']}"
    assert made.headers["Location"] == f"/api/v1{path}"
    assert made.headers["ETag"] == '"1"'
    shown = {**body, "id": made.body["id"], "version": 1, "hidden": 0, "points": [a, None, b, None]}
    assert made.body == shown
    assert (await viewer("GET", path)).body == shown
    assert (await viewer("GET", "/walls")).body == {"items": [shown], "next": None, "total": 1}
    assert (await admin("GET", path)).status == 404
    assert (await admin("GET", "/walls")).body["total"] == 0
    assert (await viewer("PATCH", path, {"name": "night"})).status == 428
    old = {"If-Match": '"9"'}
    assert (await viewer("PATCH", path, {"name": "night"}, headers=old)).status == 412
    now = {"If-Match": '"1"'}
    changed = await viewer("PATCH", path, {"tiles": 9, "points": [b]}, headers=now)
    assert (changed.status, changed.body["points"]) == (200, [b, *[None] * 8])
    assert (await viewer("POST", "/walls", {"name": "desk", "tiles": 1})).status == 409
    refused = await viewer("POST", "/walls", {**body, "name": "x", "points": [a, foreign]})
    assert (refused.status, refused.body["errors"][0]["field"]) == (422, "points[1]")
    assert (await viewer("POST", "/walls", {"name": "x", "tiles": 5})).status == 422
    assert (await viewer("DELETE", path)).status == 204
    assert (await viewer("GET", path)).status == 404
    assert (await core_api.anybody()("GET", "/api/v1/walls")).status == 401


async def test_a_tour_is_written_by_dispatchers_and_seen_along_the_partition(core_api: Any) -> None:
    near, far = await _cameras(core_api, "d/s1/w1", "d/s1/w2")
    dispatcher, viewer = await core_api.sign_in("dispatcher"), await core_api.sign_in("viewer")
    body = {
        "name": "夜巡",
        "organization": "d/s1/w1",
        "dwell_s": 20,
        "groups": [{"name": "one", "points": [near, far]}, {"name": "two", "points": [far]}],
    }
    assert (await viewer("POST", "/tours", body)).status == 403
    made = await dispatcher("POST", "/tours", body)
    assert made.status == 201, made.body
    path = f"/tours/{made.body['id']}"
    assert (made.body["organization"]["path"], made.body["hidden"]) == ("d/s1/w1", 0)
    seen = (await viewer("GET", path)).body
    assert [(group["points"], group["hidden"]) for group in seen["groups"]] == [
        ([near], 1),
        ([], 1),
    ]
    assert far not in str(seen)
    assert (await viewer("GET", "/tours", organization="d/s1/w1")).body["items"] == [seen]
    assert (await viewer("GET", "/tours", organization="d/s2")).status == 404
    now = {"If-Match": '"1"'}
    assert (await viewer("PATCH", path, {"dwell_s": 5}, headers=now)).status == 403
    changed = await dispatcher("PATCH", path, {"dwell_s": 5}, headers=now)
    assert (changed.status, changed.body["dwell_s"], changed.body["version"]) == (200, 5, 2)
    wrong = {**body, "name": "x", "dwell_s": 4}
    assert (await dispatcher("POST", "/tours", wrong)).status == 422
    assert (await viewer("DELETE", path)).status == 403
    assert (await dispatcher("DELETE", path, headers=now)).status == 412
    assert (await dispatcher("DELETE", path)).status == 204
