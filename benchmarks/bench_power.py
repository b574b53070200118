"""A thousand simulated cameras on real sockets lose power for a while, in real time.

Run as ``python -m benchmarks.bench_power``. `bench_fleet` has ten minutes of it in compressed time.
The simulated cameras are a process of their own.
"""

import asyncio
import contextlib
import json
import logging
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import IO

import structlog

from benchmarks import Row, report, row
from gateway.agents.build import video_adapter
from gateway.agents.fleet import Fleet
from gateway.agents.supervisor import DEVICE_ATTEMPT_LIMIT_S, Supervised

CAMERAS = int(os.environ.get("HUTONG_BENCH_CAMERAS", "1000"))
AWAY_S = 20.0
USERNAME, PASSWORD = "admin", "bench-password"
CHECK_EVERY_S = 5.0
PATIENCE_S = 180.0


def rows() -> list[Row]:
    _allow_open_files()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        with _simulators(CAMERAS) as (urls, commands, answers):
            return asyncio.run(_measure(urls, commands, answers))
    finally:
        structlog.reset_defaults()


async def _measure(urls: list[str], commands: IO[str], answers: IO[str]) -> list[Row]:
    async with _fleet(urls) as (fleet, cameras):
        began_s = time.perf_counter()
        await _until(lambda: all(camera.online for camera in cameras))
        first_s = time.perf_counter() - began_s
        await _tell("off", commands, answers)
        await _until(lambda: not any(camera.online for camera in cameras))
        await asyncio.sleep(AWAY_S)
        began_s, cpu_s = time.perf_counter(), time.process_time()
        await _tell("on", commands, answers)
        await _until(lambda: all(camera.online for camera in cameras))
        back_s, cpu_s = time.perf_counter() - began_s, time.process_time() - cpu_s
    return [
        row(f"{len(urls)} cameras on real sockets: all online after the start", first_s, "s"),
        row(f"{len(urls)} cameras on real sockets: all back after power-on", back_s, "s",
            at_most=60),
        row("CPU of the gateway for coming back", cpu_s, "s"),
        row("attempts at once, at most", fleet.budget.highest, "attempts",
            at_most=fleet.budget.limit),
    ]  # fmt: skip


@contextlib.asynccontextmanager
async def _fleet(urls: list[str]) -> AsyncIterator[tuple[Fleet, list[Supervised]]]:
    fleet = Fleet()
    settings = {"check_interval_s": CHECK_EVERY_S}

    def supervised(url: str) -> Supervised:
        return Supervised(
            url,
            lambda: video_adapter("onvif", url, USERNAME, PASSWORD, settings),
            budget=fleet.budget,
            on_event=lambda _event: None,
            on_failure=lambda _failure: None,
            attempt_limit_s=DEVICE_ATTEMPT_LIMIT_S,
        )

    async def run(camera: Supervised) -> None:
        with fleet.member(camera, camera.name):
            await camera.run()

    cameras = [supervised(url) for url in urls]
    tasks = [asyncio.create_task(run(camera)) for camera in cameras]
    try:
        yield fleet, cameras
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def _tell(what: str, commands: IO[str], answers: IO[str]) -> None:
    commands.write(f"{what}\n")
    commands.flush()
    await asyncio.to_thread(answers.readline)


@contextlib.contextmanager
def _simulators(cameras: int) -> Iterator[tuple[list[str], IO[str], IO[str]]]:
    command = [sys.executable, "-m", "benchmarks.bench_power", "--simulate", str(cameras)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdin
        assert child.stdout
        line = child.stdout.readline()
        if not line:
            raise RuntimeError("the simulated cameras did not start")
        yield json.loads(line), child.stdin, child.stdout
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
        while command := (await asyncio.to_thread(sys.stdin.readline)).strip():
            for camera in fleet.cameras.values():
                await camera.power(command == "on")
            print(command, flush=True)


def _allow_open_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 8_192:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(8_192, hard), hard))


def main() -> None:
    if sys.argv[1:2] == ["--simulate"]:
        asyncio.run(_simulate(int(sys.argv[2])))
        return
    raise SystemExit(0 if report("power", rows()) else 1)


if __name__ == "__main__":
    main()
