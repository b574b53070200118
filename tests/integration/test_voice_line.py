"""Voice on real brokers: a connection of its own, and on the embedded one a right of its own."""

import contextlib
import functools
from pathlib import Path

from brokers import RunningBroker
from lab import running as tasks
from patience import wait_until

from adapters.events import AMBE_DMR, VoiceFrame
from gateway.bus.broker import EmbeddedBroker
from gateway.bus.client import Bus
from gateway.bus.link import connect
from gateway.bus.topics import Topics
from gateway.bus.voice import decode_voice, encode_voice

IN, OUT = Topics().voice_in("c1"), Topics().voice_out("c1")


def frame(sequence: int) -> VoiceFrame:
    return VoiceFrame(
        transmission="t1",
        sequence=sequence,
        media_time_us=sequence * 60_000,
        codec=AMBE_DMR,
        duration_ms=60,
        flags=0,
        payload=bytes(27),
    )


async def test_frames_pass_from_an_agent_to_the_bridge_and_back(broker: RunningBroker) -> None:
    node = Bus(broker.address, node="n", topics=Topics(), roles=("agent", "bridge"))
    agent, bridge = node.voice("agent"), node.voice("bridge")
    heard: list[tuple[str, int]] = []

    def on_in(topic: str, message: bytes) -> None:
        heard.append((topic, decode_voice(message).sequence))
        bridge.publish(OUT, message)

    bridge.subscribe(Topics().voice_in_all(), on_in)
    agent.subscribe(OUT, lambda topic, message: heard.append((topic, len(message))))
    assert not agent.publish(IN, encode_voice(frame(0))), "there is no connection yet"
    async with tasks(node.run()):
        await wait_until(lambda: agent.ready.is_set() and bridge.ready.is_set(), timeout_s=30)
        assert agent.publish(IN, encode_voice(frame(7)))
        await wait_until(lambda: len(heard) == 2, timeout_s=30, what=f"{heard}")
        assert heard == [(IN, 7), (OUT, len(encode_voice(frame(7))))]
        agent.publish(IN, b"\x01 no voice frame")
        await wait_until(lambda: bridge.counters.unreadable == 1, timeout_s=30)
        await broker.kill()
        await wait_until(lambda: not agent.ready.is_set(), timeout_s=30)
        await broker.start()
        await wait_until(
            lambda: agent.ready.is_set() and bridge.ready.is_set(), timeout_s=60, what="it is back"
        )
        agent.publish(IN, encode_voice(frame(8)))
        await wait_until(lambda: len(heard) == 4, timeout_s=30, what="voice after the break")
    assert agent.counters.dropped == 1
    assert not agent.publish(IN, encode_voice(frame(9))), "nothing is left open"


def note(said: list[str], topic: str, _payload: bytes) -> None:
    said.append(topic)


async def test_nobody_else_hears_or_says_voice_on_the_embedded_broker(tmp_path: Path) -> None:
    heard: dict[str, list[str]] = {}
    async with EmbeddedBroker(tmp_path) as broker, contextlib.AsyncExitStack() as stack:
        everybody = {
            "gateway": broker.address,
            "reader": broker.reader,
            "agent": broker.address.for_voice("agent"),
            "bridge": broker.address.for_voice("bridge"),
        }
        links, granted = {}, {}
        for name, address in everybody.items():
            heard[name] = []
            links[name] = await stack.enter_async_context(
                connect(address, name, functools.partial(note, heard[name]))
            )
        for name, link in links.items():
            granted[name] = {
                each: await link.subscribe(each, 0)
                for each in ("hutong/v1/voice/+/in", "hutong/v1/voice/+/out", "hutong/v1/status/+")
            }
        assert granted["agent"] == dict(zip(granted["agent"], (False, True, False), strict=True))
        assert granted["bridge"] == dict(zip(granted["bridge"], (True, False, False), strict=True))
        for name in ("gateway", "reader"):
            assert granted[name] == dict(zip(granted[name], (False, False, True), strict=True))
        assert not await links["reader"].subscribe("hutong/v1/voice/c1/in", 0)
        await links["reader"].subscribe("hutong/#", 0)
        for name, link in links.items():
            for topic in (IN, OUT):
                link.publish(topic, name.encode(), qos=0)
        await wait_until(
            lambda: heard["agent"] == [OUT] and heard["bridge"] == [IN],
            timeout_s=30,
            what=f"{heard}",
        )
        links["gateway"].publish("hutong/v1/status/n", b"{}", qos=0)
        await wait_until(lambda: bool(heard["reader"]), timeout_s=30, what="what it may read")
        assert set(heard["reader"]) == {"hutong/v1/status/n"}
        assert heard["agent"] == [OUT]
        assert heard["bridge"] == [IN]
