"""A camera that moves has masks by preset: off them, while it moves, and whenever nobody can say
where it looks, the picture is blank."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from databases import ON_SQLITE
from privacy_stage import (
    RIGHT_HALF,
    FramesEye,
    Pixels,
    Stage,
    hides_right_half,
    is_flat,
    of_masked_jpeg,
    privacy_stage,
)

from registry.database import Database
from simulators.onvif_camera import Position

pytest_plugins = ["databases"]
pytestmark = ON_SQLITE

WITHIN_S = 60.0


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clips")


@pytest.fixture
async def stage(
    database: Database, database_url: str, tmp_path: Path, clips: Path
) -> AsyncIterator[Stage]:
    async with privacy_stage(database, database_url, tmp_path, clips, ptz=True) as it:
        head = it.camera.ptz_heads[1]
        head.go(Position(pan=0.5))
        head.set_preset("gate")
        head.go(Position(pan=-0.5))
        head.set_preset("yard")
        yield it


async def until(eye: FramesEye, looks: Callable[[Pixels], bool]) -> None:
    """The first picture that looks so; all before it are blank or of the preset with masks."""
    while not looks(shown := await eye.next()):
        assert is_flat(shown) or hides_right_half(shown)


async def test_masks_hold_at_their_preset_and_all_is_hidden_elsewhere(stage: Stage) -> None:
    viewer, dispatcher = await stage.sign_in("viewer"), await stage.sign_in("dispatcher")
    point, head = f"/points/{stage.point_id}", stage.camera.ptz_heads[1]
    refused = await stage.admin("PUT", f"{point}/masks", {"polygons": [RIGHT_HALF]})
    assert refused.status == 422
    await stage.mask(gate=[RIGHT_HALF])
    async with asyncio.timeout(WITHIN_S), await stage.watch(viewer) as socket:
        eye = FramesEye(socket)
        for _ in range(5):
            assert is_flat(await eye.next()), "it stands at a preset without masks"
        assert (await dispatcher("POST", f"{point}/ptz", {"preset": "gate"})).status == 200
        await until(eye, hides_right_half)
        for _ in range(20):
            assert hides_right_half(await eye.next())
        taken = await viewer("GET", f"{point}/snapshot.jpg")
        assert hides_right_half(of_masked_jpeg(taken.body))
        # Our own move hides at once; what comes after the answer shows nothing any more.
        moved = await dispatcher("POST", f"{point}/ptz", {"pan": -1, "duration_ms": 200})
        assert moved.status == 200
        await until(eye, is_flat)
        for _ in range(5):
            assert is_flat(await eye.next())
        taken = await viewer("GET", f"{point}/snapshot.jpg")
        assert taken.headers["Hutong-Picture"] == "blank"
        assert is_flat(of_masked_jpeg(taken.body))
        # Somebody else turns it to the preset, and away again.
        head.goto_preset("1")
        await until(eye, hides_right_half)
        head.go(Position(pan=0.3))
        await until(eye, is_flat)


async def test_a_preset_with_masks_is_not_moved_elsewhere(stage: Stage) -> None:
    dispatcher, point = await stage.sign_in("dispatcher"), f"/points/{stage.point_id}"
    await stage.mask(gate=[RIGHT_HALF])
    for method in ("PUT", "DELETE"):
        assert (await dispatcher(method, f"{point}/presets/gate")).status == 409
    assert (await dispatcher("PUT", f"{point}/presets/yard")).status == 200
    await stage.mask()
    assert (await dispatcher("PUT", f"{point}/presets/gate")).status == 200
