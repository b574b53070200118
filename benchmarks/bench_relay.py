"""The relay alone: many cameras with a viewer each, and one camera with many viewers.

The relay has one core, cameras and viewers share the other. `ffmpeg -c copy`, a PyAV remux and,
where it can be had, go2rtc do the same work on the relay's core, one after the other, in the same
run; so does the least that asyncio can do for many viewers.
"""

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import psutil
import uvloop

from benchmarks import Row, row
from benchmarks.gateway import percentile
from benchmarks.go2rtc import measure_go2rtc
from benchmarks.relay_stage import PASSWORD, USER
from benchmarks.viewing import open_and_close, viewing

CAMERAS = 100
PEERS = 10
VIEWERS = (500, 1_000)
WARM_UP, OPENINGS = 500, 10_000
SETTLE_S, SECONDS = 2.0, 8.0
RELAY_CORE, OTHER_CORE = 0, 1


def rows() -> list[Row]:
    os.sched_setaffinity(0, {OTHER_CORE})
    with _stage("cameras", OTHER_CORE, str(CAMERAS)) as (_, urls):
        return [*_of_many_cameras(urls), *_of_many_viewers(urls[:1]), _memory(urls[:4])]


def _of_many_cameras(urls: list[str]) -> list[Row]:
    alone, delays_ms = _relayed("relay", urls, viewers=1)
    copied = _ffmpeg(urls[:PEERS]) if shutil.which("ffmpeg") else None
    by_go2rtc = measure_go2rtc(urls)
    name = f"CPU of the relay, each of {CAMERAS} streams with a viewer"
    found = [
        row(name, alone, "%", at_most=min(0.2, copied or 0.2), limit=copied),
        row(f"CPU of a PyAV remux, each of {PEERS} streams", _remuxed(urls[:PEERS]), "%"),
        row(f"camera to viewer, {CAMERAS} streams, p50", percentile(delays_ms, 0.5), "ms",
            at_most=1),
        row(f"camera to viewer, {CAMERAS} streams, p99", percentile(delays_ms, 0.99), "ms",
            at_most=15),
    ]  # fmt: skip
    if by_go2rtc is not None:
        # An aim, no bound: it is written in Go, and hands out whole fragments.
        found.append(row("the same streams through go2rtc, each", by_go2rtc, "%"))
        found.append(row("CPU of the relay against go2rtc", alone / by_go2rtc, "times"))
    return found


def _of_many_viewers(urls: list[str]) -> list[Row]:
    found = []
    for viewers in VIEWERS:
        used, delays_ms = _relayed("relay", urls, viewers)
        least, least_ms = _relayed("bare", urls, viewers)
        found.append(
            row(f"CPU of the relay, each of {viewers} viewers of one stream", used, "%",
                at_most=0.04, limit=least)
        )  # fmt: skip
        found.append(
            row(f"camera to viewer, {viewers} viewers, p99", percentile(delays_ms, 0.99), "ms",
                at_most=60, limit=percentile(least_ms, 0.99))
        )  # fmt: skip
    return found


def _memory(urls: list[str]) -> Row:
    """What views leave behind that came and went."""
    with _stage("relay", RELAY_CORE, json.dumps(urls), "1") as (process, tickets):
        parts = urlsplit(tickets[0])
        base = f"127.0.0.1:{parts.port}"
        uvloop.run(open_and_close(base, len(urls), WARM_UP))
        before = process.memory_info().rss
        uvloop.run(open_and_close(base, len(urls), OPENINGS))
        grown = process.memory_info().rss / before
    name = f"memory after {OPENINGS} opens and closes, against after {WARM_UP}"
    return row(name, (grown - 1) * 100, "% more", at_most=5)


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


def _relayed(role: str, urls: list[str], viewers: int) -> tuple[float, list[float]]:
    """CPU of a relay in percent for each view, and the delays of its pictures in ms."""
    with _stage(role, RELAY_CORE, json.dumps(urls), str(viewers)) as (process, tickets):
        return uvloop.run(_watch(process, tickets))


async def _watch(process: psutil.Process, tickets: list[str]) -> tuple[float, list[float]]:
    delays_ms: list[float] = []
    counting = False

    def picture(delay_ms: float) -> None:
        if counting:
            delays_ms.append(delay_ms)

    async with viewing(tickets, picture):
        await asyncio.sleep(SETTLE_S)
        counting = True
        before_s, began_s = _cpu_s([process]), time.perf_counter()
        await asyncio.sleep(SECONDS)
        used_s = _cpu_s([process]) - before_s
        took_s = time.perf_counter() - began_s
    if not delays_ms:
        raise RuntimeError("no picture came")
    return used_s / took_s / len(tickets) * 100, delays_ms


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
