"""Cameras with a microphone over real sockets: both transports, judged by FFmpeg."""

import io
import json
from collections.abc import AsyncIterator
from pathlib import Path

import av
import pytest
from live_stage import LiveGateway, gateway, texts_and_units

from simulators.rtsp_camera import RtspCameraSpec, RtspFleet


@pytest.fixture
async def it(tmp_path: Path) -> AsyncIterator[LiveGateway]:
    shared = {"main_size": (160, 128), "sub_size": (160, 128), "variant": 0, "gop_s": 0.4}
    specs = [
        RtspCameraSpec(name=audio, username="u", password="p", audio=audio, **shared)  # type: ignore[arg-type]
        for audio in ("aac", "pcma")
    ]
    async with RtspFleet(specs, clip_cache=tmp_path) as fleet, gateway(fleet) as running:
        yield running


@pytest.mark.parametrize(
    ("name", "codec", "rate_hz"), [("aac", "mp4a.40.2", 16_000), ("pcma", "pcma", 8_000)]
)
async def test_frames_carry_sound(it: LiveGateway, name: str, codec: str, rate_hz: int) -> None:
    async with it.view(name) as viewer:
        texts, units = await texts_and_units(viewer, 60)
    told = {text["type"]: text for text in texts}
    assert (told["audio"]["codec"], told["audio"]["sample_rate_hz"]) == (codec, rate_hz)
    assert told["video"]["width"] == 160
    times = {
        track: [int.from_bytes(unit[2:10], "big") for unit in units if unit[1] == track]
        for track in (0, 1)
    }
    assert len(times[0]) >= 8
    assert len(times[1]) >= 8
    assert times[1] == sorted(times[1])
    assert abs(times[0][-1] - times[1][-1]) < 300_000


async def test_fmp4_with_sound_plays(it: LiveGateway) -> None:
    async with it.view("aac", "fmp4") as viewer:
        texts, pieces = await texts_and_units(viewer, 60)
    assert [json.dumps(text) for text in texts if "mp4a.40.2" in text.get("mime", "")]
    begin = max(n for n, piece in enumerate(pieces) if piece[4:8] == b"ftyp")
    data = b"".join(pieces[begin:])
    with av.open(io.BytesIO(data), format="mp4") as container:
        pictures = list(container.decode(video=0))
    with av.open(io.BytesIO(data), format="mp4") as container:
        samples = sum(frame.samples for frame in container.decode(audio=0))
    fragments = len(pieces) - begin - 1
    assert len(pictures) + samples // 1024 >= fragments - 2
    assert samples >= 8 * 1024
