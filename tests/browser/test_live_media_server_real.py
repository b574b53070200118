"""The console plays from MediaMTX itself, where `MEDIAMTX_BIN` names its program."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from demo import Demo, running_demo
from media_stage import MediaMtx, free_port
from playwright.async_api import Locator, Request, expect
from visitors import Visitor, Visitors

PROGRAM = os.environ.get("MEDIAMTX_BIN", "")
MASK = [[0.1, 0.1], [0.4, 0.1], [0.4, 0.5]]
# Until the gateway misses a server, or ends a view there, on a busy machine.
SLACK_MS = 60_000

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),  # the loop of the browser
    pytest.mark.skipif(not PROGRAM, reason="MEDIAMTX_BIN names no program"),
    pytest.mark.timeout(240),
]


@pytest_asyncio.fixture(loop_scope="session")
async def mediamtx(tmp_path: Path) -> AsyncIterator[tuple[MediaMtx, int]]:
    """The server, and the port at which it looks for the gateway."""
    port = free_port()
    keys = f"http://127.0.0.1:{port}/.well-known/jwks.json"
    async with MediaMtx(PROGRAM, tmp_path, keys) as server:
        yield server, port


@pytest_asyncio.fixture(loop_scope="session")
async def demo(mediamtx: tuple[MediaMtx, int]) -> AsyncIterator[Demo]:
    """Not the one of all tests: this one has the server, and uses it already."""
    server, port = mediamtx
    arguments = ("--no-traffic", "--cameras", "4", "--port", str(port))
    running = running_demo(*arguments, environment={"HUTONG_MEDIA_SERVER_URL": server.control})
    it = await asyncio.to_thread(running.__enter__)
    try:
        await _until_used(it)
        yield it
    finally:
        await asyncio.to_thread(running.__exit__, None, None, None)


async def _until_used(demo: Demo) -> None:
    async with asyncio.timeout(SLACK_MS / 1000):
        while True:
            said = await asyncio.to_thread(demo.ask, "GET", f"={demo.url}/metrics")
            if b"hutong_media_servers_ready 1" in said.body:
                return
            await asyncio.sleep(0.2)


def _address(server: MediaMtx) -> str:
    return f"127.0.0.1:{server.ports['webrtc']}"


def _expect_only(visitor: Visitor, server: MediaMtx) -> None:
    """The page went nowhere else than to the gateway and here."""
    assert {urlsplit(url).netloc for url in visitor.foreign} == {_address(server)}
    visitor.foreign.clear()


async def _open(visitor: Visitor, point: str) -> Locator:
    await visitor.page.goto(f"{visitor.url.rstrip('/')}/cameras?point={point}")
    tile = visitor.page.locator("[data-test=live]")
    await expect(tile).to_have_attribute("data-phase", "live")
    await expect(tile).to_have_attribute("data-transport", "whep")
    return tile


async def _point(visitor: Visitor) -> str:
    """One that is there and does not move: those have simpler masks."""
    await expect(visitor.page.locator("[data-test=camera][data-status=online]")).not_to_have_count(
        0
    )
    listed = (await visitor.get("/points?status=online"))["items"]
    wanted = (p for p in listed if "ptz" not in p["capabilities"] and not p["masked"])
    return str(next(wanted)["id"])


async def _paints(visitor: Visitor, more: int) -> None:
    shown = "document.querySelector('[data-test=live-video]').getVideoPlaybackQuality()"
    before = await visitor.page.evaluate(f"{shown}.totalVideoFrames")
    await visitor.page.wait_for_function(
        f"least => {shown}.totalVideoFrames > least", arg=before + more, timeout=SLACK_MS
    )


async def test_a_camera_is_played_and_left(
    demo: Demo, mediamtx: tuple[MediaMtx, int], visitors: Visitors
) -> None:
    server, _port = mediamtx
    admin = await visitors.of("admin")
    asked: list[Request] = []
    admin.page.on("request", lambda each: asked.append(each) if "/whep" in each.url else None)
    await admin.sign_in()
    tile = await _open(admin, await _point(admin))
    await _paints(admin, 20)
    assert await tile.locator("[data-test=notice]").count() == 0
    await expect(tile.locator("[data-test=watermark]")).to_be_visible()
    async with admin.page.expect_request(lambda each: each.method == "DELETE"):
        await tile.locator("[data-test=live-close]").click()
    sent = [each for each in asked if each.method in ("POST", "DELETE")]
    assert [each.method for each in sent] == ["POST", "DELETE"]
    assert {urlsplit(each.url).netloc for each in sent} == {_address(server)}
    assert all(each.headers["authorization"].startswith("Bearer ") for each in sent)
    token = await asyncio.to_thread(demo.token, "auditor")
    async with asyncio.timeout(SLACK_MS / 1000):
        while True:  # the gateway sees the end at its next look
            path = "/audit?action=live_closed"
            found: Any = await asyncio.to_thread(demo.ask, "GET", path, token=token)
            if found.body["items"]:
                break
            await asyncio.sleep(0.2)
    assert found.body["items"][0]["details"]["transport"] == "whep"
    _expect_only(admin, server)


async def test_a_point_that_gets_masks_goes_on_from_the_gateway(
    mediamtx: tuple[MediaMtx, int], visitors: Visitors
) -> None:
    server, _port = mediamtx
    admin = await visitors.of("admin")
    await admin.sign_in()
    point = await _point(admin)
    tile = await _open(admin, point)
    url = f"{admin.url.rstrip('/')}/api/v1/points/{point}/masks"
    body, new = {"polygons": [MASK]}, {"If-Match": '"0"'}
    answer = await admin.page.request.put(url, data=body, headers=new)
    assert answer.ok, await answer.text()
    await expect(tile).to_have_attribute("data-transport", "frames", timeout=SLACK_MS)
    await expect(tile).to_have_attribute("data-phase", "live", timeout=SLACK_MS)
    await expect(tile.locator("[data-test=notice]")).to_have_count(0)
    await tile.locator("[data-test=details]").click()
    await expect(tile.locator("[data-test=unserved]")).to_contain_text("masked")
    _expect_only(admin, server)
    admin.forgive("404")  # the session that was ended there is ended here once more


async def test_the_gateway_goes_on_where_the_server_ends(
    mediamtx: tuple[MediaMtx, int], visitors: Visitors
) -> None:
    server, _port = mediamtx
    admin = await visitors.of("admin")
    await admin.sign_in()
    tile = await _open(admin, await _point(admin))
    await server.stop()
    await expect(tile).to_have_attribute("data-transport", "frames", timeout=SLACK_MS)
    await expect(tile).to_have_attribute("data-phase", "live", timeout=SLACK_MS)
    _expect_only(admin, server)
    admin.forgive("ERR_CONNECTION_REFUSED")
