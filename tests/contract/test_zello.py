"""The Zello adapter and a simulated server against the contract."""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Self
from unittest.mock import patch

from adapters.testing import RadioContract, RadioPeer
from adapters.zello.adapter import ZelloAdapter
from adapters.zello.settings import ZelloSettings
from simulators.zello_server import ZelloServer

PASSWORD = "planted-password"
WRONG = "planted-wrong-password"
GATEWAY = "gateway"


class ZelloPeer(RadioPeer):
    adapter = ZelloAdapter
    secrets = (PASSWORD, WRONG)
    channels = ("Wanlian", "Yuhong")
    loggers = ("websockets.server",)

    async def __aenter__(self) -> Self:
        self._patches = ExitStack()
        # Carriers' servers are slow; one that is silent need not keep the tests waiting.
        self._patches.enter_context(patch("adapters.zello.adapter.CONNECT_S", 1.0))
        self._server = ZelloServer(accounts={GATEWAY: PASSWORD}, channels=self.channels)
        await self._server.__aenter__()
        self._phone = self._server.phone("officer-1")
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._server.__aexit__(None, None, None)
        self._patches.close()

    def settings(self) -> ZelloSettings:
        return self._settings(self._server.url, PASSWORD)

    def wrong_password(self) -> ZelloSettings:
        return self._settings(self._server.url, WRONG)

    def at(self, host: str, port: int) -> ZelloSettings:
        return self._settings(f"ws://{host}:{port}/ws", PASSWORD)

    @staticmethod
    def _settings(url: str, password: str) -> ZelloSettings:
        return ZelloSettings.model_validate({"url": url, "username": GATEWAY, "password": password})

    async def ready(self) -> None:
        await self._server.log.until(
            lambda _: any(session.ready >= set(self.channels) for session in self._server.sessions)
        )

    async def send_garbage(self) -> None:
        for session in self._server.sessions:
            session._put('{"command": ')  # the server itself never sends what is no JSON

    async def send_good(self) -> None:
        assert self._phone.press(self.channels[0])
        self._phone.release()

    def heard(self, address: str) -> Sequence[bool]:
        return [
            stream.ended_s is None
            for stream in self._phone.heard
            if (stream.channel, stream.sender) == (address, GATEWAY)
        ]


class TestZello(RadioContract):
    def peer(self) -> ZelloPeer:
        return ZelloPeer()
