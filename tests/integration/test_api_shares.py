"""Shares over HTTP: who is shown what, and that views close when a share ends."""

import asyncio
import dataclasses
import types
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from core_api import Caller, CoreApi
from databases import ON_SQLITE

from adapters.base import MediaSource
from adapters.events import Outcome, Result, RtspSource, Secret
from gateway.agents.ptz_lock import PtzLocks
from gateway.api import PREFIX, views
from gateway.live import LiveService, Transform, View
from gateway.viewing import rights
from registry import devices
from registry.devices import NewDevice
from registry.partition import SYSTEM
from registry.sources import FoundSource
from simulators.rtsp_camera import RtspCameraSpec, RtspFleet

pytest_plugins = ["core_api"]


def hours(number: float) -> str:
    return (datetime.now(UTC) + timedelta(hours=number)).isoformat()


def body(**more: Any) -> dict[str, Any]:
    return {"to": "d/s2", "purpose": "case 7", "ends_at": hours(1), **more}


async def add_viewer(core_api: CoreApi, name: str, role: str, organization: str) -> Caller:
    admin = await core_api.sign_in("admin")
    password = "correct horse battery"
    user = {
        "name": name,
        "password": password,
        "roles": [{"role": role, "organization": organization}],
    }
    made = await admin("POST", "/users", user)
    assert made.status == 201, made.body
    return await core_api.sign_in(name, password)


async def put(core_api: CoreApi, **more: Any) -> str:
    admin = await core_api.sign_in("admin")
    point = {"organization": "d/s1/w1", "name": "p", **more}
    made = await admin("POST", "/points", point)
    assert made.status == 201, made.body
    point_id: str = made.body["id"]
    return point_id


async def test_a_share_from_beginning_to_end(core_api: CoreApi) -> None:
    point = await put(core_api)
    dispatcher = await core_api.sign_in("dispatcher")
    receiver = await add_viewer(core_api, "receiver", "viewer", "d/s2")
    assert (await receiver("GET", f"/points/{point}")).status == 404
    # The dispatcher's own partition does not hold d/s2: it is named by its whole path.
    made = await dispatcher("POST", "/shares", body(**{"from": {"point": point}}))
    assert (made.status, made.headers["ETag"]) == (201, '"1"')
    share = made.body
    assert share["from"] == {"point": point}
    assert (share["owner"]["path"], share["to"]["path"]) == ("d/s1/w1", "d/s2")
    assert (share["approved_by"]["name"], share["ptz"]) == ("dispatcher", False)
    shown = await receiver("GET", f"/points/{point}")
    assert shown.body["shared"] == {"share": share["id"], "ends_at": share["ends_at"]}
    assert shown.body["organization"]["path"] == "d/s1/w1"
    listed = await receiver("GET", "/points")
    assert [each["id"] for each in listed.body["items"]] == [point]
    tree = (await receiver("GET", "/organizations")).body["items"]
    assert {each["counts"]["points"] for each in tree} == {0}
    assert (await dispatcher("GET", f"/points/{point}")).body["shared"] is None
    for caller in (dispatcher, receiver):
        assert (await caller("GET", f"/shares/{share['id']}")).body == share
        assert (await caller("GET", "/shares")).body["total"] == 1
    assert (await receiver("DELETE", f"/shares/{share['id']}")).status == 403
    stale = {"If-Match": '"7"'}
    assert (await dispatcher("DELETE", f"/shares/{share['id']}", headers=stale)).status == 412
    assert (await dispatcher("DELETE", f"/shares/{share['id']}")).status == 204
    assert (await receiver("GET", f"/points/{point}")).status == 404
    assert (await receiver("GET", "/points")).body["total"] == 0
    assert (await dispatcher("GET", "/shares")).body["total"] == 0


async def test_what_is_refused(core_api: CoreApi) -> None:
    point = await put(core_api)
    dispatcher, viewer = await core_api.sign_in("dispatcher"), await core_api.sign_in("viewer")
    integrator = await core_api.sign_in("integrator")
    foreign = await add_viewer(core_api, "foreign", "admin", "d/s2")
    from_point = {"from": {"point": point}}
    for caller, given, status, field in (
        (viewer, body(**from_point), 403, None),
        (integrator, body(**from_point), 403, None),
        (foreign, body(**from_point), 404, None),
        (dispatcher, body(**from_point, to="d/none"), 422, "to"),
        (dispatcher, body(**from_point, to="d/s1"), 422, "to"),
        (dispatcher, body(**from_point, ends_at=hours(-1)), 422, "ends_at"),
        (dispatcher, body(**from_point, ends_at="2999-01-01T00:00:00"), 422, "ends_at"),
        (dispatcher, body(**from_point, purpose=" "), 422, "purpose"),
        (dispatcher, body(**{"from": {}}), 422, "from"),
        (dispatcher, body(**{"from": {"point": point, "organization": "d/s1"}}), 422, "from"),
        (dispatcher, body(**{"from": {"organization": "d/s2"}}), 404, None),
    ):
        refused = await caller("POST", "/shares", given)
        assert refused.status == status, (given, refused.body)
        if field is not None:
            assert refused.body["errors"][0]["field"] == field, refused.body


@pytest.fixture
async def cameras(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RtspFleet]:
    clips: Path = tmp_path_factory.mktemp("clips")
    spec = RtspCameraSpec(
        name="gate",
        username="viewer",
        password="planted",
        main_size=(128, 96),
        sub_size=(128, 96),
        gop_s=0.4,
    )
    async with RtspFleet([spec], clip_cache=clips) as fleet:
        yield fleet


@ON_SQLITE
@pytest.mark.parametrize("how", ["ended by hand", "its time is over"])
async def test_a_running_view_closes_within_five_seconds(
    core_api: CoreApi, cameras: RtspFleet, how: str
) -> None:
    database = core_api.context.database
    camera = cameras.cameras["gate"]
    moved = []

    async def open_media(point_id: str, profile: str) -> MediaSource:
        return RtspSource(
            url=camera.url("main"),
            username=camera.spec.username,
            password=Secret(camera.spec.password),
        )

    async def execute(point_id: str, command: Any) -> Outcome:
        moved.append(point_id)
        return Outcome(result=Result.DONE)

    device = NewDevice(adapter="onvif", endpoint="camera", organization="d/s1/w1")
    found = [FoundSource(address="v1")]
    registered = await database.write(lambda c: devices.register(c, SYSTEM, device, found))
    point = registered.created[0].point_id
    dispatcher = await core_api.sign_in("dispatcher")
    receiver = await add_viewer(core_api, "receiver", "viewer", "d/s2")
    async with LiveService(open_media, rights(database)) as live:
        core_api.app.state.services = types.SimpleNamespace(
            live=live,
            cameras=types.SimpleNamespace(execute=execute),
            ptz_locks=PtzLocks(),
            covers=None,
            media=None,
        )
        core_api.app.include_router(views.router, prefix=PREFIX)
        live_path, ptz = f"/points/{point}/live", f"/points/{point}/ptz"
        assert (await receiver("POST", live_path, {})).status == 404
        ends_at = hours(1) if how == "ended by hand" else hours(4 / 3600)
        given = body(**{"from": {"organization": "d/s1"}}, ends_at=ends_at, ptz=True)
        share = (await dispatcher("POST", "/shares", given)).body
        integrator = await add_viewer(core_api, "integrator-2", "integrator", "d/s2")
        assert (await integrator("POST", live_path, {})).status == 404
        assert (await receiver("POST", ptz, {"pan": 0.5})).status == 200
        assert moved == [point]
        ticket = await receiver("POST", live_path, {})
        assert ticket.status == 201, ticket.body
        async with await live.redeem(ticket.body["ticket"], "frames") as session:
            assert await session.take()
            assert not session.closed.is_set()
            if how == "ended by hand":
                assert (await dispatcher("DELETE", f"/shares/{share['id']}")).status == 204
                assert (await receiver("POST", live_path, {})).status == 404
            async with asyncio.timeout(5 if how == "ended by hand" else 4 + 5):
                await session.closed.wait()
            assert session.viewer.over is not None
            assert session.viewer.over.code == 4403
        assert (await receiver("POST", live_path, {})).status == 404
        assert (await receiver("POST", ptz, {"pan": 0.5})).status == 404


async def nothing_opens(_point: str, _profile: str) -> MediaSource:
    raise AssertionError("no stream is opened here")


def nothing_is_made(_point: str) -> Transform:
    raise AssertionError("no stream is opened here")


@ON_SQLITE
async def test_a_share_carries_no_clear_view_and_ptz_only_when_named(core_api: CoreApi) -> None:
    database = core_api.context.database
    device = NewDevice(adapter="onvif", endpoint="camera", organization="d/s1/w1")
    found = [FoundSource(address="v1")]
    registered = await database.write(lambda c: devices.register(c, SYSTEM, device, found))
    point = registered.created[0].point_id
    admin = await core_api.sign_in("admin")
    dispatcher = await core_api.sign_in("dispatcher")
    receiver = await add_viewer(core_api, "receiver", "dispatcher", "d/s2")
    roles = [
        {"role": "dispatcher", "organization": "d/s2"},
        {
            "role": "clear_view",
            "organization": "d/s2",
            "purpose": "case 7",
            "ends_at": hours(1),
        },
    ]
    me = (await receiver("GET", "/me")).body["id"]
    assert (await admin("PUT", f"/users/{me}/roles", roles)).status == 200
    core_api.app.include_router(views.router, prefix=PREFIX)
    allowed = rights(database)
    live = LiveService(nothing_opens, allowed, masking=nothing_is_made)
    core_api.app.state.services = types.SimpleNamespace(live=live, cameras=None, media=None)
    shared = body(**{"from": {"point": point}})
    assert (await dispatcher("POST", "/shares", shared)).status == 201
    # A dispatcher where it is given is a viewer by it.
    assert (await receiver("POST", f"/points/{point}/ptz", {"pan": 0.5})).status == 403
    view = View(user_id=me, point_id=point, clear=True)
    assert await allowed(view)
    masked = {"masked": True}
    done = await admin("PATCH", f"/points/{point}", masked, headers={"If-Match": "*"})
    assert done.status == 200
    ticket = (await receiver("POST", f"/points/{point}/live", {})).body["ticket"]
    session = await live.redeem(ticket, "frames")
    assert not session.key.clear
    assert not await allowed(view)
    assert await allowed(dataclasses.replace(view, clear=False))
