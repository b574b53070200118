"""Live view over real sockets: simulated cameras, uvicorn, WebSocket clients."""

import asyncio
import base64
import contextlib
import io
import itertools
import socket
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO

import av
import pytest
from av.video.codeccontext import VideoCodecContext
from live_stage import LiveGateway, first_text, gateway, texts_and_units, until
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from adapters.media.jpeg import jpeg_size
from gateway.live import LiveSettings
from simulators.clips import read_wall_clock_ns
from simulators.rtsp_camera import RtspCameraSpec, RtspFleet

QUICK = LiveSettings(
    linger_s=0.2, first_retry_s=0.05, max_retry_s=0.1, rights_interval_s=0.1, rights_grace_s=0.6
)


def spec(name: str, **fields: object) -> RtspCameraSpec:
    given = {
        "username": "viewer",
        "password": "planted-password",
        "main_size": (320, 192),
        "sub_size": (128, 96),
        "gop_s": 0.4,
        **fields,
    }
    return RtspCameraSpec(name=name, **given)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def clip_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clips")


@pytest.fixture
async def fleet(clip_cache: Path) -> AsyncIterator[RtspFleet]:
    async with RtspFleet([spec("gate"), spec("yard")], clip_cache=clip_cache) as it:
        yield it


@pytest.fixture
async def it(fleet: RtspFleet) -> AsyncIterator[LiveGateway]:
    async with gateway(fleet, QUICK) as running:
        yield running


async def test_frames_can_be_decoded(it: LiveGateway) -> None:
    async with it.view("gate") as viewer:
        texts, units = await texts_and_units(viewer, 10)
    video = next(text for text in texts if text["type"] == "video")
    assert (video["width"], video["height"]) == (320, 192)
    assert video["codec"].startswith("avc1.")
    assert {"type": "state", "state": "live", "reason": ""} in texts
    assert [unit[0] & 2 for unit in units] == [0] * 10
    assert units[0][0] == 1
    assert {unit[1] for unit in units} == {0}
    times_us = [int.from_bytes(unit[2:10], "big") for unit in units]
    steps = {after - before for before, after in itertools.pairwise(times_us)}
    assert steps <= {66_666, 66_667}
    decoder = av.CodecContext.create("h264", "r")
    assert isinstance(decoder, VideoCodecContext)
    decoder.extradata = base64.b64decode(video["description"])
    pictures = [picture for unit in units for picture in decoder.decode(av.Packet(unit[10:]))]
    pictures += decoder.decode(None)
    assert len(pictures) == 10
    assert all(read_wall_clock_ns(unit) for unit in units)


async def test_fmp4_can_be_played(it: LiveGateway) -> None:
    async with it.view("gate", "fmp4", "sub") as viewer:
        texts, parts = await texts_and_units(viewer, 11)
    assert texts[0]["mime"].startswith('video/mp4; codecs="avc1.')
    with av.open(io.BytesIO(b"".join(parts)), format="mp4") as container:
        pictures = list(container.decode(video=0))
    assert [(picture.width, picture.height) for picture in pictures] == [(128, 96)] * 10


@pytest.mark.parametrize("transport", ["frames", "fmp4"])
@pytest.mark.parametrize("compression", [None, "deflate"])
async def test_where_frames_may_be_changed_messages_go_through_the_server(
    fleet: RtspFleet, transport: str, compression: str | None
) -> None:
    async with gateway(fleet, QUICK, deflate=True) as it:
        async with it.view("gate", transport, compression=compression) as viewer:
            texts, units = await texts_and_units(viewer, 8)
            negotiated = [extension.name for extension in viewer.protocol.extensions]
        assert negotiated == (["permessage-deflate"] if compression else [])
        kinds = [text.get("type") or "mime" for text in texts]
        assert kinds == (["video", "state"] if transport == "frames" else ["mime", "state"])
        if transport == "frames":
            assert [unit[0] & 1 for unit in units[:2]] == [1, 0]
        else:
            with av.open(io.BytesIO(b"".join(units)), format="mp4") as container:
                assert len(list(container.decode(video=0))) == 7


async def test_one_upstream_for_many_viewers_which_ends_after_the_last(
    it: LiveGateway, fleet: RtspFleet
) -> None:
    camera = fleet.cameras["gate"]
    async with contextlib.AsyncExitStack() as stack:
        viewers = [await stack.enter_async_context(it.view("gate")) for _ in range(5)]
        viewers.append(await stack.enter_async_context(it.view("gate", "fmp4")))
        for viewer in viewers:
            await texts_and_units(viewer, 3)
        assert camera.sessions == 1
        assert it.live.readers() == {("gate", "main"): "native"}
        async with it.view("gate", profile="sub") as other:
            await texts_and_units(other, 1)
            assert camera.sessions == 2
    await until(lambda: camera.sessions == 0)
    assert it.live.viewers == 0
    assert it.live.counters.upstreams_opened == 2


async def test_who_joins_gets_a_picture_at_once(it: LiveGateway) -> None:
    async with it.view("gate") as first:
        await texts_and_units(first, 8)
        async with it.view("gate") as second:
            _, units = await texts_and_units(second, 1)
            assert units[0][0] & 1
            loop = asyncio.get_running_loop()
            begun = loop.time()
        async with it.view("gate") as third:
            await texts_and_units(third, 1)
            assert loop.time() - begun < 0.3


async def test_a_camera_that_dies_comes_back_in_the_same_stream(
    it: LiveGateway, fleet: RtspFleet
) -> None:
    camera = fleet.cameras["gate"]
    async with it.view("gate") as viewer, it.view("gate", "fmp4") as other:
        await texts_and_units(viewer, 3)
        await texts_and_units(other, 3)
        await camera.power(False)
        lost = await first_text(viewer, type="state", state="reconnecting")
        assert lost["reason"]
        await first_text(other, type="state", state="reconnecting")
        await camera.power(True)
        texts, units = await texts_and_units(viewer, 4)
        assert [unit[0] & 2 for unit in units] == [2, 0, 0, 0]
        assert units[0][0] & 1
        assert [text["state"] for text in texts] == ["live"]
        await first_text(other, type="state", state="live")
        await texts_and_units(other, 3)


async def test_close_codes(it: LiveGateway) -> None:
    async def closed_with(url: str) -> int | None:
        async with connect(url, compression=None) as viewer, asyncio.timeout(30):
            with contextlib.suppress(ConnectionClosed):
                async for _ in viewer:
                    pass
            return viewer.close_code

    base = f"ws://127.0.0.1:{it.port}/api/v1/live"
    assert await closed_with(f"{base}/guessed/frames") == 4401
    assert await closed_with(f"{base}/guessed/fmp4") == 4401
    used = "ws" + it.path("gate")
    async with connect(used, compression=None) as viewer:
        await texts_and_units(viewer, 1)
        assert await closed_with(used) == 4401
    assert await closed_with("ws" + it.path("nowhere")) == 4404
    it.denied.add("gate")
    assert await closed_with("ws" + it.path("gate")) == 4403
    it.away = True
    assert await closed_with("ws" + it.path("yard")) == 1013


async def test_too_many_viewers(fleet: RtspFleet) -> None:
    async with gateway(fleet, LiveSettings(max_viewers=1)) as it, it.view("gate") as first:
        await texts_and_units(first, 1)
        async with it.view("gate") as second:
            with pytest.raises(ConnectionClosed) as closed:
                await second.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4429


@pytest.mark.parametrize("transport", ["frames", "fmp4"])
async def test_a_lost_right_closes_a_running_stream(it: LiveGateway, transport: str) -> None:
    async with it.view("gate", transport) as viewer, it.view("yard", transport) as other:
        await texts_and_units(viewer, 2)
        it.denied.add("gate")
        ended = await first_text(viewer, type="state", state="ended")
        assert "right" in ended["reason"]
        with pytest.raises(ConnectionClosed) as closed:
            await viewer.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4403
        await texts_and_units(other, 5)


async def test_a_viewer_that_does_not_read_loses_its_view_too(it: LiveGateway) -> None:
    async with it.view("gate") as viewer:
        await texts_and_units(viewer, 1)
        viewer.transport.pause_reading()
        it.denied.add("gate")
        await until(lambda: it.live.viewers == 0)
        viewer.transport.resume_reading()


async def test_a_database_that_is_away_ends_views_after_the_grace(it: LiveGateway) -> None:
    async with it.view("gate") as viewer:
        await texts_and_units(viewer, 1)
        it.away = True
        await texts_and_units(viewer, 4)
        with pytest.raises(ConnectionClosed) as closed:
            await texts_and_units(viewer, 1_000)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4403


async def test_a_wrong_camera_password_is_tried_once_however_many_look(
    fleet: RtspFleet,
) -> None:
    async with gateway(fleet) as it:
        it.passwords["gate"] = "not-the-password"
        for _ in range(3):
            async with it.view("gate") as viewer:
                ended = await first_text(viewer, type="state", state="ended")
                assert "password" in ended["reason"]
                await viewer.wait_closed()
                assert viewer.close_code == 1000
    assert fleet.cameras["gate"].refused == 1


async def test_a_slow_viewer_slows_nobody(clip_cache: Path) -> None:
    big = spec("gate", main_size=(640, 368), fps=25)
    settings = LiveSettings(linger_s=0.2, max_waiting_units=12)
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    async with (
        RtspFleet([big], clip_cache=clip_cache) as fleet,
        gateway(fleet, settings) as it,
        it.view("gate") as quick,
    ):
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", it.port))
        async with it.view("gate", sock=sock) as slow:
            await texts_and_units(slow, 1)
            slow.transport.pause_reading()
            _, units = await texts_and_units(quick, 60)
            assert not any(unit[0] & 2 for unit in units)
            slow.transport.resume_reading()
            units = [b""]
            while not (units[-1] and units[-1][0] & 2):
                _, units = await texts_and_units(slow, 1)
            assert units[-1][0] == 3
        await until(lambda: it.live.counters.viewer_skips)


def _headers(answer: BinaryIO) -> dict[bytes, bytes]:
    headers = {}
    while line := answer.readline().strip():
        name, _, value = line.partition(b": ")
        headers[name] = value
    return headers


async def test_mjpeg(it: LiveGateway, fleet: RtspFleet) -> None:
    def parts(count: int) -> list[bytes]:
        url = "http" + it.path("gate", "mjpeg")
        with urllib.request.urlopen(url, timeout=10) as answer:
            kind = answer.headers["Content-Type"]
            assert kind.startswith("multipart/x-mixed-replace; boundary=")
            boundary = kind.partition("boundary=")[2].encode()
            pictures = []
            while len(pictures) < count:
                assert answer.readline().strip() == b"--" + boundary
                headers = dict(
                    iter(lambda: answer.readline().strip().split(b": ")[:2] or None, [b""])
                )
                pictures.append(answer.read(int(headers[b"Content-Length"])))
                assert answer.readline() == b"\r\n"
            return pictures

    pictures = await asyncio.to_thread(parts, 3)
    assert [jpeg_size(picture) for picture in pictures] == [(320, 192)] * 3
    assert len(set(pictures)) == 3
    await until(lambda: it.live.viewers == 0)
    await until(lambda: fleet.cameras["gate"].sessions == 0)

    def refused() -> int:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{it.port}/api/v1/live/guessed/mjpeg")
        except urllib.error.HTTPError as error:
            with error:
                return error.code
        return 200

    assert await asyncio.to_thread(refused) == 401
