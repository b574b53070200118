"""The same with MediaMTX itself, where `MEDIAMTX_BIN` names its program, and real readers."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from media_stage import MediaMtx, MediaStage, Recorder, probe
from patience import wait_until

from gateway.live import LiveSettings
from gateway.live.mediaserver import MediaServerSettings, examine
from simulators.rtsp_camera import RtspCameraSpec, RtspFleet

PROGRAM = os.environ.get("MEDIAMTX_BIN", "")
PASSWORD = "planted-camera-password"
TCP = ("-rtsp_transport", "tcp")
ENDS_WITHIN_S = 5.0
QUICK = LiveSettings(linger_s=0.2)

pytestmark = [
    pytest.mark.skipif(not PROGRAM, reason="MEDIAMTX_BIN names no program"),
    pytest.mark.timeout(240),
]
Stage = tuple[MediaStage, MediaMtx]


@pytest.fixture(autouse=True)
def on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """The peer's own candidates, which the library takes from every interface but this one."""
    monkeypatch.setattr("aioice.ice.get_host_addresses", lambda **_: ["127.0.0.1"])


@pytest.fixture(scope="module")
def clip_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clips")


def spec(name: str, **more: object) -> RtspCameraSpec:
    return RtspCameraSpec(
        name=name,
        username="viewer",
        password=PASSWORD,
        main_size=(320, 192),
        sub_size=(128, 96),
        gop_s=0.4,
        **more,  # type: ignore[arg-type]
    )


@pytest.fixture
async def stage(clip_cache: Path, tmp_path: Path) -> AsyncIterator[Stage]:
    cameras = [spec("gate"), spec("yard", audio="pcma"), spec("hall", audio="aac")]
    cameras.append(spec("lane", codec="h265"))
    async with RtspFleet(cameras, clip_cache=clip_cache) as fleet:
        it = MediaStage(fleet, QUICK)
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(it.serve_keys())
            server = await stack.enter_async_context(MediaMtx(PROGRAM, tmp_path, it.jwks_url))
            await stack.enter_async_context(it.watching(server.control))
            await it.ready()
            yield it, server


async def seconds_until(condition: object, what: str) -> float:
    began_s = asyncio.get_running_loop().time()
    await wait_until(condition, what=what)  # type: ignore[arg-type]
    return asyncio.get_running_loop().time() - began_s


# --- every transport ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("point", "tracks"),
    [
        ("gate", ["h264,320,192"]),
        ("yard", ["h264,320,192", "pcm_alaw"]),
        ("hall", ["h264,320,192", "aac"]),
        ("lane", ["hevc,320,192"]),
    ],
)
async def test_rtsp(stage: Stage, point: str, tracks: list[str]) -> None:
    it, _server = stage
    handed = await it.hand_out(point)
    code, said = await probe(handed.urls["rtsp"], *TCP)
    assert code == 0, said
    assert said.split() == tracks


async def test_hls(stage: Stage) -> None:
    it, _server = stage
    handed = await it.hand_out("hall")
    header = ("-headers", f"Authorization: Bearer {handed.token}\r\n")
    code, said = await probe(handed.urls["hls"], *header)
    assert code == 0, said
    assert "h264,320,192" in said.split()
    assert "aac" in said.split()
    await wait_until(lambda: it.opened, what="the record of viewing")
    assert it.opened[0].transport == "hls"


async def test_whep(stage: Stage) -> None:
    it, _server = stage
    handed = await it.hand_out("gate")
    headers = {"Content-Type": "application/sdp", "Authorization": f"Bearer {handed.token}"}
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    try:
        connection.addTransceiver("video", direction="recvonly")
        await connection.setLocalDescription(await connection.createOffer())
        offer = connection.localDescription.sdp
        async with aiohttp.ClientSession() as http:
            async with http.post(
                handed.urls["whep"], data=offer, headers={"Content-Type": "application/sdp"}
            ) as answer:
                assert answer.status == 401, "an address alone opens nothing"
            async with http.post(handed.urls["whep"], data=offer, headers=headers) as answer:
                assert answer.status == 201, await answer.text()
                said = RTCSessionDescription(await answer.text(), "answer")
        await connection.setRemoteDescription(said)
        track: Any = connection.getTransceivers()[0].receiver.track
        async with asyncio.timeout(60):
            pictures = [await track.recv() for _ in range(10)]
        assert {(picture.width, picture.height) for picture in pictures} == {(320, 192)}
        await wait_until(lambda: it.opened, what="the record of viewing")
        assert it.opened[0].transport == "whep"
        it.denied.add("gate")
        await wait_until(lambda: it.closed, what="the view to end")
    finally:
        await connection.close()


# --- who may --------------------------------------------------------------------------------------


async def test_only_the_right_token_opens_a_path(stage: Stage) -> None:
    it, server = stage
    gate, yard = await it.hand_out("gate"), await it.hand_out("yard")
    plain = gate.urls["rtsp"].split("?")[0]
    path = plain.rpartition("/")[2]
    late = it.keys.reader_token("late", path, -1)
    for token in ("", yard.token, late, it.keys.control_token()):
        code, said = await probe(f"{plain}?token={token}", *TCP)
        assert code, token
        assert "401" in said
    async with aiohttp.ClientSession() as http:
        for token in ("", gate.token):
            headers = {"Authorization": f"Bearer {token}"}
            async with http.get(f"{server.control}/v3/config/paths/list", headers=headers) as got:
                assert got.status == 401
    assert PASSWORD not in server.log


async def test_the_control_api_knows_no_camera(stage: Stage) -> None:
    it, server = stage
    handed = await it.hand_out("gate")
    headers = {"Authorization": f"Bearer {it.keys.control_token()}"}
    asked = ("config/paths/list", "paths/list", "rtspsessions/list", "config/global/get")
    async with Recorder(handed.urls["rtsp"], *TCP):
        await wait_until(lambda: it.opened, what="the session to be seen")
        async with aiohttp.ClientSession() as http:
            for what in asked:
                async with http.get(f"{server.control}/v3/{what}", headers=headers) as got:
                    assert got.status == 200
                    said = await got.text()
                    assert PASSWORD not in said
                    assert "viewer" not in said
                    assert it.fleet.cameras["gate"].url("main") not in said


async def test_a_replayed_token_is_disconnected_and_the_first_stays(stage: Stage) -> None:
    it, _server = stage
    handed = await it.hand_out("gate")
    async with Recorder(handed.urls["rtsp"], *TCP) as first:
        await wait_until(lambda: it.opened, what="the first to be seen")
        async with Recorder(handed.urls["rtsp"], *TCP) as second:
            await wait_until(lambda: it.media.counters.replayed, what="the second to be seen")
            await wait_until(lambda: not second.running, what="the second to end")
        assert first.running
        assert len(it.opened) == 1


async def test_a_lost_right_ends_views_in_time(stage: Stage) -> None:
    it, _server = stage
    gate, yard = await it.hand_out("gate"), await it.hand_out("yard")
    async with Recorder(gate.urls["rtsp"], *TCP) as lost, Recorder(yard.urls["rtsp"], *TCP) as kept:
        await wait_until(lambda: len(it.opened) == 2, what="both to be seen")
        it.denied.add("gate")
        waited_s = await seconds_until(lambda: not lost.running, "the view to end")
        assert waited_s < ENDS_WITHIN_S + 5.0, "the machine may be busy"
        assert kept.running


async def test_a_point_that_gets_masks_goes_dark(stage: Stage) -> None:
    it, _server = stage
    handed = await it.hand_out("gate")
    async with Recorder(handed.urls["rtsp"], *TCP) as reader:
        await wait_until(lambda: it.opened, what="the session to be seen")
        it.masked.add("gate")
        await wait_until(lambda: not reader.running, what="the view to end")
    code, _said = await probe(handed.urls["rtsp"], *TCP)
    assert code


# --- coming and going -----------------------------------------------------------------------------


async def test_paths_are_made_again_after_a_restart(stage: Stage) -> None:
    it, server = stage
    before = await it.hand_out("gate")
    await server.stop()
    await wait_until(lambda: not it.media.servers[0].ready, what="it to be missed")
    away = it.media.hand_out(it.ticket("gate"))
    assert away.urls == {}
    assert "away" in away.reason
    await server.start()
    await it.ready()
    code, said = await probe(before.urls["rtsp"], *TCP)
    assert code == 0, said
    after = await it.hand_out("yard")
    code, said = await probe(after.urls["rtsp"], *TCP)
    assert code == 0, said


async def test_the_cache_of_keys_is_refreshed_on_request(stage: Stage) -> None:
    it, _server = stage
    before = it.jwks_reads
    await it.media.servers[0].api.refresh_keys()
    await it.media.servers[0].api.info()
    assert it.jwks_reads == before + 1
    await it.media.servers[0].api.info()
    assert it.jwks_reads == before + 1, "else it keeps them"


async def test_nothing_reads_the_camera_when_nobody_watches(stage: Stage) -> None:
    it, _server = stage
    handed = await it.hand_out("gate")
    assert it.live.readers() == {}
    async with Recorder(handed.urls["rtsp"], *TCP):
        await wait_until(lambda: it.opened, what="the session to be seen")
        assert list(it.live.readers()) == [("gate", "main")]
        own = it.ticket("gate")
        async with await it.live.redeem(own.token, "frames"):
            assert len(it.live.readers()) == 1, "one upstream, whoever watches where"
    await wait_until(lambda: not it.live.readers(), what="the camera to be left")


async def test_the_doctor_says_what_it_is(stage: Stage) -> None:
    it, server = stage
    said = await examine(MediaServerSettings(control=(server.control,)), it.keys)
    assert "MediaMTX v" in said
    assert "serves whep, hls, rtsp" in said
    assert "turn off" not in said
