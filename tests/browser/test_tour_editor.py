"""Dispatchers change tours in a browser, and never lose what they may not see."""

import uuid
from collections.abc import Sequence
from typing import Any

import pytest
from playwright.async_api import Locator, Page, expect
from visitors import Visitor, Visitors

pytestmark = pytest.mark.asyncio(loop_scope="session")  # the loop of the browser

EDITOR = "[data-test=tour-editor]"
PASSWORD = "a long password of the post"


async def _send(visitor: Visitor, path: str, body: object) -> Any:
    url = f"{visitor.url.rstrip('/')}/api/v1{path}"
    answer = await visitor.page.request.post(url, data=body)
    assert answer.ok, await answer.text()
    return await answer.json()


async def _points(visitor: Visitor) -> list[dict[str, Any]]:
    listed = (await visitor.get("/points?limit=500"))["items"]
    return [each for each in listed if each["source"]]


async def _tour(visitor: Visitor, place: str, groups: Sequence[tuple[str, list[str]]]) -> str:
    """A tour with a name of its own; its id."""
    body = {
        "name": f"tour {uuid.uuid4().hex[:8]}",
        "organization": place,
        "dwell_s": 30,
        "groups": [{"name": name, "points": points} for name, points in groups],
    }
    tour: str = (await _send(visitor, "/tours", body))["id"]
    return tour


async def _edit(page: Page, tour: str) -> Locator:
    """Opens the editor of a tour from the menu, as it is after a reload."""
    await page.reload()
    await page.click("[data-test=menu-tours]")
    row = page.locator("[data-test=sheet-tours] li").filter(has=page.locator(f"[data-id='{tour}']"))
    await row.locator("[data-test=tour-edit]").click()
    editor = page.locator(EDITOR)
    await expect(editor).to_be_visible()
    return editor


def _plain(tour: dict[str, Any]) -> list[tuple[str, list[str]]]:
    return [(each["name"], each["points"]) for each in tour["groups"]]


async def _save(editor: Locator) -> None:
    await editor.locator("[data-test=tour-change]").click()
    await expect(editor).to_have_count(0)


async def _open(editor: Locator, at: int) -> Locator:
    """The group, with its cameras shown."""
    group = editor.locator("[data-test=tour-group]").nth(at)
    await group.locator("[data-test=group-open]").click()
    await expect(group.locator("[data-test=picker]")).to_be_visible()
    return group


async def test_a_tour_is_changed_in_every_part(visitors: Visitors) -> None:
    dispatcher = await visitors.of("dispatcher")
    await dispatcher.sign_in()
    page = dispatcher.page
    place = (await dispatcher.get("/me"))["roles"][0]["organization"]["path"]
    points = await _points(dispatcher)
    a, b, c, d = (each["id"] for each in points[:4])
    tour = await _tour(dispatcher, place, [("east", [a, b]), ("west", [c])])
    editor = await _edit(page, tour)
    await expect(editor.locator("[data-test=tour-change]")).to_be_disabled()
    await editor.locator("[data-test=tour-rename]").fill(f"renamed {tour}")
    await editor.locator("[data-test=tour-redwell]").fill("45")
    east = await _open(editor, 0)
    await east.locator("[data-test=group-name]").fill("the east")
    await east.locator(f"[data-id='{b}'] [data-act=up]").click()
    await east.locator(f"[data-id='{a}'] [data-act=remove]").click()
    await east.locator("[data-test=picker]").fill(points[3]["name"])
    await east.locator(f"[data-test=pick][data-id='{d}']").click()
    await editor.locator("[data-test=group-add]").click()
    await expect(editor.locator("[data-test=tour-change]")).to_be_disabled()  # it is empty
    north = editor.locator("[data-test=tour-group]").nth(2)
    await north.locator("[data-test=picker]").fill(points[0]["name"])
    await north.locator(f"[data-test=pick][data-id='{a}']").click()
    await north.locator("[data-test=group-name]").fill("north")
    await editor.locator("[data-test=tour-group]").nth(1).locator("[data-act=remove]").click()
    await _save(editor)
    found = await dispatcher.get(f"/tours/{tour}")
    assert (found["name"], found["dwell_s"]) == (f"renamed {tour}", 45)
    assert _plain(found) == [("the east", [b, d]), ("north", [a])]
    await page.click("[data-test=menu-tours]")
    await expect(page.locator(f"[data-test=tour][data-id='{tour}']")).to_contain_text("renamed")


async def test_groups_are_ordered_by_the_keyboard_alone(visitors: Visitors) -> None:
    dispatcher = await visitors.of("dispatcher")
    await dispatcher.sign_in()
    page = dispatcher.page
    place = (await dispatcher.get("/me"))["roles"][0]["organization"]["path"]
    a, b, c = (each["id"] for each in (await _points(dispatcher))[:3])
    tour = await _tour(dispatcher, place, [("one", [a]), ("two", [b]), ("three", [c])])
    editor = await _edit(page, tour)
    await editor.locator("[data-act=down]").first.focus()
    await page.keyboard.press("Enter")
    names = editor.locator("[data-test=group-name]")
    await expect(names.nth(1)).to_have_value("one")
    # The focus goes with the group, and stays in its row where there is no further place.
    second = editor.locator("[data-test=tour-group]").nth(1)
    await expect(second.locator("[data-act=down]")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(names.nth(2)).to_have_value("one")
    await expect(
        editor.locator("[data-test=tour-group]").nth(2).locator("[data-act=up]")
    ).to_be_focused()
    await expect(editor.get_by_role("status").last).to_contain_text("one")
    # What is not saved is not lost to one key.
    await page.keyboard.press("Escape")
    await expect(editor.locator("[data-test=tour-stay]")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(editor.locator("[data-test=tour-rename]")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(editor).to_have_count(0)
    await expect(page.locator("[data-test=menu-tours]")).to_be_focused()
    found = await dispatcher.get(f"/tours/{tour}")
    assert [name for name, _ in _plain(found)] == ["two", "three", "one"]


async def test_cameras_outside_the_area_survive_an_edit(visitors: Visitors) -> None:
    admin = await visitors.of("admin")
    await admin.sign_in()
    points = await _points(admin)
    station = points[0]["organization"]["path"].rpartition("/")[0]
    inside = [p["id"] for p in points if p["organization"]["path"].startswith(f"{station}/")]
    outside = [p["id"] for p in points if not p["organization"]["path"].startswith(station)]
    groups = [("mixed", [inside[0], outside[0]]), ("own", [inside[1]])]
    tour = await _tour(admin, station, groups)
    name = f"post-{uuid.uuid4().hex[:8]}"
    roles = [{"role": "dispatcher", "organization": station}]
    await _send(admin, "/users", {"name": name, "password": PASSWORD, "roles": roles})

    post = await visitors.of("dispatcher")
    post.user = {"name": name, "password": PASSWORD}
    await post.sign_in()
    editor = await _edit(post.page, tour)
    await expect(editor.locator("[data-test=tour-locked]")).to_contain_text("1 个点位")
    for control in ("group-name", "group-add", "picker"):
        await expect(editor.locator(f"[data-test={control}]")).to_have_count(0)
    await expect(editor.locator("[data-act]")).to_have_count(0)
    await editor.locator("[data-test=tour-rename]").fill(f"by the post {tour}")
    await _save(editor)
    found = await admin.get(f"/tours/{tour}")
    assert found["name"] == f"by the post {tour}"
    assert _plain(found) == groups


async def test_a_tour_is_removed_after_a_question(visitors: Visitors) -> None:
    dispatcher = await visitors.of("dispatcher")
    await dispatcher.sign_in()
    page = dispatcher.page
    place = (await dispatcher.get("/me"))["roles"][0]["organization"]["path"]
    tour = await _tour(dispatcher, place, [("one", [(await _points(dispatcher))[0]["id"]])])
    editor = await _edit(page, tour)
    await editor.locator("[data-test=tour-remove]").click()
    await editor.locator("[data-test=tour-stay]").click()
    assert (await dispatcher.get(f"/tours/{tour}"))["id"] == tour
    await editor.locator("[data-test=tour-remove]").click()
    await editor.locator("[data-test=tour-remove-yes]").click()
    await expect(editor).to_have_count(0)
    assert await dispatcher.status("GET", f"/tours/{tour}") == 404


async def test_a_change_by_somebody_else_is_not_overwritten(visitors: Visitors) -> None:
    dispatcher = await visitors.of("dispatcher")
    await dispatcher.sign_in()
    page = dispatcher.page
    place = (await dispatcher.get("/me"))["roles"][0]["organization"]["path"]
    tour = await _tour(dispatcher, place, [("one", [(await _points(dispatcher))[0]["id"]])])
    editor = await _edit(page, tour)
    url = f"{dispatcher.url.rstrip('/')}/api/v1/tours/{tour}"
    other = {"dwell_s": 77}
    answer = await page.request.patch(url, data=other, headers={"If-Match": "*"})
    assert answer.ok, await answer.text()
    await editor.locator("[data-test=tour-redwell]").fill("60")
    await editor.locator("[data-test=tour-change]").click()
    await expect(editor.locator("[role=alert]")).to_contain_text("他人")
    assert (await dispatcher.get(f"/tours/{tour}"))["dwell_s"] == 77
    dispatcher.forgive("412")
