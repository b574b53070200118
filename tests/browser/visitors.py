"""People at the console, each in a browser profile of their own."""

import dataclasses
import re
from typing import Any
from urllib.parse import urlsplit

from playwright.async_api import Browser, BrowserContext, Page, expect

PATIENCE_MS = 20_000


@dataclasses.dataclass(slots=True)
class Visitor:
    """One person at the console in a browser profile of their own.

    foreign: addresses outside the gateway's origin. complaints: console errors and exceptions.
    """

    url: str
    user: dict[str, Any]
    page: Page
    foreign: list[str] = dataclasses.field(default_factory=list)
    complaints: list[str] = dataclasses.field(default_factory=list)

    def watch(self) -> None:
        page = self.page
        page.on("request", lambda request: self._asked(request.url))
        page.on("websocket", lambda socket: self._asked(socket.url))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on(
            "console",
            lambda message: (
                self.complaints.append(message.text) if message.type == "error" else None
            ),
        )

    def _asked(self, url: str) -> None:
        parts = urlsplit(url.removeprefix("blob:"))
        if parts.scheme != "data" and parts.netloc != urlsplit(self.url).netloc:
            self.foreign.append(url)

    async def sign_in(self, path: str = "/cameras") -> None:
        """By the form, from the page that was wanted, and on to it."""
        await self.page.goto(self.url.rstrip("/") + path)
        await self.page.fill("input[name=name]", self.user["name"])
        await self.page.fill("input[name=password]", self.user["password"])
        await self.page.click("form button.primary")
        await self.page.wait_for_url(f"**{path}*")
        stream = self.page.locator("[data-test=stream]")
        await expect(stream).to_have_attribute("data-state", "open")

    async def visit(self, page: str) -> None:
        """page: ``cameras``, ``map``, ``radio`` or ``events``."""
        await self.page.click(f"nav a[href='/{page}']")
        await self.page.wait_for_url(f"**/{page}*")

    async def get(self, path: str) -> Any:
        """What the API answers this person."""
        answer = await self.page.request.get(f"{self.url.rstrip('/')}/api/v1{path}")
        assert answer.ok, (path, answer.status, await answer.text())
        return await answer.json()

    async def status(self, method: str, path: str, body: object = None) -> int:
        """The status of an answer, whatever it is."""
        url = f"{self.url.rstrip('/')}/api/v1{path}"
        answer = await self.page.request.fetch(url, method=method, data=body)
        return answer.status

    def forgive(self, pattern: str) -> None:
        """Forget complaints that this test provokes."""
        self.complaints = [text for text in self.complaints if not re.search(pattern, text)]


class Visitors:
    """`visitors.of(role)` opens the console for the demo's user of that role."""

    def __init__(self, demo: Any, browser: Browser) -> None:
        self._demo = demo
        self._browser = browser
        self._contexts: list[BrowserContext] = []
        self.all: list[Visitor] = []

    async def of(self, role: str, **options: Any) -> Visitor:
        user = next(user for user in self._demo.users if user["role"] == role)
        context = await self._browser.new_context(
            **{"locale": "zh-CN", "viewport": {"width": 1366, "height": 768}, **options}
        )
        context.set_default_timeout(PATIENCE_MS)
        self._contexts.append(context)
        visitor = Visitor(url=self._demo.url, user=user, page=await context.new_page())
        visitor.watch()
        self.all.append(visitor)
        return visitor

    async def leave(self) -> None:
        for context in self._contexts:
            await context.close()
