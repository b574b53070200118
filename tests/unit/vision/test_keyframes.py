"""Looks at simulated cameras: one keyframe, the next one only where it is needed, bounded waits."""

import asyncio
import contextlib
import dataclasses
import socket
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import cv2
import pytest
from painted import WRONG, street
from patience import wait_until

from adapters.base import AccessUnit, MediaItem, PacketSource, TrackFormat
from adapters.errors import ProtocolViolation, TimedOut, Unreachable
from adapters.events import RtspSource, Secret
from adapters.media.jpeg import jpeg_size
from gateway.vision import PicturePool, keyframes, look
from gateway.vision.diagnosis import Fault
from gateway.vision.memory import NOTHING
from simulators.rtsp_camera import RtspCameraSpec, RtspFleet

SPEC = RtspCameraSpec(
    name="gate", username="u", password="p", main_size=(320, 192), sub_size=(128, 96), gop_s=0.4
)
FORMAT = TrackFormat(track=0, kind="video", codec="jpeg", description=b"")


def jpegs(*pictures: object, step_us: int = 1_000_000) -> tuple[PacketSource, list[int]]:
    """A camera that delivers JPEG pictures, each a keyframe; how many were taken."""
    encoded = [bytes(cv2.imencode(".jpg", each)[1]) for each in pictures]
    taken: list[int] = []

    @contextlib.asynccontextmanager
    async def open_() -> AsyncIterator[AsyncIterator[MediaItem]]:
        async def items() -> AsyncIterator[MediaItem]:
            yield FORMAT
            for number, data in enumerate(encoded):
                taken.append(number)
                yield AccessUnit(track=0, pts_us=number * step_us, keyframe=True, data=data)
            await asyncio.Event().wait()

        async with contextlib.aclosing(items()) as it:
            yield it

    return PacketSource(open=open_), taken


@pytest.mark.parametrize("codec", ["h264", "h265"])
async def test_a_camera_is_looked_at_and_left(tmp_path: Path, codec: Any) -> None:
    spec = dataclasses.replace(SPEC, codec=codec)
    async with RtspFleet([spec], clip_cache=tmp_path) as fleet, PicturePool() as pool:
        it = fleet.cameras["gate"]
        source = RtspSource(url=it.url("main"), username="u", password=Secret("p"))
        memory = NOTHING
        for _ in range(3):
            seen = await look(source, pool=pool, memory=memory)
            assert seen.diagnosis.found == ()
            assert seen.evidence is None
            memory = seen.diagnosis.memory
        await wait_until(lambda: not it.sessions)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("pictures")]


async def test_evidence_comes_with_a_fault_and_only_where_it_may() -> None:
    source, taken = jpegs(WRONG["blur"](street()))
    async with PicturePool() as pool:
        seen = await look(source, pool=pool, memory=NOTHING)
        assert seen.diagnosis.found == (Fault.BLUR,)
        assert seen.evidence is not None
        assert jpeg_size(seen.evidence) == (480, 270)
        assert taken == [0]
        masked = await look(source, pool=pool, memory=NOTHING, evidence=False)
        assert masked.diagnosis.found == (Fault.BLUR,)
        assert masked.evidence is None


async def test_a_second_keyframe_is_awaited_only_for_a_picture_seen_before() -> None:
    frozen, taken = jpegs(street(), street())
    async with PicturePool() as pool:
        first = await look(frozen, pool=pool, memory=NOTHING)
        assert taken == [0]
        second = await look(frozen, pool=pool, memory=first.diagnosis.memory)
        assert taken == [0, 0, 1]
        assert second.diagnosis.found == (Fault.FREEZE,)
        noisy, _ = jpegs(street(), WRONG["noise"](street()))
        alive = await look(noisy, pool=pool, memory=first.diagnosis.memory)
        assert alive.diagnosis.found == ()


async def test_a_camera_of_nothing_but_keyframes_is_given_time_to_change() -> None:
    """Motion JPEG: the next picture comes after 40 ms, and nothing has happened."""
    alike = [street()] * 20
    async with PicturePool() as pool:
        first = await look(jpegs(street())[0], pool=pool, memory=NOTHING)
        alive, taken = jpegs(*alike, WRONG["noise"](street()), step_us=40_000)
        # Only the picture after 0.8 s differs.
        memory = first.diagnosis.memory
        assert (await look(alive, pool=pool, memory=memory)).diagnosis.found == ()
        assert len(taken) == 21
        frozen, _ = jpegs(*alike, street(), step_us=40_000)
        assert (await look(frozen, pool=pool, memory=memory)).diagnosis.found == (Fault.FREEZE,)


async def test_where_no_second_keyframe_comes_nothing_is_said_of_a_freeze(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(keyframes, "SECOND_WITHIN_S", 0.05)
    source, _ = jpegs(street())
    async with PicturePool() as pool:
        first = await look(source, pool=pool, memory=NOTHING)
        again = await look(source, pool=pool, memory=first.diagnosis.memory)
    freeze = next(each for each in again.diagnosis.scores if each.fault is Fault.FREEZE)
    assert freeze.score is None
    assert freeze.note == "needs another keyframe"


async def test_what_shows_nothing_ends_in_time_and_says_why() -> None:
    async with PicturePool() as pool:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            source = RtspSource(url=f"rtsp://127.0.0.1:{silent.getsockname()[1]}/")
            with pytest.raises(TimedOut, match=r"0\.2 s"):
                await look(source, pool=pool, memory=NOTHING, timeout_s=0.2)
        with pytest.raises(Unreachable):
            await look(source, pool=pool, memory=NOTHING, timeout_s=2)
        broken, _ = jpegs()
        with pytest.raises(TimedOut):
            await look(broken, pool=pool, memory=NOTHING, timeout_s=0.05)

        @contextlib.asynccontextmanager
        async def junk() -> AsyncIterator[AsyncIterator[MediaItem]]:
            async def items() -> AsyncIterator[MediaItem]:
                yield FORMAT
                yield AccessUnit(track=0, pts_us=0, keyframe=True, data=b"junk")

            yield items()

        with pytest.raises(ProtocolViolation, match="cannot be decoded"):
            await look(PacketSource(open=junk), pool=pool, memory=NOTHING)
