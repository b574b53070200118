"""The contract of voice finds what it is there for: a line that keeps it, and each breach of it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from test_contract_itself import LineAdapter, LinePeer

from adapters import peers
from adapters.base import Capability, Emit, RadioTraits
from adapters.errors import AdapterError, ProtocolViolation
from adapters.events import (
    Command,
    FloorIdle,
    FloorTaken,
    Malformed,
    Outcome,
    UnkeyChannel,
    VoiceFlag,
    VoiceFrame,
    VoiceHeard,
)
from adapters.testing import RadioContract
from adapters.testing_voice import VoiceContract, VoicePeer

TEXT = "text"
WAITS_S = 0.02


class TalkingLine(LineAdapter):
    """A line on which voice passes as words: ``voice NAME HEX`` out, ``voice HEX`` in."""

    capabilities = frozenset({Capability.KEY, Capability.VOICE})
    traits = RadioTraits(voice=(TEXT,))

    def __init__(self, settings: Any, channels: Sequence[str] = ()) -> None:
        super().__init__(settings, channels)
        self._limits: dict[str, asyncio.Timeout] = {}

    async def _read(self, reader: asyncio.StreamReader, emit: Emit) -> None:
        at, number = datetime.now(UTC), 1 if self.breach == "counts from one" else 0
        while line := await reader.readline():
            match line.split():
                case [b"talk"]:
                    emit(FloorTaken(at=at, address="1", stream="s", talker="7", hold_s=3))
                case [b"idle"]:
                    emit(FloorIdle(at=at, address="1", stream="s"))
                case [b"voice", said] if self.breach != "tells no voice":
                    frame = self._frame(number, bytes.fromhex(said.decode()))
                    emit(VoiceHeard(at=at, address="1", frame=frame))
                    number += 1
                case _:
                    emit(Malformed(at=at, reason="no such line"))
        raise ProtocolViolation("it hung up on us", device="line")

    def _frame(self, number: int, payload: bytes) -> VoiceFrame:
        return VoiceFrame(
            transmission="other" if self.breach == "tells of another talk" else "s",
            sequence=number,
            media_time_us=number * 60_000,
            codec=TEXT,
            duration_ms=60,
            flags=VoiceFlag.FIRST if number == 0 else 0,
            payload=payload,
        )

    async def execute(self, command: Command) -> Outcome:
        outcome = await super().execute(command)
        if isinstance(command, UnkeyChannel) and command.transmission in self._limits:
            self._limits[command.transmission].reschedule(0)
        return outcome

    async def send_voice(self, frames: AsyncIterator[VoiceFrame]) -> None:
        name = ""
        try:
            async with asyncio.timeout(None) as limit:
                async for frame in frames:
                    name = frame.transmission
                    if name not in self._keyed and self.breach != "keys by voice":
                        return
                    if self.breach != "outlives its transmission":
                        self._limits[name] = limit
                    if frame.codec == TEXT or self.breach == "sends any codec":
                        self._give(name, frame)
        except TimeoutError:
            return
        finally:
            self._limits.pop(name, None)
            if self.breach == "unkeys at its end" and name in self._keyed:
                await self.execute(UnkeyChannel(address="1", transmission=name))

    def _give(self, name: str, frame: VoiceFrame) -> None:
        """A line has no clock: what comes within `WAITS_S` is put in order."""
        if self.breach == "sends as it comes":
            self._send(name, {frame.sequence: frame})
            return
        waiting = self.__dict__.setdefault(f"waiting-{name}", {})
        if not waiting:
            asyncio.get_running_loop().call_later(WAITS_S, self._send, name, waiting)
        waiting[frame.sequence] = frame

    def _send(self, name: str, waiting: dict[int, VoiceFrame]) -> None:
        times = 2 if self.breach == "sends twice" else 1
        if self._writer is not None:
            for _, frame in sorted(waiting.items()):
                line = f"voice {name} {frame.payload.hex()}\n".encode()
                self._writer.write(line * times)
        waiting.clear()


class TalkingPeer(LinePeer, VoicePeer):
    def __init__(self, adapter: type[LineAdapter]) -> None:
        super().__init__(adapter)
        self._said: list[bytes] = []

    def _hear(self, words: list[str]) -> None:
        if words[0] == "voice":
            known = any(name == words[1] for name, _ in self._heard)
            if not known:
                self._heard.append([words[1], True])
            self._said.append(bytes.fromhex(words[2]))
        else:
            super()._hear(words)

    def payload(self, number: int) -> bytes:
        return number.to_bytes(2, "big")

    async def say(self, count: int) -> None:
        lines = [f"voice {self.payload(number).hex()}\n" for number in range(count)]
        for writer in self._writers:
            writer.write(("talk\n" + "".join(lines) + "idle\n").encode())

    def said_to(self, address: str) -> Sequence[bytes]:
        return self._said


class LineVoiceContract(VoiceContract):
    def __init__(self, adapter: type[LineAdapter]) -> None:
        self._adapter = adapter

    def peer(self) -> TalkingPeer:
        return TalkingPeer(self._adapter)


CHECKS = [name for name in dir(VoiceContract) if name.startswith("test_")]


@pytest.mark.parametrize("check", CHECKS)
def test_a_line_that_keeps_the_contract_of_voice_passes(check: str) -> None:
    getattr(LineVoiceContract(TalkingLine), check)()


@pytest.mark.parametrize(
    ("breach", "check"),
    [
        ("tells no voice", "test_what_is_said_is_told_frame_by_frame"),
        ("tells of another talk", "test_what_is_said_is_told_frame_by_frame"),
        ("counts from one", "test_what_is_said_is_told_frame_by_frame"),
        (
            "sends as it comes",
            "test_voice_goes_out_once_and_in_order_whatever_the_network_made_of_it",
        ),
        ("sends twice", "test_voice_goes_out_once_and_in_order_whatever_the_network_made_of_it"),
        (
            "unkeys at its end",
            "test_voice_goes_out_once_and_in_order_whatever_the_network_made_of_it",
        ),
        ("unkeys at its end", "test_cancelling_voice_unkeys_nothing"),
        ("outlives its transmission", "test_voice_ends_with_its_transmission"),
        ("keys by voice", "test_voice_of_no_transmission_and_of_another_codec_goes_nowhere"),
        ("sends any codec", "test_voice_of_no_transmission_and_of_another_codec_goes_nowhere"),
    ],
)
def test_a_breach_of_voice_is_found(
    breach: str, check: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "PATIENCE_S", 0.8)
    broken = type("Broken", (TalkingLine,), {"breach": breach})
    with pytest.raises((AssertionError, TimeoutError, AdapterError)):
        getattr(LineVoiceContract(broken), check)()


def test_a_kind_that_passes_voice_must_be_asked_for_it() -> None:
    class Mute(RadioContract):
        def peer(self) -> TalkingPeer:
            return TalkingPeer(TalkingLine)

    with pytest.raises(AssertionError, match="VoiceContract"):
        Mute().test_it_says_which_voice_it_passes()
