"""Where a camera that moves stands: known only when it was read twice, and lately."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from relay_stage import HandClock, settle

from adapters.errors import NotSupported, Unreachable
from gateway.live.covers import Covers, cover_of
from gateway.live.whereabouts import ASK_AGAIN_S, NOWHERE, Presets, Whereabouts
from gateway.vision.masking import EVERYTHING, NOTHING, Cover
from registry.masks import Masks

GATE, YARD = frozenset({"gate"}), frozenset({"yard"})
WINDOW = ((0.0, 0.0), (0.5, 0.0), (0.5, 0.5))
DOOR = ((0.5, 0.5), (1.0, 0.5), (1.0, 1.0))


class Camera:
    def __init__(self) -> None:
        self.time = HandClock()
        self.at: Presets = GATE
        self.error: Exception | None = None
        self.asked = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.whereabouts = Whereabouts(self.ask, clock=self.time.clock, sleep=self.time.sleep)

    async def ask(self, _point_id: str) -> Presets:
        self.asked += 1
        found = self.at
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return found

    def stood(self, moment_s: float | None = None) -> Presets | None:
        now_s = self.time.now_s
        return self.whereabouts.stood_at("p", now_s if moment_s is None else moment_s, 1.0)


@pytest.fixture
async def camera() -> AsyncIterator[Camera]:
    it = Camera()
    async with it.whereabouts.watched("p"):
        await settle()
        yield it
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("where")]


async def test_it_is_nowhere_before_it_was_read_twice_and_stood_a_while(camera: Camera) -> None:
    assert camera.stood() == NOWHERE
    await camera.time.pass_s(1.0)
    assert camera.stood() == NOWHERE, "it may just have come"
    await camera.time.pass_s(1.0)
    assert camera.stood() == GATE


async def test_of_a_moment_after_the_last_reading_nothing_is_known_yet(camera: Camera) -> None:
    for _ in range(3):
        await camera.time.pass_s(1.0)
    await camera.time.pass_s(0.5)
    picture_s = camera.time.now_s
    assert camera.stood(picture_s) is None
    await camera.time.pass_s(0.5)
    assert camera.stood(picture_s) == GATE


async def test_a_move_by_somebody_else_hides_what_came_since_the_last_reading(
    camera: Camera,
) -> None:
    for _ in range(4):
        await camera.time.pass_s(1.0)
    await camera.time.pass_s(0.5)
    picture_s = camera.time.now_s
    camera.at = YARD
    await camera.time.pass_s(0.5)
    assert camera.stood(picture_s) == NOWHERE
    await camera.time.pass_s(1.0)
    await camera.time.pass_s(1.0)
    assert camera.stood() == YARD
    assert camera.stood(picture_s) == NOWHERE, "of before it stood there"


async def test_a_move_of_ours_hides_at_once_and_until_it_has_stood_again(camera: Camera) -> None:
    for _ in range(3):
        await camera.time.pass_s(1.0)
    assert camera.stood() == GATE
    with camera.whereabouts.moves("p"):
        assert camera.stood() == NOWHERE
        assert await camera.whereabouts.ask("p") == NOWHERE
        await camera.time.pass_s(1.0)
        assert camera.stood() == NOWHERE
    assert camera.stood() == NOWHERE
    await camera.time.pass_s(1.0)
    assert camera.stood() == NOWHERE
    await camera.time.pass_s(1.0)
    await camera.time.pass_s(1.0)
    assert camera.stood() == GATE


async def test_an_answer_from_before_a_move_is_worth_nothing(camera: Camera) -> None:
    camera.gate.clear()
    await camera.time.pass_s(1.0)
    with camera.whereabouts.moves("p"):
        pass
    asking = asyncio.create_task(camera.whereabouts.ask("p"))
    await settle()
    with camera.whereabouts.moves("p"):
        pass
    camera.gate.set()
    assert await asking == NOWHERE
    await settle()
    await camera.time.pass_s(1.0)
    assert camera.stood() == NOWHERE


@pytest.mark.parametrize("error", [Unreachable("gone"), ValueError("nonsense")])
async def test_a_camera_that_does_not_answer_is_nowhere(camera: Camera, error: Exception) -> None:
    for _ in range(3):
        await camera.time.pass_s(1.0)
    camera.error = error
    await camera.time.pass_s(1.0)
    assert camera.stood() == NOWHERE
    assert await camera.whereabouts.ask("p") == NOWHERE
    camera.error = None
    for _ in range(3):
        await camera.time.pass_s(1.0)
    assert camera.stood() == GATE


async def test_a_camera_that_cannot_tell_is_not_asked_all_day(camera: Camera) -> None:
    camera.error = NotSupported("it does not tell")
    await camera.time.pass_s(1.0)
    asked = camera.asked
    for _ in range(int(ASK_AGAIN_S) - 1):
        await camera.time.pass_s(1.0)
    assert camera.asked == asked
    assert camera.stood() == NOWHERE


async def test_what_is_not_watched_is_nowhere() -> None:
    camera = Camera()
    async with camera.whereabouts.watched("p"):
        await settle()
        for _ in range(3):
            await camera.time.pass_s(1.0)
        async with camera.whereabouts.watched("p"):
            assert camera.stood() == GATE
        assert camera.stood() == GATE
    assert camera.stood() == NOWHERE


def test_what_is_hidden() -> None:
    fixed = Masks(point_id="p", masked=True, polygons=(WINDOW,))
    assert cover_of(fixed, NOWHERE) == Cover(polygons=(WINDOW,))
    assert cover_of(Masks(point_id="p", masked=True), NOWHERE) == EVERYTHING
    assert cover_of(Masks(point_id="p", polygons=(WINDOW,)), NOWHERE) == NOTHING
    assert cover_of(None, GATE) == EVERYTHING
    moving = Masks(
        point_id="p",
        masked=True,
        movable=True,
        polygons=(WINDOW,),
        presets={"gate": (WINDOW,), "yard": (DOOR,)},
    )
    assert cover_of(moving, NOWHERE) == EVERYTHING
    assert cover_of(moving, frozenset({"roof"})) == EVERYTHING
    assert cover_of(moving, GATE) == Cover(polygons=(WINDOW,))
    assert cover_of(moving, GATE | YARD) == Cover(polygons=(WINDOW, DOOR))


async def test_masks_that_cannot_be_read_stay_as_they_were_and_let_nobody_in() -> None:
    time, camera = HandClock(), Camera()
    masks = Masks(point_id="p", masked=True, polygons=(WINDOW,))
    away = False

    async def read(point_ids: object) -> dict[str, Masks]:
        if away:
            raise ConnectionError("the database is away")
        return {"p": masks}

    async with Covers(read, camera.whereabouts, sleep=time.sleep) as covers:
        async with covers.watch("p") as watched:
            await settle()
            assert watched.at(0.0) == Cover(polygons=(WINDOW,))
            masks = Masks(point_id="p", masked=True, polygons=(DOOR,))
            await time.pass_s(1.0)
            assert watched.at(0.0) == Cover(polygons=(DOOR,))
            away = True
            await time.pass_s(1.0)
            assert watched.at(0.0) == Cover(polygons=(DOOR,))
        with contextlib.suppress(Unreachable):
            async with covers.watch("p"):
                pytest.fail("nobody can say what is hidden")
