"""What goes wrong around live view: cameras, networks, viewers, guessers, the gateway itself."""

import asyncio
import base64
import contextlib
import dataclasses
import io
import itertools
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import av
import pytest
from av.video.codeccontext import VideoCodecContext
from live_stage import LiveGateway, first_text, gateway, texts_and_units, until
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from gateway.live import CameraBusy, LiveSettings
from simulators.clips import read_wall_clock_ns
from simulators.rtsp_camera import RtspCameraSpec, RtspFleet

QUICK = LiveSettings(linger_s=0.2, first_retry_s=0.05, max_retry_s=0.1, rights_interval_s=0.1)
PATIENCE_S = 30.0


@pytest.fixture(scope="module")
def clip_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clips")


def spec(name: str, **fields: Any) -> RtspCameraSpec:
    given = {"main_size": (320, 192), "sub_size": (128, 96), "gop_s": 0.4, **fields}
    return RtspCameraSpec(name=name, username="viewer", password="planted", **given)


@pytest.fixture
async def fleet(clip_cache: Path) -> AsyncIterator[RtspFleet]:
    specs = [
        spec("gate"),
        spec("wider", main_size=(480, 288)),
        spec("h265", codec="h265"),
        spec("busy", main_size=(640, 368), fps=25),
    ]
    async with RtspFleet(specs, clip_cache=clip_cache) as it:
        yield it


@pytest.fixture
async def it(fleet: RtspFleet) -> AsyncIterator[LiveGateway]:
    async with gateway(fleet, QUICK) as running:
        yield running


def quirks(fleet: RtspFleet, name: str, **fields: Any) -> None:
    camera = fleet.cameras[name]
    camera.quirks = dataclasses.replace(camera.quirks, **fields)


async def told(viewer: ClientConnection, **fields: object) -> Any:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with contextlib.suppress(TimeoutError):
                return await first_text(viewer, **fields)


def decodes(description: str, codec: str, units: list[bytes]) -> list[tuple[int, int]]:
    decoder = av.CodecContext.create(codec, "r")
    assert isinstance(decoder, VideoCodecContext)
    decoder.extradata = base64.b64decode(description)
    pictures = [each for unit in units for each in decoder.decode(av.Packet(unit[10:]))]
    pictures += decoder.decode(None)
    return [(each.width, each.height) for each in pictures]


async def test_a_camera_comes_back_as_another(it: LiveGateway, fleet: RtspFleet) -> None:
    """It dies in the middle and returns with another size, then with another codec: in the same
    stream, said before the first picture of the new kind."""
    async with it.view("gate") as viewer, it.view("gate", "fmp4") as other:
        await texts_and_units(viewer, 3)
        await texts_and_units(other, 3)
        for before, after, codec, size in (
            ("gate", "wider", "h264", (480, 288)),
            ("wider", "h265", "hevc", (320, 192)),
        ):
            await fleet.cameras[before].power(False)
            it.exchanged["gate"] = after
            await told(viewer, type="state", state="reconnecting")
            video = await told(viewer, type="video")
            assert (video["width"], video["height"]) == size
            texts, units = await texts_and_units(viewer, 5)
            assert [text["state"] for text in texts] == ["live"]
            assert units[0][0] == 3
            assert decodes(video["description"], codec, units) == [size] * 5
            mime = "avc1" if codec == "h264" else "hvc1"
            while mime not in (await told(other)).get("mime", ""):
                pass
            await told(other, type="state", state="live")
            await texts_and_units(other, 2)
    assert it.live.counters.upstream_losses == 2


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_lost_packets_cost_their_group_and_nothing_else(
    it: LiveGateway, fleet: RtspFleet, transport: str
) -> None:
    it.transport = transport
    quirks(fleet, "busy", loss=0.01)
    skipped_before = fleet.frames_skipped
    async with it.view("busy") as viewer:
        texts, units = await texts_and_units(viewer, 20)
        video = next(text for text in texts if text["type"] == "video")
        more, later = await texts_and_units(viewer, 40)
        units += later
        assert not [text for text in more if text.get("state") == "reconnecting"]
    times_us = [int.from_bytes(unit[2:10], "big") for unit in units]
    pairs = zip(itertools.pairwise(times_us), units[1:], strict=True)
    gaps = [unit for (before_us, after_us), unit in pairs if after_us - before_us > 60_000]
    # After a gap comes a keyframe, but where the camera itself was late and left frames out.
    torn = [unit for unit in gaps if not unit[0] & 1]
    assert len(torn) <= fleet.frames_skipped - skipped_before
    assert len(decodes(video["description"], "h264", units)) == len(units)
    assert it.live.counters.upstream_losses == 0


async def test_garbage_from_a_camera_is_a_loss_like_others(
    it: LiveGateway, fleet: RtspFleet
) -> None:
    async with it.view("busy") as viewer, it.view("wider") as other:
        await texts_and_units(viewer, 2)
        quirks(fleet, "busy", garbage=True)
        lost = await told(viewer, type="state", state="reconnecting")
        assert lost["reason"]
        await texts_and_units(other, 10)
        quirks(fleet, "busy", garbage=False)
        await told(viewer, type="state", state="live")
        _, units = await texts_and_units(viewer, 5)
        assert len(units) == 5


async def test_the_cameras_session_limit_is_met_by_sharing(
    it: LiveGateway, fleet: RtspFleet
) -> None:
    quirks(fleet, "gate", max_sessions=1)
    async with contextlib.AsyncExitStack() as stack:
        for transport in ("frames", "fmp4", "frames", "frames"):
            viewer = await stack.enter_async_context(it.view("gate", transport))
            await texts_and_units(viewer, 2)
        assert fleet.cameras["gate"].sessions == 1
        async with it.view("gate", profile="sub") as refused:
            lost = await told(refused, type="state", state="reconnecting")
            assert "453" in lost["reason"]
            with pytest.raises(CameraBusy, match="453") as raised:
                it.live.issue("user", "gate", "sub")
            assert raised.value.status == 503
            it.live.issue("user", "gate", "main")
            quirks(fleet, "gate", max_sessions=0)
            await told(refused, type="state", state="live")
            it.live.issue("user", "gate", "sub")


async def test_200_viewers_that_vanish_without_a_word(it: LiveGateway, fleet: RtspFleet) -> None:
    gate = asyncio.Semaphore(25)

    async def open_one() -> ClientConnection:
        async with gate:
            viewer = await it.view("gate", open_timeout=PATIENCE_S)
            await texts_and_units(viewer, 1)
            return viewer

    viewers = await asyncio.gather(*(open_one() for _ in range(200)))
    assert it.live.viewers == 200
    assert fleet.cameras["gate"].sessions == 1
    for viewer in viewers:
        viewer.transport.abort()
    await until(lambda: it.live.viewers == 0, PATIENCE_S)
    await until(lambda: fleet.cameras["gate"].sessions == 0, PATIENCE_S)
    await asyncio.gather(*(viewer.wait_closed() for viewer in viewers))
    assert it.live.counters.sessions_opened == it.live.counters.sessions_closed == 200


async def test_a_thousand_wrong_tickets_slow_no_viewer(it: LiveGateway) -> None:
    base = f"http://127.0.0.1:{it.port}/api/v1/live"
    oldest_s: list[float] = []

    async def watch(viewer: ClientConnection) -> None:
        while True:
            _, units = await texts_and_units(viewer, 1)
            sent_ns = read_wall_clock_ns(units[0])
            assert sent_ns is not None
            oldest_s.append(time.time() - sent_ns / 1e9)

    async def guess(http: aiohttp.ClientSession, count: int) -> None:
        for number in range(count):
            async with http.get(f"{base}/guess-{number}/mjpeg") as answer:
                assert answer.status == 401

    async def guess_by_websocket(count: int) -> None:
        for number in range(count):
            url = f"ws://127.0.0.1:{it.port}/api/v1/live/guess-{number}/frames"
            async with connect(url, compression=None, open_timeout=PATIENCE_S) as socket:
                await socket.wait_closed()
                assert socket.close_code == 4401

    async with it.view("gate") as viewer, aiohttp.ClientSession() as http:
        await texts_and_units(viewer, 10)  # the group that it began with is older
        watching = asyncio.create_task(watch(viewer))
        await asyncio.gather(
            *(guess(http, 225) for _ in range(4)), *(guess_by_websocket(25) for _ in range(4))
        )
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
        await texts_and_units(viewer, 1)
    assert it.live.counters.tickets_refused == 1_000
    assert oldest_s
    assert max(oldest_s) < 5


async def test_a_hundred_viewers_are_back_after_a_restart_of_the_gateway(
    fleet: RtspFleet,
) -> None:
    """A ticket opens one stream: whose stream has ended asks for another, and keeps asking."""
    running: list[LiveGateway] = []
    seen: dict[int, LiveGateway] = {}

    async def view(number: int) -> None:
        while True:
            with contextlib.suppress(OSError, WebSocketException, IndexError, TimeoutError):
                it = running[0]
                async with it.view("gate", open_timeout=PATIENCE_S) as viewer:
                    await texts_and_units(viewer, 1)
                    seen[number] = it
                    async for _ in viewer:
                        pass
            await asyncio.sleep(0.2 + number / 200)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(view(number)) for number in range(100)]
        async with gateway(fleet, QUICK) as first:
            running[:] = [first]
            await until(lambda: len(seen) == 100, PATIENCE_S)
            running.clear()
        async with gateway(fleet, QUICK, port=first.port) as second:
            running[:] = [second]
            began_s = time.monotonic()
            await until(lambda: set(seen.values()) == {second}, PATIENCE_S)
            assert time.monotonic() - began_s < 10
            assert second.live.counters.upstreams_opened == 1
            for task in tasks:
                task.cancel()


async def test_browsers_without_the_codec_see_single_pictures(it: LiveGateway) -> None:
    url = "ws" + it.path("h265") + "?codec=jpeg"
    async with (
        connect(url, max_size=None, compression=None) as one,
        connect("ws" + it.path("h265") + "?codec=jpeg", max_size=None, compression=None) as two,
        it.view("h265") as plain,
    ):
        texts, units = await texts_and_units(one, 6)
        await texts_and_units(two, 2)
        await texts_and_units(plain, 2)
        video = next(text for text in texts if text["type"] == "video")
        assert (video["codec"], video["width"], video["height"]) == ("jpeg", 320, 192)
        assert video["description"] == ""
        live = next(text for text in texts if text["type"] == "state")
        assert "JPEG" in live["reason"]
        assert {unit[0] & 1 for unit in units} == {1}
        with av.open(io.BytesIO(units[-1][10:]), format="mjpeg") as container:
            picture = next(container.decode(video=0))
            assert (picture.width, picture.height) == (320, 192)
        times_us = [int.from_bytes(unit[2:10], "big") for unit in units]
        steps_us = [after - before for before, after in itertools.pairwise(times_us)]
        assert all(step_us >= 130_000 for step_us in steps_us)
        assert sum(steps_us) / len(steps_us) >= 195_000
        assert it.live.readers() == {("h265", "main"): "native"}
    url = "ws" + it.path("gate") + "?codec=vp9"
    async with connect(url, compression=None) as refused:
        with pytest.raises(ConnectionClosed) as closed:
            await refused.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4406
