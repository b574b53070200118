"""Points over HTTP: the contract's shape, lists, edits, and the partition."""

from datetime import UTC, datetime
from typing import Any

import pytest
from core_api import Caller, CoreApi
from databases import ON_SQLITE

from gateway.api import PREFIX
from registry import devices, point_status
from registry.devices import NewDevice
from registry.partition import SYSTEM
from registry.sources import FoundSource, Profile

pytest_plugins = ["core_api"]

CODE = "21010300001310000001"
POINT_FIELDS = {
    *("id", "version", "code", "name", "place", "organization", "assigned_by", "longitude"),
    *("latitude", "category", "ownership", "source", "profiles", "status", "status_since"),
    *("status_reason", "capabilities", "masked", "shared", "attributes"),
}


async def create(ask: Caller, organization: str = "d", **values: Any) -> dict[str, Any]:
    answer = await ask("POST", "/points", {"organization": organization, "name": "p", **values})
    assert answer.status == 201, answer.body
    assert answer.headers["ETag"] == '"1"'
    return answer.body


async def test_a_point_has_the_shape_of_the_contract(core_api: CoreApi) -> None:
    admin = await core_api.sign_in("admin")
    made = await create(
        admin,
        name="文艺路口",
        code=CODE,
        place="文艺路18号",
        longitude=1.5,
        latitude=2.5,
        host="10.0.0.7",
        channel_number=1,
        attributes={"mount": "pole"},
    )
    assert set(made) == POINT_FIELDS
    assert made["organization"] == {
        "id": made["organization"]["id"],
        "path": "d/s1/w1",
        "name": "一室",
    }
    assert (made["assigned_by"], made["category"], made["ownership"]) == ("polygon", 9, "other")
    assert "10.0.0.7" not in str(made)
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    profile = Profile(name="main", codec="h264", width=640, height=360, fps=15.0, token="t")

    def register(connection: Any) -> str:
        registration = devices.register(
            connection,
            SYSTEM,
            NewDevice(adapter="onvif", endpoint="http://10.0.0.7/onvif", organization="d"),
            [FoundSource(address="v1", profiles=(profile,), capabilities=("ptz",))],
        )
        assert [each.point_id for each in registration.bound] == [made["id"]]
        point_status.set_status(connection, [(made["id"], "online", at, "")])
        return registration.device_id

    device_id = await core_api.context.database.write(register)
    answer = await admin("GET", f"/points/{made['id']}")
    assert answer.headers["ETag"] == f'"{answer.body["version"]}"'
    assert answer.body["source"] == {"device": device_id, "address": "v1"}
    assert answer.body["profiles"] == [
        {"name": "main", "codec": "h264", "width": 640, "height": 360, "fps": 15.0}
    ]
    assert answer.body["capabilities"] == ["ptz"]
    assert (answer.body["status"], answer.body["status_since"]) == (
        "online",
        "2026-01-02T03:04:05.000Z",
    )
    assert "10.0.0.7" not in str(answer.body)


async def test_another_workrooms_point_does_not_exist_anywhere(core_api: CoreApi) -> None:
    admin = await core_api.sign_in("admin")
    viewer = await core_api.sign_in("viewer")
    own = await create(admin, "d/s1/w1")
    other = await create(admin, "d/s1/w2", code=CODE)
    listed = await viewer("GET", "/points")
    assert [each["id"] for each in listed.body["items"]] == [own["id"]]
    assert (listed.body["total"], listed.body["next"]) == (1, None)
    assert (await viewer("GET", f"/points/{own['id']}")).status == 200
    nothing = "01890000-0000-7000-8000-000000000000"
    for method, suffix, body in (
        ("GET", "", None),
        ("PATCH", "", {"name": "x"}),
        ("DELETE", "", None),
        ("PUT", "/source", {"device": nothing, "address": "1"}),
        ("DELETE", "/source", None),
    ):
        answers = [
            await viewer(method, f"/points/{each}{suffix}", body, headers={"If-Match": '"1"'})
            for each in (other["id"], nothing)
        ]
        assert [each.status for each in answers] == [404, 404], method
        hidden = answers[0].body["detail"].replace(other["id"], nothing)
        assert hidden == answers[1].body["detail"]
    assert (await viewer("GET", "/points", organization="d/s1/w2")).status == 404
    assert (await viewer("GET", "/points", organization="d")).status == 404
    assert (await viewer("GET", "/points", q=CODE)).body["total"] == 0
    assert (await viewer("GET", "/organizations/d/s1/w2")).status == 404
    assert (await viewer("GET", "/points", organization="d/s1/w1")).body["total"] == 1


async def test_who_sees_but_may_not_is_forbidden(core_api: CoreApi) -> None:
    point = await create(await core_api.sign_in("admin"), "d/s1/w1")
    for name in ("viewer", "dispatcher"):
        ask = await core_api.sign_in(name)
        path = f"/points/{point['id']}"
        headers = {"If-Match": '"1"'}
        assert (await ask("PATCH", path, {"name": "x"}, headers=headers)).status == 403
        assert (await ask("DELETE", path)).status == 403
        body = {"organization": "d/s1/w1", "name": "x"}
        assert (await ask("POST", "/points", body)).status == 403
    auditor = await core_api.sign_in("auditor")
    assert (await auditor("GET", "/points")).body["total"] == 0


@ON_SQLITE
async def test_edits_are_merge_patches_with_a_version(core_api: CoreApi) -> None:
    ask = await core_api.sign_in("integrator")
    made = await create(ask, "d/s1", code=CODE, attributes={"a": 1, "b": {"c": 2, "d": 3}})
    path = f"/points/{made['id']}"
    assert (await ask("PATCH", path, {"name": "x"})).status == 428
    for wrong in ('"2"', "x", '"', 'W/"1"', '"-1"'):
        answer = await ask("PATCH", path, {"name": "x"}, headers={"If-Match": wrong})
        assert answer.status == 412, wrong
    patch = {"code": None, "place": "文艺路", "attributes": {"a": None, "b": {"d": 4}, "e": 5}}
    answer = await ask("PATCH", path, patch, headers={"If-Match": '"1"'})
    assert answer.status == 200
    assert answer.headers["ETag"] == '"2"'
    assert (answer.body["code"], answer.body["place"], answer.body["name"]) == (
        None,
        "文艺路",
        "p",
    )
    assert answer.body["attributes"] == {"b": {"c": 2, "d": 4}, "e": 5}
    stale = await ask("PATCH", path, {"name": "x"}, headers={"If-Match": '"1"'})
    assert (stale.status, stale.body["version"]) == (412, 2)
    headers = {"If-Match": "*", "Content-Type": "application/merge-patch+json"}
    assert (await ask("PATCH", path, {"attributes": None}, headers=headers)).body[
        "attributes"
    ] == {}
    assert (await ask("DELETE", path, headers={"If-Match": '"1"'})).status == 412
    assert (await ask("DELETE", path, headers={"If-Match": '"3"'})).status == 204
    assert (await ask("GET", path)).status == 404


@ON_SQLITE
@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, {"organization", "name"}),
        ({"organization": "d", "name": ""}, {"name"}),
        ({"organization": "d", "name": "p", "host_name": "x"}, {"host_name"}),
        ({"organization": "d", "name": "p", "category": 4}, {"category"}),
        ({"organization": "d", "name": "p", "longitude": 181, "latitude": 91}, None),
        ({"organization": "d", "name": "p", "longitude": 1}, {"latitude"}),
        ({"organization": "d", "name": "p", "code": "1"}, {"code"}),
        ({"organization": "d", "name": "a\x00b"}, {"name"}),
        ({"organization": "d", "name": "p", "attributes": {"x": "\x00"}}, {"attributes"}),
        ({"organization": "d", "name": "p", "assign": "anyhow"}, {"assign"}),
    ],
)
async def test_wrong_bodies_are_located(
    core_api: CoreApi, body: dict[str, Any], fields: set[str] | None
) -> None:
    ask = await core_api.sign_in("admin")
    answer = await ask("POST", "/points", body)
    assert answer.status == 422
    assert answer.headers["Content-Type"] == "application/problem+json"
    found = {each["field"] for each in answer.body["errors"]}
    assert found == (fields or {"longitude", "latitude"})
    assert all(each["reason"] for each in answer.body["errors"])


@ON_SQLITE
async def test_what_is_no_json_is_located(core_api: CoreApi) -> None:
    ask = await core_api.sign_in("admin")
    headers = {"Authorization": f"Bearer {ask.token}", "Content-Type": "application/json"}
    url = f"{core_api.url}{PREFIX}/points"
    async with core_api.session.post(url, data=b'{"name": }', headers=headers) as answer:
        assert answer.status == 422
        (wrong,) = (await answer.json())["errors"]
    assert wrong["field"] == "body"
    assert wrong["reason"].startswith("no JSON near character 9")
    long = await ask("GET", "/points", q="a" * 101)
    assert long.body["errors"] == [{"field": "q", "reason": "must have at most 100 characters"}]


@ON_SQLITE
async def test_a_null_where_none_is_allowed_is_located(core_api: CoreApi) -> None:
    ask = await core_api.sign_in("admin")
    made = await create(ask)
    answer = await ask(
        "PATCH", f"/points/{made['id']}", {"name": None}, headers={"If-Match": '"1"'}
    )
    assert (answer.status, answer.body["errors"][0]["field"]) == (422, "name")


async def test_code_in_use(core_api: CoreApi) -> None:
    ask = await core_api.sign_in("admin")
    holder = await create(ask, code=CODE)
    answer = await ask("POST", "/points", {"organization": "d", "name": "x", "code": CODE})
    assert (answer.status, answer.body["detail"], answer.body["other"]) == (
        409,
        "code in use",
        holder["id"],
    )
    station = await core_api.sign_in("station-admin")
    answer = await station("POST", "/points", {"organization": "d/s1", "name": "x", "code": CODE})
    assert (answer.status, answer.body["detail"]) == (409, "code in use")
    assert "other" not in answer.body


async def test_lists_in_pages_boxes_and_as_geo_json(core_api: CoreApi) -> None:
    ask = await core_api.sign_in("admin")
    made = [
        await create(ask, name=f"p{n}", longitude=n, latitude=n, assign="explicit")
        for n in range(5)
    ]
    made.append(await create(ask, name="nowhere"))
    seen, cursor = [], None
    while True:
        page = (await ask("GET", "/points", limit=4, **({"cursor": cursor} if cursor else {}))).body
        seen += [each["id"] for each in page["items"]]
        assert page["total"] == 6
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == [each["id"] for each in made]
    boxed = await ask("GET", "/points", bbox="0.5,0.5,3.5,2.5")
    assert [each["name"] for each in boxed.body["items"]] == ["p1", "p2"]
    assert (await ask("GET", "/points", assigned_by="none", q="NOW")).body["total"] == 1
    headers = {"Accept": "application/geo+json, application/json;q=0.5"}
    geo = await ask("GET", "/points", headers=headers, limit=500)
    assert geo.headers["Content-Type"] == "application/geo+json"
    assert geo.body["type"] == "FeatureCollection"
    assert len(geo.body["features"]) == geo.body["total"] == 6
    first, last = geo.body["features"][0], geo.body["features"][-1]
    assert first["geometry"] == {"type": "Point", "coordinates": [0.0, 0.0]}
    assert first["properties"]["name"] == "p0"
    assert last["geometry"] is None
    for query in (
        {"limit": 0},
        {"limit": 501},
        {"bbox": "1,2,3"},
        {"bbox": "a,b,c,d"},
        {"bbox": "0,0,0,nan"},
        {"cursor": "x"},
        {"status": "asleep"},
        {"unknown": "1"},
    ):
        answer = await ask("GET", "/points", **query)
        assert answer.status == 422, query
        assert answer.body["errors"][0]["field"] in query


async def test_assigning_and_moving(core_api: CoreApi) -> None:
    admin = await core_api.sign_in("admin")
    point = await create(admin, longitude=1, latitude=1)
    assert point["organization"]["path"] == "d/s1/w1"
    body = {"points": [point["id"]], "organization": "d/s2"}
    station = await core_api.sign_in("station-admin")
    assert (await station("POST", "/points/assign", body)).status == 404
    moves = (await admin("POST", "/points/assign", body)).body["moves"]
    assert moves == [
        {"point": point["id"], "from": "d/s1/w1", "to": "d/s2", "assigned_by": "explicit"}
    ]
    body["organization"] = None
    moves = (await admin("POST", "/points/assign", body)).body["moves"]
    assert moves[0]["to"] == "d/s1/w1"
    patch = {"organization": "d/s1"}
    path = f"/points/{point['id']}"
    moved = await station("PATCH", path, patch, headers={"If-Match": '"3"'})
    assert (moved.status, moved.body["organization"]["path"]) == (200, "d/s1")
    integrator = await core_api.sign_in("integrator")
    headers = {"If-Match": '"4"'}
    patch = {"organization": "d/s2"}
    assert (await integrator("PATCH", path, patch, headers=headers)).status == 403
    assert (await integrator("PATCH", path, {"masked": True}, headers=headers)).status == 403


async def test_binding_by_hand(core_api: CoreApi) -> None:
    ask = await core_api.sign_in("integrator")
    registration = await core_api.context.database.write(
        lambda c: devices.register(
            c,
            SYSTEM,
            NewDevice(adapter="rtsp", endpoint="rtsp://10.0.0.7/", organization="d"),
            [FoundSource(address="v1")],
        )
    )
    created = registration.created[0].point_id
    point = await create(ask)
    source = {"device": registration.device_id, "address": "v1"}
    taken = await ask("PUT", f"/points/{point['id']}/source", source)
    assert (taken.status, taken.body["other"]) == (409, created)
    freed = await ask("DELETE", f"/points/{created}/source")
    assert (freed.status, freed.body["source"]) == (200, None)
    bound = await ask("PUT", f"/points/{point['id']}/source", source, headers={"If-Match": '"1"'})
    assert (bound.status, bound.body["source"], bound.headers["ETag"]) == (200, source, '"2"')
    wrong = await ask("PUT", f"/points/{point['id']}/source", {**source, "address": "v9"})
    assert (wrong.status, wrong.body["errors"][0]["field"]) == (422, "address")


async def test_clusters_count_what_the_caller_sees(core_api: CoreApi) -> None:
    admin, viewer = await core_api.sign_in("admin"), await core_api.sign_in("viewer")
    for organization, longitude in (("d/s1/w1", 1.5), ("d/s1/w1", 1.5001), ("d/s2", 5.5)):
        await create(admin, organization, longitude=longitude, latitude=2.5, assign="explicit")
    await create(admin)
    found = await admin("GET", "/points/clusters?zoom=8")
    assert found.status == 200
    assert found.body["total"] == 3
    assert [each["points"] for each in found.body["items"]] == [2, 1]
    first = found.body["items"][0]
    west, south, east, north = first["bbox"]
    assert west <= first["longitude"] <= east
    assert south <= first["latitude"] <= north
    seen = await viewer("GET", "/points/clusters?zoom=8&bbox=0,0,10,10")
    assert [each["points"] for each in seen.body["items"]] == [2]
    near = await admin("GET", "/points/clusters?zoom=20&bbox=1.499,2.4,1.501,2.6")
    assert [each["points"] for each in near.body["items"]] == [1, 1]
    for query, field in (("", "zoom"), ("?zoom=23", "zoom"), ("?zoom=3&bbox=1,2", "bbox")):
        refused = await admin("GET", f"/points/clusters{query}")
        assert refused.status == 422
        assert refused.body["errors"][0]["field"] == field
    assert (await viewer("GET", "/points/clusters?zoom=3&organization=d/s2")).status == 404


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("?limit=0", "limit"),
        ("?limit=x", "limit"),
        ("?status=asleep", "status"),
        ("?bbox=1,2,3", "bbox"),
        ("?nothing=known", "nothing"),
        ("?cursor=!", "cursor"),
    ],
)
@ON_SQLITE
async def test_a_list_that_cannot_be_is_refused_with_the_field(
    core_api: CoreApi, query: str, field: str
) -> None:
    viewer = await core_api.sign_in("viewer")
    refused = await viewer("GET", f"/points{query}")
    assert (refused.status, refused.headers["Content-Type"]) == (422, "application/problem+json")
    assert refused.body["errors"][0]["field"] == field


@ON_SQLITE
async def test_a_list_is_for_those_who_are_signed_in(core_api: CoreApi) -> None:
    async with core_api.session.get(f"{core_api.url}{PREFIX}/points") as nobody:
        assert nobody.status == 401
    headers = {"Authorization": "Bearer made-up"}
    async with core_api.session.get(f"{core_api.url}{PREFIX}/points", headers=headers) as stranger:
        assert stranger.status == 401
    # What goes well is answered before any routing; the counters see both ways.
    viewer = await core_api.sign_in("viewer")
    assert (await viewer("GET", "/points")).status == 200
    lines = "\n".join(core_api.app.state.traffic.lines())
    assert 'hutong_http_requests_total{status="4xx"} 2' in lines
    assert core_api.app.state.traffic.answered[2] >= 2
