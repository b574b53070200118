"""Masked streams in live view: how many, what they leave behind, and what they do without."""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Collection, Mapping

import cv2
import numpy as np
import pytest
from relay_stage import PlayedCamera, until

from adapters.base import AccessUnit, MediaItem, TrackFormat
from gateway.live import LiveService, LiveSession, LiveSettings, ViewClosed
from gateway.live.covers import Covers
from gateway.live.frames import LiveFormat, LiveUnit
from gateway.live.masking import Masking
from gateway.live.whereabouts import NOWHERE, Presets, Whereabouts
from gateway.vision import PicturePool
from registry.masks import Masks

HALF = ((0.5, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 1.0))
VIDEO = TrackFormat(track=0, kind="video", codec="jpeg", description=b"", width=64, height=48)
SOUND = TrackFormat(
    track=1, kind="audio", codec="pcma", description=b"", sample_rate_hz=8_000, channels=1
)
JPEG = bytes(cv2.imencode(".jpg", np.full((48, 64, 3), 200, np.uint8))[1])


class Stage:
    def __init__(self, pool: PicturePool, max_streams: int) -> None:
        self.camera = PlayedCamera()
        self.masks: dict[str, Masks] = {}
        self.away = False
        self.covers = Covers(self.read, Whereabouts(self.ask))
        self.masking = Masking(self.covers, pool, max_streams=max_streams)
        self.live = LiveService(
            self.camera.source,
            self.allowed,
            masking=self.masking,
            settings=LiveSettings(linger_s=0.05, first_retry_s=0.02, max_retry_s=0.05),
        )
        self.pictures = 0

    async def read(self, point_ids: Collection[str]) -> Mapping[str, Masks]:
        if self.away:
            raise ConnectionError("the database is away")
        every = Masks(point_id="p", masked=True, polygons=(HALF,))
        return {each: self.masks.get(each, every) for each in point_ids}

    async def ask(self, _point_id: str) -> Presets:
        return NOWHERE

    async def allowed(self, _view: object) -> bool:
        return True

    async def session(self, point_id: str, *, clear: bool = False) -> LiveSession:
        ticket = self.live.issue("user", point_id, "main", clear=clear)
        return await self.live.redeem(ticket.token, "frames")

    def is_open(self, number: int) -> bool:
        return self.camera.open == number

    def play(self, number: int) -> None:
        at_us = self.pictures * 66_667
        for each in range(number):
            unit = AccessUnit(track=0, pts_us=at_us + each * 66_667, keyframe=True, data=JPEG)
            sound = AccessUnit(track=1, pts_us=unit.pts_us, keyframe=True, data=b"a" * 160)
            self.camera.play(unit, sound)
        self.pictures += number


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with PicturePool() as pool:
        it = Stage(pool, max_streams=2)
        async with it.covers, it.live:
            yield it


async def taken(session: LiveSession, units: int = 1) -> list[LiveFormat | LiveUnit]:
    found: list[LiveFormat | LiveUnit] = []
    async with asyncio.timeout(20):
        while sum(isinstance(each, LiveUnit) for each in found) < units:
            entries = await session.take_entries()
            found += [each for each in entries if isinstance(each, LiveFormat | LiveUnit)]
    return found


async def until_closed(session: LiveSession) -> ViewClosed:
    async with asyncio.timeout(20):
        try:
            while True:
                await session.take_entries()
        except ViewClosed as closed:
            return closed


async def test_sound_is_left_out_and_one_upstream_serves_both_forms(stage: Stage) -> None:
    async with await stage.session("p", clear=True) as plain, await stage.session("p") as masked:
        await until(lambda: stage.camera.open == 1)
        stage.camera.play(VIDEO, SOUND)
        stage.play(3)
        clear = await taken(plain, 6)
        assert {each.track.kind for each in clear if isinstance(each, LiveFormat)} == {
            "video",
            "audio",
        }
        shown = await taken(masked, 3)
        formats = [each.track for each in shown if isinstance(each, LiveFormat)]
        assert [each.kind for each in formats] == ["video"]
        assert formats[0].codec.startswith("avc1.42c0")
        assert all(each.video for each in shown if isinstance(each, LiveUnit))
        assert stage.camera.opened == 1


async def test_one_more_than_can_be_made_is_told_so_and_gets_in_later(stage: Stage) -> None:
    async with contextlib.AsyncExitStack() as stack:
        for number, point in enumerate(("a", "b"), start=1):
            session = await stack.enter_async_context(await stage.session(point))
            await until(functools.partial(stage.is_open, number))
            stage.camera.play(VIDEO)
            stage.play(1)
            await taken(session)
        assert stage.masking.streams == 2
        async with await stage.session("c") as third:
            closed = await until_closed(third)
        assert closed.code == 4429
        assert "2 masked streams" in closed.reason
        assert stage.masking.refused == 1
    await until(lambda: stage.masking.streams == 0)
    await until(lambda: stage.camera.open == 0)
    async with await stage.session("d") as later:
        await until(lambda: stage.camera.open == 1)
        stage.camera.play(VIDEO)
        stage.play(1)
        await taken(later)


async def test_nobody_looks_while_nobody_can_say_what_is_hidden(stage: Stage) -> None:
    stage.away = True
    async with await stage.session("p") as session:
        async with asyncio.timeout(20):
            states: list[str] = []
            while "reconnecting" not in states:
                entries = await session.take_entries()
                states += [getattr(each, "state", "") for each in entries]
        stage.away = False
        await until(lambda: stage.masking.streams == 1)
        await until(lambda: stage.camera.open == 1)
        stage.camera.play(VIDEO)
        stage.play(1)
        await taken(session)


async def test_a_viewer_who_goes_leaves_nothing_behind(stage: Stage) -> None:
    before = {task.get_name() for task in asyncio.all_tasks()}
    for _ in range(3):
        async with await stage.session("p") as session:
            await until(lambda: stage.camera.open == 1)
            stage.camera.play(VIDEO)
            stage.play(5)
            await taken(session)
        await until(lambda: stage.masking.streams == 0 and stage.camera.open == 0)
    await until(lambda: {task.get_name() for task in asyncio.all_tasks()} == before)


async def test_a_stream_faster_than_it_can_be_masked_is_skipped_not_kept(stage: Stage) -> None:
    async with await stage.session("p") as session:
        await until(lambda: stage.camera.open == 1)
        stage.camera.play(VIDEO)
        stage.play(400)
        last: list[MediaItem] = []
        async with asyncio.timeout(20):
            while not last or isinstance(last[-1], TrackFormat) or last[-1].pts_us < 399 * 60_000:
                entries = await session.take_entries()
                last += [each.unit for each in entries if isinstance(each, LiveUnit)]
        assert len(last) < 200
        assert any(isinstance(each, AccessUnit) and each.discontinuity for each in last)
