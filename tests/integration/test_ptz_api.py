"""Moving a simulated camera and taking its picture over HTTP: rights, locks, presets, records."""

import asyncio
import contextlib
import types
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from core_api import Caller, CoreApi
from databases import ON_SQLITE
from patience import wait_until

from gateway.agents.cameras import Cameras
from gateway.agents.ptz_lock import HELD_S, PtzLocks
from gateway.api import PREFIX, views
from gateway.live.snapshots import Snapshots
from gateway.vision import PicturePool
from registry import devices
from registry.devices import NewDevice
from registry.partition import SYSTEM
from registry.sources import FoundSource
from simulators.onvif_camera import CameraSpec, OnvifCamera, OnvifFleet, Quirks

pytest_plugins = ["core_api"]

CAMERA_PASSWORD = "planted-password"


class Clock:
    now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


class Stage:
    """A camera that moves, bound to a point of workroom d/s1/w1."""

    def __init__(self, api: CoreApi, camera: OnvifCamera, point: str, clock: Clock) -> None:
        self.api, self.camera, self.clock = api, camera, clock
        self.ptz = f"/points/{point}/ptz"
        self.presets = f"/points/{point}/presets"
        self.picture = f"/points/{point}/snapshot.jpg"


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clips")


@pytest.fixture
async def stage(core_api: CoreApi, clips: Path) -> AsyncIterator[Stage]:
    spec = CameraSpec(
        name="gate", username="admin", password=CAMERA_PASSWORD, serial="SN-1", ptz=True,
        manufacturer="Hutong", model="Dome", firmware="1.0", main_size=(160, 128),
        sub_size=(128, 96), fps=5,
    )  # fmt: skip
    database, clock = core_api.context.database, Clock()
    async with OnvifFleet([spec], discovery_port=None, clip_cache=clips) as fleet:
        camera = fleet.cameras["gate"]
        device = NewDevice(
            adapter="onvif",
            endpoint=camera.device_url,
            organization="d/s1/w1",
            username="admin",
            secret=CAMERA_PASSWORD.encode(),
        )
        found = [FoundSource(address="source_1")]
        registered = await database.write(lambda c: devices.register(c, SYSTEM, device, found))
        cameras = Cameras(database, bytes.decode, {})
        async with PicturePool() as pool:
            core_api.app.state.services = types.SimpleNamespace(
                live=None,
                cameras=cameras,
                ptz_locks=PtzLocks(clock),
                covers=None,
                snapshots=Snapshots(
                    device=cameras.snapshot,
                    open_media=cameras.open_media,
                    keyframe=lambda _point, _profile: None,
                    pool=pool,
                    clock=clock,
                ),
            )
            core_api.app.include_router(views.router, prefix=PREFIX)
            yield Stage(core_api, camera, registered.created[0].point_id, clock)


async def sign_in(stage: Stage, name: str) -> Caller:
    return await stage.api.sign_in(name)


@ON_SQLITE
async def test_who_may_not_move_it_may_not_touch_its_presets(stage: Stage) -> None:
    for name, status in (("viewer", 403), ("integrator", 403)):
        caller = await sign_in(stage, name)
        for method, path, body in (
            ("POST", stage.ptz, {"pan": 1}),
            ("GET", stage.ptz, None),
            ("GET", stage.presets, None),
            ("PUT", f"{stage.presets}/gate", None),
            ("DELETE", f"{stage.presets}/gate", None),
        ):
            assert (await caller(method, path, body)).status == status, (name, method)
    assert stage.camera.ptz_heads[1].moves == 0


@ON_SQLITE
async def test_moves_in_every_way_and_keeps_presets(stage: Stage) -> None:
    dispatcher, head = await sign_in(stage, "dispatcher"), stage.camera.ptz_heads[1]
    moved = await dispatcher("POST", stage.ptz, {"pan": 1, "duration_ms": 50})
    assert (moved.status, moved.body["result"]) == (200, "done")
    assert moved.body["lock"]["user"] == "dispatcher"
    assert not head.moving
    assert (
        await dispatcher("POST", stage.ptz, {"absolute": {"pan": 0.5, "tilt": -0.5}})
    ).status == 200
    assert (head.position.pan, head.position.tilt) == (pytest.approx(0.5), pytest.approx(-0.5))
    assert (await dispatcher("PUT", f"{stage.presets}/%E5%A4%A7%E9%97%A8")).status == 200
    assert (await dispatcher("POST", stage.ptz, {"relative": {"pan": 0.1}})).status == 200
    assert head.position.pan == pytest.approx(0.7)
    assert (await dispatcher("POST", stage.ptz, {"preset": "大门"})).status == 200
    assert head.position.pan == pytest.approx(0.5)
    listed = (await dispatcher("GET", stage.presets)).body
    assert (listed["items"], listed["total"]) == ([{"name": "大门"}], 1)
    assert (await dispatcher("DELETE", f"{stage.presets}/大门")).status == 204
    assert (await dispatcher("DELETE", f"{stage.presets}/大门")).status == 404
    assert (await dispatcher("POST", stage.ptz, {"preset": "大门"})).status == 404


@ON_SQLITE
@pytest.mark.parametrize(
    "body",
    [
        {},
        {"pan": 2},
        {"pan": 1, "stop": True},
        {"preset": "x", "stop": True},
        {"preset": ""},
        {"absolute": {"pan": 0.5}},
        {"absolute": {"zoom": -0.5}},
        {"pan": 1, "duration_ms": 60_000},
        {"speed": 1},
    ],
)
async def test_what_says_nothing_or_two_things_is_refused(stage: Stage, body: Any) -> None:
    dispatcher = await sign_in(stage, "dispatcher")
    assert (await dispatcher("POST", stage.ptz, body)).status == 422
    assert stage.camera.ptz_heads[1].moves == 0


@ON_SQLITE
async def test_a_lock_is_seen_and_gives_way_to_a_higher_rank_only(stage: Stage) -> None:
    dispatcher, admin = await sign_in(stage, "dispatcher"), await sign_in(stage, "admin")
    assert (await admin("GET", stage.ptz)).body == {"lock": None}
    assert (await dispatcher("POST", stage.ptz, {"pan": 1, "duration_ms": 20})).status == 200
    lock = (await admin("GET", stage.ptz)).body["lock"]
    assert (lock["user"], lock["role"]) == ("dispatcher", "dispatcher")
    assert (await admin("POST", stage.ptz, {"pan": -1, "duration_ms": 20})).status == 200
    for method, path, body in (
        ("POST", stage.ptz, {"pan": 1}),
        ("POST", stage.ptz, {"stop": True}),
        ("PUT", f"{stage.presets}/gate", None),
    ):
        refused = await dispatcher(method, path, body)
        assert (refused.status, refused.body["other"]) == (409, "admin")
        assert "admin moves it until" in refused.body["detail"].replace(" (admin)", "")
    stage.clock.now_s += HELD_S + 1
    assert (await dispatcher("POST", stage.ptz, {"stop": True})).status == 200
    assert (await dispatcher("GET", stage.ptz)).body == {"lock": None}  # a stop takes none


@ON_SQLITE
async def test_it_stops_when_whoever_moves_it_goes(stage: Stage) -> None:
    dispatcher, head = await sign_in(stage, "dispatcher"), stage.camera.ptz_heads[1]
    url = f"{stage.api.url}{PREFIX}{stage.ptz}"
    headers = {"Authorization": f"Bearer {dispatcher.token}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        body = {"pan": 1, "duration_ms": 10_000}
        asking = asyncio.create_task(session.post(url, json=body))
        await wait_until(lambda: head.moving)
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asking
    await wait_until(lambda: not head.moving)
    assert head.stops == 1


@ON_SQLITE
async def test_pictures_say_where_they_come_from(stage: Stage) -> None:
    viewer = await sign_in(stage, "viewer")
    first = await viewer("GET", f"{stage.picture}?width=64")
    assert (first.status, first.headers["Hutong-Picture"]) == (200, "device")
    assert first.body.startswith(b"\xff\xd8")
    await viewer("GET", stage.picture)
    assert stage.camera.snapshots == 1
    assert (await viewer("GET", f"{stage.picture}?width=63")).status == 422
    assert (await viewer("GET", f"{stage.picture}?width=1921")).status == 422
    integrator = await sign_in(stage, "integrator")
    assert (await integrator("GET", stage.picture)).status == 403
    stage.camera.quirks = Quirks(snapshot_refused=True)
    stage.clock.now_s += 6
    other = await viewer("GET", stage.picture)
    assert (other.status, other.headers["Hutong-Picture"]) == (200, "stream")
    assert other.body.startswith(b"\xff\xd8")
    assert "refused" in other.headers["Hutong-Picture-Reason"]
    assert "127.0.0.1" not in other.headers["Hutong-Picture-Reason"]
