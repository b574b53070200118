"""Live pictures in a browser: they move, whichever way they are played."""

import pytest
from playwright.async_api import Locator, Page, expect
from visitors import Visitors

pytestmark = pytest.mark.asyncio(loop_scope="session")  # the loop of the browser

# Sums pixels into one number and counts colours: a blank picture has few.
PIXELS = """canvas => {
  const { width, height } = canvas
  const { data } = canvas.getContext('2d').getImageData(0, 0, width, height)
  const colours = new Set()
  let sum = 0
  for (let i = 0; i < data.length; i += 4) {
    const colour = data[i] * 65536 + data[i + 1] * 256 + data[i + 2]
    colours.add(colour >> 2)
    sum = (sum * 31 + colour) % 1000000007
  }
  return { sum, colours: colours.size }
}"""


async def _open_first_online(page: Page) -> Locator:
    await page.locator("[data-test=camera][data-status=online]").first.click()
    tile = page.locator("[data-test=live]").first
    await expect(tile).to_have_attribute("data-phase", "live")
    return tile


async def test_the_picture_moves(visitors: Visitors) -> None:
    viewer = await visitors.of("viewer")
    await viewer.sign_in()
    tile = await _open_first_online(viewer.page)
    await expect(tile).to_have_attribute("data-transport", "frames")
    canvas = tile.locator("[data-test=live-canvas]")
    first = await canvas.evaluate(PIXELS)
    assert first["colours"] > 16
    await viewer.page.wait_for_function(
        f"before => ({PIXELS})(document.querySelector('[data-test=live-canvas]')).sum !== before",
        arg=first["sum"],
    )


async def test_main_and_sub_are_two_sizes(visitors: Visitors) -> None:
    viewer = await visitors.of("viewer")
    await viewer.sign_in()
    tile = await _open_first_online(viewer.page)
    width = "document.querySelector('[data-test=live-canvas]').width"
    main = await viewer.page.evaluate(width)
    await tile.locator("[data-test=profile-sub]").click()
    await viewer.page.wait_for_function(f"main => {width} < main", arg=main)
    await expect(tile).to_have_attribute("data-phase", "live")


async def test_without_webcodecs_the_picture_still_moves(visitors: Visitors) -> None:
    viewer = await visitors.of("viewer")
    await viewer.page.add_init_script("delete globalThis.VideoDecoder")
    await viewer.sign_in()
    tile = await _open_first_online(viewer.page)
    await expect(tile).to_have_attribute("data-transport", "fmp4")
    await viewer.page.wait_for_function(
        "() => document.querySelector('[data-test=live-video]').currentTime > 1"
    )
    height = await tile.locator("[data-test=live-video]").evaluate("video => video.videoHeight")
    assert height > 0


async def test_four_views_at_once(visitors: Visitors) -> None:
    admin = await visitors.of("admin")
    await admin.sign_in()
    page = admin.page
    await page.click("[data-test=size-4]")
    online = page.locator("[data-test=camera][data-status=online]")
    await expect(online.nth(3)).to_be_visible()
    ids = [await online.nth(i).get_attribute("data-id") for i in range(4)]
    for each in ids:
        await page.click(f"[data-test=camera][data-id='{each}']")
    await expect(page.locator("[data-test=live][data-phase=live]")).to_have_count(4)
    await page.locator("[data-test=live-close]").first.click()
    await expect(page.locator("[data-test=live]")).to_have_count(3)


async def test_an_integrator_sees_no_picture(visitors: Visitors) -> None:
    integrator = await visitors.of("integrator")
    await integrator.sign_in()
    page = integrator.page
    camera = page.locator("[data-test=camera]").first
    point_id = await camera.get_attribute("data-id")
    assert await integrator.status("POST", f"/points/{point_id}/live", {"profile": "main"}) == 403
    await camera.click()
    await expect(page.get_by_role("note")).to_be_visible()
    await expect(page.locator("[data-test=live]")).not_to_have_attribute("data-phase", "live")
