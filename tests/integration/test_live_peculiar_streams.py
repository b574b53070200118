"""Peculiar cameras on the way to viewers: with a microphone, and those that PyAV reads."""

import asyncio
import contextlib
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path

import av
import pytest
from live_stage import LiveGateway, gateway, texts_and_units, until
from structlog.testing import capture_logs

from adapters.base import MediaSource
from adapters.events import RtspSource
from gateway.live import LiveService, View
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


async def test_a_stream_that_goes_through_pyav_says_so_to_its_viewers() -> None:
    """A camera of JPEG, which it announces and never sends: the reader is known at once."""
    sdp = "v=0\r\ns=-\r\nm=video 0 RTP/AVP 26\r\na=control:trackID=1\r\n"
    played = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                cseq = head.partition("CSeq: ")[2].partition("\r\n")[0]
                body = sdp if head.startswith("DESCRIBE") else ""
                lines = [f"RTSP/1.0 200 OK\r\nCSeq: {cseq}", f"Content-Length: {len(body)}"]
                if head.startswith("SETUP"):
                    lines += ["Session: 1", "Transport: RTP/AVP/TCP;interleaved=0-1"]
                writer.write(("\r\n".join(lines) + "\r\n\r\n" + body).encode())
                if head.startswith("PLAY"):
                    played.set()
        writer.close()

    async def open_media(point_id: str, profile: str) -> MediaSource:
        return RtspSource(url=f"rtsp://127.0.0.1:{port}/")

    async def allowed(view: View) -> bool:
        return True

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, LiveService(open_media, allowed) as live:
        with capture_logs() as logs:
            ticket = live.issue("user", "point", "main")
            async with await live.redeem(ticket.token, "frames"):
                await until(lambda: played.is_set() and logs)
                assert live.readers() == {("point", "main"): "pyav"}
    assert logs[0]["event"] == "live.reader"
    assert "JPEG" in logs[0]["reason"]
