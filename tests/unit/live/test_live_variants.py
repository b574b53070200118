"""Forms of a stream that are made of another: masked, as single pictures, both."""

import asyncio
import dataclasses
import gc
import json
from collections.abc import AsyncIterator, Callable

import pytest
from relay_stage import FORMAT, HandClock, PlayedCamera, picture, settle

from adapters.base import MediaItem, TrackFormat
from adapters.errors import NotSupported, Unreachable
from gateway.live import (
    LiveService,
    LiveSession,
    LiveSettings,
    NotOffered,
    RightLost,
    Transform,
    View,
    ViewClosed,
    Viewing,
)
from gateway.live.frames import LiveUnit
from gateway.live.relay import Relay
from gateway.live.viewer import Viewer


class Marks:
    """A transform that puts its name before each unit, and counts how many of it run."""

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.begun = self.running = 0
        self.refusal: Exception | None = None

    async def __call__(self, items: AsyncIterator[MediaItem]) -> AsyncIterator[MediaItem]:
        self.begun += 1
        self.running += 1
        try:
            async for item in items:
                if self.refusal is not None:
                    raise self.refusal
                if isinstance(item, TrackFormat):
                    yield dataclasses.replace(item, codec=f"{item.codec}+{self.name.decode()}")
                else:
                    yield dataclasses.replace(item, data=self.name + item.data)
        finally:
            self.running -= 1


class Stage:
    def __init__(self, **given: object) -> None:
        self.time = HandClock()
        self.camera = PlayedCamera()
        self.masks, self.jpeg = Marks(b"masked "), Marks(b"jpeg ")
        self.points: list[str] = []
        self.clear_is_lost = False
        self.told: list[Viewing] = []
        options: dict[str, object] = {"masking": self.masking, "jpeg": self.jpeg, **given}
        self.live = LiveService(
            self.camera.source,
            self.allowed,
            settings=LiveSettings(max_tapped_units=6),
            clock=self.time.clock,
            sleep=self.time.sleep,
            chance=lambda: 1.0,
            opened=self.told.append,
            closed=self.told.append,
            **options,  # type: ignore[arg-type]
        )

    def masking(self, point_id: str) -> Transform:
        self.points.append(point_id)
        return self.masks

    async def allowed(self, view: View) -> bool:
        return not (view.clear and self.clear_is_lost)

    async def view(self, *, clear: bool = True, codec: str | None = None) -> LiveSession:
        ticket = self.live.issue("user", "p", "main", clear=clear, purpose="case 7")
        session = await self.live.redeem(ticket.token, "frames", codec)
        await session.__aenter__()
        await settle()
        return session

    async def leave(self, session: LiveSession) -> None:
        await session.__aexit__(None, None, None)
        await settle()

    async def play(self, *items: MediaItem | BaseException) -> None:
        self.camera.play(*items)
        await settle()


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    it = Stage()
    async with it.live:
        await settle()
        yield it
    assert (it.masks.running, it.jpeg.running, it.camera.open) == (0, 0, 0)
    assert not [t for t in asyncio.all_tasks() if t.get_name().startswith("live-")]


async def taken(session: LiveSession) -> list[str]:
    """What waits, in short: `video CODEC`, the state, the beginning of a unit."""
    result = []
    async with asyncio.timeout(1):
        for message in await session.take():
            if isinstance(message, bytes):
                result.append(message[10:].rstrip(b"\0").partition(b"\0")[0].decode())
            else:
                document = json.loads(message)
                result.append(document.get("state") or f"video {document['codec']}")
    return result


async def test_one_upstream_whatever_the_forms(stage: Stage) -> None:
    sessions = [
        await stage.view(),
        await stage.view(clear=False),
        await stage.view(clear=False),
        await stage.view(codec="jpeg"),
        await stage.view(clear=False, codec="jpeg"),
    ]
    await stage.play(FORMAT, picture(0, key=True), picture(1))
    codec = f"video {FORMAT.codec}"
    assert await taken(sessions[0]) == [codec, "", "live", ""]
    masked = [f"{codec}+masked ", "masked ", "live", "masked "]
    assert [await taken(each) for each in sessions[1:3]] == [masked, masked]
    assert await taken(sessions[3]) == [f"{codec}+jpeg ", "jpeg ", "live", "jpeg "]
    both = [f"{codec}+masked +jpeg ", "jpeg masked ", "live", "jpeg masked "]
    assert await taken(sessions[4]) == both
    assert (stage.camera.opened, stage.masks.begun, stage.jpeg.begun) == (1, 1, 2)
    assert stage.points == ["p"]
    assert stage.live.readers() == {("p", "main"): "adapter"}
    assert (stage.live.viewers, stage.live.counters.upstreams_opened) == (5, 1)
    plain, hidden = (stage.live.keyframe("p", "main", clear=clear) for clear in (True, False))
    assert plain is not None
    assert hidden is not None
    assert (plain[1].data[:2], hidden[1].data[:2]) == (b"\0\0", b"ma")


async def test_who_joins_a_form_sees_its_group_at_once(stage: Stage) -> None:
    await stage.view(clear=False)
    await stage.play(FORMAT, picture(0, key=True), picture(1))
    second = await stage.view(clear=False)
    assert await taken(second) == [f"video {FORMAT.codec}+masked ", "live", "masked ", "masked "]


async def test_a_lost_camera_is_told_in_every_form_and_comes_back(stage: Stage) -> None:
    session = await stage.view(clear=False)
    await stage.play(FORMAT, picture(0, key=True))
    await taken(session)
    await stage.play(Unreachable("the camera is away"))
    assert await taken(session) == ["reconnecting"]
    assert stage.live.counters.upstream_losses == 1
    await stage.time.pass_s(10)
    await stage.play(FORMAT, picture(5, key=True))
    await stage.time.pass_s(10)
    assert await taken(session) == ["masked ", "live"]
    assert stage.camera.opened == 2


async def test_what_ends_the_stream_ends_its_forms(stage: Stage) -> None:
    session = await stage.view(codec="jpeg")
    await stage.play(FORMAT, picture(0, key=True))
    await taken(session)
    await stage.play(NotSupported("it went"))
    await stage.time.pass_s(1)
    assert await taken(session) == ["reconnecting", "ended"]
    with pytest.raises(ViewClosed, match="it went"):
        await session.take()


async def test_a_form_that_cannot_be_made_ends_alone(stage: Stage) -> None:
    plain, session = await stage.view(), await stage.view(codec="jpeg")
    stage.jpeg.refusal = NotSupported("such video is not decoded")
    await stage.play(FORMAT, picture(0, key=True))
    assert await taken(session) == ["reconnecting", "ended"]
    assert await taken(plain) == [f"video {FORMAT.codec}", "", "live"]
    await stage.play(picture(1))
    assert await taken(plain) == [""]


async def test_a_form_lingers_and_lets_go_of_the_stream(stage: Stage) -> None:
    session = await stage.view(clear=False)
    await stage.play(FORMAT, picture(0, key=True))
    await stage.leave(session)
    assert (stage.masks.running, stage.camera.open) == (1, 1)
    await stage.time.pass_s(10)
    assert (stage.masks.running, stage.camera.open) == (0, 1)
    await stage.time.pass_s(10)
    assert stage.camera.open == 0
    assert stage.live.readers() == {}


async def test_who_decodes_too_slowly_begins_anew_at_a_keyframe(stage: Stage) -> None:
    held = asyncio.Event()
    flags: list[bool] = []

    async def slow(items: AsyncIterator[MediaItem]) -> AsyncIterator[MediaItem]:
        async for item in items:
            if not isinstance(item, TrackFormat):
                await held.wait()
                flags.append(item.discontinuity)
            yield item

    it = Stage(jpeg=slow)
    async with it.live:
        await settle()
        await it.view(codec="jpeg")
        for number in range(14):
            await it.play(*([FORMAT] if not number else []), picture(number, key=number % 5 == 0))
        held.set()
        await settle()
        assert flags[:2] == [False, True]
        assert len(flags) < 8


async def test_a_point_that_becomes_masked_closes_what_is_in_clear(stage: Stage) -> None:
    clear, hidden = await stage.view(), await stage.view(clear=False)
    stage.clear_is_lost = True
    await stage.time.pass_s(2)
    assert (clear.closed.is_set(), hidden.closed.is_set()) == (True, False)
    ticket = stage.live.issue("user", "p", "main")
    with pytest.raises(RightLost):
        await stage.live.redeem(ticket.token, "frames")


@pytest.mark.parametrize(
    ("given", "ask"),
    [
        ({"masking": None}, lambda it: it.view(clear=False)),
        ({"jpeg": None}, lambda it: it.view(codec="jpeg")),
        ({}, lambda it: it.view(codec="vp8")),
    ],
)
async def test_what_is_not_made_here_is_refused(
    given: dict[str, object], ask: Callable[[Stage], "asyncio.Future[LiveSession]"]
) -> None:
    it = Stage(**given)
    async with it.live:
        with pytest.raises(NotOffered):
            await ask(it)
    assert it.camera.opened == 0


async def test_each_view_is_told_when_it_opens_and_closes(stage: Stage) -> None:
    session = await stage.view(clear=False, codec="jpeg")
    await stage.time.pass_s(3)
    await stage.leave(session)
    begun, over = stage.told
    assert (begun.user_id, begun.point_id, begun.profile) == ("user", "p", "main")
    assert (begun.transport, begun.clear, begun.jpeg) == ("frames", False, True)
    assert (begun.purpose, begun.seconds, begun.ended) == ("case 7", 0.0, None)
    assert over == dataclasses.replace(begun, seconds=3.0, ended="the viewer left")
    lost = await stage.view()
    stage.clear_is_lost = True
    await stage.time.pass_s(2)
    await stage.leave(lost)
    assert "right" in (stage.told[-1].ended or "")
    assert stage.told[-1].id != begun.id


async def test_views_that_came_and_went_leave_nothing(stage: Stage) -> None:
    def left() -> int:
        gc.collect()
        kinds = (LiveSession, Viewer, Relay, LiveUnit)
        return sum(isinstance(each, kinds) for each in gc.get_objects())

    before, tasks = left(), len(asyncio.all_tasks())
    for number in range(300):
        session = await stage.view(clear=number % 2 == 0, codec="jpeg" if number % 3 else None)
        if number == 0:
            await stage.play(FORMAT)
        await stage.play(picture(number, key=number % 5 == 0))
        await stage.leave(session)
        del session
        stage.told.clear()
        if number % 100 == 99:  # everything is opened anew
            await stage.time.pass_s(10)
            await stage.time.pass_s(10)
            await stage.time.pass_s(10)
            assert stage.camera.open == 0
            keeper = await stage.view()
            await stage.play(FORMAT)
            await stage.leave(keeper)
            del keeper
    for _ in range(3):
        await stage.time.pass_s(10)
    stage.told.clear()
    assert stage.live.readers() == {}
    assert (left(), len(asyncio.all_tasks())) == (before, tasks)
