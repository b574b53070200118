"""The relay: one upstream for all, its cache, slow viewers, loss, and who may look."""

import asyncio
import json
from collections.abc import AsyncIterator, Generator

import pytest
from relay_stage import FORMAT, HandClock, PlayedCamera, picture, settle
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from adapters.base import AccessUnit, TrackFormat
from adapters.errors import AuthenticationFailed, Busy, NotSupported, Unreachable
from adapters.footprint import Footprint
from gateway.live import (
    LimitReached,
    LiveService,
    LiveSession,
    LiveSettings,
    NoSource,
    RightLost,
    RightsUnknown,
    TicketInvalid,
    View,
    ViewClosed,
)
from gateway.live.frames import wire_frame


class Registry:
    """Who may see what. answer None: away."""

    def __init__(self) -> None:
        self.answer: bool | None = True
        self.asked = 0

    async def allowed(self, view: View) -> bool:
        self.asked += 1
        if self.answer is None:
            raise ConnectionError("the database is away")
        return self.answer


class Stage:
    def __init__(self, **settings: float) -> None:
        self.time = HandClock()
        self.camera = PlayedCamera()
        self.registry = Registry()
        self.live = LiveService(
            self.camera.source,
            self.registry.allowed,
            settings=LiveSettings(**settings),  # type: ignore[arg-type]
            clock=self.time.clock,
            sleep=self.time.sleep,
            chance=lambda: 1.0,
        )

    async def view(self, transport: str = "frames", point: str = "p") -> LiveSession:
        ticket = self.live.issue("user", point, "main")
        session = await self.live.redeem(ticket.token, transport)
        await session.__aenter__()
        await settle()
        return session

    async def leave(self, session: LiveSession) -> None:
        await session.__aexit__(None, None, None)
        await settle()

    async def play(self, *items: TrackFormat | AccessUnit | BaseException) -> None:
        self.camera.play(*items)
        await settle()


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    it = Stage()
    async with it.live:
        await settle()
        yield it
    names = [task.get_name() for task in asyncio.all_tasks()]
    assert not [name for name in names if name.startswith("live-")]


async def taken(session: LiveSession) -> list[object]:
    """What waits: text as documents, pictures as (number, flags)."""
    result: list[object] = []
    async with asyncio.timeout(30):
        for message in await session.take():
            if isinstance(message, str):
                result.append(json.loads(message))
            else:
                number = int.from_bytes(message[10:14], "big")
                assert int.from_bytes(message[2:10], "big") % 40_000 == 0
                result.append((number, message[0]))
    return result


def state(name: str, reason: str = "") -> dict[str, str]:
    return {"type": "state", "state": name, "reason": reason}


VIDEO = {
    "type": "video",
    "codec": "avc1.42c01e",
    "width": 64,
    "height": 48,
    "description": "AWF2Y0M=",
}


async def test_the_messages_of_the_contract(stage: Stage) -> None:
    session = await stage.view()
    await stage.play(FORMAT, picture(0, key=True), picture(1))
    assert await taken(session) == [VIDEO, (0, 1), state("live"), (1, 0)]
    audio = TrackFormat(
        track=1, kind="audio", codec="pcma", description=b"", sample_rate_hz=8000, channels=1
    )
    sound = AccessUnit(track=1, pts_us=80_000, keyframe=True, data=b"\xd5" * 8)
    await stage.play(audio, sound)
    first, second = await session.take()
    assert json.loads(str(first)) == {
        "type": "audio",
        "codec": "pcma",
        "sample_rate_hz": 8000,
        "channels": 1,
        "description": "",
    }
    assert second == b"\x01\x01" + (80_000).to_bytes(8, "big") + b"\xd5" * 8
    await stage.leave(session)


async def test_one_upstream_and_the_same_bytes_for_all(stage: Stage) -> None:
    first, second = await stage.view(), await stage.view()
    await stage.play(FORMAT, picture(0, key=True))
    one, other = await first.take(), await second.take()
    assert one == other
    assert one[1] is other[1]
    assert stage.camera.opened == 1
    await stage.leave(first)
    await stage.leave(second)


async def test_who_joins_sees_the_group_from_its_keyframe(stage: Stage) -> None:
    first = await stage.view()
    await stage.play(FORMAT, picture(0, key=True), picture(1), picture(2, key=True), picture(3))
    second = await stage.view()
    assert await taken(second) == [VIDEO, state("live"), (2, 1), (3, 0)]
    assert stage.live.keyframe("p", "main") == (FORMAT, picture(2, key=True))
    await stage.leave(first)
    await stage.leave(second)


async def test_a_group_too_large_to_keep_is_not_kept() -> None:
    it = Stage(max_group_units=3)
    async with it.live:
        first = await it.view()
        await it.play(FORMAT, picture(0, key=True), *(picture(n) for n in range(1, 9)))
        second = await it.view()
        assert await taken(second) == [VIDEO, state("live")]
        await it.play(picture(9), picture(10, key=True))
        assert await taken(second) == [(10, 1)]
        assert len([m for m in await first.take() if isinstance(m, bytes)]) == 11


async def test_a_slow_viewer_skips_to_a_keyframe_and_slows_nobody() -> None:
    it = Stage(max_waiting_units=25)
    async with it.live:
        slow, quick = await it.view(), await it.view()
        seen = []
        await it.play(FORMAT)
        for number in range(79):
            await it.play(picture(number, key=number % 10 == 0))
            seen += [entry for entry in await taken(quick) if isinstance(entry, tuple)]
        assert [number for number, _ in seen] == list(range(79))
        left = await taken(slow)
        # It is told the format that it missed, begins at a keyframe, and that says so.
        assert left[:2] == [VIDEO, state("live")]
        first = left[2]
        assert isinstance(first, tuple)
        assert first[0] % 10 == 0
        assert first[0] >= 50
        assert first[1] == 3
        assert left[3:] == [(n, int(n % 10 == 0)) for n in range(first[0] + 1, 79)]
        await it.play(picture(79), picture(80, key=True))
        assert await taken(slow) == [(79, 0), (80, 1)]
        await it.leave(slow)
        assert it.live.counters.viewer_skips >= 2
        assert it.live.counters.viewer_dropped == first[0]
        await it.leave(quick)
        assert it.live.counters.viewer_dropped == first[0]


async def test_a_slow_viewer_of_long_groups_waits_for_the_next_keyframe() -> None:
    it = Stage(max_waiting_units=5)
    async with it.live:
        slow = await it.view()
        await it.play(FORMAT, picture(0, key=True), *(picture(n) for n in range(1, 20)))
        assert await taken(slow) == [VIDEO, state("live")]
        await it.play(picture(20), picture(21, key=True), picture(22))
        assert await taken(slow) == [(21, 3), (22, 0)]
        await it.leave(slow)
        assert (it.live.counters.viewer_skips, it.live.counters.viewer_dropped) == (1, 21)


async def test_a_lost_upstream_comes_back_on_the_same_views(stage: Stage) -> None:
    session = await stage.view()
    await stage.play(FORMAT, picture(0, key=True), picture(1), Unreachable("it broke"))
    assert (await taken(session))[-1] == state("reconnecting", "it broke")
    assert stage.camera.open == 0
    late = await stage.view()
    assert await taken(late) == [VIDEO, state("reconnecting", "it broke")]
    assert 0.5 in stage.time.delays
    await stage.time.pass_s(0.5)
    assert stage.camera.opened == 2
    await stage.play(FORMAT, picture(0, key=True), picture(1))
    messages = await session.take()
    numbers = [int.from_bytes(m[2:10], "big") for m in messages if isinstance(m, bytes)]
    flags = [m[0] for m in messages if isinstance(m, bytes)]
    # Time goes on, the gap is marked, and an unchanged format is not told again.
    assert numbers == [80_000, 120_000]
    assert flags == [3, 0]
    assert [m for m in messages if isinstance(m, str)] == [json.dumps(state("live"))]
    await stage.leave(session)
    await stage.leave(late)


async def test_retries_back_off_and_start_over_after_a_picture() -> None:
    it = Stage(rights_interval_s=1_000.0)
    await it.live.__aenter__()
    it.camera.refusal = Busy("no session free")
    session = await it.view()
    waits = []
    for _ in range(8):
        waits.append(it.time.delays[0])
        await it.time.pass_s(waits[-1])
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 10.0]
    it.camera.refusal = None
    await it.time.pass_s(10)
    await it.play(FORMAT, picture(0, key=True), Unreachable("again"))
    assert it.time.delays[0] == 0.5
    await it.leave(session)
    await it.live.__aexit__(None, None, None)


async def test_what_cannot_be_helped_ends_the_view(stage: Stage) -> None:
    stage.camera.refusal = AuthenticationFailed("it refused the name or password")
    session = await stage.view()
    assert await taken(session) == [
        state("reconnecting", "it refused the name or password"),
        state("ended", "it refused the name or password"),
    ]
    with pytest.raises(ViewClosed) as closed:
        await session.take()
    assert closed.value.code == 1000
    await stage.leave(session)
    # Whoever comes now is told at once, and the camera is not asked again.
    again = await stage.view()
    assert await taken(again) == [state("ended", "it refused the name or password")]
    await stage.leave(again)
    stage.camera.refusal = None
    await stage.time.pass_s(10)
    session = await stage.view()
    assert stage.camera.opened == 1
    await stage.leave(session)


async def test_no_source(stage: Stage) -> None:
    stage.camera.refusal = NoSource("this point has no source")
    session = await stage.view()
    assert await taken(session) == [state("ended", "this point has no source")]
    with pytest.raises(ViewClosed) as closed:
        await session.take()
    assert closed.value.code == 4404
    await stage.leave(session)


async def test_a_changed_format_is_told_and_the_old_group_forgotten(stage: Stage) -> None:
    session = await stage.view()
    other = TrackFormat(
        track=0, kind="video", codec="avc1.640028", description=b"new", width=128, height=96
    )
    await stage.play(FORMAT, picture(0, key=True), other, picture(1, key=True), picture(2))
    first = await taken(session)
    changed = {**VIDEO, "codec": "avc1.640028", "width": 128, "height": 96, "description": "bmV3"}
    assert first == [VIDEO, (0, 1), state("live"), changed, (1, 1), (2, 0)]
    late = await stage.view()
    assert await taken(late) == [changed, state("live"), (1, 1), (2, 0)]
    await stage.leave(session)
    await stage.leave(late)


async def test_the_upstream_lingers_and_then_closes(stage: Stage) -> None:
    session = await stage.view()
    await stage.play(FORMAT, picture(0, key=True))
    await stage.leave(session)
    await stage.time.pass_s(9)
    assert stage.camera.open == 1
    again = await stage.view()
    assert await taken(again) == [VIDEO, state("live"), (0, 1)]
    await stage.time.pass_s(30)
    assert (stage.camera.opened, stage.camera.open) == (1, 1)
    await stage.leave(again)
    await stage.time.pass_s(10)
    assert stage.camera.open == 0
    assert stage.live.readers() == {}


async def test_fmp4_begins_with_its_kind_and_goes_on_in_fragments(stage: Stage) -> None:
    session = await stage.view("fmp4")
    await stage.play(FORMAT, picture(0, key=True), picture(1))
    kind, init, first, live, second = await session.take()
    assert json.loads(str(kind)) == {"mime": 'video/mp4; codecs="avc1.42c01e"'}
    assert isinstance(init, bytes)
    assert init[4:8] == b"ftyp"
    assert live == json.dumps(state("live"))
    for fragment in (first, second):
        assert isinstance(fragment, bytes)
        assert fragment[4:8] == b"moof"
    await stage.leave(session)


# --- tickets and rights -----------------------------------------------------------------------


async def test_a_ticket_opens_one_stream_within_its_time(stage: Stage) -> None:
    ticket = stage.live.issue("user", "p", "main")
    assert ticket.token not in repr(ticket)
    assert ticket.urls()["frames"] == f"/api/v1/live/{ticket.token}/frames"
    await stage.live.redeem(ticket.token, "frames")
    with pytest.raises(TicketInvalid):
        await stage.live.redeem(ticket.token, "frames")
    late = stage.live.issue("user", "p", "main")
    in_time = stage.live.issue("user", "p", "main")
    stage.time.now_s += 29.9
    await stage.live.redeem(in_time.token, "fmp4")
    stage.time.now_s += 0.2
    with pytest.raises(TicketInvalid):
        await stage.live.redeem(late.token, "frames")
    with pytest.raises(TicketInvalid):
        await stage.live.redeem("guessed", "frames")
    assert stage.live.counters.tickets_refused == 3


async def test_tickets_and_viewers_are_bounded() -> None:
    it = Stage(max_tickets=2, max_viewers=1)
    async with it.live:
        session = await it.view()
        tickets = [it.live.issue("user", "p", "main") for _ in range(2)]
        with pytest.raises(LimitReached):
            it.live.issue("user", "p", "main")
        with pytest.raises(LimitReached):
            await it.live.redeem(tickets[0].token, "frames")
        it.time.now_s += 30
        it.live.issue("user", "p", "main")
        await it.leave(session)


async def test_a_lost_right_ends_running_views_within_two_looks(stage: Stage) -> None:
    session, other = await stage.view(), await stage.view(point="q")
    await stage.play(FORMAT, picture(0, key=True))
    stage.registry.answer = False
    await stage.time.pass_s(2.0)
    assert (await taken(session))[-1] == state("ended", "the right to see this point has ended")
    with pytest.raises(ViewClosed) as closed:
        await session.take()
    assert closed.value.code == 4403
    assert stage.live.counters.rights_lost == 2
    await stage.leave(session)
    await stage.leave(other)
    ticket = stage.live.issue("user", "p", "main")
    with pytest.raises(RightLost):
        await stage.live.redeem(ticket.token, "frames")


async def test_with_the_database_away_views_run_for_a_minute_and_none_opens(stage: Stage) -> None:
    session = await stage.view()
    await stage.play(FORMAT, picture(0, key=True))
    await session.take()
    stage.registry.answer = None
    ticket = stage.live.issue("user", "p", "main")
    with pytest.raises(RightsUnknown):
        await stage.live.redeem(ticket.token, "frames")
    for _ in range(29):
        await stage.time.pass_s(2.0)
    assert not session.closed.is_set()
    await stage.time.pass_s(2.0)
    assert session.viewer.over is not None
    assert session.viewer.over.code == 4403
    await stage.leave(session)


async def test_an_answer_in_between_starts_the_minute_again(stage: Stage) -> None:
    session = await stage.view()
    for answer in (None, True, None):
        stage.registry.answer = answer
        for _ in range(25):
            await stage.time.pass_s(2.0)
        assert not session.closed.is_set()
    await stage.leave(session)


async def test_each_pair_is_asked_for_once(stage: Stage) -> None:
    sessions = [await stage.view() for _ in range(5)]
    asked = stage.registry.asked
    await stage.time.pass_s(2.0)
    assert stage.registry.asked == asked + 1
    for session in sessions:
        await stage.leave(session)


async def test_stopping_the_gateway_ends_views() -> None:
    it = Stage()
    before = Footprint.now()
    async with it.live:
        session = await it.view()
        await it.play(FORMAT, picture(0, key=True))
    assert session.viewer.over is not None
    assert session.viewer.over.code == 1001
    assert not Footprint.now().beyond(before)


async def test_frames_are_handed_over_at_once_and_in_order(stage: Stage) -> None:
    session = await stage.view()
    written: list[bytes] = []
    willing = True

    def write(frames: bytes) -> bool:
        if willing:
            written.append(frames)
        return willing

    session.write_through(write)
    await stage.play(FORMAT, picture(0, key=True))
    first = await session.take_wire()
    assert len(first) == 3
    assert not written  # nobody waited for them
    taking = asyncio.create_task(session.take_wire())
    await stage.play(picture(1), picture(2))
    head = bytes([0x82, 10 + 20])
    assert [frames[:2] for frames in written] == [head, head]
    assert [int.from_bytes(frames[12:16], "big") for frames in written] == [1, 2]
    willing = False
    await stage.play(picture(3))
    willing = True
    await stage.play(picture(4))  # one that did not wait would overtake the one that does
    assert [int.from_bytes(f[12:16], "big") for f in await taking] == [3]
    assert [int.from_bytes(f[12:16], "big") for f in await session.take_wire()] == [4]
    assert len(written) == 2
    session.viewer.close(4403, "over")
    assert b'"ended"' in (await session.take_wire())[0]
    with pytest.raises(ViewClosed):
        await session.take_wire()


@pytest.mark.parametrize("size", [5, 125, 126, 65_535, 65_536])
def test_messages_are_framed_as_websocket_has_it(size: int) -> None:
    reader = StreamReader()
    reader.feed_data(wire_frame(b"x" * size) + wire_frame("é" * size))
    read = [Frame.parse(reader.read_exact, mask=False), Frame.parse(reader.read_exact, mask=False)]
    frames = [_result_of(each) for each in read]
    assert [frame.opcode for frame in frames] == [Opcode.BINARY, Opcode.TEXT]
    assert [frame.data for frame in frames] == [b"x" * size, ("é" * size).encode()]
    assert reader.buffer == b""


def _result_of(steps: Generator[None, None, Frame]) -> Frame:
    try:
        next(steps)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
    raise AssertionError("the frame is not whole")


async def test_a_dark_camera_is_asked_for_a_keyframe_once() -> None:
    asked: list[tuple[str, str]] = []
    refusal: list[Exception] = []

    async def ask(point_id: str, profile: str) -> None:
        asked.append((point_id, profile))
        if refusal:
            raise refusal[0]

    it = Stage(first_retry_s=0.5, max_retry_s=0.5)
    it.live = LiveService(
        it.camera.source,
        it.registry.allowed,
        ask_keyframe=ask,
        settings=it.live.settings,
        clock=it.time.clock,
        sleep=it.time.sleep,
        chance=lambda: 1.0,
    )
    async with it.live:
        await settle()
        await it.view()
        assert asked == []
        await it.time.pass_s(0.1)
        assert asked == [("p", "main")]
        it.live.ask_keyframe("p", "main")
        await settle()
        assert len(asked) == 1  # at most one a second
        await it.time.pass_s(1)
        it.live.ask_keyframe("p", "main")
        await settle()
        assert len(asked) == 2
        await it.play(FORMAT, picture(0, key=True), Unreachable("away"))
        await it.time.pass_s(0.5)
        await it.play(FORMAT, picture(1, key=True))
        await it.time.pass_s(5)
        assert len(asked) == 2  # its picture came by itself
        refusal.append(NotSupported("it cannot"))
        for _ in range(3):
            await it.time.pass_s(1)
            it.live.ask_keyframe("p", "main")
            await settle()
        assert len(asked) == 3
        assert it.live.counters.keyframes_asked == 3
