"""WebRTC by WHEP over real sockets: simulated cameras, uvicorn, a peer of aiortc."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import av
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from live_stage import LiveGateway, gateway, until

from gateway.live import LiveSettings
from simulators.rtsp_camera import RtspCameraSpec, RtspFleet

QUICK = LiveSettings(linger_s=0.2, first_retry_s=0.05, rights_interval_s=0.1, max_whep_views=2)
SDP = {"Content-Type": "application/sdp"}
LONG_GROUP_S = 6.0


@pytest.fixture(autouse=True)
def on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """The peer's own candidates, which the library takes from every interface but this one."""
    monkeypatch.setattr("aioice.ice.get_host_addresses", lambda **_: ["127.0.0.1"])


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
        spec("sound", audio="pcma"),
        spec("aac", audio="aac"),
        spec("h265", codec="h265"),
        spec("long", gop_s=LONG_GROUP_S),
        spec("profile", profile="main"),
    ]
    async with RtspFleet(specs, clip_cache=clip_cache) as it:
        yield it


@pytest.fixture
async def it(fleet: RtspFleet) -> AsyncIterator[LiveGateway]:
    async with gateway(fleet, QUICK) as running:
        yield running


class Peer:
    """What plays one view. location: the view's address."""

    def __init__(self, it: LiveGateway, http: aiohttp.ClientSession) -> None:
        self._base = f"http://127.0.0.1:{it.port}"
        self._it = it
        self._http = http
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.location = ""
        self.headers: dict[str, str] = {}
        self.answer = ""

    async def offer(self, *kinds: str) -> str:
        for kind in kinds:
            self.connection.addTransceiver(kind, direction="recvonly")
        await self.connection.setLocalDescription(await self.connection.createOffer())
        return self.connection.localDescription.sdp

    async def post(self, point: str, offer: str) -> int:
        url = "http" + self._it.path(point, "whep")
        async with self._http.post(url, data=offer, headers=SDP) as answer:
            self.answer = await answer.text()
            self.headers = dict(answer.headers)
            if answer.status == 201:
                self.location = self._base + answer.headers["Location"]
                assert answer.content_type == "application/sdp"
                await self.connection.setRemoteDescription(
                    RTCSessionDescription(self.answer, "answer")
                )
            return answer.status

    async def play(self, point: str, *kinds: str) -> None:
        assert await self.post(point, await self.offer(*(kinds or ("video",)))) == 201, self.answer

    def track(self, kind: str) -> Any:
        return next(t.receiver.track for t in self.connection.getTransceivers() if t.kind == kind)

    async def pictures(self, count: int) -> list[av.VideoFrame]:
        track = self.track("video")
        async with asyncio.timeout(30):
            return [await track.recv() for _ in range(count)]

    async def status(self, method: str) -> int:
        async with self._http.request(method, self.location) as answer:
            return answer.status


@contextlib.asynccontextmanager
async def peer(it: LiveGateway) -> AsyncIterator[Peer]:
    async with aiohttp.ClientSession() as http:
        made = Peer(it, http)
        try:
            yield made
        finally:
            await made.connection.close()


def said(sdp: str, text: str) -> list[str]:
    return [line for line in sdp.splitlines() if text in line]


async def test_pictures_come_as_the_camera_coded_them(it: LiveGateway, fleet: RtspFleet) -> None:
    async with peer(it) as one, it.view("gate"):
        await one.play("gate")
        pictures = await one.pictures(12)
        assert {(each.width, each.height) for each in pictures} == {(320, 192)}
        times = [each.pts for each in pictures]
        assert times == sorted(set(times))
        assert fleet.cameras["gate"].sessions == 1
        assert said(one.answer, "m=video")
        assert not said(one.answer, "VP8")
        candidates = said(one.answer, "a=candidate")
        assert candidates
        assert all(" 127.0.0.1 " in line for line in candidates)
        assert it.live.viewers == 2
        assert await one.status("PATCH") == 405
        assert await one.status("DELETE") == 204
        assert await one.status("DELETE") == 404
        assert it.live.viewers == 1
        await until(lambda: one.connection.connectionState == "closed", 30)
    assert len(it.peers) == 0


async def test_who_joins_a_long_group_sees_it_at_once_and_on_time(it: LiveGateway) -> None:
    async with peer(it) as one, peer(it) as two:
        await one.play("long")
        before = await one.pictures(10)
        await two.play("long")
        first = (await two.pictures(1))[0]
        assert (first.width, first.height) == (320, 192)
        later = await two.pictures(10)
        # What was before is passed in an instant, then time runs as at the camera.
        assert later[-1].time - first.time < before[-1].time - before[0].time + 1


async def test_a_lost_picture_is_made_good_from_memory(it: LiveGateway) -> None:
    async with peer(it) as one:
        await one.play("long")
        await one.pictures(5)
        units = it.live.counters.units
        receiver = next(t.receiver for t in one.connection.getTransceivers())
        ssrc = int(said(one.answer, "a=ssrc:")[0].split(":")[1].split(" ")[0])
        await receiver._send_rtcp_pli(ssrc)
        seen = 0
        async with asyncio.timeout(30):
            while True:
                picture = (await one.pictures(1))[0]
                seen += 1
                if picture.key_frame:
                    break
        # A keyframe of the camera comes every 6 s; this one was sent again.
        assert it.live.counters.units - units < LONG_GROUP_S * 15 - 20
        assert seen


async def test_g711_is_passed_on(it: LiveGateway) -> None:
    async with peer(it) as one:
        await one.play("sound", "video", "audio")
        assert said(one.answer, "a=rtpmap:8 PCMA/8000")
        assert not said(one.answer, "opus")
        track = one.track("audio")
        async with asyncio.timeout(30):
            sounds = [await track.recv() for _ in range(5)]
        assert all(sound.samples for sound in sounds)
        await one.pictures(2)
        assert "hutong-sound-reason" not in one.headers


async def test_other_sound_is_left_out_and_why_is_said(it: LiveGateway) -> None:
    async with peer(it) as one:
        await one.play("aac", "video", "audio")
        assert "mp4a" in one.headers["hutong-sound-reason"]
        await one.pictures(2)


async def test_another_profile_is_sent_as_it_is(it: LiveGateway) -> None:
    async with peer(it) as one:
        await one.play("profile")
        pictures = await one.pictures(8)
        assert {(each.width, each.height) for each in pictures} == {(320, 192)}


async def test_a_camera_that_dies_comes_back_on_the_same_peer(
    it: LiveGateway, fleet: RtspFleet
) -> None:
    async with peer(it) as one, peer(it) as two:
        await one.play("gate")
        await two.play("gate")
        await one.pictures(3)
        before = (await one.pictures(1))[0]
        await fleet.cameras["gate"].power(False)
        await until(lambda: it.live.counters.upstream_losses == 1, 30)
        await fleet.cameras["gate"].power(True)
        await until(lambda: it.live.counters.upstreams_opened >= 2, 30)
        after = (await one.pictures(10))[-1]
        assert after.pts > before.pts
        # As H.265 it cannot go on.
        await fleet.cameras["gate"].power(False)
        it.exchanged["gate"] = "h265"
        await until(lambda: one.connection.connectionState == "closed", 30)
        await until(lambda: two.connection.connectionState == "closed", 30)
        assert len(it.peers) == 0
        assert it.live.viewers == 0


async def test_what_is_refused(it: LiveGateway) -> None:
    async with peer(it) as one:
        offer = await one.offer("video")
        assert await one.post("h265", offer) == 406
        assert "hvc1" in one.answer
        assert await one.post("gate", "hello") == 400
        assert await one.post("gate", offer.replace("H264", "H263")) == 406
        assert await one.post("gate", "x" * 70_000) == 413
        assert await one.post("nowhere", offer) == 503
        it.denied.add("gate")
        assert await one.post("gate", offer) == 403
        async with aiohttp.ClientSession() as http:
            url = f"http://127.0.0.1:{it.port}/api/v1/live/guessed/whep"
            async with http.post(url, data=offer, headers=SDP) as answer:
                assert answer.status == 401
            async with http.post(url, data=offer) as answer:
                assert answer.status == 415
            async with http.options(url) as answer:
                assert (answer.status, answer.headers["Accept-Post"]) == (204, "application/sdp")
    await until(lambda: not len(it.peers) and not it.live.viewers, 30)


async def test_a_lost_right_ends_the_peer_and_views_are_bounded(it: LiveGateway) -> None:
    async with peer(it) as one, peer(it) as two, peer(it) as three:
        await one.play("gate")
        await two.play("sound")
        await one.pictures(2)
        assert await three.post("gate", await three.offer("video")) == 429
        it.denied.add("gate")
        await until(lambda: one.connection.connectionState == "closed", 30)
        await until(lambda: it.live.viewers == 1, 30)
        await two.pictures(2)


async def test_stopping_the_gateway_leaves_no_peer(fleet: RtspFleet) -> None:
    async with gateway(fleet, QUICK) as it, peer(it) as one:
        await one.play("gate")
        await one.pictures(1)
        await it.peers.__aexit__(None, None, None)
        assert len(it.peers) == 0
        await until(lambda: one.connection.connectionState == "closed", 30)
    assert not [t for t in asyncio.all_tasks() if t.get_name().startswith("live-")]
