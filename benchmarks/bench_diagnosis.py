"""How many cameras a core looks at in a minute: a keyframe of each over RTSP, judged.

Run as ``python -m benchmarks.bench_diagnosis``. The simulated cameras are a process of their own,
on a core of their own where there are two.
"""

import asyncio
import contextlib
import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from adapters.base import AccessUnit, TrackFormat
from adapters.events import RtspSource, Secret
from adapters.media import open_stream
from benchmarks import Row, report, row
from gateway.vision import PicturePool, look
from gateway.vision.keyframes import see
from gateway.vision.memory import NOTHING

USERNAME, PASSWORD = "admin", "bench-password"
AT_ONCE = 8
SIZES = (
    ("360p", (640, 360), 64, 512, 4000),
    ("1080p", (1920, 1080), 16, 96, 800),
)
"""Name, width and height, cameras, looks, and how many a minute and core are demanded."""


def rows() -> list[Row]:
    found: list[Row] = []
    for name, size, cameras, looks, bound in SIZES:
        with _simulators(size, cameras) as urls, _one_core(0):
            found += asyncio.run(_measure(name, urls, looks, bound))
    return found


async def _measure(name: str, urls: Sequence[str], looks: int, bound: int) -> list[Row]:
    sources = [RtspSource(url=url, username=USERNAME, password=Secret(PASSWORD)) for url in urls]
    async with PicturePool(threads=1) as pool:
        await _look_at(sources, len(sources), pool)  # warm: modules, decoders, the cameras' clips
        alone_s = await _alone(sources[0], pool)
        began_s, cpu_before_s = time.perf_counter(), time.process_time()
        await _look_at(sources, looks, pool)
        cpu_s = (time.process_time() - cpu_before_s) / looks
        wall_s = (time.perf_counter() - began_s) / looks
    return [
        row(f"{name} keyframes pulled and judged, a minute and core", 60 / cpu_s, "cameras/min",
            at_least=bound, limit=60 / alone_s),
        row(f"{name}, by the clock on the wall, {AT_ONCE} at once", 60 / wall_s, "cameras/min"),
        row(f"{name}, CPU time for each", cpu_s * 1000, "ms"),
    ]  # fmt: skip


async def _look_at(sources: Sequence[RtspSource], looks: int, pool: PicturePool) -> None:
    waiting = list(range(looks))

    async def work() -> None:
        while waiting:
            source = sources[waiting.pop() % len(sources)]
            seen = await look(source, pool=pool, memory=NOTHING)
            assert not seen.diagnosis.found, seen.diagnosis.found

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(work())


async def _alone(source: RtspSource, pool: PicturePool) -> float:
    """CPU seconds of decoding and judging one keyframe, no camera asked: the limit."""
    track, unit = await _keyframe(source)
    times = 40
    before_s = time.process_time()
    for _ in range(times):
        await pool.run(functools.partial(see, track, unit))
    return (time.process_time() - before_s) / times


async def _keyframe(source: RtspSource) -> tuple[TrackFormat, AccessUnit]:
    track: TrackFormat | None = None
    async with open_stream(source) as stream:
        async for item in stream:
            if isinstance(item, TrackFormat):
                track = item
            elif item.keyframe and track is not None:
                return track, item
    raise RuntimeError("the stream ended before a keyframe")


@contextlib.contextmanager
def _one_core(number: int) -> Iterator[None]:
    """Stay on one core, where the system lets us."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[number % len(cores)]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, set(cores))


@contextlib.contextmanager
def _simulators(size: tuple[int, int], cameras: int) -> Iterator[list[str]]:
    command = [sys.executable, "-m", "benchmarks.bench_diagnosis", "--simulate"]
    command += [str(size[0]), str(size[1]), str(cameras)]
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


async def _simulate(width: int, height: int, cameras: int) -> None:
    from simulators.rtsp_camera import RtspCameraSpec, RtspFleet

    specs = [
        RtspCameraSpec(
            name=f"camera-{number}",
            username=USERNAME,
            password=PASSWORD,
            main_size=(width, height),
            sub_size=(128, 96),
            fps=15,
        )
        for number in range(cameras)
    ]
    cache = Path(tempfile.gettempdir()) / f"hutong-bench-clips-{os.getuid()}"
    async with RtspFleet(specs, clip_cache=cache) as fleet:
        print(json.dumps([camera.url("main") for camera in fleet.cameras.values()]), flush=True)
        await asyncio.to_thread(sys.stdin.read)


def main() -> None:
    if sys.argv[1:2] == ["--simulate"]:
        width, height, cameras = (int(text) for text in sys.argv[2:5])
        with _one_core(1):
            asyncio.run(_simulate(width, height, cameras))
        return
    raise SystemExit(0 if report("diagnosis", rows()) else 1)


if __name__ == "__main__":
    main()
