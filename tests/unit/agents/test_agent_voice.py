"""What an agent keeps of a talk, what leaves it, and what waits for a slow adapter."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import pytest
from patience import wait_until
from scripted import Script, ScriptedAdapter

from adapters.base import Adapter, Capability
from adapters.errors import ProtocolViolation
from adapters.events import AMBE_DMR, VoiceFlag, VoiceFrame
from gateway.agents.voice import KEPT_MS, AgentVoice, AgentVoiceCounters, Outgoing
from gateway.bus.address import BrokerAddress
from gateway.bus.client import Bus
from gateway.bus.topics import Topics
from gateway.bus.voice import decode_voice, encode_voice

CHANNEL = "c1"


def frame(sequence: int, transmission: str = "t1", **fields: Any) -> VoiceFrame:
    given = {
        "sequence": sequence,
        "media_time_us": sequence * 60_000,
        "codec": AMBE_DMR,
        "duration_ms": 60,
        "flags": 0,
        "payload": bytes((sequence % 256,)) * 27,
        **fields,
    }
    return VoiceFrame(transmission=transmission, **given)


class Sends(ScriptedAdapter):
    """Takes voice when it may; error: what `send_voice` raises."""

    capabilities: ClassVar[frozenset[Capability]] = frozenset({Capability.KEY, Capability.VOICE})

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__(Script())
        self.took: list[int] = []
        self.calls = 0
        self.may = asyncio.Event()
        self.may.set()
        self.error = error

    async def send_voice(self, frames: AsyncIterator[VoiceFrame]) -> None:
        self.calls += 1
        await self.may.wait()
        if self.error is not None:
            raise self.error
        async for each in frames:
            self.took.append(each.sequence)
            await self.may.wait()


class Agent:
    """The voice of one system, with the wire in reach: said is what it published."""

    def __init__(self, adapter: Adapter | None = None, codecs: tuple[str, ...] = (AMBE_DMR,)):
        bus = Bus(BrokerAddress(host="127.0.0.1", port=1), node="n", topics=Topics())
        self.said: list[VoiceFrame] = []
        self.line = bus.voice("agent")
        self.line.publish = self._publish  # type: ignore[method-assign]
        self.adapter = adapter
        self.voice = AgentVoice(
            bus,
            system_id="s",
            codecs=codecs,
            channels=(CHANNEL,),
            adapter=lambda: self.adapter,
        )

    def _publish(self, topic: str, message: bytes) -> bool:
        assert topic == Topics().voice_in(CHANNEL)
        self.said.append(decode_voice(message))
        return True

    def hear(self, *sequences: int, **fields: Any) -> None:
        for sequence in sequences:
            self.voice.heard(CHANNEL, frame(sequence, **fields))

    def forward(self, stream: str = "t1", lease_ms: int = 5000, **fields: Any) -> tuple[str, bool]:
        command = {"transmission": stream, "lease_ms": lease_ms, **fields}
        return self.voice.forward(CHANNEL, command)

    def send(self, *sequences: int, transmission: str = "k1", **fields: Any) -> None:
        for sequence in sequences:
            message = encode_voice(frame(sequence, transmission, **fields))
            self.line._receive(Topics().voice_out(CHANNEL), message)

    def numbers(self) -> list[int]:
        return [each.sequence for each in self.said]


@contextlib.asynccontextmanager
async def agent(adapter: Adapter | None = None, **fields: Any) -> AsyncIterator[Agent]:
    it = Agent(adapter, **fields)
    async with it.voice.listening():
        yield it


async def test_of_a_talk_that_nobody_asks_for_only_the_last_moment_is_kept() -> None:
    async with agent() as it:
        it.voice.began(CHANNEL, "t1")
        it.hear(*range(20))
        assert it.said == []
        assert it.forward() == ("", False)
        kept = KEPT_MS // 60
        assert it.numbers() == list(range(20 - kept, 20))
        assert it.voice.counters.kept_back == 20 - kept
        it.hear(20)
        assert it.numbers()[-1] == 20
        assert it.forward() == ("", True), "a renewal"
        assert it.numbers()[-1] == 20, "nothing is said twice"


async def test_it_stops_when_the_talk_ends_or_it_is_told_or_nobody_renews() -> None:
    async with agent() as it:
        it.voice.began(CHANNEL, "t1")
        it.forward()
        it.hear(0)
        it.voice.began(CHANNEL, "")
        it.hear(1)
        assert it.forward() == ("that talk is over", False)
        it.voice.began(CHANNEL, "t2")
        it.hear(2, transmission="t2")
        assert it.forward("t1") == ("that talk is over", False)
        assert it.forward("t2", lease_ms=50) == ("", False)
        it.hear(3, transmission="t2")
        loop, began_s = asyncio.get_running_loop(), asyncio.get_running_loop().time()
        await wait_until(lambda: loop.time() > began_s + 0.05)
        it.hear(4, transmission="t2")
        assert it.numbers() == [0, 2, 3]
        it.forward("t2")
        it.forward("t2", lease_ms=0)
        it.hear(5, transmission="t2")
        assert it.numbers() == [0, 2, 3, 4]
        it.forward("t2")
        it.voice.drop_all()
        it.hear(6, transmission="t2")
        assert it.numbers() == [0, 2, 3, 4, 5]


async def test_encrypted_frames_leave_only_where_that_is_asked_for() -> None:
    async with agent() as it:
        it.voice.began(CHANNEL, "t1")
        it.hear(0, flags=VoiceFlag.ENCRYPTED)
        it.forward()
        it.hear(1, flags=VoiceFlag.ENCRYPTED)
        assert it.said == []
        it.forward(encrypted=True)
        it.hear(2, flags=VoiceFlag.ENCRYPTED)
        assert it.numbers() == [2]


async def test_a_system_without_voice_says_so_and_keeps_nothing() -> None:
    async with agent(codecs=()) as it:
        it.voice.began(CHANNEL, "t1")
        it.hear(0)
        assert it.forward() == ("the system passes no voice", False)
        it.voice.requested(CHANNEL, "k1")
        it.voice.keyed(CHANNEL, "k1")
        await it.voice.end(CHANNEL, "k1", drain=True)


async def test_a_frame_that_does_not_fit_is_counted_and_the_next_one_goes() -> None:
    async with agent() as it:
        it.voice.began(CHANNEL, "t1")
        it.forward()
        it.hear(0, payload=bytes(5000))
        it.hear(1)
        assert it.numbers() == [1]
        assert it.voice.counters.malformed == 1


async def test_voice_waits_for_its_key_and_goes_to_no_other() -> None:
    adapter = Sends()
    async with agent(adapter) as it:
        it.send(0, 1)  # the key is still on its way
        it.voice.requested(CHANNEL, "k1")
        it.send(2)
        await asyncio.sleep(0)
        assert adapter.calls == 0, "it is not keyed yet"
        it.voice.keyed(CHANNEL, "k1")
        await wait_until(lambda: adapter.took == [0, 1, 2])
        it.send(0, transmission="k2")
        it.send(3)
        it.send(4, codec="opus")
        await wait_until(lambda: adapter.took == [0, 1, 2, 3])
        await it.voice.end(CHANNEL, "k1", drain=False)
        it.send(5)
        it.voice.requested(CHANNEL, "k2")
        it.voice.keyed(CHANNEL, "k2")
        await wait_until(lambda: adapter.took == [0, 1, 2, 3, 0])
        assert it.voice.counters.late == 2
        assert adapter.calls == 2


async def test_a_key_that_comes_again_in_the_same_talk_has_voice_again() -> None:
    adapter = Sends()
    async with agent(adapter) as it:
        for sequence in (0, 1):
            it.voice.requested(CHANNEL, "k1")
            it.voice.keyed(CHANNEL, "k1")
            it.send(sequence)
            await wait_until(lambda count=sequence + 1: len(adapter.took) == count)  # type: ignore[misc]
            await it.voice.end(CHANNEL, "k1", drain=False)
        assert adapter.took == [0, 1]


async def test_a_slow_adapter_loses_the_oldest_and_it_is_counted() -> None:
    adapter = Sends()
    adapter.may.clear()
    async with agent(adapter) as it:
        it.voice.requested(CHANNEL, "k1")
        it.voice.keyed(CHANNEL, "k1")
        it.send(*range(40))
        await wait_until(lambda: adapter.calls == 1)
        assert it.voice.counters.dropped == 40 - 16  # 16 times 60 ms are what may wait
        adapter.may.set()
        await wait_until(lambda: adapter.took == list(range(24, 40)))
        assert it.voice.counters.delivered == 16


async def test_the_last_words_are_taken_before_the_end_and_only_if_it_is_a_plain_one() -> None:
    adapter = Sends()
    async with agent(adapter) as it:
        for name, drain in (("k1", True), ("k2", False)):
            it.voice.requested(CHANNEL, name)
            it.voice.keyed(CHANNEL, name)
            it.send(0, transmission=name)
            await wait_until(lambda: adapter.took and adapter.took[-1] == 0)
            it.send(1, 2, transmission=name)
            await it.voice.end(CHANNEL, name, drain=drain)
            adapter.took.append(-1)
        assert adapter.took == [0, 1, 2, -1, 0, -1]
        assert it.voice.counters.dropped == 2


@pytest.mark.parametrize("error", [ProtocolViolation("broken", device="s"), RuntimeError("oops")])
async def test_an_adapter_that_fails_ends_the_voice_of_that_key_alone(error: Exception) -> None:
    adapter = Sends(error)
    async with agent(adapter) as it:
        it.voice.requested(CHANNEL, "k1")
        it.voice.keyed(CHANNEL, "k1")
        it.send(0)
        await wait_until(lambda: adapter.calls == 1)
        await asyncio.sleep(0)
        it.send(1)
        await it.voice.end(CHANNEL, "k1", drain=True)
        adapter.error = None
        it.voice.requested(CHANNEL, "k2")
        it.voice.keyed(CHANNEL, "k2")
        it.send(2, transmission="k2")
        await wait_until(lambda: adapter.took == [2])


async def test_nothing_is_left_when_the_agent_ends_while_the_adapter_hangs() -> None:
    adapter = Sends()
    adapter.may.clear()
    async with agent(adapter) as it:
        it.voice.requested(CHANNEL, "k1")
        it.voice.keyed(CHANNEL, "k1")
        it.send(0)
        await wait_until(lambda: adapter.calls == 1)
        before = len(asyncio.all_tasks())
    assert len(asyncio.all_tasks()) == before - 1


async def test_an_iterator_that_is_closed_ends() -> None:
    out = Outgoing("k1", AgentVoiceCounters())
    out.put(frame(0))
    out.close(drain=True)
    out.put(frame(1))
    assert [each.sequence async for each in out] == [0]
