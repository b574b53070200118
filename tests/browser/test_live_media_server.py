"""The console plays what a media server hands out, and the gateway's own where that fails.

The page is told of a media server whose WHEP is the gateway's: the same protocol and real sockets.
"""

import re
from typing import Any

import pytest
from playwright.async_api import Locator, Page, Request, Route, expect
from visitors import Visitors

pytestmark = pytest.mark.asyncio(loop_scope="session")  # the loop of the browser
TICKETS = re.compile(r"/points/[^/]+/live$")
TOKEN = "a-token-of-the-media-server"


async def _with_media_server(page: Page, whep: str = "", reason: str = "") -> None:
    """Every ticket names one. whep: its address; empty for where the gateway serves it. reason: why
    it cannot be used."""

    async def answer(route: Route) -> None:
        response = await route.fetch()
        ticket: dict[str, Any] = await response.json()
        ticket["media_server"] = {"token": None if reason else TOKEN, "reason": reason}
        ticket["urls"]["whep"] = whep or ticket["urls"]["whep"]
        await route.fulfill(response=response, json=ticket)

    await page.route(TICKETS, answer)


async def _open_first_online(page: Page) -> Locator:
    await page.locator("[data-test=camera][data-status=online]").first.click()
    tile = page.locator("[data-test=live]").first
    await expect(tile).to_have_attribute("data-phase", "live")
    return tile


async def test_a_media_servers_stream_is_played_by_whep(visitors: Visitors) -> None:
    viewer = await visitors.of("viewer")
    page = viewer.page
    offers: list[Request] = []
    ends: list[Request] = []
    page.on(
        "request",
        lambda each: (
            (ends if each.method == "DELETE" else offers).append(each)
            if "/whep" in each.url
            else None
        ),
    )
    await _with_media_server(page)
    await viewer.sign_in()
    tile = await _open_first_online(page)
    await expect(tile).to_have_attribute("data-transport", "whep")
    assert [each.headers["authorization"] for each in offers] == [f"Bearer {TOKEN}"]
    video = tile.locator("[data-test=live-video]")
    assert await video.evaluate("video => video.videoWidth") >= 64
    shown = "document.querySelector('[data-test=live-video]').getVideoPlaybackQuality()"
    await page.wait_for_function(f"() => {shown}.totalVideoFrames > 20")
    assert await tile.locator("[data-test=notice]").count() == 0
    await expect(tile.locator("[data-test=watermark]")).to_be_visible()

    async with page.expect_request(lambda each: each.method == "DELETE" and "/whep/" in each.url):
        await tile.locator("[data-test=live-close]").click()
    assert [each.headers["authorization"] for each in ends] == [f"Bearer {TOKEN}"]


async def test_the_gateway_shows_what_its_media_server_does_not(visitors: Visitors) -> None:
    viewer = await visitors.of("viewer")
    await _with_media_server(viewer.page, "/api/v1/live/nothing/whep")
    await viewer.sign_in()
    tile = await _open_first_online(viewer.page)
    await expect(tile).to_have_attribute("data-transport", "frames")
    await expect(tile.locator("[data-test=notice]")).to_be_visible()
    viewer.forgive("status of 401")


async def test_the_details_say_why_no_media_server_is_used(visitors: Visitors) -> None:
    viewer = await visitors.of("viewer")
    reason = "the media server is away: it does not answer"
    await _with_media_server(viewer.page, reason=reason)
    await viewer.sign_in()
    tile = await _open_first_online(viewer.page)
    await expect(tile).to_have_attribute("data-transport", "frames")
    await expect(tile.locator("[data-test=notice]")).to_have_count(0)
    await tile.locator("[data-test=details]").click()
    await expect(tile.locator("[data-test=unserved]")).to_contain_text(reason)
