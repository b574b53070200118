"""The device agent on a real broker: states of its points, moves, batches for the registry."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from brokers import RunningBroker
from lab import running
from patience import wait_until
from scripted import Script, maker, now

from adapters.errors import Busy, Unreachable
from adapters.events import Identity, Motion, SourceStatus
from gateway.agents import device
from gateway.agents.device import BoundPoint, DeviceAgent, StatusChange, StatusWriter
from gateway.agents.fleet import Fleet
from gateway.bus.client import Bus
from gateway.bus.link import connect
from gateway.bus.messages import decode, decode_event
from gateway.bus.topics import Topics

FRONT = BoundPoint(id="point-front", org="d/s1")


class Camera:
    def __init__(self, bus: Bus, watch: Bus, points: dict[str, BoundPoint]) -> None:
        self.bus = bus
        self.script = Script(identity=Identity(model="M1"))
        self.reported: list[StatusChange] = []
        self.states: list[tuple[str, dict[str, Any] | None]] = []
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.agent = DeviceAgent(
            bus,
            device_id="device-1",
            make=maker(self.script),
            points=points,
            fleet=Fleet(),
            report=self.reported.append,
        )
        watch.subscribe(bus.topics.org_all("points", "state"), self._on_state)
        watch.subscribe(bus.topics.org_all("points", "event"), self._on_event)

    def _on_state(self, topic: str, payload: bytes) -> None:
        place = topic.partition("/state/")[2]
        self.states.append((place, decode(payload) if payload else None))

    def _on_event(self, topic: str, payload: bytes) -> None:
        event = decode_event(payload)
        self.events.append((event.type, {**event.data, "subject": event.subject}))

    def status(self, place: str) -> str | None:
        said = [state for where, state in self.states if where == place]
        return said[-1]["status"] if said and said[-1] else None


@contextlib.asynccontextmanager
async def camera(broker: RunningBroker, **points: BoundPoint) -> AsyncIterator[Camera]:
    bus = Bus(broker.address, node="agent", topics=Topics())
    watch = Bus(broker.address, node="watch", topics=Topics())
    it = Camera(bus, watch, points or {"front": FRONT})
    async with running(bus.run(), watch.run()):
        await wait_until(lambda: bus.connected.is_set() and watch.connected.is_set())
        async with running(it.agent.run()):
            await wait_until(lambda: it.agent.adapter is not None)
            yield it


async def test_its_points_are_online_and_then_offline_with_the_reason(
    broker: RunningBroker,
) -> None:
    async with camera(broker) as it:
        await wait_until(lambda: it.status("d/s1/point-front") == "online")
        it.script.broken.set()
        await wait_until(lambda: it.status("d/s1/point-front") == "offline")
        state = it.states[-1][1]
        assert state is not None
        assert "broken by the test" in state["reason"]
        assert state["epoch"] == it.bus.epoch
        assert [c.status for c in it.reported if c.point_id is None][:2] == ["online", "offline"]


async def test_an_event_goes_to_the_point_its_source_is_bound_to(
    embedded_broker: RunningBroker,
) -> None:
    async with camera(embedded_broker) as it:
        it.script.say(Motion(at=now(), address="elsewhere", active=True))
        it.script.say(Motion(at=now(), address="front", active=True))
        await wait_until(lambda: it.events)
        assert it.events == [("point.motion", {"active": True, "subject": "point-front"})]


async def test_a_point_that_moves_is_set_in_its_new_place_before_the_old_is_cleared(
    embedded_broker: RunningBroker,
) -> None:
    async with camera(embedded_broker) as it:
        it.script.say(SourceStatus(at=now(), address="front", status="fault", reason="no signal"))
        await wait_until(lambda: it.status("d/s1/point-front") == "fault")
        it.agent.rebind({"front": BoundPoint(id="point-front", org="d/s2")})
        await wait_until(lambda: ("d/s1/point-front", None) in it.states)
        places = [where for where, _ in it.states]
        assert places.index("d/s2/point-front") < it.states.index(("d/s1/point-front", None))
        assert it.status("d/s2/point-front") == "fault"  # its own, not that of the device


async def test_a_source_keeps_its_status_until_a_point_is_bound_to_it(
    embedded_broker: RunningBroker,
) -> None:
    async with camera(embedded_broker) as it:
        it.script.say(SourceStatus(at=now(), address="back", status="fault", reason="no signal"))
        it.agent.rebind({"front": FRONT, "back": BoundPoint(id="point-back", org="d/s1")})
        await wait_until(lambda: it.status("d/s1/point-back") == "fault")


async def test_retiring_clears_what_is_not_kept(broker: RunningBroker) -> None:
    side = BoundPoint(id="point-side", org="d/s1")
    async with camera(broker, front=FRONT, side=side) as it:
        await wait_until(lambda: it.status("d/s1/point-side") == "online")
        it.agent.retire({("point-front", "d/s1")})
        await wait_until(lambda: ("d/s1/point-side", None) in it.states)
        seen: list[str] = []
        async with connect(broker.address, "late", lambda topic, _p: seen.append(topic)) as late:
            await late.subscribe("hutong/v1/org/points/state/#", 1)
            await wait_until(lambda: seen)
        assert [topic.rsplit("/", 1)[1] for topic in seen] == ["point-front"]


def change(status: str, point: str | None = None, identity: Identity | None = None) -> StatusChange:
    return StatusChange(
        device_id="device-1",
        point_id=point,
        status=status,
        since=datetime.now(UTC),
        reason="",
        identity=identity,
    )


@pytest.mark.parametrize("away", [0, 2])
async def test_the_registry_gets_the_latest_of_each_and_loses_no_identity(away: int) -> None:
    writer = StatusWriter(every_s=0.001, retry_s=0.001)
    stored: list[list[StatusChange]] = []
    tries = 0

    async def store(batch: list[StatusChange]) -> bool:
        nonlocal tries
        tries += 1
        if tries <= away:
            writer.report(change("offline"))
            return False
        stored.append(batch)
        return True

    writer.report(change("unknown"))
    writer.report(change("online", identity=Identity(model="M1")))
    writer.report(change("offline"))
    writer.report(change("online", point="p"))
    async with running(writer.batches(store)):
        await wait_until(lambda: stored)
        await asyncio.sleep(0)
    by_point = {c.point_id: c for c in stored[0]}
    assert len(stored[0]) == 2
    assert (by_point[None].status, by_point["p"].status) == ("offline", "online")
    assert by_point[None].identity == Identity(model="M1")


async def test_a_stream_that_does_not_open_is_a_fault_of_its_source_until_it_opens(
    embedded_broker: RunningBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "STREAM_FAULT_S", 0.05)
    side = BoundPoint(id="point-side", org="d/s1")
    async with camera(embedded_broker, front=FRONT, side=side) as it:
        await wait_until(lambda: it.status("d/s1/point-front") == "online")
        assert not it.agent.stream_seen("another", None)
        assert it.agent.stream_seen("point-front", Busy("no session is free"))
        assert it.agent.stream_seen("point-front", Unreachable("nobody at the RTSP port"))
        await wait_until(lambda: it.status("d/s1/point-front") == "fault")
        assert it.status("d/s1/point-side") == "online"
        said = [c for c in it.reported if c.status == "fault"]
        assert [c.reason for c in said] == ["its stream does not open: nobody at the RTSP port"]
        await wait_until(lambda: it.status("d/s1/point-front") == "online")  # nobody tries any more
        it.agent.stream_seen("point-front", Unreachable("nobody at the RTSP port"))
        it.agent.stream_seen("point-front", None)
        assert not it.agent._no_stream
        it.script.broken.set()
        await wait_until(lambda: it.status("d/s1/point-front") == "offline")
        it.agent.stream_seen("point-front", Unreachable("nobody"))
        assert it.reported[-1].status != "fault"  # it is away: that says more
