"""The Homebrew adapter and a simulated repeater against the contract."""

import socket
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Self

from adapters.homebrew.adapter import HomebrewAdapter
from adapters.homebrew.settings import HomebrewSettings
from adapters.testing import until
from adapters.testing_voice import VoiceContract, VoicePeer
from simulators.homebrew_repeater import Heard, Radio, Repeater

PASSPHRASE = "planted-passphrase"
WRONG = "planted-wrong-passphrase"
TALKGROUP = 3101


class HomebrewPeer(VoicePeer):
    adapter = HomebrewAdapter
    secrets = (PASSPHRASE, WRONG)
    channels = (f"1/{TALKGROUP}", "2/3102")
    calls_us = True

    async def __aenter__(self) -> Self:
        self._port = _free_udp_port()
        self._stack = AsyncExitStack()
        self._repeater = await self._stack.enter_async_context(
            Repeater(
                id=460_001,
                passphrase=PASSPHRASE,
                master=("127.0.0.1", self._port),
                retry_s=0.05,
                retry_max_s=0.1,
                reply_s=0.3,
                ping_interval_s=0.2,
            )
        )
        self._talking = self._repeater.radio(4_600_001, "Patrol 1")
        self._listening: Radio = self._repeater.radio(4_600_002, "Patrol 2")
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._stack.aclose()

    def settings(self) -> HomebrewSettings:
        return HomebrewSettings.model_validate({"port": self._port, "passphrase": PASSPHRASE})

    def wrong_password(self) -> HomebrewSettings:
        return HomebrewSettings.model_validate({"port": self._port, "passphrase": WRONG})

    async def ready(self) -> None:
        await self._repeater.wait_signed_in()

    async def send_garbage(self) -> None:
        self._repeater.send_malformed("short")

    async def send_good(self) -> None:
        assert self._talking.press(TALKGROUP, slot=1)
        await self._talking.release()

    def payload(self, number: int) -> bytes:
        return voice_of(number)

    async def say(self, count: int) -> None:
        said = [0]

        def voice(number: int) -> bytes:
            said.append(number)
            return voice_of(number)

        assert self._talking.press(TALKGROUP, slot=1, voice=voice)
        await until(lambda: said[-1] >= count, "the voice of the talk")
        await self._talking.release()

    def said_to(self, address: str) -> Sequence[bytes]:
        return [voice for heard in self._heard(address) for voice in heard.voice]

    def heard(self, address: str) -> Sequence[bool]:
        return [heard.ended_s is None for heard in self._heard(address)]

    def _heard(self, address: str) -> list[Heard]:
        slot, talkgroup = (int(part) for part in address.split("/"))
        return [
            heard
            for heard in self._listening.heard
            if (heard.slot, heard.talkgroup) == (slot, talkgroup) and heard.origin != "air"
        ]


def voice_of(number: int) -> bytes:
    """27 bytes of a burst that is known again."""
    return number.to_bytes(4, "big") * 6 + b"\xc5\x5c\x01"


def _free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class TestHomebrew(VoiceContract):
    def peer(self) -> HomebrewPeer:
        return HomebrewPeer()
