"""What listening to 3,000 cameras costs, and how soon an event is on the bus.

Run as ``python -m benchmarks.bench_events``. The simulated cameras and the subscriber are a process
of their own, so that one clock measures the way from one to the other; the agents and their bus
are this one, whose processor time is measured.
"""

import asyncio
import contextlib
import gc
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import IO, Any

import uvloop

from adapters.base import Adapter
from benchmarks import Row, report, row
from gateway.agents.build import video_adapter
from gateway.agents.device import BoundPoint, DeviceAgent
from gateway.agents.fleet import Fleet
from gateway.bus.address import BrokerAddress
from gateway.bus.broker import EmbeddedBroker
from gateway.bus.client import Bus
from gateway.bus.link import connect
from gateway.bus.messages import decode_event
from gateway.bus.topics import Topics

CAMERAS = int(os.environ.get("HUTONG_BENCH_CAMERAS", "3000"))
MEASURED_S = 15.0
EVENTS_PER_S = 50
USERNAME, PASSWORD = "admin", "bench-password"


def rows() -> list[Row]:
    _allow_open_files()
    with (
        _simulators(CAMERAS) as (urls, commands, answers),
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,  # as the gateway runs
    ):
        return runner.run(_measure(urls, commands, answers))


async def _measure(urls: list[str], commands: IO[str], answers: IO[str]) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        async with contextlib.AsyncExitStack() as stack:
            broker = await stack.enter_async_context(EmbeddedBroker(Path(folder)))
            bus = Bus(broker.address, node="agent", topics=Topics())
            await stack.enter_async_context(_running(bus, urls))
            await _subscribed(commands, answers, len(urls))
            await _settled(bus)
            idle = await _share_of_a_core()
            told = broker.reader
            reader = [told.host, told.port, told.username, told.password]
            commands.write(f"events {json.dumps(reader)}\n")
            commands.flush()
            said = asyncio.create_task(asyncio.to_thread(answers.readline))
            busy = await _share_of_a_core()
            took_ms, late_ms = json.loads(await said)
            figures = await _figures(commands, answers)
    return [
        row(f"{len(urls)} PullPoints, idle", idle, "% of a core"),
        row(f"and {EVENTS_PER_S} events/s", busy, "% of a core", at_most=25),
        row("event to subscriber, median", _of(took_ms, 50), "ms", limit=_of(late_ms, 50)),
        row(
            "event to subscriber, 99th", _of(took_ms, 99), "ms", at_most=50, limit=_of(late_ms, 99)
        ),
        row(
            "events that came",
            100 * len(took_ms) / int(MEASURED_S * EVENTS_PER_S),
            "%",
            at_least=100,
        ),
        row("subscriptions a camera, at most", figures["most"], "", at_most=1),
        row("requests while idle, of one camera", figures["pulls_per_s"], "/s"),
    ]


def _of(values: list[float], percent: int) -> float:
    """values: in order. Their limit here is how late the simulators themselves wake up."""
    return values[len(values) * percent // 100] if values else float("inf")


@contextlib.asynccontextmanager
async def _running(bus: Bus, urls: list[str]) -> AsyncIterator[None]:
    fleet = Fleet()

    def agent(number: int, url: str) -> DeviceAgent:
        def make() -> Adapter:
            return video_adapter("onvif", url, USERNAME, PASSWORD, {"timeout_s": 30})

        return DeviceAgent(
            bus,
            device_id=f"device-{number}",
            make=make,
            points={"source_1": BoundPoint(id=f"point-{number}", org="d/s")},
            fleet=fleet,
            report=lambda _change: None,
            endpoint=url,
        )

    agents = [agent(number, url) for number, url in enumerate(urls)]
    tasks = [asyncio.create_task(bus.run())]
    await bus.connected.wait()
    tasks += [asyncio.create_task(each.run()) for each in agents]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def _subscribed(commands: IO[str], answers: IO[str], wanted: int) -> None:
    async with asyncio.timeout(300):
        while (await _figures(commands, answers))["subscriptions"] < wanted:  # noqa: ASYNC110 - of another process
            await asyncio.sleep(1.0)
    await asyncio.sleep(3.0)  # the first, short poll of the last one is over


async def _settled(bus: Bus) -> None:
    """The broker has taken the states of all points: that is no part of what is measured."""
    quiet = 0
    async with asyncio.timeout(120):
        while quiet < 3:
            sent = bus.counters.sent
            await asyncio.sleep(1.0)
            link = bus._link
            taken = link is not None and not link.unconfirmed and bus.counters.sent == sent
            quiet = quiet + 1 if taken else 0


async def _figures(commands: IO[str], answers: IO[str]) -> dict[str, Any]:
    commands.write("figures\n")
    commands.flush()
    found: dict[str, Any] = json.loads(await asyncio.to_thread(answers.readline))
    return found


async def _share_of_a_core() -> float:
    """Processor time of this process over `MEASURED_S`, in percent of one core."""
    cpu_s, wall_s = time.process_time(), time.perf_counter()
    await asyncio.sleep(MEASURED_S)
    return 100 * (time.process_time() - cpu_s) / (time.perf_counter() - wall_s)


# --- the cameras ----------------------------------------------------------------------------------


@contextlib.contextmanager
def _simulators(cameras: int) -> Iterator[tuple[list[str], IO[str], IO[str]]]:
    command = [sys.executable, "-m", "benchmarks.bench_events", "--simulate", str(cameras)]
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


async def _simulate(count: int) -> None:
    from simulators.onvif_camera import CameraSpec, OnvifFleet

    specs = [
        CameraSpec(
            name=f"camera-{number}", username=USERNAME, password=PASSWORD,
            serial=f"SN-{number:06}", manufacturer="Hutong", model="Simulated", firmware="1.0",
            main_size=(160, 128), sub_size=(128, 96), fps=5,
        )
        for number in range(count)
    ]  # fmt: skip
    cache = Path(tempfile.gettempdir()) / f"hutong-bench-clips-{os.getuid()}"
    async with OnvifFleet(specs, discovery_port=None, clip_cache=cache) as fleet:
        cameras = list(fleet.cameras.values())
        gc.freeze()  # 3,000 cameras in one process would be looked through again and again
        print(json.dumps([camera.device_url for camera in cameras]), flush=True)
        began_s = time.monotonic()
        while line := await asyncio.to_thread(sys.stdin.readline):
            name, _, reader = line.partition(" ")
            if name == "events":
                print(json.dumps(await _happen(cameras, json.loads(reader))), flush=True)
                continue
            pulls = sum(camera.actions["PullMessages"] for camera in cameras)
            figures = {
                "subscriptions": sum(camera.subscriptions for camera in cameras),
                "most": max(camera.events.most_alive for camera in cameras),
                "pulls_per_s": pulls / count / (time.monotonic() - began_s),
            }
            print(json.dumps(figures), flush=True)


async def _happen(cameras: list[Any], reader: list[Any]) -> tuple[list[float], list[float]]:
    """Motion begins or ends at one camera after another; how long each took to the subscriber, and
    how late this process was woken up for each."""
    host, port, username, password = reader
    address = BrokerAddress(host=host, port=port, username=username, password=password)
    happened: dict[str, list[float]] = {}
    took_ms: list[float] = []
    late_ms: list[float] = []

    def on_event(_topic: str, payload: bytes) -> None:
        began_s = happened[decode_event(payload).subject].pop(0)
        took_ms.append((time.perf_counter() - began_s) * 1_000)

    loop, moving = asyncio.get_running_loop(), [False] * len(cameras)
    async with connect(address, "bench-subscriber", on_event) as link:
        await link.subscribe(Topics().org_all("points", "event"), 1)
        began_s = loop.time()
        for index in range(int(MEASURED_S * EVENTS_PER_S)):
            await asyncio.sleep(max(0.0, began_s + index / EVENTS_PER_S - loop.time()))
            late_ms.append((loop.time() - began_s - index / EVENTS_PER_S) * 1_000)
            number = random.randrange(len(cameras))
            moving[number] = not moving[number]
            happened.setdefault(f"point-{number}", []).append(time.perf_counter())
            cameras[number].notify("motion", moving[number])
        await asyncio.sleep(1.0)
    return sorted(took_ms), sorted(late_ms)


def _allow_open_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4 * CAMERAS + 256
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))


def main() -> None:
    if sys.argv[1:2] == ["--simulate"]:
        asyncio.run(_simulate(int(sys.argv[2])))
        return
    raise SystemExit(0 if report("events", rows()) else 1)


if __name__ == "__main__":
    main()
