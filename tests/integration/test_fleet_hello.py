"""A camera that says hello is online at once, long before its next attempt."""

import asyncio
from pathlib import Path

import pytest
from lab import running
from patience import wait_until

from adapters.events import Scope
from gateway.agents import supervisor
from gateway.agents.build import video_adapter
from gateway.agents.fleet import Fleet
from gateway.agents.hello import follow_announcements
from gateway.agents.supervisor import Supervised
from simulators.onvif_camera import CameraSpec, OnvifFleet

SPEC = CameraSpec(
    name="gate",
    username="u",
    password="p",
    serial="S1",
    manufacturer="Hutong",
    model="Simulated",
    firmware="1",
    main_size=(160, 128),
    sub_size=(128, 96),
    fps=5,
)


async def test_a_hello_ends_the_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "FIRST_DELAY_S", 1000.0)
    monkeypatch.setattr(supervisor, "LONGEST_DELAY_S", 1000.0)
    async with OnvifFleet([SPEC], clip_cache=tmp_path, discovery_port=0) as cameras:
        camera = cameras.cameras["gate"]
        fleet = Fleet()
        failures: list[object] = []
        url = camera.device_url
        device = Supervised(
            url,
            lambda: video_adapter("onvif", url, "u", "p", {"check_interval_s": 0.1}),
            budget=fleet.budget,
            on_event=lambda _event: None,
            on_failure=failures.append,
        )

        async def run() -> None:
            with fleet.member(device, url):
                await device.run()

        scope = Scope(interfaces=("127.0.0.1",), port=cameras.discovery_port or 0)
        async with running(run(), follow_announcements(fleet, scope)):
            await wait_until(lambda: device.online)
            await camera.power(False)
            await wait_until(lambda: failures)
            await camera.power(True)
            await wait_until(lambda: device.online)
        assert fleet.hellos == 1


async def test_where_nothing_can_be_heard_the_rest_goes_on() -> None:
    scope = Scope(interfaces=("192.0.2.1",), port=45_455)
    async with asyncio.timeout(30):
        await follow_announcements(Fleet(), scope)
