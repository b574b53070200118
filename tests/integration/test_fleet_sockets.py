"""Dozens of simulated cameras on real sockets lose power together and come back."""

import asyncio
from pathlib import Path

from lab import running
from patience import wait_until

from gateway.agents.budget import Budget
from gateway.agents.build import video_adapter
from gateway.agents.fleet import Fleet
from gateway.agents.supervisor import Failure, Supervised
from simulators.onvif_camera import CameraSpec, OnvifFleet

CAMERAS, AT_ONCE = 40, 8


def spec(number: int) -> CameraSpec:
    return CameraSpec(
        name=f"camera-{number}",
        username="admin",
        password="secret",
        serial=f"SN-{number}",
        manufacturer="Hutong",
        model="Simulated",
        firmware="1.0",
        main_size=(160, 128),
        sub_size=(128, 96),
        fps=5,
    )


async def test_forty_cameras_fall_and_are_all_back_within_the_budget(tmp_path: Path) -> None:
    specs = [spec(number) for number in range(CAMERAS)]
    async with OnvifFleet(specs, clip_cache=tmp_path, discovery_port=None) as cameras:
        fleet = Fleet(Budget(AT_ONCE))
        failures: list[Failure] = []

        def supervised(url: str) -> Supervised:
            settings = {"check_interval_s": 0.3}
            return Supervised(
                url,
                lambda: video_adapter("onvif", url, "admin", "secret", settings),
                budget=fleet.budget,
                on_event=lambda _event: None,
                on_failure=failures.append,
                attempt_limit_s=10.0,
            )

        async def run(device: Supervised) -> None:
            with fleet.member(device, device.name):
                await device.run()

        many = [supervised(camera.device_url) for camera in cameras.cameras.values()]
        async with running(*(run(each) for each in many)):
            await wait_until(lambda: fleet.figures().online == CAMERAS, 15)
            for camera in cameras.cameras.values():
                await camera.power(False)
            await wait_until(lambda: fleet.figures().online == 0, 10)
            first, *others = cameras.cameras.values()
            await asyncio.gather(*(camera.power(True) for camera in (first, *others)))
            fleet.hello(first.device_url)  # all share 127.0.0.1
            await wait_until(lambda: fleet.figures().online == CAMERAS, 15)
            assert fleet.budget.highest == AT_ONCE
            assert {str(failure.error.retryable) for failure in failures} == {"True"}
        assert fleet.figures().devices == 0
        assert fleet.budget.under_way == 0
