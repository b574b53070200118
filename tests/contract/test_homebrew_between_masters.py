"""The Homebrew adapter as an end of an OpenBridge, and a simulated other end, by the contract."""

import socket
from collections.abc import Sequence
from typing import Self

from adapters.homebrew.adapter import HomebrewAdapter
from adapters.homebrew.settings import HomebrewSettings
from adapters.testing import until
from adapters.testing_voice import VoiceContract, VoicePeer
from simulators.homebrew_master import OpenBridgeEnd
from simulators.homebrew_repeater import Heard

KEY = "planted-passphrase"
WRONG = "planted-wrong-passphrase"


class OtherEnd(VoicePeer):
    """Nobody signs in: with a wrong key on our side its bursts are what is refused."""

    adapter = HomebrewAdapter
    secrets = (KEY, WRONG)
    channels = ("1/3101", "1/3102")
    calls_us = True

    async def __aenter__(self) -> Self:
        self._end = OpenBridgeEnd(KEY)
        await self._end.__aenter__()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            self._end.far = probe.getsockname()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._end.__aexit__(None, None, None)

    def settings(self) -> HomebrewSettings:
        return self._settings(KEY)

    def wrong_password(self) -> HomebrewSettings:
        self._end.talk(3101009, 3101)  # whose bursts cannot be opened with it
        return self._settings(WRONG)

    def _settings(self, key: str) -> HomebrewSettings:
        assert self._end.far is not None
        return HomebrewSettings.model_validate(
            {
                "mode": "openbridge",
                "port": self._end.far[1],
                "far": f"127.0.0.1:{self._end.port}",
                "passphrase": key,
                "repeater_id": 460_900,
            }
        )

    async def send_garbage(self) -> None:
        self._end.send_raw(b"DMRD" + bytes(69))

    async def send_good(self) -> None:
        await self._end.talk(3101001, 3101).release()

    def payload(self, number: int) -> bytes:
        return number.to_bytes(4, "big") * 6 + b"\xc5\x5c\x01"

    async def say(self, count: int) -> None:
        said = [0]

        def voice(number: int) -> bytes:
            said.append(number)
            return self.payload(number)

        talk = self._end.talk(3101001, 3101, voice=voice)
        await until(lambda: said[-1] >= count, "the voice of the talk")
        await talk.release()

    def said_to(self, address: str) -> Sequence[bytes]:
        return [voice for heard in self._heard(address) for voice in heard.voice]

    def heard(self, address: str) -> Sequence[bool]:
        return [heard.ended_s is None for heard in self._heard(address)]

    def _heard(self, address: str) -> list[Heard]:
        talkgroup = int(address.partition("/")[2])
        return [h for h in self._end.heard if h.talkgroup == talkgroup]


class TestHomebrewOpenBridge(VoiceContract):
    def peer(self) -> OtherEnd:
        return OtherEnd()
