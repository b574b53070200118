"""The ONVIF adapter and a simulated camera against the contract."""

import dataclasses
from typing import Self

from adapters.events import Scope
from adapters.onvif.adapter import OnvifAdapter
from adapters.onvif.settings import OnvifSettings
from adapters.testing import AdapterContract, Peer
from simulators.onvif_camera import CameraSpec, OnvifFleet, Quirks

PASSWORD = "planted-password"
WRONG = "planted-wrong-password"


class OnvifPeer(Peer):
    adapter = OnvifAdapter
    secrets = (PASSWORD, WRONG)

    async def __aenter__(self) -> Self:
        spec = CameraSpec(
            name="gate",
            username="admin",
            password=PASSWORD,
            serial="SN-0001",
            manufacturer="Hutong",
            model="Simulated",
            firmware="1.0",
            ptz=True,
            sources=2,
            main_size=(160, 128),
            sub_size=(128, 96),
            fps=5,
        )
        self._fleet = OnvifFleet([spec], discovery_port=0)
        await self._fleet.__aenter__()
        self._camera = self._fleet.cameras["gate"]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._fleet.aclose()

    def settings(self) -> OnvifSettings:
        return self._settings(self._camera.device_url, PASSWORD)

    def wrong_password(self) -> OnvifSettings:
        return self._settings(self._camera.device_url, WRONG)

    def at(self, host: str, port: int) -> OnvifSettings:
        return self._settings(f"{host}:{port}", PASSWORD)

    @staticmethod
    def _settings(endpoint: str, password: str) -> OnvifSettings:
        return OnvifSettings.model_validate(
            {
                "endpoint": endpoint,
                "username": "admin",
                "password": password,
                "timeout_s": 1.0,
                "check_interval_s": 0.05,
            }
        )

    def scope(self) -> Scope:
        port = self._fleet.discovery_port
        assert port
        return Scope(interfaces=("127.0.0.1",), port=port, timeout_s=0.3)

    async def send_garbage(self) -> None:
        self._camera.quirks = dataclasses.replace(self._camera.quirks, garbage=True)

    async def send_good(self) -> None:
        self._camera.quirks = Quirks()


class TestOnvif(AdapterContract):
    def peer(self) -> OnvifPeer:
        return OnvifPeer()
