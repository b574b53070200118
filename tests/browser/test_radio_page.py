"""The radio page: a press is seen by everybody who may, and ends when it is let go."""

import asyncio
from typing import Any

import pytest
from playwright.async_api import Locator, expect
from visitors import Visitor, Visitors

pytestmark = pytest.mark.asyncio(loop_scope="session")  # the loop of the browser


async def _patched_channel(visitor: Visitor) -> tuple[Locator, Locator, str]:
    """The row of the first member of the demo's patch, the patch, and the channel's id."""
    patch = (await visitor.get("/patches"))["items"][0]
    channel = patch["members"][0]["channel"]
    row = visitor.page.locator(f"[data-test=channel][data-id='{channel}']")
    card = visitor.page.locator(f"[data-test=patch][data-id='{patch['id']}']")
    return row, card, channel


async def test_a_press_is_seen_by_others_and_ends(visitors: Visitors) -> None:
    dispatcher = await visitors.of("dispatcher")
    await dispatcher.sign_in("/radio")
    watcher = await visitors.of("admin")
    await watcher.sign_in("/radio")
    row, card, channel = await _patched_channel(dispatcher)
    _, watched, _ = await _patched_channel(watcher)
    await expect(watched).to_have_attribute("data-floor", "idle")

    talk = row.locator("[data-test=talk]")
    await talk.hover()
    await dispatcher.page.mouse.down()
    await expect(talk).to_have_attribute("data-state", "granted")
    await expect(card).to_have_attribute("data-floor", "taken")
    await expect(watched).to_have_attribute("data-floor", "taken")
    await expect(watched.locator("[data-test=holder]")).not_to_be_empty()
    await dispatcher.page.mouse.up()
    await expect(talk).to_have_attribute("data-state", "off")
    await expect(watched).to_have_attribute("data-floor", "idle")

    event = watcher.page.locator(f"[data-test=event][data-subject='{channel}']").first
    await expect(event).to_be_visible()


async def test_a_press_outlasts_its_lease_while_held_and_ends_with_the_page(
    visitors: Visitors,
) -> None:
    dispatcher = await visitors.of("dispatcher")
    await dispatcher.sign_in("/radio")
    watcher = await visitors.of("admin")
    await watcher.sign_in("/radio")
    row, _, _ = await _patched_channel(dispatcher)
    _, watched, _ = await _patched_channel(watcher)
    await expect(watched).to_have_attribute("data-floor", "idle")

    await row.locator("[data-test=talk]").focus()
    await dispatcher.page.keyboard.down("Space")
    await expect(watched).to_have_attribute("data-floor", "taken")
    # Three refreshes take longer than the 2 s that a press lives without one.
    for _ in range(3):
        async with dispatcher.page.expect_request(
            lambda request: "refresh" in (request.post_data or "")
        ):
            pass
    assert await watched.get_attribute("data-floor") == "taken"
    await dispatcher.page.close()
    await expect(watched).to_have_attribute("data-floor", "idle")


async def test_a_radio_and_a_phone_talk_across(demo: Any, visitors: Visitors) -> None:
    """What really happens on both systems stands on the page, with the talkers' names."""
    dispatcher = await visitors.of("dispatcher")
    await dispatcher.sign_in("/radio")
    page = dispatcher.page
    trunk = page.locator("[data-test=channel][data-address='1/3101']")
    phones = page.locator("[data-test=channel][data-address='Patrol']")
    card = page.locator("[data-test=patch]").first
    presses = (
        ("/radios/3101001", {"talkgroup": 3101, "slot": 1}, trunk, "张伟"),
        ("/phones/village-01", {"channel": "Patrol"}, phones, "赵敏"),
    )
    for talker, press, row, name in presses:
        await expect(card).to_have_attribute("data-floor", "idle")
        assert (await asyncio.to_thread(demo.simulate, f"{talker}/press", press)).status == 200
        await expect(row).to_have_attribute("data-floor", "taken")
        await expect(row.locator("[data-test=talker]")).to_have_text(name)
        await expect(card.locator("[data-test=holder]")).to_contain_text(name)
        await expect(card.locator("[data-test=member]", has_text="已占用")).to_have_count(1)
        assert (await asyncio.to_thread(demo.simulate, f"{talker}/release", {})).status == 200
        await expect(row).to_have_attribute("data-floor", "idle")
        event = page.locator("[data-test=event][data-type='hutong.floor.taken']", has_text=name)
        await expect(event.first).to_be_visible()


async def test_it_says_that_no_voice_passes(visitors: Visitors) -> None:
    viewer = await visitors.of("dispatcher", locale="en-GB")
    await viewer.sign_in("/radio")
    _, card, _ = await _patched_channel(viewer)
    await expect(card.locator("[data-test=no-voice]")).to_contain_text("No voice passes.")
    await expect(card.locator("[data-test=member]")).to_have_count(2)


async def test_only_dispatchers_have_a_talk_button(visitors: Visitors) -> None:
    integrator = await visitors.of("integrator")
    await integrator.sign_in("/radio")
    await expect(integrator.page.locator("[data-test=channel]").first).to_be_visible()
    await expect(integrator.page.locator("[data-test=talk]")).to_have_count(0)
