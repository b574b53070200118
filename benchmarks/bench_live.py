"""Live view as a whole: the relay alone beside others, then a gateway up to the browser.

Every picture carries the time at which its camera sent it.
"""

import asyncio
import json
import time

import psutil
import websockets

from benchmarks import Row, bench_relay, live_browser, row
from benchmarks.gateway import Gateway, percentile, running
from simulators.clips import read_wall_clock_ns

CAMERAS = 20
SECONDS, LEAD_IN_S = 10.0, 2.0


def rows() -> list[Row]:
    found = bench_relay.rows()
    with running("--cameras", "24") as gateway:
        gateway.sign_in()
        return [*found, *asyncio.run(_measure(gateway)), *live_browser.rows(gateway)]


async def _measure(gateway: Gateway) -> list[Row]:
    points = gateway.ask("GET", "/points?status=online&limit=100")["items"][:CAMERAS]
    urls = [
        gateway.ask("POST", f"/points/{point['id']}/live", {"profile": "main"})["urls"]["frames"]
        for point in points
    ]
    process = _gateway_process(gateway)
    cpu_before = process.cpu_times()
    began_s = time.perf_counter()
    views = await asyncio.gather(*(_view(gateway.url.replace("http", "ws") + url) for url in urls))
    took_s = time.perf_counter() - began_s
    cpu = process.cpu_times()
    used_s = cpu.user + cpu.system - cpu_before.user - cpu_before.system
    delays_ms = [delay for delays, _ in views for delay in delays]
    firsts_ms = [first for _, first in views]
    frames = len(delays_ms) / (took_s - LEAD_IN_S) / len(urls)
    path = f"camera to WebSocket of a whole gateway, {len(urls)} cameras"
    return [
        row(f"{path}, p50", percentile(delays_ms, 0.5), "ms"),
        row(f"{path}, p99", percentile(delays_ms, 0.99), "ms"),
        row("first message of a picture after opening, p50", percentile(firsts_ms, 0.5), "ms"),
        row("pictures a second and camera", frames, "fps"),
        row("CPU of the whole gateway, each stream", used_s / took_s / len(urls) * 100, "%"),
    ]  # fmt: skip


def _gateway_process(gateway: Gateway) -> psutil.Process:
    """The demo's own process: it serves the API and relays."""
    return psutil.Process(gateway.pid)


async def _view(url: str) -> tuple[list[float], float]:
    """Delays of all pictures in ms, and how long the first one took."""
    delays_ms: list[float] = []
    opened_s = time.perf_counter()
    first_ms = 0.0
    async with websockets.connect(url, max_size=1 << 24) as socket:
        deadline_s = opened_s + SECONDS
        while time.perf_counter() < deadline_s:
            message = await socket.recv()
            now_ns = time.time_ns()
            if isinstance(message, str):
                if json.loads(message).get("type") == "state" and "ended" in message:
                    raise RuntimeError(f"a view ended: {message}")
                continue
            sent_ns = read_wall_clock_ns(message)
            if not first_ms:
                first_ms = (time.perf_counter() - opened_s) * 1000
            # The group of pictures that a viewer starts with is old by intent.
            if sent_ns is not None and time.perf_counter() - opened_s > LEAD_IN_S:
                delays_ms.append((now_ns - sent_ns) / 1e6)
    return delays_ms, first_ms
