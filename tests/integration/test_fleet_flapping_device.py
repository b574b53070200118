"""A camera that comes and goes, as others see it on MQTT: flapping, and not 200 events."""

from typing import Any

import pytest
from brokers import RunningBroker
from lab import running
from patience import wait_until
from scripted import Script, maker

from gateway.agents import device, supervisor
from gateway.agents.device import BoundPoint, DeviceAgent, StatusChange
from gateway.agents.fleet import Fleet
from gateway.agents.steadiness import LOSSES, Steadiness
from gateway.bus.client import Bus
from gateway.bus.messages import decode, decode_event
from gateway.bus.topics import Topics

CALM_S = 0.4


async def test_it_is_shown_as_flapping_until_it_stays(
    embedded_broker: RunningBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "FIRST_DELAY_S", 0.01)
    monkeypatch.setattr(supervisor, "LONGEST_DELAY_S", 0.01)
    monkeypatch.setattr(device, "Steadiness", lambda: Steadiness(calm_s=CALM_S))
    bus = Bus(embedded_broker.address, node="agent", topics=Topics())
    watch = Bus(embedded_broker.address, node="watch", topics=Topics())
    states: list[dict[str, Any]] = []
    events: list[tuple[str, dict[str, Any]]] = []
    reported: list[StatusChange] = []

    def heard(_topic: str, payload: bytes) -> None:
        event = decode_event(payload)
        events.append((event.type, dict(event.data)))

    watch.subscribe(bus.topics.org_all("points", "state"), lambda _t, p: states.append(decode(p)))
    watch.subscribe(bus.topics.org_all("points", "event"), heard)
    script = Script()
    agent = DeviceAgent(
        bus,
        device_id="device-1",
        make=maker(script),
        points={"1": BoundPoint(id="point-1", org="d")},
        fleet=Fleet(),
        report=reported.append,
    )
    async with running(bus.run(), watch.run()):
        await wait_until(lambda: bus.connected.is_set() and watch.connected.is_set())
        async with running(agent.run()):
            for _ in range(5 * LOSSES):
                await wait_until(lambda: agent.adapter is not None)
                script.broken.set()
                await wait_until(lambda: agent.adapter is None)
                script.broken.clear()
            assert reported[-1].status == "fault"
            assert reported[-1].reason == device.FLAPS
            told = len(reported)
            await wait_until(lambda: agent.adapter is not None)
            assert len(reported) == told  # still flapping: being there is no news
            await wait_until(lambda: states and states[-1]["status"] == "online")
            assert [name for name, _ in events] == ["point.alarm", "point.alarm"]
            assert [data["active"] for _, data in events] == [True, False]
            assert events[0][1]["kind"] == "flapping"
            # Four losses are told as they come; from then on one status, and one at the end.
            assert len(states) <= 2 * LOSSES + 1
            assert [state["status"] for state in states[-2:]] == ["fault", "online"]
