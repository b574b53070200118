"""Cameras of many formats on one wall, whose gateway goes away and comes back."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from brokers import free_port
from playwright.async_api import Browser, BrowserContext, Locator, Page, expect
from visitors import PATIENCE_MS, Visitor

pytestmark = pytest.mark.asyncio(loop_scope="session")  # the loop of the browser

SCENARIO = """
cameras:
  rtsp:
    - {name: plain, username: admin, password: camera}
    - {name: alaw, username: admin, password: camera, audio: pcma}
    - {name: aac, username: admin, password: camera, audio: aac}
    - {name: hevc, username: admin, password: camera, codec: h265}
"""
CAMERAS = 4
# Sound that was given to the speaker, and the H.265 that this browser may have taken away.
LISTEN = """
window.heard = 0
const start = AudioBufferSourceNode.prototype.start
AudioBufferSourceNode.prototype.start = function (...given) {
  window.heard += 1
  return start.apply(this, given)
}
const supported = VideoDecoder.isConfigSupported
VideoDecoder.isConfigSupported = config => config.codec.startsWith('hvc1')
  ? Promise.resolve({ supported: false, config }) : supported.call(VideoDecoder, config)
const plays = MediaSource.isTypeSupported
MediaSource.isTypeSupported = mime => !mime.includes('hvc1') && plays.call(MediaSource, mime)
"""
PASSWORD = "a password of the chief"
READY_S = 60.0
LIVE = "[data-test=live][data-phase=live]"


@contextlib.contextmanager
def _running(*arguments: str, environment: dict[str, str]) -> Iterator["subprocess.Popen[bytes]"]:
    """A `hutong …`, ended in order."""
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway.cli", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        finally:
            for pipe in (process.stdin, process.stdout):
                assert pipe is not None
                pipe.close()


def _environment(folder: Path, port: int) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HUTONG_")}
    own = {
        "HUTONG_DATA_DIR": str(folder / "data"),
        "HUTONG_HTTP_PORT": str(port),
        "HUTONG_HELLO_INTERFACES": "127.0.0.1",
        "HUTONG_USER_PASSWORD": PASSWORD,
    }
    return {**kept, **own}


def _add_chief(environment: dict[str, str]) -> None:
    who = ("chief", "--role", "admin", "--organization", "east", "--district", "East")
    command = [sys.executable, "-m", "gateway.cli", "user", "add", *who]
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=READY_S)


async def _until_it_serves(context: BrowserContext, url: str) -> None:
    deadline = time.monotonic() + READY_S
    while True:
        with contextlib.suppress(Exception):
            if (await context.request.get(f"{url}/readyz")).ok:
                return
        assert time.monotonic() < deadline, "the gateway does not serve"
        await asyncio.sleep(0.05)


async def _register(visitor: Visitor, endpoints: list[str]) -> list[str]:
    """The points of cameras that are registered now, in their order."""
    made = []
    for endpoint in endpoints:
        body: dict[str, Any] = {
            "adapter": "rtsp",
            "endpoint": endpoint,
            "username": "admin",
            "password": "camera",
            "organization": "east",
        }
        answer = await visitor.page.request.post(f"{visitor.url}/api/v1/devices", data=body)
        assert answer.ok, await answer.text()
        made.append((await answer.json())["created"][0]["point"])
    return made


async def _listen(page: Page, tile: Locator) -> None:
    button = tile.locator("[data-test=sound]")
    await button.click()
    await expect(button).to_have_attribute("aria-pressed", "true")
    heard = await page.evaluate("window.heard")
    await page.wait_for_function("heard => window.heard > heard + 3", arg=heard)


async def _look_at_all(page: Page, points: list[str]) -> None:
    """points: plain, with A-law, with AAC, in H.265."""
    plain, alaw, aac, hevc = (
        page.locator(f"[data-test=live][data-id='{each}']") for each in points
    )
    await expect(plain.locator("[data-test=sound]")).to_have_count(0)
    await _listen(page, alaw)
    await _listen(page, aac)
    silent = alaw.locator("[data-test=sound]")
    await expect(silent).to_have_attribute("aria-pressed", "false")
    await expect(hevc).to_have_attribute("data-transport", "jpeg")
    await expect(hevc.locator("[data-test=notice]")).to_have_text("JPEG")
    transports = [await each.get_attribute("data-transport") for each in (plain, alaw, aac)]
    assert transports == ["frames"] * 3


async def test_a_wall_of_many_formats_outlives_its_gateway(
    tmp_path: Path, browser: Browser
) -> None:
    port = free_port()
    environment, url = _environment(tmp_path, port), f"http://127.0.0.1:{port}"
    await asyncio.to_thread(_add_chief, environment)
    scenario = tmp_path / "scenario.yaml"
    scenario.write_text(SCENARIO)
    simulate = ("simulate", "scenario", str(scenario))
    context = await browser.new_context(locale="zh-CN")
    context.set_default_timeout(PATIENCE_MS)
    with _running(*simulate, "--exit-with-stdin", environment=environment) as cameras:
        assert cameras.stdout is not None
        endpoints = json.loads(await asyncio.to_thread(cameras.stdout.readline))["rtsp"]
        user = {"name": "chief", "password": PASSWORD}
        visitor = Visitor(url=url, user=user, page=await context.new_page())
        await visitor.page.add_init_script(LISTEN)
        tiles = visitor.page.locator(LIVE)
        with _running("serve", environment=environment):
            await _until_it_serves(context, url)
            await visitor.sign_in()
            points = await _register(visitor, endpoints)
            assert len(points) == CAMERAS
            body = {"name": "all", "tiles": 4, "points": points}
            answer = await visitor.page.request.post(f"{url}/api/v1/walls", data=body)
            wall = (await answer.json())["id"]
            await visitor.page.goto(f"{url}/cameras?wall={wall}")
            await expect(tiles).to_have_count(CAMERAS)
            await _look_at_all(visitor.page, points)
        away = visitor.page.locator("[data-test=live][data-phase=reconnecting]")
        await expect(away).to_have_count(CAMERAS)
        with _running("serve", environment=environment):
            await _until_it_serves(context, url)
            await expect(tiles).to_have_count(CAMERAS)
            await context.close()
