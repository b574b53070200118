"""The MMDVM adapter and a simulated host, on a real broker, against the contract."""

import asyncio
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Self
from unittest.mock import patch

from adapters.mmdvm.adapter import MmdvmAdapter
from adapters.mmdvm.settings import MmdvmSettings
from adapters.testing import ListeningContract, ListeningPeer
from gateway.bus.address import BrokerAddress
from gateway.bus.broker import EmbeddedBroker
from simulators.mmdvm_host import BrokerPlace, MmdvmHost

WRONG = "planted-wrong-password"


class MmdvmPeer(ListeningPeer):
    adapter = MmdvmAdapter
    channels = ("DMR/2/9",)

    async def __aenter__(self) -> Self:
        self._stack = AsyncExitStack()
        self._stack.enter_context(patch("adapters.mqtt.reader.CONNECT_S", 1.0))
        directory = self._stack.enter_context(tempfile.TemporaryDirectory())
        broker = await self._stack.enter_async_context(EmbeddedBroker(Path(directory)))
        self._at: BrokerAddress = broker.address
        self.secrets = (str(self._at.password), WRONG)
        place = BrokerPlace(
            port=self._at.port,
            username=str(self._at.username),
            password=str(self._at.password),
        )
        self._host = await self._stack.enter_async_context(
            MmdvmHost(place, period_s=0.1, client_id="MMDVMHost-7")
        )
        self._radio = self._host.radio(3180202, "KN4OQW")
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._stack.aclose()

    def settings(self) -> MmdvmSettings:
        return self._settings(str(self._at.password))

    def wrong_password(self) -> MmdvmSettings:
        return self._settings(WRONG)

    def at(self, host: str, port: int) -> MmdvmSettings:
        return self._settings(str(self._at.password), f"mqtt://{host}:{port}")

    def _settings(self, password: str, broker: str | None = None) -> MmdvmSettings:
        return MmdvmSettings.model_validate(
            {
                "broker": broker or f"mqtt://127.0.0.1:{self._at.port}",
                "username": self._at.username,
                "password": password,
            }
        )

    async def send_garbage(self) -> None:
        self._host.feed.publish_raw("mmdvm/json", b'{"DMR": {"action": "sta')

    async def send_good(self) -> None:
        assert self._radio.press(9, slot=2)
        await asyncio.sleep(0)
        self._radio.release()


class TestMmdvm(ListeningContract):
    def peer(self) -> MmdvmPeer:
        return MmdvmPeer()
