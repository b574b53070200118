"""The relay alone: many cameras with a viewer each, and one camera with many viewers.

The relay has one core, cameras and viewers share the other. `ffmpeg -c copy` and a PyAV remux do
the same work on the relay's core, one after the other, in the same run.
"""

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import psutil
import websockets

from benchmarks import Row, row
from benchmarks.gateway import percentile
from benchmarks.relay_stage import PASSWORD, USER
from simulators.clips import read_wall_clock_ns

CAMERAS = 100
PEERS = 10
VIEWERS = 500
SETTLE_S, SECONDS = 3.0, 8.0
RELAY_CORE, OTHER_CORE = 0, 1


def rows() -> list[Row]:
    os.sched_setaffinity(0, {OTHER_CORE})
    with _stage("cameras", OTHER_CORE, str(CAMERAS)) as (_, urls):
        alone, delays_ms = _relayed(urls, viewers=1)
        limits = [_ffmpeg(urls[:PEERS])] if shutil.which("ffmpeg") else []
        remuxed = _remuxed(urls[:PEERS])
        crowd, crowd_ms = _relayed(urls[:1], viewers=VIEWERS)
    by_ffmpeg = limits[0] if limits else None
    name = f"CPU of the relay, each of {CAMERAS} streams with a viewer"
    return [
        row(name, alone, "%", at_most=min([0.2, *limits]), limit=by_ffmpeg),
        row(f"CPU of a PyAV remux, each of {PEERS} streams", remuxed, "%"),
        row(f"camera to viewer, {CAMERAS} streams, p50", percentile(delays_ms, 0.5), "ms",
            at_most=1),
        row(f"camera to viewer, {CAMERAS} streams, p99", percentile(delays_ms, 0.99), "ms",
            at_most=15),
        row(f"CPU of the relay, each of {VIEWERS} viewers of one stream", crowd, "%",
            at_most=0.04),
        row(f"camera to viewer, {VIEWERS} viewers, p99", percentile(crowd_ms, 0.99), "ms",
            at_most=60),
    ]  # fmt: skip


@contextlib.contextmanager
def _stage(role: str, core: int, *arguments: str) -> Iterator[tuple[psutil.Process, Any]]:
    """A process of the bench, and what it says when it is ready."""
    command = [sys.executable, "-m", "benchmarks.relay_stage", role, str(core), *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin
        assert child.stdout
        try:
            line = child.stdout.readline()
            if not line:
                raise RuntimeError(f"{role} did not start")
            yield psutil.Process(child.pid), json.loads(line)
        finally:
            child.stdin.close()


def _cpu_s(processes: list[psutil.Process]) -> float:
    times = [process.cpu_times() for process in processes]
    return sum(each.user + each.system for each in times)


def _relayed(urls: list[str], viewers: int) -> tuple[float, list[float]]:
    """CPU of a relay in percent for each view, and the delays of its pictures in ms."""
    with _stage("relay", RELAY_CORE, json.dumps(urls), str(viewers)) as (process, tickets):
        return asyncio.run(_watch(process, tickets))


async def _watch(process: psutil.Process, tickets: list[str]) -> tuple[float, list[float]]:
    delays_ms: list[float] = []
    counting = asyncio.Event()

    async def view(url: str) -> None:
        async with websockets.connect(url, max_size=None, compression=None) as socket:
            async for message in socket:
                if counting.is_set() and isinstance(message, bytes):
                    sent_ns = read_wall_clock_ns(message)
                    if sent_ns is not None:
                        delays_ms.append((time.time_ns() - sent_ns) / 1e6)

    async with _running([asyncio.create_task(view(url)) for url in tickets]):
        await asyncio.sleep(SETTLE_S)
        counting.set()
        before_s, began_s = _cpu_s([process]), time.perf_counter()
        await asyncio.sleep(SECONDS)
        used_s = _cpu_s([process]) - before_s
        took_s = time.perf_counter() - began_s
    if not delays_ms:
        raise RuntimeError("no picture came")
    return used_s / took_s / len(tickets) * 100, delays_ms


@contextlib.asynccontextmanager
async def _running(tasks: list[asyncio.Task[None]]) -> AsyncIterator[None]:
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _used(processes: list[psutil.Process]) -> float:
    """CPU in percent of processes that have begun to play."""
    time.sleep(SETTLE_S)
    before_s, began_s = _cpu_s(processes), time.perf_counter()
    time.sleep(SECONDS)
    return (_cpu_s(processes) - before_s) / (time.perf_counter() - began_s) * 100


def _ffmpeg(urls: list[str]) -> float:
    """CPU of `ffmpeg -c copy` in percent for each stream, a process each."""
    flags = "frag_every_frame+empty_moov+default_base_moof"
    with contextlib.ExitStack() as stack:
        processes = []
        for url in urls:
            address = url.replace("://", f"://{USER}:{PASSWORD}@")
            command = ["ffmpeg", "-v", "error", "-rtsp_transport", "tcp", "-i", address]
            command += ["-c", "copy", "-f", "mp4", "-movflags", flags, "-y", os.devnull]
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
            os.sched_setaffinity(child.pid, {RELAY_CORE})
            stack.callback(child.wait)
            stack.callback(child.terminate)
            processes.append(psutil.Process(child.pid))
        return _used(processes) / len(urls)


def _remuxed(urls: list[str]) -> float:
    """CPU of a PyAV remux in percent for each stream, all in one process."""
    with _stage("remux", RELAY_CORE, json.dumps(urls)) as (process, _):
        return _used([process]) / len(urls)
