"""Organisations and users over HTTP, and what the application itself answers."""

import pytest
from core_api import NULL, PASSWORD, CoreApi
from databases import ON_SQLITE, square

from registry import points
from registry.partition import SYSTEM
from registry.points import NewPoint

pytest_plugins = ["core_api"]


async def test_the_tree_with_counts_of_what_each_sees(core_api: CoreApi) -> None:
    for organization in ("d", "d/s1/w1", "d/s1/w1", "d/s2"):
        new = NewPoint(organization=organization, name="p")
        await core_api.context.database.write(lambda c, new=new: points.create(c, SYSTEM, new))
    admin = await core_api.sign_in("admin")
    tree = (await admin("GET", "/organizations")).body
    assert [each["path"] for each in tree["items"]] == [
        "d",
        "d/s1",
        "d/s1/w1",
        "d/s1/w2",
        "d/s2",
        "d/s2/w3",
    ]
    assert (tree["total"], tree["next"]) == (6, None)
    counts = {each["path"]: each["counts"]["points"] for each in tree["items"]}
    assert counts == {"d": 4, "d/s1": 2, "d/s1/w1": 2, "d/s1/w2": 0, "d/s2": 1, "d/s2/w3": 0}
    district, station = tree["items"][:2]
    assert district["counts"]["unassigned"] == 1
    assert set(district) == {
        *("id", "version", "kind", "name", "slug", "path", "parent", "code", "region"),
        *("business_group_code", "virtual_organization_code", "jurisdiction", "counts"),
        "purpose_required",
    }
    assert (station["parent"], station["jurisdiction"]) == (district["id"], square(0, 0, 10))
    viewer = (await (await core_api.sign_in("viewer"))("GET", "/organizations")).body
    assert [each["path"] for each in viewer["items"]] == ["d/s1/w1"]
    auditor = (await (await core_api.sign_in("auditor"))("GET", "/organizations")).body
    assert [each["counts"]["points"] for each in auditor["items"]] == [0] * 6
    first = (await admin("GET", "/organizations", limit=4)).body
    rest = (await admin("GET", "/organizations", limit=4, cursor=first["next"])).body
    assert [*first["items"], *rest["items"]] == tree["items"]
    assert rest["next"] is None


async def test_an_organisation_by_id_or_path(core_api: CoreApi) -> None:
    ask = await core_api.sign_in("admin")
    body = {"kind": "workroom", "name": "四室", "slug": "w4", "parent": "d/s2"}
    made = await ask("POST", "/organizations", body)
    assert (made.status, made.headers["ETag"], made.body["path"]) == (201, '"1"', "d/s2/w4")
    by_path = await ask("GET", "/organizations/d/s2/w4")
    by_id = await ask("GET", f"/organizations/{made.body['id']}")
    assert by_path.body == by_id.body == made.body
    assert (await ask("PATCH", "/organizations/d/s2/w4", {"name": "x"})).status == 428
    patch = {"name": "五室", "region": "210103"}
    changed = await ask("PATCH", "/organizations/d/s2/w4", patch, headers={"If-Match": '"1"'})
    assert (changed.status, changed.body["name"], changed.headers["ETag"]) == (200, "五室", '"2"')
    refused = await ask("PATCH", "/organizations/d/s2/w4", {"slug": "X"}, headers={"If-Match": "*"})
    assert (refused.status, refused.body["errors"][0]["field"]) == (422, "slug")
    shape = square(20, 5, 5)
    set_by_path = await ask("PUT", "/organizations/d/s2/w4/jurisdiction", shape)
    assert (set_by_path.status, set_by_path.body["jurisdiction"]) == (200, shape)
    removed = await ask("PUT", "/organizations/d/s2/w4/jurisdiction", NULL)
    assert (removed.status, removed.body["jurisdiction"]) == (200, None)
    crossed = {"type": "Polygon", "coordinates": [[[0, 0], [2, 2], [2, 0], [0, 2], [0, 0]]]}
    wrong = await ask("PUT", f"/organizations/{made.body['id']}/jurisdiction", crossed)
    assert (wrong.status, wrong.body["errors"][0]["field"]) == (422, "coordinates")
    assert "Self-intersection" in wrong.body["detail"]
    assert (await ask("DELETE", "/organizations/d/s2/w4")).status == 204
    assert (await ask("GET", "/organizations/d/s2/w4")).status == 404
    owning = await ask("DELETE", "/organizations/d/s2")
    assert (owning.status, owning.body["others"]) == (409, ["1 organizations"])


async def test_boundaries_are_for_who_stands_above(core_api: CoreApi) -> None:
    station = await core_api.sign_in("station-admin")
    own = await station("PUT", "/organizations/d/s1/jurisdiction", square(0, 0, 50))
    assert own.status == 403
    below = await station("PUT", "/organizations/d/s1/w1/jurisdiction", square(0, 0, 4))
    assert below.status == 200
    sibling = await station("PUT", "/organizations/d/s2/jurisdiction", square(0, 0, 4))
    assert sibling.status == 404
    root = {"kind": "district", "name": "x", "slug": "x"}
    assert (await station("POST", "/organizations", root)).status == 403


async def test_users_and_their_roles(core_api: CoreApi) -> None:
    ask = await core_api.sign_in("station-admin")
    body = {
        "name": "new",
        "password": "another good one",
        "roles": [{"role": "viewer", "organization": "d/s1/w1"}],
    }
    made = await ask("POST", "/users", body)
    assert (made.status, made.headers["ETag"]) == (201, '"1"')
    assert set(made.body) == {"id", "version", "name", "roles", "disabled"}
    path = f"/users/{made.body['id']}"
    new = await core_api.sign_in("new", "another good one")
    assert (await new("GET", "/organizations")).body["total"] == 1
    # A change of roles counts at once.
    roles = [{"role": "dispatcher", "organization": "d/s1"}]
    for given in (roles, {"roles": roles}):
        changed = await ask("PUT", f"{path}/roles", given)
        assert changed.status == 200
        assert changed.body["roles"][0]["organization"]["path"] == "d/s1"
    assert (await new("GET", "/organizations")).body["total"] == 3
    beyond = await ask("PUT", f"{path}/roles", [{"role": "viewer", "organization": "d"}])
    assert (beyond.status, beyond.body["errors"][0]["field"]) == (422, "roles[0].organization")
    listed = (await ask("GET", "/users")).body
    assert {each["name"] for each in listed["items"]} == {
        "station-admin",
        "dispatcher",
        "viewer",
        "new",
    }
    assert (await new("GET", "/users")).status == 403
    assert (await new("POST", "/users", body)).status == 403
    assert (await ask("POST", "/users", body)).status == 409
    # Disabled: out at once, and not in again.
    off = await ask("PATCH", path, {"disabled": True}, headers={"If-Match": '"3"'})
    assert (off.status, off.body["disabled"]) == (200, True)
    assert (await new("GET", "/me")).status == 401
    login = {"name": "new", "password": "another good one"}
    refused = await core_api.anybody()("POST", "/api/v1/auth/login", login)
    assert refused.status == 403
    patch = {"disabled": False, "password": "yet another one"}
    assert (await ask("PATCH", path, patch, headers={"If-Match": '"4"'})).status == 200
    await core_api.sign_in("new", "yet another one")
    assert (await ask("DELETE", path)).status == 204
    assert (await ask("GET", path)).status == 404
    chief = (await (await core_api.sign_in("admin"))("GET", "/me")).body
    assert (await ask("GET", f"/users/{chief['id']}")).status == 404


@ON_SQLITE
async def test_what_the_application_answers_by_itself(core_api: CoreApi) -> None:
    ask = core_api.anybody()
    openapi = await ask("GET", "/api/openapi.json")
    assert openapi.status == 200
    assert {"/api/v1/points/{point_id}", "/api/v1/me", "/api/v1/users/{user_id}/roles"} <= set(
        openapi.body["paths"]
    )
    missing = await ask("GET", "/api/v1/nothing")
    assert (missing.status, missing.headers["Content-Type"]) == (404, "application/problem+json")
    assert (await ask("DELETE", "/api/v1/points")).status == 405


@ON_SQLITE
async def test_without_its_database_the_api_says_when_to_come_back(
    core_api: CoreApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = await core_api.sign_in("admin")
    assert (await ask("GET", "/me")).status == 200
    monkeypatch.setattr(core_api.context.database, "_room", 0)
    answer = await ask("GET", "/points")
    assert (answer.status, answer.headers["Content-Type"]) == (503, "application/problem+json")
    assert int(answer.headers["Retry-After"]) >= 1
    login = {"name": "admin", "password": PASSWORD}
    refused = await core_api.anybody()("POST", "/api/v1/auth/login", login)
    assert refused.status == 503


async def test_the_codes_of_an_organisation(core_api: CoreApi) -> None:
    ask = await core_api.sign_in("admin")
    any_version = {"If-Match": "*"}
    given = {
        "code": "210103590000",
        "region": "210103001002",
        "business_group_code": "21010300002150000001",
        "virtual_organization_code": "21010300002160000001",
    }
    changed = await ask("PATCH", "/organizations/d/s1", given, headers=any_version)
    assert changed.status == 200, changed.body
    assert {field: changed.body[field] for field in given} == given
    for field, wrong in (
        ("code", "21010359000"),
        ("code", "990103590000"),
        ("region", "210199"),
        ("region", "2101030"),
        ("business_group_code", given["virtual_organization_code"]),
        ("virtual_organization_code", given["business_group_code"]),
        ("virtual_organization_code", "99010300002160000001"),
    ):
        refused = await ask("PATCH", "/organizations/d/s2", {field: wrong}, headers=any_version)
        assert (refused.status, refused.body["errors"][0]["field"]) == (422, field), wrong
    for field in ("code", "business_group_code", "virtual_organization_code"):
        taken = {field: given[field]}
        refused = await ask("PATCH", "/organizations/d/s2", taken, headers=any_version)
        assert (refused.status, refused.body["detail"]) == (409, "code in use")
    none = dict.fromkeys(given)
    removed = await ask("PATCH", "/organizations/d/s1", none, headers=any_version)
    assert {field: removed.body[field] for field in none} == none


async def test_a_point_is_given_a_code(core_api: CoreApi) -> None:
    ask = await core_api.sign_in("admin")
    region = {"region": "210103001002"}
    await ask("PATCH", "/organizations/d/s1", region, headers={"If-Match": "*"})
    made = [
        (await ask("POST", "/points", {"organization": "d/s1/w1", "name": "p"})).body["id"]
        for _ in range(3)
    ]
    first = await ask("POST", f"/points/{made[0]}/code")
    assert (first.status, first.body["code"]) == (200, "21010300001320000001")
    assert first.headers["ETag"] == '"2"'
    body = {"type": "131", "industry": "01", "network": "7"}
    second = await ask("POST", f"/points/{made[1]}/code", body)
    assert second.body["code"] == "21010300011317000001"
    assert (await ask("POST", f"/points/{made[0]}/code")).status == 409
    stale = {"If-Match": '"7"'}
    assert (await ask("POST", f"/points/{made[2]}/code", headers=stale)).status == 412
    reserved = await ask("POST", f"/points/{made[2]}/code", {"industry": "99"})
    assert (reserved.status, reserved.body["errors"][0]["field"]) == (422, "code")
    for name, status in (("viewer", 403), ("integrator", 200)):
        caller = await core_api.sign_in(name)
        assert (await caller("POST", f"/points/{made[2]}/code")).status == status
    district = (await ask("POST", "/points", {"organization": "d", "name": "p"})).body["id"]
    nowhere = await ask("POST", f"/points/{district}/code")
    assert (nowhere.status, nowhere.body["errors"][0]["field"]) == (422, "region")
