"""Setting a simulated camera's clock over HTTP; no further try with a password that was refused."""

import types
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from core_api import CoreApi
from databases import ON_SQLITE

from adapters.errors import AuthenticationFailed
from gateway.agents.cameras import Cameras
from gateway.api import PREFIX, devices
from registry import devices as stored
from registry.devices import NewDevice
from registry.partition import SYSTEM
from registry.sources import FoundSource
from simulators.onvif_camera import CameraSpec, OnvifCamera, OnvifFleet, Quirks

pytest_plugins = ["core_api"]


@pytest.fixture
async def camera(tmp_path: Path) -> AsyncIterator[OnvifCamera]:
    spec = CameraSpec(
        name="gate", username="admin", password="planted-password", serial="SN-1",
        manufacturer="Hutong", model="Dome", firmware="1.0", main_size=(160, 128),
        sub_size=(128, 96), fps=5, quirks=Quirks(clock_offset_s=-7_200),
    )  # fmt: skip
    async with OnvifFleet([spec], discovery_port=None, clip_cache=tmp_path) as fleet:
        yield fleet.cameras["gate"]


async def register(core_api: CoreApi, camera: OnvifCamera) -> tuple[str, str]:
    device = NewDevice(
        adapter="onvif",
        endpoint=camera.device_url,
        organization="d/s1/w1",
        username="admin",
        secret=b"planted-password",
    )
    found = [FoundSource(address="source_1")]
    write = core_api.context.database.write
    registered = await write(lambda c: stored.register(c, SYSTEM, device, found))
    return registered.device_id, registered.created[0].point_id


@ON_SQLITE
async def test_an_integrator_sets_it_and_nobody_else(
    core_api: CoreApi, camera: OnvifCamera
) -> None:
    device, _ = await register(core_api, camera)
    cameras = Cameras(core_api.context.database, bytes.decode, {})
    core_api.app.state.services = types.SimpleNamespace(cameras=cameras)
    core_api.app.include_router(devices.router, prefix=PREFIX)
    path = f"/devices/{device}/clock"
    for name, status in (("viewer", 404), ("dispatcher", 404), ("integrator", 200)):
        caller = await core_api.sign_in(name)
        assert camera.quirks.clock_offset_s == -7_200
        assert (await caller("POST", path)).status == status, name
    assert camera.quirks.clock_offset_s == pytest.approx(0, abs=1.5)


@ON_SQLITE
async def test_a_device_that_refused_the_password_is_not_asked_for_pictures(
    core_api: CoreApi, camera: OnvifCamera
) -> None:
    device, point = await register(core_api, camera)
    agent: Any = types.SimpleNamespace(refused=AuthenticationFailed("it refused us"), adapter=None)
    cameras = Cameras(core_api.context.database, bytes.decode, {device: agent})
    with pytest.raises(AuthenticationFailed, match="it refused us"):
        await cameras.snapshot(point)
    assert camera.requests == 0
    agent.refused = None
    assert (await cameras.snapshot(point)).data.startswith(b"\xff\xd8")
