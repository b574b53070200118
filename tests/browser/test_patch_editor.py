"""Dispatchers join channels in a browser: the patch works, and nobody's change is lost."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from playwright.async_api import Locator, Page, expect
from test_walls import _post
from visitors import Visitor, Visitors

pytestmark = pytest.mark.asyncio(loop_scope="session")  # the loop of the browser

EDITOR = "[data-test=patch-editor]"
PASSWORD = "a long password of the post"
TRUNK, PHONES = "2/3102", "Property"
"""Addresses of a talkgroup and a PTT channel that the demo's own patch does not join."""


async def _channel(visitor: Visitor, address: str) -> str:
    listed = (await visitor.get("/channels?limit=500"))["items"]
    return next(str(each["id"]) for each in listed if each["address"] == address)


def _row(page: Page, address: str) -> Locator:
    return page.locator(f"[data-test=channel][data-address='{address}']")


async def _join(page: Page, *addresses: str) -> Locator:
    """The form, filled in, for the rows that were chosen."""
    for address in addresses:
        await _row(page, address).locator("[data-test=choose]").check()
    await page.click("[data-test=join]")
    editor = page.locator(EDITOR)
    await expect(editor.locator("[data-test=patch-member]")).to_have_count(len(addresses))
    return editor


@contextlib.asynccontextmanager
async def _named(visitor: Visitor) -> AsyncIterator[str]:
    """A name of its own for a patch; no patch of that name is left in the end."""
    name = f"join {uuid.uuid4().hex[:8]}"
    try:
        yield name
    finally:
        for each in (await visitor.get("/patches?limit=500"))["items"]:
            if each["name"].startswith(name):
                assert await visitor.status("DELETE", f"/patches/{each['id']}") == 204


async def _made(visitor: Visitor, name: str) -> dict[str, Any]:
    """A patch of that name, made by the API."""
    channels = [await _channel(visitor, address) for address in (TRUNK, PHONES)]
    place = (await visitor.get("/me"))["roles"][0]["organization"]["path"]
    members = [{"channel": channel} for channel in channels]
    body = {"name": name, "organization": place, "members": members, "voice": "silence"}
    patch: dict[str, Any] = await _post(visitor, "/patches", {**body, "penalty_s": 7})
    return patch


async def _change(visitor: Visitor, patch: str, body: dict[str, Any]) -> None:
    url = f"{visitor.url.rstrip('/')}/api/v1/patches/{patch}"
    answer = await visitor.page.request.patch(url, data=body, headers={"If-Match": "*"})
    assert answer.ok, await answer.text()


async def _edit(page: Page, patch: str) -> Locator:
    await page.locator(f"[data-test=patch][data-id='{patch}'] [data-test=patch-edit]").click()
    editor = page.locator(EDITOR)
    await expect(editor).to_be_visible()
    return editor


async def test_a_trunk_and_a_phone_channel_are_joined_and_talk(
    demo: Any, visitors: Visitors
) -> None:
    """By the classic gesture; another console is told, and a press on one side keys the other."""
    dispatcher, watcher = await visitors.of("dispatcher"), await visitors.of("admin")
    await dispatcher.sign_in("/radio")
    await watcher.sign_in("/radio")
    page = dispatcher.page
    async with _named(dispatcher) as name:
        editor = await _join(page, TRUNK, PHONES)
        await expect(editor.locator("[data-test=voice-frames-means]")).to_contain_text("不传语音")
        await expect(editor.locator("[data-test=patch-member-voice]")).to_have_count(2)
        await editor.locator("[data-test=voice-silence]").check()
        await expect(editor.locator("[data-test=patch-member-voice]")).to_have_count(0)
        await editor.locator("[data-test=patch-name]").fill(name)
        await editor.locator("[data-test=patch-hang]").fill("0.5")
        await editor.locator("[data-test=patch-change]").click()
        await expect(editor).to_have_count(0)
        await expect(page.locator("[data-test=chosen]")).to_have_count(0)
        card = page.locator("[data-test=patch]", has_text=name)
        await expect(card.locator("[data-test=member]")).to_have_count(2)
        watched = watcher.page.locator("[data-test=patch]", has_text=name)
        await expect(watched).to_have_attribute("data-floor", "idle")

        press = {"talkgroup": 3102, "slot": 2}
        pressed = await asyncio.to_thread(demo.simulate, "/radios/3102001/press", press)
        assert pressed.status == 200
        try:
            await expect(card.locator("[data-test=holder]")).to_contain_text("王强")
            keyed = card.locator("[data-test=member]", has_text="已占用")
            await expect(keyed).to_have_count(1)
            await expect(keyed).to_contain_text("Property")
            await expect(watched).to_have_attribute("data-floor", "taken")
        finally:
            await asyncio.to_thread(demo.simulate, "/radios/3102001/release", {})
        await expect(card).to_have_attribute("data-floor", "idle")

        await card.locator("[data-test=patch-test]").click()
        await expect(card.locator("[data-test=tested][data-outcome=done]")).to_have_count(2)
        await card.locator("[data-test=patch-toggle]").click()
        await expect(card.locator("[data-test=patch-toggle]")).to_have_attribute(
            "aria-checked", "false"
        )
        await expect(card.locator("[data-test=patch-test]")).to_be_disabled()


async def test_a_change_by_somebody_else_is_shown_and_what_was_typed_kept(
    visitors: Visitors,
) -> None:
    dispatcher = await visitors.of("dispatcher")
    await dispatcher.sign_in("/radio")
    page = dispatcher.page
    async with _named(dispatcher) as name:
        patch = await _made(dispatcher, name)
        await page.reload()
        editor = await _edit(page, patch["id"])
        await editor.locator("[data-test=patch-name]").fill(f"{name} mine")
        await _change(dispatcher, patch["id"], {"name": f"{name} theirs", "hang_s": 5})
        await editor.locator("[data-test=patch-change]").click()
        news = editor.locator("[data-test=patch-news]")
        await expect(news.locator("[data-field=name]")).to_contain_text(f"{name} theirs")
        await expect(news.locator("[data-field=hang_s]")).to_contain_text("5")
        await expect(editor.locator("[data-test=patch-name]")).to_have_value(f"{name} mine")
        await expect(editor.locator("[data-test=patch-hang]")).to_have_value("5")
        assert (await dispatcher.get(f"/patches/{patch['id']}"))["name"] == f"{name} theirs"
        await editor.locator("[data-test=patch-change]").click()
        await expect(editor).to_have_count(0)
        found = await dispatcher.get(f"/patches/{patch['id']}")
        assert (found["name"], found["hang_s"], found["penalty_s"]) == (f"{name} mine", 5, 7)
    dispatcher.forgive("412")


async def test_what_the_gateway_refuses_stands_at_its_field(visitors: Visitors) -> None:
    dispatcher = await visitors.of("dispatcher")
    await dispatcher.sign_in("/radio")
    page = dispatcher.page
    async with _named(dispatcher) as name:
        patch = await _made(dispatcher, name)
        await page.reload()
        editor = await _edit(page, patch["id"])
        await editor.locator("[data-test=patch-scheduled]").check()
        zone = editor.locator("[data-test=schedule-zone]")
        await zone.fill("Mars/Olympus")
        await editor.locator("[data-test=patch-change]").click()
        await expect(zone).to_have_attribute("aria-invalid", "true")
        await expect(zone).to_be_focused()
        await expect(editor.locator("[data-test=field-error]")).to_contain_text("Mars/Olympus")
        await zone.fill("Asia/Shanghai")
        # A channel that another patch keys is refused with the name of that patch.
        await editor.locator("[data-test=member-search]").fill("3101")
        await editor.locator("[data-test=member-search]").press("Enter")
        await editor.locator("[data-test=patch-scheduled]").uncheck()
        await editor.locator("[data-test=patch-change]").click()
        await expect(editor.locator("[data-test=members-error]")).to_contain_text("指挥互联")
        # By the keyboard: the member that was added goes, and the form with it.
        await editor.locator("[data-test=patch-member] [data-act=remove]").nth(2).press("Enter")
        await expect(editor.locator("[data-test=patch-member]")).to_have_count(2)
        await page.keyboard.press("Escape")
        await expect(editor).to_have_count(0)
        edit = page.locator(f"[data-test=patch][data-id='{patch['id']}'] [data-test=patch-edit]")
        await expect(edit).to_be_focused()
    dispatcher.forgive("422|409")


async def test_a_patch_is_removed_after_a_question_that_says_who_talks(
    demo: Any, visitors: Visitors
) -> None:
    dispatcher = await visitors.of("dispatcher")
    await dispatcher.sign_in("/radio")
    page = dispatcher.page
    async with _named(dispatcher) as name:
        patch = await _made(dispatcher, name)
        await page.reload()
        card = page.locator(f"[data-test=patch][data-id='{patch['id']}']")
        await expect(card).to_have_attribute("data-floor", "idle")
        press = {"talkgroup": 3102, "slot": 2}
        await asyncio.to_thread(demo.simulate, "/radios/3102001/press", press)
        try:
            await expect(card).to_have_attribute("data-floor", "taken")
            editor = await _edit(page, patch["id"])
            await editor.locator("[data-test=patch-remove]").click()
            await expect(editor.locator("footer")).to_contain_text("王强")
            assert (await dispatcher.get(f"/patches/{patch['id']}"))["id"] == patch["id"]
            await editor.locator("[data-test=patch-remove-yes]").click()
            await expect(editor).to_have_count(0)
            await expect(card).to_have_count(0)
            await expect(page.locator("[data-test=patch-new]")).to_be_focused()
            assert await dispatcher.status("GET", f"/patches/{patch['id']}") == 404
        finally:
            await asyncio.to_thread(demo.simulate, "/radios/3102001/release", {})


async def test_who_only_looks_has_no_buttons(visitors: Visitors) -> None:
    admin = await visitors.of("admin")
    await admin.sign_in("/radio")
    await expect(admin.page.locator("[data-test=patch-edit]").first).to_be_visible()
    place = (await admin.get("/patches"))["items"][0]["organization"]["path"]
    name = f"looker-{uuid.uuid4().hex[:8]}"
    roles = [{"role": "viewer", "organization": place}]
    await _post(admin, "/users", {"name": name, "password": PASSWORD, "roles": roles})
    viewer = await visitors.of("viewer")
    viewer.user = {"name": name, "password": PASSWORD}
    await viewer.sign_in("/radio")
    await expect(viewer.page.locator("[data-test=patch]").first).to_be_visible()
    for control in ("patch-new", "patch-edit", "patch-toggle", "patch-test", "choose", "join"):
        await expect(viewer.page.locator(f"[data-test={control}]")).to_have_count(0)
