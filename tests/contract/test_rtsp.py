"""The RTSP adapter and a simulated camera against the contract."""

import dataclasses
from typing import Self

from adapters.rtsp.adapter import RtspAdapter
from adapters.rtsp.settings import RtspSettings
from adapters.testing import AdapterContract, Peer
from simulators.rtsp_camera import RtspCameraSpec, RtspFleet

PASSWORD = "planted-password"
WRONG = "planted-wrong-password"


class RtspPeer(Peer):
    adapter = RtspAdapter
    secrets = (PASSWORD, WRONG)

    async def __aenter__(self) -> Self:
        spec = RtspCameraSpec(
            name="gate",
            username="admin",
            password=PASSWORD,
            main_size=(160, 128),
            sub_size=(128, 96),
            fps=5,
        )
        self._fleet = RtspFleet([spec])
        await self._fleet.__aenter__()
        self._camera = self._fleet.cameras["gate"]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._fleet.aclose()

    def settings(self) -> RtspSettings:
        return self._settings(self._camera.url("main"), PASSWORD)

    def wrong_password(self) -> RtspSettings:
        return self._settings(self._camera.url("main"), WRONG)

    def at(self, host: str, port: int) -> RtspSettings:
        return self._settings(f"rtsp://{host}:{port}/ch1/main", PASSWORD)

    def _settings(self, endpoint: str, password: str) -> RtspSettings:
        return RtspSettings.model_validate(
            {
                "endpoint": endpoint,
                "sub_endpoint": self._camera.url("sub"),
                "username": "admin",
                "password": password,
                "timeout_s": 1.0,
                "check_interval_s": 0.05,
            }
        )

    async def send_garbage(self) -> None:
        self._camera.quirks = dataclasses.replace(self._camera.quirks, garbage=True)

    async def send_good(self) -> None:
        self._camera.quirks = dataclasses.replace(self._camera.quirks, garbage=False)


class TestRtsp(AdapterContract):
    def peer(self) -> RtspPeer:
        return RtspPeer()
