"""A camera that nobody watched, with a keyframe every 6 s: it is asked for one."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapters.base import MediaSource
from adapters.errors import NotSupported
from adapters.events import RequestKeyframe, Result
from adapters.onvif.adapter import OnvifAdapter
from adapters.onvif.settings import OnvifSettings
from gateway.live import LiveService, LiveSession, View
from simulators.onvif_camera import CameraSpec, OnvifCamera, OnvifFleet

GROUP_S = 6.0
SOURCE = "source_1"


@pytest.fixture(scope="module")
def clip_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clips")


@pytest.fixture
async def camera(clip_cache: Path) -> AsyncIterator[OnvifCamera]:
    spec = CameraSpec(
        name="gate", username="admin", password="planted", serial="SN", manufacturer="Hutong",
        model="IPC", firmware="1", main_size=(160, 128), sub_size=(128, 96), gop_s=GROUP_S,
    )  # fmt: skip
    async with OnvifFleet([spec], discovery_port=None, clip_cache=clip_cache) as fleet:
        yield fleet.cameras["gate"]


@pytest.fixture
async def live(camera: OnvifCamera) -> AsyncIterator[LiveService]:
    adapter = OnvifAdapter(
        OnvifSettings.model_validate(
            {"endpoint": camera.device_url, "username": "admin", "password": "planted"}
        )
    )

    async def open_media(point_id: str, profile: str) -> MediaSource:
        return await adapter.open_media(SOURCE, profile)

    async def ask_keyframe(point_id: str, profile: str) -> None:
        outcome = await adapter.execute(RequestKeyframe(address=SOURCE, profile=profile))
        if outcome.result is Result.REFUSED:
            raise NotSupported(outcome.reason)

    async def allowed(view: View) -> bool:
        return True

    await adapter.probe()
    async with LiveService(open_media, allowed, ask_keyframe=ask_keyframe) as it:
        yield it


async def pictures(session: LiveSession, count: int) -> list[bytes]:
    found: list[bytes] = []
    async with asyncio.timeout(30):
        while len(found) < count:
            found += [each for each in await session.take() if isinstance(each, bytes)]
    return found


async def test_the_first_picture_does_not_wait_for_the_group(
    live: LiveService, camera: OnvifCamera
) -> None:
    loop = asyncio.get_running_loop()
    stream = camera.rtsp.stream("main", 1)
    group = stream.clip.parameters.gop_frames
    # In the middle of a group, as a stream is when somebody happens to look.
    async with asyncio.timeout(30):
        while not 20 <= stream.frame_index(camera.rtsp.pacer.number(stream)) % group <= 40:  # noqa: ASYNC110 - the camera's own clock
            await asyncio.sleep(0.02)
    ticket = live.issue("user", "p", "main")
    began_s = loop.time()
    async with await live.redeem(ticket.token, "frames") as session:
        first, *_ = await pictures(session, 1)
        took_s = loop.time() - began_s
    assert first[0] & 1
    assert live.counters.keyframes_asked == 1
    # Left to itself the camera would have taken more than 3 s.
    assert took_s < 2.5
