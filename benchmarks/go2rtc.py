"""go2rtc relaying the same streams, where it is installed or Go is there to install it."""

import asyncio
import contextlib
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from benchmarks.relay_stage import PASSWORD, USER
from benchmarks.viewing import viewing

SETTLE_S, SECONDS = 2.0, 8.0
CORE = 0
_PACKAGE = "github.com/AlexxIT/go2rtc"
_MODULE = f"""module bench

go 1.24

tool {_PACKAGE}

require {_PACKAGE} v1.9.9
"""
_BUILD_S = 600


def measure_go2rtc(urls: list[str]) -> float | None:
    """CPU in percent for each stream with a viewer, as fMP4 over HTTP; None where it cannot be
    had."""
    program = _program()
    if program is None:
        return None
    with _running(program, urls) as (process, port):
        views = [f"http://127.0.0.1:{port}/api/stream.mp4?src=c{n}" for n in range(len(urls))]
        return asyncio.run(_used(process, views)) / len(urls)


def _program() -> str | None:
    """The program: installed, built by an earlier run, or built now."""
    if found := shutil.which("go2rtc"):
        return found
    program = Path(tempfile.gettempdir()) / "hutong-bench-go" / "go2rtc"
    go = shutil.which("go")
    if not program.exists() and go is not None:
        with contextlib.suppress(subprocess.SubprocessError), tempfile.TemporaryDirectory() as room:
            # Not `go install`: that asks for the list of all versions, which not every proxy has.
            (Path(room) / "go.mod").write_text(_MODULE)
            subprocess.run(
                [go, "build", "-mod=mod", "-o", str(program), _PACKAGE],
                cwd=room,
                env={**os.environ, "CGO_ENABLED": "0"},
                check=True,
                timeout=_BUILD_S,
                capture_output=True,
            )
    return str(program) if program.exists() else None


@contextlib.contextmanager
def _running(program: str, urls: list[str]) -> Iterator[tuple[psutil.Process, int]]:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    config = {
        "api": {"listen": f"127.0.0.1:{port}"},
        "rtsp": {"listen": ""},
        "webrtc": {"listen": ""},
        "log": {"level": "error"},
        "streams": {
            f"c{n}": url.replace("://", f"://{USER}:{PASSWORD}@") for n, url in enumerate(urls)
        },
    }
    command = [program, "-config", json.dumps(config)]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as child:
        os.sched_setaffinity(child.pid, {CORE})
        try:
            _await_port(port)
            yield psutil.Process(child.pid), port
        finally:
            child.terminate()


def _await_port(port: int) -> None:
    until_s = time.perf_counter() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.perf_counter() > until_s:
                raise
            time.sleep(0.05)


async def _used(process: psutil.Process, views: list[str]) -> float:
    def cpu_s() -> float:
        times = process.cpu_times()
        return times.user + times.system

    async with viewing(views):
        await asyncio.sleep(SETTLE_S)
        before_s, began_s = cpu_s(), time.perf_counter()
        await asyncio.sleep(SECONDS)
        return (cpu_s() - before_s) / (time.perf_counter() - began_s) * 100
