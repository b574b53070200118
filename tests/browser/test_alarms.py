"""An alarm on the list of events: a dispatcher sees to it, and everybody is told who did."""

import asyncio
from typing import Any

import pytest
from playwright.async_api import expect
from test_walls import _post
from visitors import Visitors

pytestmark = pytest.mark.asyncio(loop_scope="session")  # the loop of the browser
RAISED = "[data-test=event][data-type='hutong.emergency.raised']"


async def test_an_emergency_is_acknowledged_by_a_dispatcher(demo: Any, visitors: Visitors) -> None:
    dispatcher, viewer = await visitors.of("dispatcher"), await visitors.of("viewer")
    await dispatcher.sign_in("/events")
    page = dispatcher.page
    press = {"talkgroup": 3101, "slot": 1, "emergency": True}
    pressed = await asyncio.to_thread(demo.simulate, "/radios/3101001/press", press)
    assert pressed.status == 200
    try:
        event = page.locator(RAISED).first
        await expect(event).to_be_visible()
        channel = await event.get_attribute("data-subject")
        await event.locator("[data-test=acknowledge]").click()
        await expect(event.locator("[data-test=seen-by]")).to_contain_text("dispatcher")
        await expect(event.locator("[data-test=acknowledge]")).to_have_count(0)
    finally:
        await asyncio.to_thread(demo.simulate, "/radios/3101001/release", {})
    await _post(dispatcher, f"/channels/{channel}/emergency/clear", {})
    await page.reload()
    await expect(page.locator(f"{RAISED} [data-test=seen-by]").first).to_be_visible()
    # Who only looks is told as well, and has nothing to press.
    await viewer.sign_in("/events")
    await expect(viewer.page.locator("[data-test=events]")).to_be_attached()
    await expect(viewer.page.locator("[data-test=acknowledge]")).to_have_count(0)
