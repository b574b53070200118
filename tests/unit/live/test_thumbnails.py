"""Small pictures: kept fresh while asked for, at a bounded rate, and never an old mask's."""

import asyncio
from collections.abc import AsyncIterator, Hashable

import pytest
from relay_stage import HandClock, settle

from adapters.errors import Unreachable
from gateway.live.snapshots import Snapshot
from gateway.live.thumbnails import Thumbnails, ThumbnailSettings


class Stage:
    """taken: the points in the order in which their pictures were asked for."""

    def __init__(self, settings: ThumbnailSettings) -> None:
        self.time = HandClock()
        self.taken: list[str] = []
        self.at_once = self.most_at_once = 0
        self.stamps: dict[str, Hashable] = {}
        self.error: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.thumbnails = Thumbnails(
            self.take,
            self.stamp_of,
            settings=settings,
            clock=self.time.clock,
            sleep=self.time.sleep,
        )

    async def take(self, point_id: str, width: int) -> Snapshot:
        self.taken.append(point_id)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await self.gate.wait()
            if self.error is not None:
                raise self.error
            return Snapshot(data=f"{point_id} {len(self.taken)}".encode(), origin="device")
        finally:
            self.at_once -= 1

    async def stamp_of(self, point_id: str) -> Hashable:
        return self.stamps.get(point_id, 1)

    async def pass_s(self, seconds: float, step_s: float = 0.1) -> None:
        for _ in range(round(seconds / step_s)):
            await self.time.pass_s(step_s)

    async def data(self, point_id: str) -> bytes | None:
        found = await self.thumbnails.get(point_id, self.stamps.get(point_id, 1))
        return found.data if found else None


SETTINGS = ThumbnailSettings(
    refresh_s=10.0, wanted_s=30.0, failed_s=20.0, rate_per_s=10.0, at_once=2
)


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    it = Stage(SETTINGS)
    async with it.thumbnails:
        await settle()
        yield it


async def test_a_picture_is_taken_when_asked_for_and_again_while_it_is(stage: Stage) -> None:
    assert await stage.data("a") is None
    await settle()
    assert await stage.data("a") == b"a 1"
    assert await stage.data("a") == b"a 1"
    await stage.pass_s(9)
    assert stage.taken == ["a"]
    await stage.pass_s(2)
    assert stage.taken == ["a", "a"]
    assert await stage.data("a") == b"a 2"


async def test_nobody_asks_and_it_is_forgotten(stage: Stage) -> None:
    await stage.data("a")
    await stage.pass_s(80)
    assert len(stage.taken) in (3, 4)
    await stage.data("b")
    await stage.pass_s(1)
    assert len(stage.thumbnails) == 1


async def test_the_rate_is_bounded_and_none_is_left_behind(stage: Stage) -> None:
    for number in range(50):
        await stage.data(str(number))
    await stage.pass_s(1)
    assert 8 <= len(stage.taken) <= 12
    await stage.pass_s(4.5)
    assert sorted(stage.taken, key=int) == [str(number) for number in range(50)]
    assert len(set(stage.taken)) == 50


async def test_so_many_at_once_and_no_more(stage: Stage) -> None:
    stage.gate.clear()
    for number in range(6):
        await stage.data(str(number))
    await stage.pass_s(3)
    assert stage.most_at_once == SETTINGS.at_once
    stage.gate.set()
    await stage.pass_s(2)
    assert len(stage.taken) == 6


async def test_a_picture_of_other_masks_is_never_shown(stage: Stage) -> None:
    await stage.data("a")
    await settle()
    assert await stage.data("a") == b"a 1"
    stage.stamps["a"] = 2
    assert await stage.data("a") is None
    await stage.pass_s(0.3)
    assert await stage.data("a") == b"a 2"


async def test_a_picture_that_was_taken_while_masks_changed_is_thrown_away(stage: Stage) -> None:
    stage.gate.clear()
    await stage.data("a")
    await settle()
    assert stage.taken == ["a"]
    stage.stamps["a"] = 2
    stage.gate.set()
    await stage.pass_s(0.5)
    assert stage.taken == ["a", "a"]
    assert await stage.data("a") == b"a 2"


async def test_a_camera_that_gives_none_is_left_alone_for_a_while(stage: Stage) -> None:
    stage.error = Unreachable("it does not answer")
    await stage.data("a")
    await stage.pass_s(1)
    assert await stage.data("a") is None
    assert stage.thumbnails.reason("a") == "it does not answer"
    await stage.pass_s(15)
    assert stage.taken == ["a"]
    stage.error = None
    await stage.data("a")
    await stage.pass_s(6)
    assert await stage.data("a") == b"a 2"


async def test_a_camera_that_never_gives_one_is_asked_less_and_less(stage: Stage) -> None:
    stage.error = Unreachable("it does not answer")
    asked: list[int] = []
    for _ in range(12):
        await stage.data("a")
        await stage.pass_s(10)
        asked.append(len(stage.taken))
    assert asked[-1] == 3, asked


async def test_a_camera_that_is_known_to_be_away_is_not_asked(stage: Stage) -> None:
    assert await stage.thumbnails.get("a", 1, away=True) is None
    await stage.pass_s(1)
    assert stage.taken == []
    await stage.data("a")
    await settle()
    await stage.pass_s(12)
    taken = len(stage.taken)
    found = await stage.thumbnails.get("a", 1, away=True)
    assert found is not None
    assert await stage.thumbnails.get("a", 2, away=True) is None
    await stage.pass_s(40)
    assert len(stage.taken) <= taken + 2, "whoever looks on while it is away does not keep it"


async def test_whoever_comes_first_waits_for_the_first_picture(stage: Stage) -> None:
    waiting = asyncio.create_task(stage.thumbnails.get("a", 1, 30.0))
    found = await asyncio.wait_for(waiting, 30)
    assert found is not None
    assert found.data == b"a 1"


async def test_memory_is_bounded() -> None:
    settings = ThumbnailSettings(rate_per_s=1_000, at_once=4, max_points=30, max_bytes=100)
    it = Stage(settings)
    async with it.thumbnails:
        for number in range(60):
            await it.data(str(number))
            await it.pass_s(0.01, 0.01)
        assert len(it.thumbnails) == 30
        assert 0 < it.thumbnails.bytes_kept <= 100


async def test_leaving_ends_what_is_under_way(stage: Stage) -> None:
    other = Stage(SETTINGS)
    other.gate.clear()
    async with other.thumbnails:
        await other.data("a")
        await settle()
        assert other.at_once == 1
    assert other.at_once == 0
