"""Snapshots: kept for 5 s, asked for once by all, from the stream where the device says no."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from adapters.base import AccessUnit, MediaSource, TrackFormat
from adapters.errors import AdapterError, AuthenticationFailed, NotSupported, Unreachable
from adapters.events import Image, RtspSource, Secret
from gateway.live import snapshots
from gateway.live.snapshots import FRESH_S, REFUSED_FOR_S, Snapshots
from gateway.vision import PicturePool, resize_jpeg
from simulators.rtsp_camera import RtspCamera, RtspCameraSpec, RtspFleet


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clips")


@pytest.fixture
async def camera(clips: Path) -> AsyncIterator[RtspCamera]:
    spec = RtspCameraSpec(
        name="gate", username="admin", password="planted", main_size=(160, 128),
        sub_size=(128, 96), fps=5,
    )  # fmt: skip
    async with RtspFleet([spec], clip_cache=clips) as fleet:
        yield fleet.cameras["gate"]


class Stage:
    """A device with a picture of its own, or an error in its place."""

    def __init__(self, camera: RtspCamera, pool: PicturePool) -> None:
        self.camera = camera
        self.now_s = 1_000.0
        self.asked = 0
        self.opened = 0
        self.error: AdapterError | None = None
        self.viewed: tuple[TrackFormat, AccessUnit] | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.snapshots = Snapshots(
            device=self.device,
            open_media=self.open_media,
            keyframe=lambda _point, _profile: self.viewed,
            pool=pool,
            clock=lambda: self.now_s,
        )

    async def device(self, _point_id: str) -> Image:
        self.asked += 1
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        data = self.camera.snapshot("main", 1)
        return Image(data=data, content_type="image/jpeg", at=datetime.now(UTC))

    async def open_media(self, _point_id: str, _profile: str) -> MediaSource:
        self.opened += 1
        return RtspSource(url=self.camera.url("main"), username="admin", password=Secret("planted"))


@pytest.fixture
async def stage(camera: RtspCamera) -> AsyncIterator[Stage]:
    async with PicturePool() as pool:
        yield Stage(camera, pool)


async def test_a_picture_is_the_devices_own_and_good_for_five_seconds(stage: Stage) -> None:
    first = await stage.snapshots.take("p")
    assert (first.origin, first.reason) == ("device", "")
    assert first.data.startswith(b"\xff\xd8")
    stage.now_s += FRESH_S - 0.1
    assert await stage.snapshots.take("p") is first
    assert stage.asked == 1
    stage.now_s += 0.1
    await stage.snapshots.take("p")
    assert stage.asked == 2
    await stage.snapshots.take("another")
    assert stage.asked == 3


async def test_all_who_ask_at_once_share_one_picture(stage: Stage) -> None:
    stage.gate.clear()
    asking = [asyncio.create_task(stage.snapshots.take("p", width)) for width in (None, 64, 64)]
    gone = asyncio.create_task(stage.snapshots.take("p"))
    await asyncio.sleep(0)
    gone.cancel()
    asking[0].cancel()  # whoever was first goes; the others still get theirs
    stage.gate.set()
    await asyncio.wait([*asking, gone])
    assert asking[1].result() is asking[2].result()
    assert stage.asked == 2
    assert stage.snapshots._locks == {}


async def test_widths_come_from_one_picture(stage: Stage) -> None:
    small = await stage.snapshots.take("p", 64)
    large = await stage.snapshots.take("p")
    assert stage.asked == 1
    assert len(small.data) < len(large.data)
    assert resize_jpeg(small.data, 64) == small.data  # it is no wider than that
    assert await stage.snapshots.take("p", 64) is small


@pytest.mark.parametrize(
    "error",
    [AuthenticationFailed("it refused us at snapshot"), NotSupported("it gives no snapshots")],
)
async def test_a_device_that_says_no_is_not_asked_again_for_long(
    stage: Stage, error: AdapterError
) -> None:
    """Another wrong password every 5 s would lock the account."""
    stage.error = error
    picture = await stage.snapshots.take("p")
    assert (picture.origin, picture.reason) == ("stream", error.message)
    assert picture.data.startswith(b"\xff\xd8")
    for _ in range(3):
        stage.now_s += FRESH_S
        assert (await stage.snapshots.take("p")).reason == error.message
    assert (stage.asked, stage.opened) == (1, 4)
    stage.now_s += REFUSED_FOR_S
    stage.error = None
    assert (await stage.snapshots.take("p")).origin == "device"


async def test_a_device_that_is_away_is_said_to_be(stage: Stage) -> None:
    stage.error = Unreachable("no connection to it")
    with pytest.raises(Unreachable):
        await stage.snapshots.take("p")
    assert stage.opened == 0
    stage.error = None
    assert (await stage.snapshots.take("p")).origin == "device"


async def test_pictures_do_not_pile_up(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    size = len((await stage.snapshots.take("p0")).data)
    monkeypatch.setattr(snapshots, "MAX_BYTES", 10 * size)
    for number in range(1, 40):
        await stage.snapshots.take(f"p{number}")
    assert stage.snapshots._bytes <= 10 * size
    assert stage.snapshots._bytes == sum(len(s.data) for s in stage.snapshots._kept.values())
    stage.now_s += FRESH_S
    await stage.snapshots.take("last")
    assert len(stage.snapshots._kept) == 1
