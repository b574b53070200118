"""Live view at its end, a browser: how long until the first picture, how old one is on the screen,
and how many tiles keep up. The console of a demo is used as a person uses it."""

import asyncio
import contextlib
import json
import shutil
from collections.abc import AsyncIterator
from typing import Any

from playwright.async_api import Page, async_playwright

from benchmarks import Row, row
from benchmarks.gateway import Gateway, percentile
from simulators.clips import WALL_CLOCK_UUID

ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
OPENINGS = 12
SECONDS = 8.0
TILES = 16
PATIENCE_MS = 30_000

# Notes when each picture was sent (it carries that), and what becomes of it.
WATCH = """
const mark = MARK
const live = (window.live = { sent: new Map(), times: [], delays: [], asked: 0, first: 0 })
const now = () => performance.timeOrigin + performance.now()
const sentAt = bytes => {
  const head = bytes.subarray(0, 600)
  for (let at = 0; at + mark.length + 20 <= head.length; at += 1) {
    if (mark.every((value, n) => head[at + n] === value)) {
      const digits = head.subarray(at + mark.length, at + mark.length + 20)
      return Number(String.fromCharCode(...digits)) / 1e6
    }
  }
}
const tfdt = [116, 102, 100, 116]
const decodeTime = (bytes, view) => {
  for (let at = 0; at < 120; at += 1) {
    if (tfdt.every((value, n) => bytes[at + n] === value)) {
      return Number(view.getBigUint64(at + 8)) / 90000
    }
  }
}
window.WebSocket = class extends WebSocket {
  constructor(...given) {
    super(...given)
    this.addEventListener('message', ({ data }) => {
      if (!(data instanceof ArrayBuffer)) return
      const bytes = new Uint8Array(data)
      const sent = sentAt(bytes)
      if (!sent) return
      const view = new DataView(data)
      if (this.url.includes('/fmp4')) live.times.push([decodeTime(bytes, view), sent])
      else live.sent.set(Number(view.getBigUint64(2)), sent)
    })
  }
}
const ask = window.fetch
window.fetch = (...given) => {
  if (String(given[0]?.url ?? given[0]).endsWith('/live')) [live.asked, live.first] = [now(), 0]
  return ask(...given)
}
const draw = CanvasRenderingContext2D.prototype.drawImage
CanvasRenderingContext2D.prototype.drawImage = function (...given) {
  const drawn = draw.apply(this, given)
  this.canvas.painted = (this.canvas.painted ?? 0) + 1
  live.first ||= now()
  const sent = live.sent.get(given[0].timestamp)
  if (sent) live.delays.push(now() - sent)
  return drawn
}
""".replace("MARK", json.dumps(list(WALL_CLOCK_UUID)))
# The delays of the pictures that a video element presents, by their place on its time line.
PRESENTED = """async seconds => {
  const video = document.querySelector('[data-test=live-video]')
  const delays = []
  const until = performance.now() + seconds * 1000
  while (performance.now() < until) {
    const [shown, { mediaTime }] = await new Promise(resolve =>
      video.requestVideoFrameCallback((...given) => resolve(given)))
    const near = live.times.find(([time]) => Math.abs(time - mediaTime) < 0.02)
    if (near) delays.push(performance.timeOrigin + shown - near[1])
  }
  return delays
}"""
PAINTED = """() => [...document.querySelectorAll('[data-test=live]')].map(
  tile => [...tile.querySelectorAll('canvas')].reduce((sum, each) => sum + (each.painted ?? 0), 0))
"""
LIVE = "[data-test=live][data-phase=live]"
CAMERA = "[data-test=camera][data-status=online]"


def rows(gateway: Gateway) -> list[Row]:
    """Empty where there is no Chromium. gateway: a demo of at least 24 cameras."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    return asyncio.run(_measure(program, gateway)) if program else []


async def _measure(program: str, gateway: Gateway) -> list[Row]:
    found: list[Row] = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        try:
            for measure in (_openings, _by_webcodecs, _by_mse, _wall):
                context = await browser.new_context(viewport={"width": 1440, "height": 900})
                context.set_default_timeout(PATIENCE_MS)
                found += await measure(await context.new_page(), gateway)
                await context.close()
        finally:
            await browser.close()
    return found


async def _sign_in(page: Page, gateway: Gateway, *, script: str = "") -> None:
    await page.add_init_script(WATCH + script)
    user = next(each for each in gateway.ready["users"] if each["role"] == "admin")
    await page.goto(gateway.url.rstrip("/") + "/cameras")
    await page.fill("input[name=name]", user["name"])
    await page.fill("input[name=password]", user["password"])
    await page.click("form button.primary")
    await page.wait_for_selector(CAMERA)


@contextlib.asynccontextmanager
async def _opened(page: Page, point_id: str) -> AsyncIterator[None]:
    await page.click(f"[data-test=camera][data-id='{point_id}']")
    await page.wait_for_selector(LIVE)
    yield
    await page.click("[data-test=live-close]")
    await page.wait_for_selector("[data-test=live]", state="detached")


async def _points(page: Page) -> list[str]:
    ids = await page.locator(CAMERA).evaluate_all("all => all.map(each => each.dataset.id)")
    return [str(each) for each in ids]


async def _openings(page: Page, gateway: Gateway) -> list[Row]:
    await _sign_in(page, gateway)
    cold_ms, warm_ms = [], []
    for point_id in (await _points(page))[:OPENINGS]:
        for took_ms in (cold_ms, warm_ms):
            async with _opened(page, point_id):
                await page.wait_for_function("() => live.first > live.asked")
                took_ms.append(await page.evaluate("() => live.first - live.asked"))
    return [
        row("first picture in Chromium, warm camera, p50", percentile(warm_ms, 0.5), "ms",
            at_most=80),
        row("first picture in Chromium, cold camera, p50", percentile(cold_ms, 0.5), "ms",
            at_most=500),
        row("first picture in Chromium, cold camera, slowest", max(cold_ms), "ms"),
    ]  # fmt: skip


async def _by_webcodecs(page: Page, gateway: Gateway) -> list[Row]:
    await _sign_in(page, gateway)
    async with _opened(page, (await _points(page))[0]):
        # The group that it begins with is old by intent.
        await asyncio.sleep(2)
        await page.evaluate("() => { live.delays = [] }")
        await asyncio.sleep(SECONDS)
        delays_ms: list[float] = await page.evaluate("() => live.delays")
    return _delays("WebCodecs", delays_ms, at_most_ms=20)


async def _by_mse(page: Page, gateway: Gateway) -> list[Row]:
    await _sign_in(page, gateway, script="delete globalThis.VideoDecoder")
    async with _opened(page, (await _points(page))[0]):
        await asyncio.sleep(4)
        delays_ms: list[float] = await page.evaluate(PRESENTED, SECONDS)
    return _delays("MSE", delays_ms, at_most_ms=120)


def _delays(by: str, delays_ms: list[float], at_most_ms: float) -> list[Row]:
    if not delays_ms:
        raise RuntimeError(f"no picture came by {by}")
    return [
        row(f"camera to screen by {by}, p50", percentile(delays_ms, 0.5), "ms",
            at_most=at_most_ms),
        row(f"camera to screen by {by}, p99", percentile(delays_ms, 0.99), "ms"),
    ]  # fmt: skip


async def _wall(page: Page, gateway: Gateway) -> list[Row]:
    await _sign_in(page, gateway)
    points = gateway.ask("GET", "/points?status=online&limit=100")["items"]
    ids = [each["id"] for each in points if each["source"] and not each["masked"]][:TILES]
    answer: Any = await page.request.post(
        f"{gateway.url.rstrip('/')}/api/v1/walls",
        data={"name": "bench", "tiles": TILES, "points": ids},
    )
    wall = (await answer.json())["id"]
    await page.goto(f"{gateway.url.rstrip('/')}/cameras?wall={wall}")
    await page.wait_for_function(
        f"count => document.querySelectorAll('{LIVE}').length === count", arg=len(ids)
    )
    await asyncio.sleep(3)
    before = await page.evaluate(f"() => [performance.now(), ({PAINTED})()]")
    await asyncio.sleep(SECONDS)
    after = await page.evaluate(f"() => [performance.now(), ({PAINTED})()]")
    took_s = (after[0] - before[0]) / 1000
    rates = [(now - then) / took_s for now, then in zip(after[1], before[1], strict=True)]
    return [
        row(f"wall of {len(ids)} tiles in Chromium, slowest tile", min(rates), "fps", at_least=14)
    ]
