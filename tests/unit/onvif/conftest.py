"""A simulated camera, and settings for it."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from adapters.onvif.adapter import OnvifAdapter
from adapters.onvif.settings import OnvifSettings
from simulators.onvif_camera import CameraSpec, OnvifCamera, OnvifFleet, with_persona

PASSWORD = "planted-password"

MakeAdapter = Callable[..., OnvifAdapter]
Meet = Callable[..., Awaitable[OnvifCamera]]


def camera_spec(name: str, **changes: Any) -> CameraSpec:
    known: dict[str, Any] = {
        "username": "admin", "password": PASSWORD, "serial": f"SN-{name}",
        "manufacturer": "Hutong", "model": "IPC", "firmware": "1.0", "ptz": True,
        "main_size": (160, 128), "sub_size": (128, 96), "fps": 5,
    }  # fmt: skip
    return CameraSpec(name=name, **(known | changes))


@pytest.fixture(scope="session")
def clip_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips are encoded once for all tests."""
    return tmp_path_factory.mktemp("clips")


@pytest.fixture
async def fleet(clip_cache: Path) -> AsyncIterator[OnvifFleet]:
    """Cameras ``gate`` (two sources that move) and ``fixed``, with discovery."""
    specs = [
        camera_spec("gate", sources=2, location="1 East Lane"),
        camera_spec("fixed", ptz=False),
    ]
    async with OnvifFleet(specs, discovery_port=0, clip_cache=clip_cache) as running:
        yield running


@pytest.fixture
async def meet(clip_cache: Path) -> AsyncIterator[Meet]:
    """Starts a camera that is all the named personas."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(*personas: str, **changes: Any) -> OnvifCamera:
            spec = with_persona(camera_spec("odd", **changes), *personas)
            fleet = OnvifFleet([spec], discovery_port=None, clip_cache=clip_cache)
            await stack.enter_async_context(fleet)
            return fleet.cameras["odd"]

        yield start


@pytest.fixture
def camera(fleet: OnvifFleet) -> OnvifCamera:
    return fleet.cameras["gate"]


@pytest.fixture
def make_adapter() -> MakeAdapter:
    """An adapter for an endpoint, with settings changed as named."""

    def make(endpoint: str, **changes: Any) -> OnvifAdapter:
        known = {"endpoint": endpoint, "username": "admin", "password": PASSWORD, "timeout_s": 2.0}
        return OnvifAdapter(OnvifSettings.model_validate(known | changes))

    return make


@pytest.fixture
def adapter(camera: OnvifCamera, make_adapter: MakeAdapter) -> OnvifAdapter:
    return make_adapter(camera.device_url)
