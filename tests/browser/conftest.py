"""A real Chromium on the console of the demo, watched for what it must never do."""

import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio
from playwright.async_api import Browser, async_playwright, expect
from visitors import PATIENCE_MS, Visitors

sys.path.append(str(Path(__file__).parents[1] / "integration"))  # the real MediaMTX is there

ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    executable = shutil.which("chromium") or shutil.which("chromium-browser")
    assert executable, "Chromium is missing: make test as root installs it"
    expect.set_options(timeout=PATIENCE_MS)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
        try:
            yield browser
        finally:
            await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def visitors(demo: Any, browser: Browser) -> AsyncIterator[Visitors]:
    """Whoever visits: nothing is asked of another host, and nothing goes wrong unseen."""
    visitors = Visitors(demo, browser)
    yield visitors
    await visitors.leave()
    assert [url for visitor in visitors.all for url in visitor.foreign] == []
    assert [text for visitor in visitors.all for text in visitor.complaints] == []
