"""A simulated Lantern recorder on loopback: its API by HTTP, its streams by RTSP.

It shares nothing with the adapter. The streams are those of Hutong's own simulated RTSP cameras.
``python -m hutong_lantern.simulator`` runs one; see ``--help``.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import secrets
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from simulators.rtsp_camera import RtspCameraSpec, RtspFleet

USERNAME, PASSWORD = "gateway", "open sesame"
MAIN, SUB, FPS = (320, 192), (128, 96), 10
WRONG_BEFORE_LOCKED = 5
KEPT_EVENTS = 1000
GARBAGE = b"\xff\x00{{{ neither JSON nor a picture"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class LanternRecorder:
    """`async with LanternRecorder() as recorder:` runs it; `recorder.endpoint` is what to register.

    channels: how many, with the ids ``ch-1`` … announces: the host in the addresses of its
    streams; its own when left out. sessions: how many may be signed in at once. clock_s: how far
    its clock is wrong. clip_cache: keeps encoded pictures between runs.
    """

    def __init__(
        self,
        password: str = PASSWORD,
        *,
        channels: int = 4,
        announces: str = "",
        sessions: int = 8,
        clock_s: float = 0.0,
        clip_cache: Path | None = None,
    ) -> None:
        self.garbage = False
        self.wrong_passwords = 0
        self.tokens: set[str] = set()
        self._password = password
        self._channels = channels
        self._announces = announces
        self._sessions = sessions
        self._clock_s = clock_s
        self._events: list[dict[str, Any]] = []
        self._told = asyncio.Event()
        spec = RtspCameraSpec(
            name="lantern",
            username=USERNAME,
            password=password,
            sources=channels,
            main_size=MAIN,
            sub_size=SUB,
            fps=FPS,
        )
        self._fleet = RtspFleet([spec], clip_cache=clip_cache)

    async def __aenter__(self) -> Self:
        await self._fleet.__aenter__()
        self._camera = self._fleet.cameras["lantern"]
        app = web.Application(middlewares=[self._guard])
        app.add_routes(
            [
                web.post("/api/v2/session", self._sign_in),
                web.delete("/api/v2/session", self._sign_out),
                web.get("/api/v2/recorder", self._recorder),
                web.get("/api/v2/channels", self._list),
                web.get("/api/v2/channels/{id}/picture", self._picture),
                web.get("/api/v2/events", self._poll),
            ]
        )
        self._runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._runner.cleanup()
        await self._fleet.aclose()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def tell(self, kind: str, channel: str = "", state: str = "once", **more: Any) -> None:
        """Something happens. Those who ask for events are told at once."""
        number = self._events[-1]["number"] + 1 if self._events else 1
        event = {"number": number, "kind": kind, "channel": channel, "state": state, **more}
        self._events = [*self._events[1 - KEPT_EVENTS :], event]
        self._wake()

    def talk_garbage(self, on: bool) -> None:
        """Every answer from now on, those to waiting questions included."""
        self.garbage = on
        self._wake()

    def restart(self) -> None:
        """It starts anew: it knows neither who was signed in nor what has happened."""
        self.tokens.clear()
        self._events.clear()
        self._wake()

    def _wake(self) -> None:
        self._told.set()
        self._told = asyncio.Event()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.method != "POST" and not self._signed_in(request):
            return web.Response(status=401)
        answer = await handler(request)
        return web.Response(body=GARBAGE) if self.garbage else answer

    def _signed_in(self, request: web.Request) -> bool:
        bearer = request.headers.get("Authorization", "")
        return bearer.removeprefix("Bearer ") in self.tokens

    async def _sign_in(self, request: web.Request) -> web.Response:
        if self.wrong_passwords >= WRONG_BEFORE_LOCKED:
            return web.Response(status=423)
        given = await request.json()
        if (given.get("user"), given.get("password")) != (USERNAME, self._password):
            self.wrong_passwords += 1
            return web.Response(status=401)
        if len(self.tokens) >= self._sessions:
            return web.Response(status=429)
        self.wrong_passwords = 0
        token = secrets.token_urlsafe(16)
        self.tokens.add(token)
        return web.json_response({"token": token, "expires_in_s": 300}, status=201)

    async def _sign_out(self, request: web.Request) -> web.Response:
        self.tokens.discard(request.headers["Authorization"].removeprefix("Bearer "))
        return web.Response(status=204)

    async def _recorder(self, _request: web.Request) -> web.Response:
        now = datetime.now(UTC) + timedelta(seconds=self._clock_s)
        known = {"maker": "Lantern", "model": "LR-4", "serial": "LR4-0001", "firmware": "2.1"}
        return web.json_response({**known, "time": now.isoformat()})

    async def _list(self, _request: web.Request) -> web.Response:
        numbers = range(1, self._channels + 1)
        return web.json_response({"channels": [self._channel(number) for number in numbers]})

    def _channel(self, number: int) -> dict[str, Any]:
        streams = []
        for quality, profile, size in (("sd", "sub", SUB), ("hd", "main", MAIN)):
            url = self._camera.url("main" if profile == "main" else "sub", number)
            if self._announces:
                url = url.replace(self._camera.host, self._announces)
            shape = {"width": size[0], "height": size[1], "fps": FPS, "kbps": 200}
            streams.append({"quality": quality, "codec": "h264", "url": url, **shape})
        name = f"Lantern {number}"
        return {"id": f"ch-{number}", "number": number, "name": name, "streams": streams}

    async def _picture(self, request: web.Request) -> web.Response:
        number = request.match_info["id"].removeprefix("ch-")
        if not number.isdecimal() or not 0 < int(number) <= self._channels:
            return web.Response(status=404)
        data = self._camera.snapshot("main", int(number))
        return web.Response(body=data, content_type="image/jpeg")

    async def _poll(self, request: web.Request) -> web.Response:
        latest = self._events[-1]["number"] if self._events else 0
        after = int(request.query.get("after", latest))
        after = 0 if after > latest else after  # of the time before it started anew
        deadline = time.monotonic() + min(float(request.query.get("wait_s", "0")), 300)
        while not (new := [event for event in self._events if event["number"] > after]):
            left_s = deadline - time.monotonic()
            if left_s <= 0 or self.garbage:
                break
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await self._told.wait()
            if not self._signed_in(request):
                return web.Response(status=401)
        return web.json_response({"next": new[-1]["number"] if new else after, "events": new})


async def main() -> None:
    """Run one recorder for ever; the first line says where it is, as JSON."""
    parser = argparse.ArgumentParser(description="A simulated Lantern recorder on loopback.")
    parser.add_argument("--channels", type=int, default=4)
    parser.add_argument("--announces", default="", help="host in the addresses of its streams")
    parser.add_argument("--motion-s", type=float, default=5.0, help="between two motions")
    given = parser.parse_args()
    async with LanternRecorder(channels=given.channels, announces=given.announces) as recorder:
        known = {"endpoint": recorder.endpoint, "username": USERNAME, "password": PASSWORD}
        sys.stdout.write(json.dumps(known) + "\n")
        sys.stdout.flush()
        for state in itertools.cycle(("begin", "end")):
            await asyncio.sleep(given.motion_s)
            recorder.tell("motion", "ch-1", state)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())
