"""How a recorder is simulated for the contract of every adapter. It needs pytest."""

from typing import Self

from adapters.testing import AdapterContract, Peer
from hutong_lantern.adapter import LanternAdapter
from hutong_lantern.settings import LanternSettings
from hutong_lantern.simulator import USERNAME, LanternRecorder

PLANTED, WRONG = "planted-password", "planted-wrong-password"


class LanternPeer(Peer):
    adapter = LanternAdapter
    secrets = (PLANTED, WRONG)
    recorder: LanternRecorder

    async def __aenter__(self) -> Self:
        self.recorder = LanternRecorder(PLANTED, channels=2)
        await self.recorder.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.recorder.__aexit__(None, None, None)

    def settings(self) -> LanternSettings:
        return self._settings(self.recorder.endpoint, PLANTED)

    def wrong_password(self) -> LanternSettings:
        return self._settings(self.recorder.endpoint, WRONG)

    def at(self, host: str, port: int) -> LanternSettings:
        return self._settings(f"{host}:{port}", PLANTED)

    @staticmethod
    def _settings(endpoint: str, password: str) -> LanternSettings:
        known = {"endpoint": endpoint, "username": USERNAME, "password": password}
        return LanternSettings.model_validate(known | {"timeout_s": 1.0, "poll_s": 5.0})

    async def send_garbage(self) -> None:
        self.recorder.talk_garbage(True)

    async def send_good(self) -> None:
        self.recorder.talk_garbage(False)


class LanternContract(AdapterContract):
    def peer(self) -> LanternPeer:
        return LanternPeer()
