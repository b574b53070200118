"""A response level puts a tour on duty: live view offers it, and starts nothing by itself."""

import pytest
from playwright.async_api import expect
from test_walls import _online, _post
from visitors import Visitors

pytestmark = pytest.mark.asyncio(loop_scope="session")  # the loop of the browser


async def test_a_raised_level_offers_its_tour_until_it_is_restored(visitors: Visitors) -> None:
    dispatcher = await visitors.of("dispatcher")
    await dispatcher.sign_in()
    page = dispatcher.page
    camera, *_ = await _online(dispatcher)
    place = (await dispatcher.get("/me"))["roles"][0]["organization"]["path"]
    groups = [{"name": "gate", "points": [camera]}]
    wanted = {"name": "gates", "organization": place, "groups": groups}
    tour = (await _post(dispatcher, "/tours", wanted))["id"]
    step = {"kind": "tour", "id": tour, "field": "on_duty", "value": True}
    body = {"name": "heightened", "organization": place, "rank": 1, "plan": [step]}
    level = (await _post(dispatcher, "/levels", body))["id"]
    bar, patrol = page.locator("[data-test=duty]"), page.locator("[data-test=patrol]")
    await page.reload()
    await expect(page.locator("[data-test=grid]")).to_be_visible()
    await expect(bar).to_have_count(0)
    await _post(dispatcher, f"/levels/{level}/apply", {})
    await page.reload()
    await expect(bar).to_have_attribute("data-id", tour)
    await expect(patrol).to_have_count(0)
    await page.click("[data-test=menu-tours]")
    await expect(page.locator("[data-test=tour-duty]")).to_have_count(1)
    await page.keyboard.press("Escape")
    await page.click("[data-test=duty-begin]")
    await expect(patrol).to_have_count(1)
    await expect(bar).to_have_count(0)
    await page.click("[data-test=patrol-stop]")
    await expect(bar).to_have_count(1)
    await page.click("[data-test=duty-later]")
    await expect(bar).to_have_count(0)
    await _post(dispatcher, f"/levels/{level}/restore", {})
    await page.reload()
    await page.click("[data-test=menu-tours]")
    await expect(page.locator(f"[data-test=tour][data-id='{tour}']")).to_have_count(1)
    await expect(page.locator("[data-test=tour-duty]")).to_have_count(0)
    await expect(bar).to_have_count(0)
