"""PullPoints against simulated cameras: what is told, and that a device keeps its slots."""

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from patience import wait_until

from adapters.errors import AdapterError, Unreachable
from adapters.events import (
    Alarm,
    Event,
    Motion,
    Online,
    SignalLost,
    SourceCondition,
    Tamper,
    Unrecognised,
)
from adapters.onvif import events
from adapters.onvif.adapter import OnvifAdapter
from simulators.onvif_camera import OnvifCamera, Quirks

MakeAdapter = Callable[..., OnvifAdapter]


@contextlib.asynccontextmanager
async def listening(
    adapter: OnvifAdapter, camera: OnvifCamera
) -> AsyncIterator[tuple["asyncio.Task[None]", list[Event]]]:
    """The adapter runs, and waits for what happens after the initial states."""
    told: list[Event] = []
    task = asyncio.create_task(adapter.run(told.append))
    try:
        await wait_until(lambda: task.done() or camera.actions["PullMessages"] >= 2)
        yield task, told
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()


def changes(told: list[Event]) -> list[SourceCondition]:
    return [e for e in told if isinstance(e, SourceCondition) and not e.initial]


def bare(event: Event) -> dict[str, Any]:
    fields = dataclasses.asdict(event)
    del fields["at"]
    return {"is": type(event).__name__, **fields}


class TestWhatIsTold:
    @pytest.mark.parametrize(
        ("kind", "kinds"),
        [
            ("motion", Motion),
            ("cell_motion", Motion),
            ("tamper", Tamper),
            ("signal_lost", SignalLost),
        ],
    )
    async def test_of_a_source_names_it(
        self, adapter: OnvifAdapter, camera: OnvifCamera, kind: str, kinds: type[Event]
    ) -> None:
        """Of a rule, the device names the configuration, not the source."""
        async with listening(adapter, camera) as (_, told):
            camera.notify(kind, True, source=2)
            await wait_until(lambda: changes(told))
            assert changes(told) == [kinds(at=changes(told)[0].at, address="source_2", active=True)]
            camera.notify(kind, False, source=2)
            await wait_until(lambda: len(changes(told)) == 2)
            assert changes(told)[1].active is False

    @pytest.mark.parametrize(
        ("kind", "part"), [("digital_input", "input_2"), ("storage", "disk_2")]
    )
    async def test_of_the_device_names_the_part(
        self, adapter: OnvifAdapter, camera: OnvifCamera, kind: str, part: str
    ) -> None:
        async with listening(adapter, camera) as (_, told):
            camera.notify(kind, True, source=2)
            await wait_until(lambda: changes(told))
            assert bare(changes(told)[0]) == {
                "is": "Alarm", "address": "", "active": True, "initial": False,
                "kind": kind, "part": part,
            }  # fmt: skip

    async def test_how_it_stands_at_the_start_is_no_occurrence(
        self, adapter: OnvifAdapter, camera: OnvifCamera
    ) -> None:
        camera.notify("signal_lost", True, source=1)
        async with listening(adapter, camera) as (_, told):
            lost = [e for e in told if isinstance(e, SignalLost)]
            assert {(e.address, e.active) for e in lost} == {
                ("source_1", True),
                ("source_2", False),
            }
            assert changes(told) == []

    async def test_what_is_unknown_is_told_once_as_a_case(
        self, adapter: OnvifAdapter, camera: OnvifCamera
    ) -> None:
        async with listening(adapter, camera) as (_, told):
            for _ in range(3):
                camera.notify("RuleEngine/PlateReader/Seen", True)
            camera.notify("motion", True)
            await wait_until(lambda: changes(told))
            (unknown,) = [e for e in told if isinstance(e, Unrecognised)]
            assert unknown.kind == "RuleEngine/PlateReader/Seen"
            assert 'Value="true"' in unknown.sample
            assert 'Value="source_1"' not in unknown.sample  # it might have been a number plate

    async def test_people_and_plates_are_nobodys_business(
        self, adapter: OnvifAdapter, camera: OnvifCamera
    ) -> None:
        async with listening(adapter, camera) as (_, told):
            camera.notify("RuleEngine/MyRuleDetector/FaceDetect", True)
            camera.notify("motion", True)
            await wait_until(lambda: changes(told))
            assert [type(e) for e in changes(told)] == [Motion]
            assert not [e for e in told if isinstance(e, Unrecognised)]

    async def test_a_wrong_clock_is_told_once_and_so_is_its_end(
        self, camera: OnvifCamera, make_adapter: MakeAdapter
    ) -> None:
        camera.quirks = Quirks(clock_offset_s=-7_200)
        adapter = make_adapter(camera.device_url, check_interval_s=0.01)
        async with listening(adapter, camera) as (_, told):
            await wait_until(lambda: changes(told))
            camera.quirks = Quirks()
            await wait_until(lambda: len(changes(told)) == 2)
            clock = [(e.kind, e.active, e.address) for e in changes(told) if isinstance(e, Alarm)]
            assert clock == [("clock", True, ""), ("clock", False, "")]


class TestSlots:
    async def test_are_given_back_at_the_end(
        self, adapter: OnvifAdapter, camera: OnvifCamera
    ) -> None:
        async with listening(adapter, camera):
            assert camera.subscriptions == 1
        assert camera.subscriptions == 0
        assert camera.actions["Unsubscribe"] == 1

    async def test_are_not_taken_by_looking(
        self, adapter: OnvifAdapter, camera: OnvifCamera
    ) -> None:
        await adapter.probe()
        await adapter.snapshot("source_1")
        await adapter.open_media("source_1", "main")
        assert camera.events.created == 0

    async def test_a_connection_that_breaks_takes_no_second_one(
        self, camera: OnvifCamera, make_adapter: MakeAdapter
    ) -> None:
        """A device with two slots: whoever comes back goes on with the one he has."""
        camera.quirks = Quirks(max_subscriptions=2)
        before = make_adapter(camera.device_url, check_interval_s=0.02)
        for _ in range(3):
            after = make_adapter(camera.device_url, check_interval_s=0.02)
            after.take_over(before)
            pulls = camera.actions["PullMessages"]
            task = asyncio.create_task(after.run(lambda _event: None))
            await wait_until(lambda p=pulls: camera.actions["PullMessages"] >= p + 2)  # type: ignore[misc]
            await _cut(camera, task)
            before = after
        assert camera.events.created == 1
        assert camera.events.most_alive == 1

    async def test_one_that_is_taken_over_is_asked_how_things_stand(
        self, camera: OnvifCamera, make_adapter: MakeAdapter
    ) -> None:
        """The gateway forgets with the connection; the device says by itself what changes only."""
        camera.notify("signal_lost", True)
        before = make_adapter(camera.device_url, check_interval_s=0.02)
        async with listening(before, camera) as (task, _):
            await _cut(camera, task)
        after = make_adapter(camera.device_url)
        after.take_over(before)
        told: list[Event] = []
        task = asyncio.create_task(after.run(told.append))
        await wait_until(lambda: any(isinstance(e, SignalLost) and e.active for e in told))
        assert changes(told) == []
        assert camera.events.created == 1
        task.cancel()
        await asyncio.wait([task])

    async def test_that_are_all_taken_leave_the_device_online(
        self, camera: OnvifCamera, make_adapter: MakeAdapter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(events, "LONGEST_WAIT_S", 0.02)
        camera.quirks = Quirks(max_subscriptions=0)
        adapter = make_adapter(camera.device_url)
        told: list[Event] = []
        task = asyncio.create_task(adapter.run(told.append))
        await wait_until(lambda: camera.actions["CreatePullPointSubscription"] >= 3)
        assert isinstance(told[0], Online)
        assert not task.done()
        camera.quirks = Quirks(max_subscriptions=2)
        await wait_until(lambda: camera.subscriptions == 1)
        camera.notify("motion", True)
        await wait_until(lambda: any(isinstance(e, Motion) and not e.initial for e in told))
        task.cancel()
        await asyncio.wait([task])

    async def test_a_device_that_was_without_power_gives_a_new_one(
        self, camera: OnvifCamera, make_adapter: MakeAdapter
    ) -> None:
        before = make_adapter(camera.device_url)
        async with listening(before, camera) as (task, _):
            await camera.power(False)
            with pytest.raises(Unreachable):
                await asyncio.wait_for(task, 5)
        await camera.power(True)
        after = make_adapter(camera.device_url)
        after.take_over(before)
        async with listening(after, camera) as (_, told):
            await wait_until(lambda: camera.subscriptions == 1)
            camera.notify("motion", True)
            await wait_until(lambda: changes(told))
        assert camera.events.created == 2
        assert camera.subscriptions == 0


class TestQuirks:
    @pytest.mark.parametrize(
        "quirks",
        [
            Quirks(announced_host="192.168.1.108:8899"),
            Quirks(announced_host="127.0.0.1"),
            Quirks(foreign_namespaces=True),
            Quirks(topic_prefix="acme"),
            Quirks(renew_refused=True),
            Quirks(pull_keeps_alive=False),
            Quirks(clock_offset_s=-7_200, created_window_s=5),
        ],
        ids=lambda quirks: next(
            f.name for f in dataclasses.fields(quirks) if getattr(quirks, f.name) != f.default
        ),
    )
    async def test_does_not_cost_us_an_event(
        self, adapter: OnvifAdapter, camera: OnvifCamera, quirks: Quirks
    ) -> None:
        camera.quirks = quirks
        async with listening(adapter, camera) as (_, told):
            camera.notify("motion", True, source=2)
            await wait_until(lambda: any(isinstance(e, Motion) for e in changes(told)))
            motion = next(e for e in changes(told) if isinstance(e, Motion))
            assert (motion.address, motion.active) == ("source_2", True)

    async def test_no_events_service_is_a_device_like_any_other(
        self, adapter: OnvifAdapter, camera: OnvifCamera
    ) -> None:
        camera.quirks = Quirks(events=False)
        assert "events" not in (await adapter.probe()).sources[0].capabilities
        told: list[Event] = []
        task = asyncio.create_task(adapter.run(told.append))
        await wait_until(lambda: bool(told))
        assert isinstance(told[0], Online)
        assert camera.events.created == 0
        task.cancel()
        await asyncio.wait([task])

    async def test_one_that_expires_early_is_made_anew_and_trusted_less(
        self, camera: OnvifCamera, adapter: OnvifAdapter
    ) -> None:
        camera.quirks = Quirks(pull_point_expires_s=0.5)
        async with listening(adapter, camera) as (task, told):
            await wait_until(lambda: camera.events.created >= 2, timeout_s=10)
            assert not task.done()
            camera.quirks = Quirks()
            await wait_until(lambda: camera.events.created >= 3, timeout_s=15)
            camera.notify("motion", True)
            await wait_until(lambda: changes(told))

    async def test_one_that_does_not_wait_is_asked_now_and_then(
        self, camera: OnvifCamera, adapter: OnvifAdapter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(events, "EMPTY_HANDED_S", 0.3)
        camera.quirks = Quirks(pull_at_once=True)
        async with listening(adapter, camera) as (_, told):
            before = camera.actions["PullMessages"]
            await asyncio.sleep(0.5)  # what must not happen has no condition to wait for
            assert camera.actions["PullMessages"] - before <= 3
            camera.notify("motion", True)
            await wait_until(lambda: changes(told))

    async def test_one_that_reports_without_end_keeps_nobody_busy(
        self, camera: OnvifCamera, adapter: OnvifAdapter
    ) -> None:
        async with listening(adapter, camera) as (task, told):
            began_s, before = time.monotonic(), camera.actions["PullMessages"]
            while time.monotonic() - began_s < 1.0:
                camera.notify("motion", len(changes(told)) % 2 == 0)
                await asyncio.sleep(0.001)
            assert camera.actions["PullMessages"] - before <= 2 * events.MOST_POLLS
            assert not task.done()

    async def test_one_that_breaks_long_polls_gets_shorter_ones(
        self, camera: OnvifCamera, adapter: OnvifAdapter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(events, "PULL_S", 4.0)
        monkeypatch.setattr(events, "SHORTEST_PULL_S", 1.0)
        adapter._events = events.Held(pull_s=4.0)
        camera.quirks = Quirks(pull_breaks_s=0.1)
        async with listening(adapter, camera) as (task, _):
            await wait_until(lambda: adapter._events.pull_s == 1.0, timeout_s=15)
            assert not task.done()
            assert camera.events.created == 1


async def _cut(camera: OnvifCamera, task: "asyncio.Task[None]") -> None:
    """The connections break while the device, and its subscription, live on."""
    camera.listener.off()
    with contextlib.suppress(AdapterError):
        await asyncio.wait_for(task, 5)
    await camera.listener.on()
