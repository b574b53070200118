"""Walls, layouts and patrols in a browser: many pictures at once, none of them black for long."""

from typing import Any

import pytest
from playwright.async_api import Page, expect
from visitors import Visitor, Visitors

pytestmark = pytest.mark.asyncio(loop_scope="session")  # the loop of the browser

# Counts the pictures that each tile paints, and keeps hold of every live WebSocket.
WATCH = """
const draw = CanvasRenderingContext2D.prototype.drawImage
CanvasRenderingContext2D.prototype.drawImage = function (...given) {
  this.canvas.painted = (this.canvas.painted ?? 0) + 1
  return draw.apply(this, given)
}
window.sockets = []
window.WebSocket = class extends WebSocket {
  constructor(...given) {
    super(...given)
    window.sockets.push(this)
  }
}
"""
PAINTED = """() => [...document.querySelectorAll('[data-test=live]')].map(
  tile => [...tile.querySelectorAll('canvas')].reduce((sum, each) => sum + (each.painted ?? 0), 0))
"""
# At each refresh of the screen: is exactly one layer of the tile seen, and is it a picture?
WATCH_FOR_BLACK = """tile => {
  const seen = (window.seen = { refreshes: 0, black: 0 })
  const look = () => {
    const layers = [...tile.querySelectorAll('.layer')].filter(
      layer => layer.style.visibility !== 'hidden')
    const [layer] = layers
    const pixels = layer?.getContext('2d').getImageData(0, layer.height >> 1, layer.width, 1).data
    seen.refreshes += 1
    const bright = pixels?.some((value, at) => at % 4 < 3 && value > 20)
    if (layers.length !== 1 || !bright) seen.black += 1
    window.looking = requestAnimationFrame(look)
  }
  look()
}"""
LIVE = "[data-test=live][data-phase=live]"


async def _post(visitor: Visitor, path: str, body: object) -> Any:
    url = f"{visitor.url.rstrip('/')}/api/v1{path}"
    answer = await visitor.page.request.post(url, data=body)
    assert answer.ok, await answer.text()
    return await answer.json()


async def _online(visitor: Visitor) -> list[str]:
    points = (await visitor.get("/points?limit=500&status=online"))["items"]
    return [point["id"] for point in points if point["source"] and not point["masked"]]


async def _wall(visitor: Visitor, name: str, points: list[str], tiles: int) -> str:
    """A saved layout, opened by its address."""
    await visitor.page.add_init_script(WATCH)
    await visitor.sign_in()
    body = {"name": name, "tiles": tiles, "points": points or (await _online(visitor))[:tiles]}
    wall: str = (await _post(visitor, "/walls", body))["id"]
    await visitor.page.goto(f"{visitor.url.rstrip('/')}/cameras?wall={wall}")
    return wall


async def _all_paint(page: Page, pictures: int) -> None:
    before = await page.evaluate(PAINTED)
    await page.wait_for_function(
        f"([before, more]) => ({PAINTED})().every((now, at) => now >= before[at] + more)",
        arg=[before, pictures],
    )


async def test_sixteen_tiles_play_and_survive_a_reload(visitors: Visitors) -> None:
    admin = await visitors.of("admin", viewport={"width": 1440, "height": 900})
    await _wall(admin, "sixteen", [], 16)
    page = admin.page
    await expect(page.locator(LIVE)).to_have_count(16)
    await _all_paint(page, 20)
    profiles = await page.eval_on_selector_all(
        "[data-test=live]", "all => all.map(each => each.dataset.profile)"
    )
    assert set(profiles) == {"sub"}
    ids = "all => all.map(each => each.dataset.id)"
    before = await page.eval_on_selector_all("[data-test=live]", ids)
    await page.reload()
    await expect(page.locator(LIVE)).to_have_count(16)
    assert await page.eval_on_selector_all("[data-test=live]", ids) == before
    await expect(page.locator("[data-test=menu-walls]")).to_contain_text("sixteen")


async def test_a_layout_is_saved_and_opened_from_the_menu(visitors: Visitors) -> None:
    viewer = await visitors.of("viewer")
    await viewer.sign_in()
    page = viewer.page
    await page.click("[data-test=size-4]")
    for index in range(2):
        await page.locator("[data-test=camera]").nth(index).click()
    first = await page.locator("[data-test=live]").first.get_attribute("data-id")
    await page.drag_and_drop("[data-place='0'] .screen", "[data-place='3']")
    moved = page.locator(f"[data-place='3'] [data-test=live][data-id='{first}']")
    await expect(moved).to_have_count(1)
    await page.click("[data-test=menu-walls]")
    await page.fill("[data-test=wall-name]", "two of four")
    await page.click("[data-test=wall-save]")
    saved = page.locator("[data-test=wall]", has_text="two of four")
    await expect(saved).to_have_attribute("aria-pressed", "true")
    await page.keyboard.press("Escape")
    await page.click("[data-test=size-1]")
    await expect(page.locator("[data-test=live]")).to_have_count(1)
    await page.click("[data-test=menu-walls]")
    await saved.click()
    await expect(page.locator("[data-test=live]")).to_have_count(2)
    await expect(moved).to_have_count(1)
    await expect(page.locator("[data-test=grid]")).to_have_attribute("data-size", "4")


async def test_a_tile_is_enlarged_without_a_black_gap(visitors: Visitors) -> None:
    admin = await visitors.of("admin")
    await _wall(admin, "four", [], 4)
    page = admin.page
    await expect(page.locator(LIVE)).to_have_count(4)
    await _all_paint(page, 3)
    tile = page.locator("[data-test=live]").nth(2)
    small = await tile.locator("[data-test=live-canvas]").evaluate("canvas => canvas.width")
    await tile.evaluate(WATCH_FOR_BLACK)
    await tile.locator("[data-test=enlarge]").click()
    await expect(tile).to_have_attribute("data-profile", "main")
    large = await tile.locator("[data-test=live-canvas]").evaluate("canvas => canvas.width")
    assert large > small
    await expect(page.locator("[data-test=live][data-phase=paused]")).to_have_count(3)
    await tile.locator("[data-test=enlarge]").click()
    await expect(page.locator(LIVE)).to_have_count(4)
    await expect(tile).to_have_attribute("data-profile", "sub")
    await page.evaluate("cancelAnimationFrame(window.looking)")
    seen = await page.evaluate("window.seen")
    assert seen["refreshes"] > 20
    assert seen["black"] == 0, seen
    name = admin.user["name"]
    mark = tile.locator("[data-test=watermark]")
    assert (await mark.get_attribute("data-text") or "").startswith(name)


async def test_tiles_out_of_sight_stop_and_come_back(visitors: Visitors) -> None:
    admin = await visitors.of("admin", viewport={"width": 390, "height": 844})
    await _wall(admin, "phone", [], 16)
    page = admin.page
    first, last = (page.locator("[data-test=live]").nth(index) for index in (0, 15))
    await expect(first).to_have_attribute("data-phase", "live")
    await expect(last).to_have_attribute("data-phase", "paused")
    opened = "window.sockets.filter(each => each.readyState < 2).length"
    await page.wait_for_function(f"() => {opened} < 16")
    await last.scroll_into_view_if_needed()
    await expect(last).to_have_attribute("data-phase", "live")
    await expect(first).to_have_attribute("data-phase", "paused")


async def test_a_wall_comes_back_when_the_gateway_does(visitors: Visitors) -> None:
    admin = await visitors.of("admin")
    await _wall(admin, "returning", [], 9)
    page = admin.page
    await expect(page.locator(LIVE)).to_have_count(9)
    await page.context.set_offline(True)
    # A close that nobody can answer would take Chromium its time.
    lost = "each => each.onclose?.(new CloseEvent('close', { code: 1006 }))"
    await page.evaluate(f"window.sockets.forEach({lost})")
    await expect(page.locator("[data-test=live][data-phase=reconnecting]")).to_have_count(9)
    await page.context.set_offline(False)
    await expect(page.locator(LIVE)).to_have_count(9)
    await _all_paint(page, 3)
    admin.forgive("net::ERR_|WebSocket")


async def test_a_patrol_turns_with_the_next_group_opened_before(visitors: Visitors) -> None:
    dispatcher = await visitors.of("dispatcher")
    await dispatcher.sign_in()
    page = dispatcher.page
    a, b, c, *_ = await _online(dispatcher)
    place = (await dispatcher.get("/me"))["roles"][0]["organization"]["path"]
    groups = [{"name": "east", "points": [a, b]}, {"name": "west", "points": [c]}]
    body = {"name": "night patrol", "organization": place, "dwell_s": 5, "groups": groups}
    tour = (await _post(dispatcher, "/tours", body))["id"]
    await page.reload()
    await page.click("[data-test=menu-tours]")
    await page.click(f"[data-test=tour][data-id='{tour}']")
    bar = page.locator("[data-test=patrol]")
    await expect(bar).to_have_attribute("data-turn", "0")
    await expect(page.locator(f"[data-test=live][data-id='{a}']")).to_have_count(1)
    await expect(bar).to_have_attribute("data-standby", "1")
    # The very tile that opened out of sight is the one that is seen then.
    waiting = page.locator(f".standby [data-test=live][data-id='{c}']")
    await waiting.evaluate("tile => (tile.cameEarly = true)")
    await expect(bar).to_have_attribute("data-turn", "1")
    turned = page.locator(f".place:not(.standby) [data-test=live][data-id='{c}']")
    assert await turned.evaluate("tile => tile.cameEarly")
    await page.click("[data-test=patrol-hold]")
    await expect(turned).to_have_attribute("data-phase", "live")
    await page.click("[data-test=patrol-stop]")
    await expect(bar).to_have_count(0)


async def test_a_purpose_is_asked_for_once(demo: Any, visitors: Visitors) -> None:
    viewer = await visitors.of("viewer")
    await viewer.sign_in()
    token = demo.token("admin")
    place = (await viewer.get("/me"))["roles"][0]["organization"]["id"]

    def require(required: bool) -> None:
        body = {"purpose_required": required}
        now = {"If-Match": "*"}
        answer = demo.ask("PATCH", f"/organizations/{place}", token=token, body=body, headers=now)
        assert answer.status == 200, answer.body

    require(True)
    try:
        page = viewer.page
        cameras = page.locator("[data-test=camera][data-status=online]")
        await cameras.first.click()
        await expect(page.locator("[data-test=wall-purpose]")).to_be_visible()
        await expect(page.locator("[data-test=live-state] strong")).to_have_text("须填写事由")
        await page.fill("[data-test=wall-purpose]", "事由 7")
        await page.keyboard.press("Enter")
        tile = page.locator("[data-test=live]")
        await expect(tile).to_have_attribute("data-phase", "live")
        await cameras.nth(1).click()
        await expect(tile).to_have_attribute("data-phase", "live")
        await expect(page.locator("[data-test=purpose-given]")).to_contain_text("事由 7")
    finally:
        require(False)
    viewer.forgive("422")


async def test_masks_are_drawn_on_the_picture(visitors: Visitors) -> None:
    admin = await visitors.of("admin")
    await admin.sign_in()
    page = admin.page
    point = (await _online(admin))[-1]
    await page.goto(f"{admin.url.rstrip('/')}/cameras?point={point}")
    await expect(page.locator(LIVE)).to_have_count(1)
    await page.click("[data-test=masks]")
    area = page.locator("[data-test=mask-area]")
    await expect(area.locator("image")).to_have_count(1)
    box = await area.bounding_box()
    assert box is not None
    middle = {"x": box["width"] / 2, "y": box["height"] / 2}
    for x, y in ((0, 0), (80, 0), (80, 80), (0, 80), (0, 0)):
        await area.click(position={"x": middle["x"] + x, "y": middle["y"] + y})
    await expect(area.locator("polygon")).to_have_count(1)
    try:
        await page.click("[data-test=mask-save]")
        await expect(page.locator("[data-test=mask-editor]")).to_have_count(0)
        await expect(page.locator("[data-test=masked]")).to_be_visible()
        (polygon,) = (await admin.get(f"/points/{point}/masks"))["polygons"]
        assert polygon[0] == pytest.approx([0.5, 0.5], abs=0.01)
    finally:
        url = f"{admin.url.rstrip('/')}/api/v1/points/{point}"
        now = {"If-Match": "*"}
        answer = await page.request.patch(url, data={"masked": False}, headers=now)
        assert answer.ok, await answer.text()


async def test_a_browser_without_the_codec_is_shown_single_pictures(visitors: Visitors) -> None:
    viewer = await visitors.of("viewer", locale="en-GB")
    await viewer.page.add_init_script(
        "VideoDecoder.isConfigSupported = async () => ({ supported: false });"
        "MediaSource.isTypeSupported = () => false"
    )
    await viewer.page.add_init_script(WATCH)
    await viewer.sign_in()
    page = viewer.page
    await page.locator("[data-test=camera][data-status=online]").first.click()
    tile = page.locator("[data-test=live]")
    await expect(tile).to_have_attribute("data-phase", "live")
    await expect(tile).to_have_attribute("data-transport", "jpeg")
    await expect(tile.locator("[data-test=notice]")).to_have_text("JPEG")
    await _all_paint(page, 3)


async def test_pictures_of_all_cameras_without_a_stream(visitors: Visitors) -> None:
    admin = await visitors.of("admin")
    await admin.page.add_init_script(WATCH)
    await admin.sign_in("/pictures")
    page = admin.page
    cards = page.locator("[data-test=thumbnail]")
    await expect(page.locator("[data-test=thumbnail][data-shown=true]").nth(7)).to_be_visible()
    assert await page.evaluate("window.sockets.length") == 0
    await cards.first.click()
    await expect(page.locator(LIVE)).to_have_count(1)
    admin.forgive("503")
