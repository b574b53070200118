"""No way shows a masked point in clear to who may not see it so: a real camera behind a whole
gateway, every route and codec decoded and looked at."""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from core_api import Answer, Caller
from databases import ON_SQLITE
from privacy_stage import (
    RIGHT_HALF,
    FramesEye,
    Stage,
    fmp4_pictures,
    give_clear_view,
    hides_right_half,
    is_flat,
    mjpeg_pictures,
    of_masked_jpeg,
    privacy_stage,
    shows_all,
)
from websockets.asyncio.client import connect

from adapters.media.jpeg import jpeg_size
from registry import users
from registry.database import Connection, Database
from registry.identity import now
from registry.partition import SYSTEM
from registry.users import NewRole

pytest_plugins = ["databases"]
pytestmark = ON_SQLITE

WITHIN_S = 30.0


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clips")


@pytest.fixture
async def stage(
    database: Database, database_url: str, tmp_path: Path, clips: Path
) -> AsyncIterator[Stage]:
    async with privacy_stage(database, database_url, tmp_path, clips) as it:
        yield it


async def test_a_mask_is_drawn_in_every_transport_and_picture(stage: Stage) -> None:
    viewer = await stage.sign_in("viewer")
    await stage.mask(RIGHT_HALF)
    async with asyncio.timeout(WITHIN_S):
        ticket = await stage.ticket(viewer)
        assert (ticket["codec"], ticket["width"], ticket["height"]) == ("avc1", 640, 360)
        for profile in ("main", "sub"):
            async with await stage.watch(viewer, "frames", profile) as socket:
                eye = FramesEye(socket)
                for _ in range(8):
                    assert hides_right_half(await eye.next()), profile
                assert {each["type"] for each in eye.tracks} == {"video"}
        async with await stage.watch(viewer, "fmp4") as socket:
            pictures = await fmp4_pictures(socket, 8)
            assert len(pictures) >= 6
            assert all(hides_right_half(each) for each in pictures)
        mjpeg = await mjpeg_pictures(stage.session, await stage.url(viewer, "mjpeg"), 3)
        assert all(hides_right_half(each) for each in mjpeg)
        url = f"{(await stage.url(viewer, 'frames')).replace('http', 'ws', 1)}?codec=jpeg"
        async with connect(url, max_size=None, compression=None) as socket:
            eye = FramesEye(socket)
            for _ in range(3):
                assert hides_right_half(await eye.next())
            assert eye.tracks[-1]["codec"] == "jpeg"
        for query in ({}, {"width": 160}):
            path = f"/points/{stage.point_id}/snapshot.jpg"
            taken = await viewer("GET", path, **query)
            assert taken.status == 200, taken.body
            assert hides_right_half(of_masked_jpeg(taken.body)), query


async def test_a_mask_is_drawn_over_webrtc(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aioice.ice.get_host_addresses", lambda **_: ["127.0.0.1"])
    viewer = await stage.sign_in("viewer")
    await stage.mask(RIGHT_HALF)
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    video = peer.addTransceiver("video", direction="recvonly")
    try:
        async with asyncio.timeout(WITHIN_S):
            await peer.setLocalDescription(await peer.createOffer())
            url, offer = await stage.url(viewer, "whep"), peer.localDescription.sdp
            headers = {"Content-Type": "application/sdp"}
            async with stage.session.post(url, data=offer, headers=headers) as answer:
                text = await answer.text()
                assert answer.status == 201, text
            await peer.setRemoteDescription(RTCSessionDescription(text, "answer"))
            for _ in range(5):
                frame = await video.receiver.track.recv()
                assert hides_right_half(frame.to_ndarray()[: frame.height].astype(int))
    finally:
        await peer.close()


async def test_small_pictures_are_masked_for_everybody_and_anew_with_new_masks(
    stage: Stage,
) -> None:
    give_clear_view(stage.database, now() + timedelta(hours=1))
    viewer, trusted = await stage.sign_in("viewer"), await stage.sign_in("clear")
    path = f"/points/{stage.point_id}/thumbnail.jpg"
    async with asyncio.timeout(WITHIN_S):
        shown = await small(viewer, path)
        assert shows_all(of_masked_jpeg(shown.body))
        assert jpeg_size(shown.body) == (320, 180)
        assert shown.headers["Hutong-Picture-Time"].endswith("Z")
        same = await viewer("GET", path, headers={"If-None-Match": shown.headers["ETag"]})
        assert (same.status, same.body) == (304, b"")
        await stage.mask(RIGHT_HALF)
        for who in (viewer, trusted, stage.admin):
            assert hides_right_half(of_masked_jpeg((await small(who, path)).body))
        await stage.mask()
        assert is_flat(of_masked_jpeg((await small(viewer, path)).body))
    recorded = await stage.acts("thumbnail")
    told = [(each["user"]["name"], each["details"].get("picture")) for each in recorded]
    assert sorted(told, key=str) == [
        ("admin", "masked"),
        ("clear", "masked"),
        ("viewer", "masked"),
        ("viewer", None),
    ]


async def small(who: Caller, path: str) -> Answer:
    """The small picture, as soon as there is one."""
    while (answer := await who("GET", path)).status == 503:  # noqa: ASYNC110 - asked over HTTP
        await asyncio.sleep(0.05)
    assert answer.status == 200, answer.body
    return answer


async def test_all_routes_that_yield_a_picture_are_known(stage: Stage) -> None:
    """A route that is new and gives a picture is to be tried above, and to be listed here."""
    shape = (await stage.session.get(f"{stage.node.url}/api/openapi.json")).json()
    paths = (await shape)["paths"]
    pictures = {path for path in paths if re.search(r"\.jpg|mjpeg|whep|/live$", path)}
    assert pictures == {
        "/api/v1/points/{point_id}/live",
        "/api/v1/points/{point_id}/snapshot.jpg",
        "/api/v1/points/{point_id}/thumbnail.jpg",
        "/api/v1/points/{point_id}/quality/evidence.jpg",
        "/api/v1/live/{ticket}/mjpeg",
        "/api/v1/live/{ticket}/whep",
        "/api/v1/live/{ticket}/whep/{view_id}",
    }


async def test_without_polygons_all_is_hidden(stage: Stage) -> None:
    viewer = await stage.sign_in("viewer")
    await stage.mask()
    async with asyncio.timeout(WITHIN_S), await stage.watch(viewer) as socket:
        eye = FramesEye(socket)
        for _ in range(4):
            assert is_flat(await eye.next())
        taken = await viewer("GET", f"/points/{stage.point_id}/snapshot.jpg")
        assert (taken.status, taken.headers["Hutong-Picture"]) == (200, "blank")
        assert is_flat(of_masked_jpeg(taken.body))


async def test_a_change_of_masks_reaches_running_views(stage: Stage) -> None:
    viewer = await stage.sign_in("viewer")
    await stage.mask()
    async with asyncio.timeout(WITHIN_S), await stage.watch(viewer) as socket:
        eye = FramesEye(socket)
        assert is_flat(await eye.next())
        loop = asyncio.get_running_loop()
        await stage.mask(RIGHT_HALF)
        changed_s = loop.time()
        while not hides_right_half(await eye.next()):
            pass
        assert loop.time() - changed_s < 5
        await stage.mask([[0, 0], [1, 0], [1, 1], [0, 1]])
        changed_s = loop.time()
        while not is_flat(await eye.next()):
            pass
        assert loop.time() - changed_s < 5
        await stage.unmask()
        while not shows_all(await eye.next()):
            pass


async def test_masking_ends_the_clear_views_of_who_may_not_see_past_it(stage: Stage) -> None:
    give_clear_view(stage.database, now() + timedelta(hours=1))
    viewer, trusted = await stage.sign_in("viewer"), await stage.sign_in("clear")
    async with (
        asyncio.timeout(WITHIN_S),
        await stage.watch(viewer) as plain,
        await stage.watch(trusted) as clear,
    ):
        eye, kept = FramesEye(plain), FramesEye(clear)
        assert shows_all(await eye.next())
        loop = asyncio.get_running_loop()
        left = await stage.ticket(viewer)
        await stage.mask(RIGHT_HALF)
        masked_s = loop.time()
        assert await eye.until_closed() == 4403
        assert loop.time() - masked_s < 5
        # A ticket from before is for the clear picture, and is worth nothing now.
        url = f"{stage.node.url}{left['urls']['frames']}".replace("http", "ws", 1)
        async with connect(url) as late:
            assert await FramesEye(late).until_closed() == 4403
        for _ in range(30):
            assert shows_all(await kept.next())


async def test_clear_view_is_clear_and_recorded_with_what_it_is_for(stage: Stage) -> None:
    end = give_clear_view(stage.database, now() + timedelta(hours=1))
    await stage.mask(RIGHT_HALF)
    trusted = await stage.sign_in("clear")
    async with asyncio.timeout(WITHIN_S), await stage.watch(trusted, purpose="look") as socket:
        eye = FramesEye(socket)
        assert shows_all(await eye.next())
        taken = await trusted("GET", f"/points/{stage.point_id}/snapshot.jpg")
        assert shows_all(of_masked_jpeg(taken.body))
        assert (await stage.admin("GET", f"/points/{stage.point_id}/snapshot.jpg")).status == 200
        (opened,) = await stage.acts("open_live")
        assert opened["details"]["picture"] == "clear"
        assert opened["details"]["clear_view_for"] == "case 7"
        assert opened["details"]["purpose"] == "look"
        shots = await stage.acts("snapshot")
        assert [each["details"]["picture"] for each in shots] == ["masked", "clear"]
        assert shots[1]["details"]["clear_view_for"] == "case 7"
        end()
        assert await eye.until_closed() == 4403
    # Who asks over HTTP is remembered for some seconds.
    async with asyncio.timeout(5):
        while not hides_right_half(of_masked_jpeg(taken.body)):
            taken = await trusted("GET", f"/points/{stage.point_id}/snapshot.jpg")


async def test_a_share_carries_no_right_to_see_past_masks(stage: Stage) -> None:
    """A person with clear_view where the share is given to sees what is shared masked."""
    give_clear_view(stage.database, now() + timedelta(hours=1), at="d/s1")
    dispatcher = await stage.sign_in("admin")
    body = {
        "from": {"point": stage.point_id},
        "to": "d/s2",
        "purpose": "festival",
        "ends_at": (now() + timedelta(hours=1)).isoformat(),
    }
    made = await dispatcher("POST", "/shares", body)
    assert made.status == 201, made.body

    def receiver(connection: Connection) -> None:
        user = users.page(connection, SYSTEM, q="clear").items[0]
        roles = (
            NewRole(role="viewer", organization="d/s2"),
            NewRole(
                role="clear_view",
                organization="d/s2",
                purpose="case 8",
                ends_at=now() + timedelta(hours=1),
            ),
        )
        users.set_roles(connection, SYSTEM, user.id, roles)

    await stage.database.write(receiver)
    await stage.mask(RIGHT_HALF)
    foreign = await stage.sign_in("clear")
    assert (await foreign("GET", f"/points/{stage.point_id}")).body["shared"] is not None
    async with asyncio.timeout(WITHIN_S), await stage.watch(foreign) as socket:
        assert hides_right_half(await FramesEye(socket).next())
    taken = await foreign("GET", f"/points/{stage.point_id}/snapshot.jpg")
    assert hides_right_half(of_masked_jpeg(taken.body))
