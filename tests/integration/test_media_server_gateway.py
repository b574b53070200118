"""A whole gateway that hands streams out through a media server."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from demo import Demo, running_demo
from media_server_double import MediaServerDouble
from media_stage import MediaMtx, Recorder, free_port, probe
from patience import wait_until

PROGRAM = os.environ.get("MEDIAMTX_BIN", "")
MASK = [[0.1, 0.1], [0.4, 0.1], [0.4, 0.5]]

pytestmark = pytest.mark.timeout(240)


class Gateway:
    """A demo, asked without holding up what runs beside it."""

    def __init__(self, demo: Demo) -> None:
        self.demo = demo
        self.tokens: dict[str, str] = {}

    async def ask(self, role: str, method: str, path: str, **more: Any) -> Any:
        if role not in self.tokens:
            self.tokens[role] = await asyncio.to_thread(self.demo.token, role)
        return await asyncio.to_thread(self.demo.ask, method, path, token=self.tokens[role], **more)

    async def plain(self, path: str) -> Any:
        return await asyncio.to_thread(self.demo.ask, "GET", f"={self.demo.url}{path}")

    async def point(self) -> str:
        """One that is there, and does not move: those have simpler masks."""
        async with asyncio.timeout(60):
            while True:
                listed = await self.ask("admin", "GET", "/points?status=online")
                for point in listed.body["items"]:
                    if "ptz" not in point["capabilities"] and not point["masked"]:
                        return str(point["id"])
                await asyncio.sleep(0.2)

    async def live(self, point: str) -> Any:
        answer = await self.ask("admin", "POST", f"/points/{point}/live", body={})
        assert answer.status == 201
        return answer.body

    async def handed(self, point: str) -> Any:
        """The first answer that names the media server."""
        async with asyncio.timeout(60):
            while True:
                body = await self.live(point)
                if "rtsp" in body["urls"]:
                    return body
                await asyncio.sleep(0.2)

    async def acts(self, action: str, count: int) -> list[Any]:
        """The record of viewing, once it has so many of these."""
        async with asyncio.timeout(60):
            while True:
                page = await self.ask("auditor", "GET", f"/audit?action={action}")
                found: list[Any] = page.body["items"]
                if len(found) >= count:
                    return found
                await asyncio.sleep(0.2)

    async def said_away(self) -> None:
        """Until the gateway misses its media server."""
        async with asyncio.timeout(60):
            while b"_servers_ready 0" not in (await self.plain("/metrics")).body:  # noqa: ASYNC110
                await asyncio.sleep(0.2)

    async def mask(self, point: str) -> None:
        path = f"/points/{point}/masks"
        put = await self.ask(
            "admin", "PUT", path, body={"polygons": [MASK]}, headers={"If-Match": '"0"'}
        )
        assert put.status == 200, put.body


@contextlib.asynccontextmanager
async def gateway(control: str, port: int) -> AsyncIterator[Gateway]:
    arguments = ("--no-traffic", "--cameras", "4", "--port", str(port))
    environment = {"HUTONG_MEDIA_SERVER_URL": control}
    running = running_demo(*arguments, environment=environment)
    demo = await asyncio.to_thread(running.__enter__)
    try:
        yield Gateway(demo)
    finally:
        await asyncio.to_thread(running.__exit__, None, None, None)


async def test_live_view_through_a_media_server() -> None:
    port = free_port()
    server = MediaServerDouble(f"http://127.0.0.1:{port}/.well-known/jwks.json")
    async with contextlib.AsyncExitStack() as stack:
        serving = server.serving()
        await serving.__aenter__()
        it = await stack.enter_async_context(gateway(server.url, port))

        keys = await it.plain("/.well-known/jwks.json")
        assert [key["alg"] for key in keys.body["keys"]] == ["EdDSA"] * 3
        assert all("d" not in key for key in keys.body["keys"]), "the public half only"

        point = await it.point()
        body = await it.handed(point)
        name = body["urls"]["hls"].split("/")[3]
        assert body["urls"]["whep"] == f"https://127.0.0.1:8889/{name}/whep"
        for ours in ("frames", "fmp4", "mjpeg"):
            assert body["urls"][ours] == f"/api/v1/live/{body['ticket']}/{ours}"
        token = body["media_server"]["token"]
        assert body["media_server"]["reason"] == ""
        page = await it.plain("/")
        policy = next(
            value for key, value in page.headers.items() if key.lower().endswith("-policy")
        )
        assert "connect-src 'self' http://127.0.0.1:8888 https://127.0.0.1:8889" in policy

        session = await server.read("webrtcsessions", name, token)
        assert session
        (opened,) = await it.acts("live_opened", 1)
        assert (opened["object"], opened["details"]["transport"]) == (point, "whep")
        figures = (await it.plain("/metrics")).body.decode()
        assert "hutong_media_servers_ready 1" in figures
        assert "hutong_media_servers_readers 1" in figures

        await it.mask(point)
        await wait_until(lambda: not server.has(session), what="a masked point to go dark there")
        (closed,) = await it.acts("live_closed", 1)
        assert closed["details"]["view"] == opened["details"]["view"]
        body = await it.live(point)
        assert "rtsp" not in body["urls"]
        assert body["urls"]["whep"].startswith("/api/v1/live/")
        assert body["media_server"]["token"] is None
        assert "masked" in body["media_server"]["reason"]
        assert server.complaints == []

        # Without its media server a gateway shows by itself, and says so.
        await serving.__aexit__(None, None, None)
        await it.said_away()
        body = await it.live(await it.point())
        assert set(body["urls"]) == {"frames", "fmp4", "mjpeg", "whep"}
        assert body["media_server"]["token"] is None
        assert "the media server is away" in body["media_server"]["reason"]


@pytest.mark.skipif(not PROGRAM, reason="MEDIAMTX_BIN names no program")
async def test_live_view_through_mediamtx(tmp_path: Path) -> None:
    port = free_port()
    async with contextlib.AsyncExitStack() as stack:
        keys = f"http://127.0.0.1:{port}/.well-known/jwks.json"
        server = await stack.enter_async_context(MediaMtx(PROGRAM, tmp_path, keys))
        it = await stack.enter_async_context(gateway(server.control, port))
        point = await it.point()
        body = await it.handed(point)
        code, said = await probe(body["urls"]["rtsp"], "-rtsp_transport", "tcp")
        assert code == 0, said
        (closed,) = await it.acts("live_closed", 1)
        assert closed["details"]["transport"] == "rtsp"
        body = await it.handed(point)
        async with Recorder(body["urls"]["rtsp"], "-rtsp_transport", "tcp") as reader:
            await it.acts("live_opened", 2)
            await it.mask(point)
            await wait_until(lambda: not reader.running, what="the view to end")
