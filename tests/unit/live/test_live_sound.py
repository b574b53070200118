"""Sound beside the pictures: its messages, its fragments, and what happens when it stops."""

import json
from collections.abc import AsyncIterator

import pytest
from relay_stage import FORMAT, picture
from test_live_relay import Stage, settle

from adapters.base import AccessUnit, TrackFormat
from adapters.errors import Unreachable
from gateway.live import LiveSession

AAC = TrackFormat(
    track=1,
    kind="audio",
    codec="mp4a.40.2",
    description=bytes.fromhex("1408"),
    sample_rate_hz=16_000,
    channels=1,
)
PCMA = TrackFormat(
    track=1, kind="audio", codec="pcma", description=b"", sample_rate_hz=8_000, channels=1
)


def heard(pts_us: int) -> AccessUnit:
    return AccessUnit(track=1, pts_us=pts_us, keyframe=True, data=b"\xd5" * 8)


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    it = Stage()
    async with it.live:
        await settle()
        yield it


async def kinds(session: LiveSession) -> list[str]:
    """What waits: mime types, ``init``, and fragments by their track."""
    told = []
    for message in await session.take():
        if isinstance(message, str):
            told.append(json.loads(message).get("mime", "state"))
        elif message[4:8] == b"ftyp":
            told.append(f"init of {message.count(b'trak')}")
        else:
            told.append(f"track {int.from_bytes(message[44:48], 'big')}")
    return told


BOTH = 'video/mp4; codecs="avc1.42c01e,mp4a.40.2"'
ALONE = 'video/mp4; codecs="avc1.42c01e"'


async def test_aac_goes_beside_the_pictures(stage: Stage) -> None:
    session = await stage.view("fmp4")
    await stage.play(AAC, FORMAT, picture(0, key=True), heard(10_000), picture(1))
    assert await kinds(session) == [BOTH, "init of 2", "track 1", "state", "track 2", "track 1"]
    late = await stage.view("fmp4")
    assert await kinds(late) == [BOTH, "init of 2", "state", "track 1", "track 2", "track 1"]


async def test_other_sound_is_left_out_of_fmp4_and_is_in_frames(stage: Stage) -> None:
    session, frames = await stage.view("fmp4"), await stage.view()
    await stage.play(PCMA, FORMAT, picture(0, key=True), heard(10_000))
    assert await kinds(session) == [ALONE, "init of 1", "track 1", "state"]
    messages = await frames.take()
    assert [json.loads(m)["type"] for m in messages if isinstance(m, str)] == [
        "audio",
        "video",
        "state",
    ]
    assert [m[:2] for m in messages if isinstance(m, bytes)] == [b"\x01\x00", b"\x01\x01"]


async def test_sound_that_stops_is_taken_out_so_that_no_player_waits_for_it(stage: Stage) -> None:
    session = await stage.view("fmp4")
    await stage.play(AAC, FORMAT, picture(0, key=True), heard(10_000))
    await kinds(session)
    await stage.play(picture(25, key=True), picture(75, key=True), picture(76))
    assert await kinds(session) == ["track 1", ALONE, "init of 1", "track 1", "track 1"]
    await stage.play(heard(3_060_000), picture(100, key=True), heard(4_010_000))
    assert await kinds(session) == [BOTH, "init of 2", "track 1", "track 2"]


async def test_a_camera_that_comes_back_without_sound(stage: Stage) -> None:
    session = await stage.view("fmp4")
    await stage.play(AAC, FORMAT, picture(0, key=True), heard(10_000), Unreachable("it broke"))
    await stage.time.pass_s(0.5)
    await kinds(session)
    await stage.play(FORMAT, picture(0, key=True))
    assert await kinds(session) == [ALONE, "init of 1", "track 1", "state"]
    late = await stage.view()
    texts = [json.loads(m)["type"] for m in await late.take() if isinstance(m, str)]
    assert "audio" not in texts


async def test_a_camera_that_comes_back_with_the_same_sound(stage: Stage) -> None:
    session = await stage.view("fmp4")
    await stage.play(AAC, FORMAT, picture(0, key=True), heard(10_000), Unreachable("it broke"))
    await stage.time.pass_s(0.5)
    await kinds(session)
    await stage.play(AAC, FORMAT, picture(0, key=True), heard(10_000))
    assert await kinds(session) == ["track 1", "state", "track 2"]


async def test_a_slow_viewer_loses_sound_before_pictures_and_stays_bounded() -> None:
    it = Stage(max_waiting_units=10)
    async with it.live:
        await settle()
        session = await it.view()
        await it.play(PCMA, FORMAT, picture(0, key=True))
        await session.take()
        for number in range(1, 9):
            await it.play(*(heard(number * 40_000 + n) for n in range(20)), picture(number))
        messages = await session.take()
        pictures = [m for m in messages if isinstance(m, bytes) and m[1] == 0]
        assert len(pictures) == 8
        assert session.viewer.skips == 0
        assert session.viewer.dropped > 0
        assert len(messages) <= 5 * 10 + 8
