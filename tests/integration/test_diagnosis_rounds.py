"""Rounds over a real database and bus: reports, events, evidence, turns, what is put off."""

import asyncio
import contextlib
import dataclasses
import itertools
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from typing import Any

import cv2
import numpy as np
import pytest
import structlog
from brokers import RunningBroker
from databases import ON_SQLITE, Registry
from lab import running
from patience import wait_until
from scripted import now

from adapters.base import AccessUnit, Adapter, Emit, MediaItem, MediaSource, PacketSource
from adapters.base import TrackFormat as Format
from adapters.errors import Busy, Unreachable
from adapters.events import Online
from gateway.agents import diagnosis
from gateway.agents.device import BoundPoint, DeviceAgent
from gateway.agents.diagnosis import DiagnosisRounds, thresholds_of
from gateway.agents.fleet import Fleet
from gateway.bus.client import Bus
from gateway.bus.messages import decode_event
from gateway.bus.topics import Topics
from gateway.vision.diagnosis import Fault
from registry import devices, organizations, points, quality
from registry.devices import NewDevice
from registry.organizations import NewOrganization
from registry.partition import SYSTEM
from registry.sources import FoundSource

pytest_plugins = ["databases"]
pytestmark = ON_SQLITE

CHANNELS = 3


def street(shot: int) -> Any:
    chance = np.random.default_rng(5)
    pixels = np.full((180, 320, 3), 120, np.uint8)
    for _ in range(60):
        left, top = int(chance.integers(0, 320)), int(chance.integers(0, 180))
        colour = tuple(int(level) for level in chance.integers(20, 230, 3))
        cv2.rectangle(pixels, (left, top), (left + 30, top + 20), colour, -1)
    grain = np.random.default_rng(shot).normal(0, 2, pixels.shape)
    return np.clip(pixels + grain, 0, 255).astype(np.uint8)


@dataclasses.dataclass(slots=True)
class Recorder:
    """A device of several channels. opened: how often each; at_once: most at the same time.
    error: what opening raises."""

    blurred: bool = False
    error: Exception | None = None
    silent: bool = False
    hold: asyncio.Event | None = None
    opened: list[str] = dataclasses.field(default_factory=list)
    under_way: int = 0
    at_once: int = 0
    shots: Any = dataclasses.field(default_factory=itertools.count)

    def picture(self) -> bytes:
        pixels = street(next(self.shots))
        if self.blurred:
            pixels = cv2.GaussianBlur(pixels, (0, 0), 4)
        return bytes(cv2.imencode(".jpg", pixels)[1])


class _Client(Adapter):
    async def run(self, emit: Emit) -> None:
        emit(Online(at=now()))
        await asyncio.Event().wait()

    async def open_media(self, address: str, profile: str) -> MediaSource:
        recorder: Recorder = self.settings
        recorder.opened.append(address)
        if recorder.error is not None:
            raise recorder.error
        if recorder.silent:
            await asyncio.Event().wait()

        @contextlib.asynccontextmanager
        async def open_() -> AsyncIterator[AsyncIterator[MediaItem]]:
            recorder.under_way += 1
            recorder.at_once = max(recorder.at_once, recorder.under_way)
            try:
                async with contextlib.aclosing(items()) as it:
                    yield it
            finally:
                recorder.under_way -= 1

        async def items() -> AsyncIterator[MediaItem]:
            if recorder.hold is not None:
                await recorder.hold.wait()
            yield Format(track=0, kind="video", codec="jpeg", description=b"")
            for second in itertools.count():
                data = recorder.picture()
                yield AccessUnit(track=0, pts_us=second * 1_000_000, keyframe=True, data=data)

        return PacketSource(open=open_)


@dataclasses.dataclass(slots=True)
class Stage:
    registry: Registry
    recorder: Recorder
    agents: Mapping[str, DeviceAgent]
    points: list[str]
    events: list[tuple[str, str, dict[str, Any]]]

    @contextlib.asynccontextmanager
    async def rounds(
        self, period_s: float, look_timeout_s: float = 10.0
    ) -> AsyncIterator[DiagnosisRounds]:
        it = DiagnosisRounds(
            self.registry.database,
            self.agents,
            period_s=period_s,
            look_timeout_s=look_timeout_s,
        )
        async with running(it.run()) as (task,):
            yield it
            assert not task.done(), task
        assert it.under_way == 0

    def report(self, number: int = 0) -> quality.QualityReport:
        return self.registry(quality.of_point, SYSTEM, self.points[number])


@pytest.fixture
async def stage(embedded_broker: RunningBroker, registry: Registry) -> AsyncIterator[Stage]:
    registry(organizations.create, SYSTEM, NewOrganization(kind="district", name="D", slug="d"))
    sources = [FoundSource(address=str(number)) for number in range(CHANNELS)]
    made = registry(
        devices.register,
        SYSTEM,
        NewDevice(adapter="onvif", endpoint="recorder", organization="d"),
        sources,
    )
    device = registry(devices.get, SYSTEM, made.device_id)
    bound = {
        source.address: BoundPoint(id=source.point_id, org="d")
        for source in device.sources
        if source.point_id
    }
    recorder = Recorder()
    bus = Bus(embedded_broker.address, node="node", topics=Topics())
    watch = Bus(embedded_broker.address, node="watch", topics=Topics())
    events: list[tuple[str, str, dict[str, Any]]] = []

    def heard(topic: str, payload: bytes) -> None:
        event = decode_event(payload)
        events.append((event.type, event.subject, dict(event.data)))

    watch.subscribe(bus.topics.org_all("points", "event"), heard)
    agent = DeviceAgent(
        bus,
        device_id=device.id,
        make=lambda: _Client(recorder),
        points=bound,
        fleet=Fleet(),
        report=lambda _change: None,
    )
    async with running(bus.run(), watch.run()):
        await wait_until(lambda: bus.connected.is_set() and watch.connected.is_set())
        async with running(agent.run()):
            await wait_until(lambda: agent.adapter is not None)
            order = [bound[str(number)].id for number in range(CHANNELS)]
            yield Stage(registry, recorder, {device.id: agent}, order, events)


async def test_every_point_gets_a_report_and_no_device_two_pulls_at_once(stage: Stage) -> None:
    async with stage.rounds(period_s=0.3) as rounds:
        await wait_until(lambda: rounds.counters.looks >= 2 * CHANNELS)
        assert rounds.points == CHANNELS
    assert stage.recorder.at_once == 1
    assert set(stage.recorder.opened) == {"0", "1", "2"}
    for number in range(CHANNELS):
        report = stage.report(number)
        assert (report.outcome, report.faults, report.has_evidence) == ("judged", (), False)
        assert {each.fault for each in report.scores} == {fault.value for fault in Fault}
    assert stage.events == []
    assert stage.recorder.under_way == 0


async def test_a_fault_is_told_once_when_it_begins_and_once_when_it_ends(stage: Stage) -> None:
    stage.recorder.blurred = True
    async with stage.rounds(period_s=0.2) as rounds:
        await wait_until(lambda: rounds.counters.looks >= 3 * CHANNELS)
        report = stage.report()
        assert report.faults == ("blur",)
        assert report.faults_since is not None
        assert report.has_evidence
        assert rounds.counters.found[Fault.BLUR] >= 2 * CHANNELS
        assert len(stage.events) == CHANNELS
        stage.recorder.blurred = False
        await wait_until(lambda: len(stage.events) == 2 * CHANNELS)
    assert {kind for kind, _, _ in stage.events} == {"point.quality"}
    first = next(data for _, point, data in stage.events if point == stage.points[0])
    (found,) = first["faults"]
    assert (first["active"], first["began"], first["ended"]) == (True, ["blur"], [])
    assert found["fault"] == "blur"
    assert found["score"] >= found["threshold"] == 0.7
    last = [data for _, point, data in stage.events if point == stage.points[0]][-1]
    assert (last["active"], last["faults"], last["ended"]) == (False, [], ["blur"])
    assert not stage.report().has_evidence  # no picture outlives its report


async def test_a_masked_point_is_judged_and_keeps_no_picture(stage: Stage) -> None:
    stage.recorder.blurred = True
    stage.registry(points.update, SYSTEM, stage.points[0], {"masked": True})
    async with stage.rounds(period_s=0.2) as rounds:
        await wait_until(lambda: rounds.counters.looks >= 2 * CHANNELS)
    assert stage.report(0).faults == ("blur",)
    assert not stage.report(0).has_evidence
    assert stage.report(1).has_evidence


async def test_thresholds_of_the_point_are_used(stage: Stage) -> None:
    stage.recorder.blurred = True
    stage.registry(quality.set_thresholds, SYSTEM, stage.points[0], {"blur": 1.5})
    async with stage.rounds(period_s=0.2) as rounds:
        await wait_until(lambda: rounds.counters.looks >= 2 * CHANNELS)
    assert stage.report(0).faults == ()
    assert stage.report(1).faults == ("blur",)
    assert thresholds_of({"blur": 0.5, "of a newer version": 0.1}) == {Fault.BLUR: 0.5}


async def test_no_picture_is_a_report_with_its_reason(stage: Stage) -> None:
    stage.recorder.error = Unreachable("nobody answers", device="10.9.8.7")
    async with stage.rounds(period_s=0.3) as rounds:
        await wait_until(lambda: rounds.counters.no_picture >= CHANNELS)
    report = stage.report()
    assert (report.outcome, report.reason) == ("no_picture", "nobody answers")
    assert stage.events == []


async def test_a_device_that_never_answers_costs_its_time_and_no_more(stage: Stage) -> None:
    stage.recorder.silent = True
    async with stage.rounds(period_s=0.2, look_timeout_s=0.05) as rounds:
        await wait_until(lambda: rounds.counters.no_picture >= 2 * CHANNELS)
    assert stage.report().outcome == "no_picture"
    assert "in time" in stage.report().reason


async def test_a_mistake_of_one_camera_or_a_database_that_fails_ends_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = stage.registry.database.read
    fails = iter([True, True])

    async def failing(fn: Any) -> Any:
        if next(fails, False):
            raise LookupError("a table of another version")
        return await read(fn)

    monkeypatch.setattr(stage.registry.database, "read", failing)
    monkeypatch.setattr(diagnosis, "READ_POINTS_EVERY_S", 0.01)
    monkeypatch.setattr(diagnosis, "LOOK_AT_DEVICES_EVERY_S", 0.01)
    stage.recorder.error = RuntimeError("not foreseen")
    with structlog.testing.capture_logs() as said:  # drawing a traceback takes a second
        async with stage.rounds(period_s=0.2) as rounds:
            await wait_until(lambda: len(stage.recorder.opened) >= CHANNELS)
            stage.recorder.error = None
            await wait_until(lambda: rounds.counters.looks >= CHANNELS)
    assert {line["event"] for line in said} == {"points not read", "look failed"}


@pytest.mark.parametrize("why", ["busy", "away"])
async def test_what_is_busy_or_away_is_put_off_and_not_reported(stage: Stage, why: str) -> None:
    if why == "busy":
        stage.recorder.error = Busy("the camera has no session free")
    else:
        (agent,) = stage.agents.values()
        agent._supervised.adapter = None
    async with stage.rounds(period_s=0.3) as rounds:
        await wait_until(lambda: rounds.counters.put_off >= CHANNELS)
    assert stage.report().outcome == "none"
    assert (rounds.counters.looks, bool(stage.recorder.opened)) == (0, why == "busy")


async def test_after_a_restart_those_looked_at_keep_their_turn(stage: Stage) -> None:
    for number, age_s in enumerate((10, 20)):
        subject = stage.registry(quality.subject, stage.points[number])
        finding = quality.Finding(looked_at=now() - timedelta(seconds=age_s), outcome="judged")
        assert subject is not None
        stage.registry(quality.store, subject, finding)
    async with stage.rounds(period_s=3600) as rounds:
        await wait_until(lambda: rounds.points == CHANNELS)
        # Never looked at: half a third of a period. Those looked at: what is left of theirs.
        assert 0 < (rounds._rota.next_s() or 0) - asyncio.get_running_loop().time() <= 600
    assert stage.recorder.opened == []


async def test_stopping_in_the_middle_of_a_look_leaves_nothing(stage: Stage) -> None:
    stage.recorder.hold = asyncio.Event()
    async with stage.rounds(period_s=0.1):
        await wait_until(lambda: stage.recorder.under_way == 1)
    assert stage.recorder.under_way == 0
    assert stage.report().outcome == "none"


async def test_without_opencv_it_waits_and_nothing_else(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagnosis, "available", lambda: (False, "install it"))
    async with stage.rounds(period_s=0.01) as rounds:
        for _ in range(20):
            await asyncio.sleep(0)
        assert rounds.points == 0
