"""From a simulated camera to a subscriber of the bus: PullPoint, agent, embedded broker."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from brokers import RunningBroker
from lab import running
from patience import wait_until

from adapters.base import Adapter
from gateway.agents.build import video_adapter
from gateway.agents.device import NO_SIGNAL, BoundPoint, DeviceAgent
from gateway.agents.fleet import Fleet
from gateway.bus.client import Bus
from gateway.bus.messages import CloudEvent, decode, decode_event
from gateway.bus.topics import Topics
from simulators.onvif_camera import CameraSpec, OnvifCamera, OnvifFleet

PASSWORD = "planted-password"
POINTS = {
    "source_1": BoundPoint(id="point-1", org="d/s1"),
    "source_2": BoundPoint(id="point-2", org="d/s1"),
    "source_3": BoundPoint(id="point-3", org="d/s2"),
}


class Stage:
    """A recorder with three sources, its agent, and somebody who listens to the bus."""

    def __init__(self, camera: OnvifCamera) -> None:
        self.camera = camera
        self.events: list[tuple[float, str, CloudEvent]] = []
        self.states: dict[str, dict[str, Any]] = {}

    def on_event(self, topic: str, payload: bytes) -> None:
        self.events.append((time.perf_counter(), topic, decode_event(payload)))

    def on_state(self, topic: str, payload: bytes) -> None:
        self.states[topic.rpartition("/")[2]] = decode(payload) if payload else {}

    def status(self, point: str) -> tuple[str, str]:
        state = self.states.get(point, {})
        return state.get("status", ""), state.get("reason", "")


@contextlib.asynccontextmanager
async def stage(broker: RunningBroker, clips: Path) -> AsyncIterator[Stage]:
    spec = CameraSpec(
        name="gate", username="admin", password=PASSWORD, serial="SN-1", manufacturer="Hutong",
        model="Recorder", firmware="1.0", sources=3, main_size=(160, 128), sub_size=(128, 96),
        fps=5,
    )  # fmt: skip
    async with contextlib.AsyncExitStack() as stack:
        fleet = await stack.enter_async_context(
            OnvifFleet([spec], discovery_port=None, clip_cache=clips)
        )
        camera = fleet.cameras["gate"]
        it = Stage(camera)
        bus = Bus(broker.address, node="agent", topics=Topics())
        watch = Bus(broker.address, node="watch", topics=Topics())
        watch.subscribe(watch.topics.org_all("points", "event"), it.on_event)
        watch.subscribe(watch.topics.org_all("points", "state"), it.on_state)

        def make() -> Adapter:
            return video_adapter("onvif", camera.device_url, "admin", PASSWORD, {"timeout_s": 5})

        agent = DeviceAgent(
            bus,
            device_id="device-1",
            make=make,
            points=POINTS,
            fleet=Fleet(),
            report=lambda _change: None,
        )
        await stack.enter_async_context(running(bus.run(), watch.run()))
        await wait_until(lambda: bus.connected.is_set() and watch.connected.is_set())
        await stack.enter_async_context(running(agent.run()))
        await wait_until(lambda: camera.actions["PullMessages"] >= 2, timeout_s=10)
        yield it


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clips")


async def test_motion_is_a_cloud_event_at_the_point_within_50_ms(
    embedded_broker: RunningBroker, clips: Path
) -> None:
    async with stage(embedded_broker, clips) as it:
        took_ms: list[float] = []
        for index in range(100):
            began_s = time.perf_counter()
            it.camera.notify("motion", index % 2 == 0, source=2)
            await wait_until(lambda count=index: len(it.events) > count)  # type: ignore[misc]
            took_ms.append((it.events[-1][0] - began_s) * 1_000)
        _, topic, event = it.events[0]
        assert topic == "hutong/v1/org/points/event/d/s1/point-2"
        assert (event.type, event.subject) == ("point.motion", "point-2")
        assert event.source == "hutong/agent/device-1"
        assert dict(event.data) == {"active": True}
        assert [e.data["active"] for _, _, e in it.events] == [True, False] * 50
        assert sorted(took_ms)[50] <= 50, took_ms  # the 99th is a bench: machines are noisy


async def test_an_input_of_the_device_is_told_once_to_each_organisation(
    embedded_broker: RunningBroker, clips: Path
) -> None:
    async with stage(embedded_broker, clips) as it:
        it.camera.notify("digital_input", True, source=1)
        it.camera.notify("motion", True, source=1)
        await wait_until(lambda: any(e.type == "point.motion" for _, _, e in it.events))
        alarms = [(topic, e) for _, topic, e in it.events if e.type == "point.alarm"]
        assert {e.subject for _, e in alarms} == {"point-1", "point-3"}
        assert all(
            dict(e.data) == {"active": True, "kind": "digital_input", "part": "input_1"}
            for _, e in alarms
        )


async def test_a_source_without_a_signal_is_in_fault_and_the_others_are_not(
    embedded_broker: RunningBroker, clips: Path
) -> None:
    async with stage(embedded_broker, clips) as it:
        await wait_until(lambda: it.status("point-2") == ("online", ""))
        it.camera.notify("signal_lost", True, source=2)
        await wait_until(lambda: it.status("point-2") == ("fault", NO_SIGNAL))
        assert it.status("point-1") == ("online", "")
        assert [e.type for _, _, e in it.events] == ["point.signal_lost"]
        await it.camera.power(False)
        await wait_until(lambda: it.status("point-2")[0] == "offline", timeout_s=10)
        await it.camera.power(True)
        it.camera.notify("signal_lost", True, source=1)
        await wait_until(lambda: it.status("point-1") == ("fault", NO_SIGNAL), timeout_s=10)
        await wait_until(lambda: it.status("point-2") == ("fault", NO_SIGNAL))
        await asyncio.sleep(0)
        assert it.status("point-3") == ("online", "")
        assert it.camera.events.most_alive == 1
