"""The Homebrew adapter as a peer, and a simulated master, against the contract."""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Self
from unittest.mock import patch

from adapters.homebrew.adapter import HomebrewAdapter
from adapters.homebrew.settings import HomebrewSettings
from adapters.testing import until
from adapters.testing_voice import VoiceContract, VoicePeer
from simulators.homebrew_master import HomebrewMaster
from simulators.homebrew_repeater import Heard

PASSPHRASE = "planted-passphrase"
WRONG = "planted-wrong-passphrase"
OURS = 460_900


class MasterOfOurs(VoicePeer):
    adapter = HomebrewAdapter
    secrets = (PASSPHRASE, WRONG)
    channels = ("1/3101", "2/3102")

    async def __aenter__(self) -> Self:
        self._patches = ExitStack()
        self._patches.enter_context(patch("adapters.homebrew.uplink.REPLY_S", 0.3))
        self._master = HomebrewMaster(PASSPHRASE)
        await self._master.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._master.__aexit__(None, None, None)
        self._patches.close()

    def settings(self) -> HomebrewSettings:
        return self._settings("127.0.0.1", self._master.port, PASSPHRASE)

    def wrong_password(self) -> HomebrewSettings:
        return self._settings("127.0.0.1", self._master.port, WRONG)

    def at(self, host: str, port: int) -> HomebrewSettings:
        return self._settings(host, port, PASSPHRASE)

    @staticmethod
    def _settings(host: str, port: int, passphrase: str) -> HomebrewSettings:
        return HomebrewSettings.model_validate(
            {
                "mode": "peer",
                "host": host,
                "port": port,
                "passphrase": passphrase,
                "repeater_id": OURS,
                "ping_interval_s": 0.5,
            }
        )

    async def send_garbage(self) -> None:
        self._master.send(OURS, b"DMRD" + bytes(20))

    async def send_good(self) -> None:
        await self._master.talk(3101001, 3101).release()

    def payload(self, number: int) -> bytes:
        return number.to_bytes(4, "big") * 6 + b"\xc5\x5c\x01"

    async def say(self, count: int) -> None:
        said = [0]

        def voice(number: int) -> bytes:
            said.append(number)
            return self.payload(number)

        talk = self._master.talk(3101001, 3101, voice=voice)
        await until(lambda: said[-1] >= count, "the voice of the talk")
        await talk.release()

    def said_to(self, address: str) -> Sequence[bytes]:
        return [voice for heard in self._heard(address) for voice in heard.voice]

    def heard(self, address: str) -> Sequence[bool]:
        return [heard.ended_s is None for heard in self._heard(address)]

    def _heard(self, address: str) -> list[Heard]:
        slot, talkgroup = (int(part) for part in address.split("/"))
        return [h for h in self._master.heard if (h.slot, h.talkgroup) == (slot, talkgroup)]


class TestHomebrewAsPeer(VoiceContract):
    def peer(self) -> MasterOfOurs:
        return MasterOfOurs()
