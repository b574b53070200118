"""The trunk-recorder adapter and a simulated recorder, on a real broker, against the contract."""

import asyncio
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Self
from unittest.mock import patch

from adapters.testing import ListeningContract, ListeningPeer
from adapters.trunk_recorder.adapter import TrunkRecorderAdapter
from adapters.trunk_recorder.settings import TrunkRecorderSettings
from gateway.bus.address import BrokerAddress
from gateway.bus.broker import EmbeddedBroker
from simulators.trunk_recorder import BrokerPlace, Radio, TrunkRecorder

WRONG = "planted-wrong-password"


class TrunkRecorderPeer(ListeningPeer):
    adapter = TrunkRecorderAdapter
    channels = ("BEE00-1AE/3029",)

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
        self._recorder = await self._stack.enter_async_context(
            TrunkRecorder(place, period_s=0.1, call_timeout_s=0.3, conclude_s=0.1)
        )
        self._radio: Radio = self._recorder.radio(804329, "Port. 329")
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._stack.aclose()

    def settings(self) -> TrunkRecorderSettings:
        return self._settings(str(self._at.password))

    def wrong_password(self) -> TrunkRecorderSettings:
        return self._settings(WRONG)

    def at(self, host: str, port: int) -> TrunkRecorderSettings:
        return self._settings(str(self._at.password), f"mqtt://{host}:{port}")

    def _settings(self, password: str, broker: str | None = None) -> TrunkRecorderSettings:
        return TrunkRecorderSettings.model_validate(
            {
                "broker": broker or f"mqtt://127.0.0.1:{self._at.port}",
                "username": self._at.username,
                "password": password,
                "topic": "feeds",
                "unit_topic": "units",
                "message_topic": "messages",
            }
        )

    async def send_garbage(self) -> None:
        self._recorder.feed.publish_raw("feeds/calls_active", b'{"type": "calls_active", "ca')

    async def send_good(self) -> None:
        assert self._radio.press(3029)
        await asyncio.sleep(0.5)  # a talk: the recorder lists it a few times
        self._radio.release()


class TestTrunkRecorder(ListeningContract):
    def peer(self) -> TrunkRecorderPeer:
        return TrunkRecorderPeer()
