"""Pictures from keyframes, smaller pictures, and a machine without OpenCV."""

import asyncio
import socket
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from relay_stage import until

from adapters.base import AccessUnit, TrackFormat
from adapters.errors import NotSupported, ProtocolViolation, TimedOut
from adapters.events import RtspSource, Secret
from adapters.media.jpeg import jpeg_size
from gateway.vision import (
    PicturePool,
    VisionUnavailable,
    available,
    keyframe_jpeg,
    resize_jpeg,
    unit_jpeg,
)
from simulators.rtsp_camera import RtspCameraSpec, RtspFleet

SPEC = RtspCameraSpec(
    name="gate", username="u", password="p", main_size=(320, 192), sub_size=(128, 96), gop_s=0.4
)


async def test_a_keyframe_of_a_camera_becomes_a_picture(tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    async with RtspFleet([SPEC], clip_cache=tmp_path) as fleet, PicturePool() as pool:
        it = fleet.cameras["gate"]
        source = RtspSource(url=it.url("main"), username="u", password=Secret("p"))
        data = await keyframe_jpeg(source, pool=pool)
        assert jpeg_size(data) == (320, 192)
        await until(lambda: not it.sessions)
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).astype(int)
        pictures = [
            cv2.imdecode(np.frombuffer(own, np.uint8), cv2.IMREAD_COLOR).astype(int)
            for own in it.stream("main").clip.pictures
        ]
        assert min(np.abs(pixels - own).mean() for own in pictures) < 8
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("pictures")]


async def test_a_camera_that_shows_nothing_costs_the_time_and_no_more() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        source = RtspSource(url=f"rtsp://127.0.0.1:{silent.getsockname()[1]}/")
        async with PicturePool() as pool:
            with pytest.raises(TimedOut):
                await keyframe_jpeg(source, pool=pool, timeout_s=0.2)


def test_a_broken_keyframe_is_refused() -> None:
    track = TrackFormat(track=0, kind="video", codec="avc1.42c01e", description=b"")
    unit = AccessUnit(track=0, pts_us=0, keyframe=True, data=b"\x00\x00\x00\x02\x65\x88")
    with pytest.raises(ProtocolViolation):
        unit_jpeg(track, unit)
    other = TrackFormat(track=0, kind="video", codec="vp8", description=b"")
    with pytest.raises(NotSupported):
        unit_jpeg(other, unit)


async def test_smaller_pictures() -> None:
    cv2 = pytest.importorskip("cv2")
    data = bytes(cv2.imencode(".jpg", np.zeros((120, 200, 3), np.uint8))[1])
    smaller = await asyncio.to_thread(resize_jpeg, data, 50)
    assert jpeg_size(smaller) == (50, 30)
    assert resize_jpeg(data, 200) is data
    for bad in (b"", b"not a picture"):
        with pytest.raises(ValueError, match="not a picture"):
            resize_jpeg(bad, 50)


def test_without_opencv_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    works, sentence = available()
    assert not works
    assert "apt-get install libgl1" in sentence
    assert sentence.count(".") == sentence.rstrip(".").count(".") + 1
    with pytest.raises(VisionUnavailable):
        resize_jpeg(b"", 50)
