"""The console in a browser: what a workroom sees, and where it ends."""

import re
from typing import Any

import pytest
from playwright.async_api import expect
from visitors import Visitors

pytestmark = pytest.mark.asyncio(loop_scope="session")  # the loop of the browser


async def _own_path(visitor: Any) -> str:
    me = await visitor.get("/me")
    path: str = me["roles"][0]["organization"]["path"]
    return path


async def test_a_workroom_sees_exactly_its_own_cameras(visitors: Visitors) -> None:
    admin = await visitors.of("admin")
    await admin.sign_in()
    viewer = await visitors.of("viewer")
    await viewer.sign_in()
    path = await _own_path(viewer)
    owned = (await admin.get(f"/points?limit=500&organization={path}"))["items"]
    everything = (await admin.get("/points?limit=1"))["total"]
    assert 0 < len(owned) < everything

    page = viewer.page
    await expect(page.locator("[data-test=camera]")).to_have_count(len(owned))
    shown = await page.eval_on_selector_all(
        "[data-test=camera]", "all => all.map(each => each.dataset.id)"
    )
    assert sorted(shown) == sorted(point["id"] for point in owned)
    organizations = await page.eval_on_selector_all(
        "[data-test=organization]", "all => all.map(each => each.dataset.path)"
    )
    assert organizations == [path]


async def test_another_workrooms_camera_does_not_exist(visitors: Visitors) -> None:
    admin = await visitors.of("admin")
    await admin.sign_in()
    viewer = await visitors.of("viewer")
    await viewer.sign_in()
    path = await _own_path(viewer)
    foreign = next(
        point
        for point in (await admin.get("/points?limit=500"))["items"]
        if point["organization"]["path"] != path
    )
    point = f"/points/{foreign['id']}"
    assert await viewer.status("GET", point) == 404
    assert await viewer.status("GET", f"{point}/snapshot.jpg") == 404
    assert await viewer.status("POST", f"{point}/live", {"profile": "main"}) == 404

    await viewer.page.goto(f"{viewer.url.rstrip('/')}/cameras?point={foreign['id']}")
    await expect(viewer.page.get_by_role("alert")).to_be_visible()
    await expect(viewer.page.locator("[data-test=live]")).to_have_count(0)
    viewer.forgive("404")


async def test_search_finds_by_name(visitors: Visitors) -> None:
    admin = await visitors.of("admin")
    await admin.sign_in()
    name = (await admin.get("/points?limit=1"))["items"][0]["name"]
    found = (await admin.get(f"/points?limit=500&q={name}"))["items"]
    everything = (await admin.get("/points?limit=1"))["total"]
    assert len(found) < everything

    await admin.page.fill("[data-test=search]", name)
    total = admin.page.locator("[data-test=count]")
    await expect(total).to_have_attribute("data-total", str(len(found)))
    await expect(admin.page.locator("[data-test=camera]").first).to_contain_text(name)


async def test_signing_in_leads_to_the_page_that_was_wanted(visitors: Visitors) -> None:
    person = await visitors.of("dispatcher")
    await person.sign_in("/radio")
    await expect(person.page.locator("[data-test=channel]").first).to_be_visible()
    await person.page.click("[data-test=sign-out]")
    await person.page.wait_for_url(re.compile(r"/sign-in\?to="))
    assert await person.status("GET", "/me") == 401


async def test_a_wrong_password_is_told_and_nothing_else(visitors: Visitors) -> None:
    viewer = await visitors.of("viewer")
    await viewer.page.goto(viewer.url)
    await viewer.page.fill("input[name=name]", viewer.user["name"])
    await viewer.page.fill("input[name=password]", "not the password")
    await viewer.page.click("form button.primary")
    await expect(viewer.page.get_by_role("alert")).to_have_text("用户名或密码错误。")
    await expect(viewer.page.locator("nav")).to_have_count(0)
    viewer.forgive("401")


async def test_both_languages(visitors: Visitors) -> None:
    viewer = await visitors.of("viewer", locale="en-GB")
    await viewer.sign_in()
    page = viewer.page
    await expect(page.locator("nav")).to_contain_text("Cameras")
    await page.get_by_role("button", name="简体中文").click()
    await expect(page.locator("nav")).to_contain_text("视频")
    await page.reload()
    await expect(page.locator("nav")).to_contain_text("视频")
    assert await page.evaluate("document.documentElement.lang") == "zh-CN"


async def test_the_map_shows_every_point_that_has_a_place(visitors: Visitors) -> None:
    admin = await visitors.of("admin")
    await admin.sign_in()
    points = (await admin.get("/points?limit=500"))["items"]
    placed = [point for point in points if point["longitude"] is not None]
    await admin.visit("map")
    drawn = admin.page.locator("[data-test=map]")
    await expect(drawn).to_have_attribute("data-ready", "true")
    await expect(drawn).to_have_attribute("data-points", str(len(placed)))
    await expect(drawn.locator("canvas")).to_be_visible()
