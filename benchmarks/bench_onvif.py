"""How fast cameras are registered over ONVIF: ours, stock onvif-zeep, and bare HTTP as the limit.

Run as ``python -m benchmarks.bench_onvif``. The simulated cameras are a process of their own.
"""

import asyncio
import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import aiohttp
import psutil
import uvloop
from yarl import URL

from adapters.events import Event, Inventory, Online, Secret
from adapters.onvif import soap, wire
from adapters.onvif.adapter import OnvifAdapter
from adapters.onvif.settings import OnvifSettings
from benchmarks import Row, report, row

CAMERAS = 1_000
ONLINE = 300
AT_ONCE = 64
STOCK_SAMPLE = 8
T = TypeVar("T")
USERNAME, PASSWORD = "admin", "bench-password"


def rows() -> list[Row]:
    """Register the cameras by each way, and compare."""
    with _simulators(CAMERAS) as urls:
        bare_per_s = _run(_bare(urls))
        _run(_ours(urls[:AT_ONCE]))  # what is made once a process
        cpu_before_s, memory_before = time.process_time(), _memory_bytes()
        ours_per_s, adapters = _run(_ours(urls))
        cpu_ms = (time.process_time() - cpu_before_s) * 1_000 / len(urls)
        kept_kb = (_memory_bytes() - memory_before) / 1_000 / len(adapters)
        online_kb = _run(_online(adapters[:ONLINE]))
        stock_per_s = _stock(urls[:STOCK_SAMPLE])
    return [
        row(f"registering {CAMERAS:,} simulated cameras, five calls each", ours_per_s,
            "devices/s", at_least=300, limit=bare_per_s),
        row("CPU time of the gateway", cpu_ms, "ms/device"),
        row("memory kept of a registered device", kept_kb, "kB/device", at_most=60),
        row("and more while it is online", online_kb, "kB/device", at_most=60),
        row(f"stock onvif-zeep, {STOCK_SAMPLE} one after another", stock_per_s, "devices/s"),
        row("ratio to stock onvif-zeep", ours_per_s / stock_per_s, "times", at_least=60),
    ]  # fmt: skip


def _run(work: Coroutine[Any, Any, T]) -> T:
    """On the loop that the gateway runs on."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


async def _online(adapters: Sequence[OnvifAdapter]) -> float:
    """What a device takes that is kept online, its events listened to; kB."""
    before, online = _memory_bytes(), asyncio.Semaphore(0)

    def emit(event: Event) -> None:
        if isinstance(event, Online):
            online.release()

    running = [asyncio.create_task(adapter.run(emit)) for adapter in adapters]
    for _ in adapters:
        await online.acquire()
    taken = (_memory_bytes() - before) / 1_000 / len(adapters)
    for task in running:
        task.cancel()
    await asyncio.wait(running)
    return taken


async def _each(urls: Sequence[str], act: Callable[[str], Awaitable[None]]) -> float:
    """Act on every camera, `AT_ONCE` at a time; devices per second."""
    waiting = list(urls)

    async def work() -> None:
        while waiting:
            await act(waiting.pop())

    began_s = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(work())
    return len(urls) / (time.perf_counter() - began_s)


async def _ours(urls: Sequence[str]) -> tuple[float, list[OnvifAdapter]]:
    kept: list[OnvifAdapter] = []
    found: list[Inventory] = []

    async def register(url: str) -> None:
        settings = {"endpoint": url, "username": USERNAME, "password": PASSWORD, "timeout_s": 30}
        adapter = OnvifAdapter(OnvifSettings.model_validate(settings))
        found.append(await adapter.probe())
        kept.append(adapter)

    per_s = await _each(urls, register)
    assert len({inventory.identity.serial for inventory in found}) == len(urls)
    return per_s, kept


async def _bare(urls: Sequence[str]) -> float:
    """The same calls, written once and their answers not read: what HTTP alone takes."""
    login = soap.Login(username=USERNAME, password=Secret(PASSWORD))
    calls: tuple[soap.Call[Any], ...] = (
        wire.GET_SERVICES,
        wire.GET_IDENTITY,
        wire.GET_VIDEO_SOURCES,
        wire.GET_PROFILES,
    )
    requests = [(wire.GET_CLOCK.service, *soap.encode(wire.GET_CLOCK, None))]
    requests += [(call.service, *soap.encode(call, login)) for call in calls]
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=AT_ONCE)) as session:

        async def ask(url: str) -> None:
            for service, body, content_type in requests:
                path = url if service == "devicemgmt" else url.replace("device_", "media_")
                headers = {"Content-Type": content_type}
                async with session.post(URL(path), data=body, headers=headers) as response:
                    assert b"Response" in await response.read()

        return await _each(urls, ask)


def _stock(urls: Sequence[str]) -> float:
    """onvif-zeep as its documentation shows it, one camera after another."""
    from onvif import ONVIFCamera

    began_s = time.perf_counter()
    for url in urls:
        where = urlsplit(url)
        camera = ONVIFCamera(where.hostname, where.port, USERNAME, PASSWORD)
        camera.devicemgmt.GetSystemDateAndTime()
        camera.devicemgmt.GetDeviceInformation()
        media = camera.create_media_service()
        media.GetVideoSources()
        media.GetProfiles()
    return len(urls) / (time.perf_counter() - began_s)


@contextlib.contextmanager
def _simulators(cameras: int) -> Iterator[list[str]]:
    """Addresses of simulated cameras that run in a child process."""
    command = [sys.executable, "-m", "benchmarks.bench_onvif", "--simulate", str(cameras)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdin
        assert child.stdout
        line = child.stdout.readline()
        if not line:
            raise RuntimeError("the simulated cameras did not start")
        yield json.loads(line)
        child.stdin.close()  # the child ends with it


async def _simulate(cameras: int) -> None:
    from simulators.onvif_camera import CameraSpec, OnvifFleet

    specs = [
        CameraSpec(
            name=f"camera-{number}",
            username=USERNAME,
            password=PASSWORD,
            serial=f"SN-{number:06}",
            manufacturer="Hutong",
            model="Simulated",
            firmware="1.0",
            main_size=(160, 128),
            sub_size=(128, 96),
            fps=5,
        )
        for number in range(cameras)
    ]
    cache = Path(tempfile.gettempdir()) / f"hutong-bench-clips-{os.getuid()}"
    async with OnvifFleet(specs, discovery_port=None, clip_cache=cache) as fleet:
        print(json.dumps([camera.device_url for camera in fleet.cameras.values()]), flush=True)
        await asyncio.to_thread(sys.stdin.read)


def _memory_bytes() -> int:
    size: int = psutil.Process().memory_info().rss
    return size


def _allow_open_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 8_192:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(8_192, hard), hard))


def main() -> None:
    if sys.argv[1:2] == ["--simulate"]:
        _run(_simulate(int(sys.argv[2])))
        return
    _allow_open_files()
    with tempfile.TemporaryDirectory() as cache:
        os.environ["XDG_CACHE_HOME"] = cache  # stock onvif-zeep keeps an SQLite file there
        held = report("onvif", rows())
    raise SystemExit(0 if held else 1)


if __name__ == "__main__":
    main()
