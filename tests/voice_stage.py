"""A stage for voice: a real broker, a bridge, and agents of scripted or real adapters.

PYTEST_DONT_REWRITE: it asserts nothing.
"""

import asyncio
import contextlib
import dataclasses
import itertools
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any, ClassVar

from brokers import RunningBroker
from lab import ORG, running
from patience import wait_until
from scripted import Script, ScriptedAdapter, now

from adapters.base import Adapter, Capability, RadioTraits
from adapters.events import (
    AMBE_DMR,
    FloorIdle,
    FloorRefreshed,
    FloorTaken,
    VoiceFlag,
    VoiceFrame,
    VoiceHeard,
)
from gateway.agents.radio import Channel, RadioAgent
from gateway.agents.supervisor import Budget
from gateway.bus.client import Bus
from gateway.bus.link import connect
from gateway.bus.messages import decode
from gateway.bus.presence import Presence
from gateway.bus.topics import Topics
from gateway.bus.voice import decode_voice
from gateway.interop.bridge import Bridge
from gateway.interop.definitions import (
    ChannelDefinition,
    Definitions,
    PatchDefinition,
    PatchMember,
)
from gateway.interop.directory import Directory
from gateway.interop.lease import BridgeLease

CODECS = {"a": (AMBE_DMR,), "b": (AMBE_DMR, "opus"), "c": (AMBE_DMR,), "d": ("opus",), "e": ()}


@dataclasses.dataclass(slots=True)
class VoiceScript(Script):
    """sent: what the adapter was given to send."""

    numbers: Iterator[int] = dataclasses.field(default_factory=itertools.count)
    sent: list[VoiceFrame] = dataclasses.field(default_factory=list)
    sending: int = 0

    def take(self, stream: str, **fields: Any) -> None:
        self.numbers = itertools.count()
        taken = FloorTaken(at=now(), address="7", stream=stream, talker="12", hold_s=30, **fields)
        self.say(taken)

    def refresh(self, stream: str) -> None:
        self.say(FloorRefreshed(at=now(), address="7", stream=stream, talker="12", hold_s=30))

    def speak(self, stream: str, count: int = 1, flags: int = 0) -> list[bytes]:
        """Payloads that nobody else says."""
        payloads = []
        for number in itertools.islice(self.numbers, count):
            payloads.append(f"{stream}/{number}".encode().ljust(27, b"\xa5"))
            frame = VoiceFrame(
                transmission=stream,
                sequence=number,
                media_time_us=number * 60_000,
                codec=AMBE_DMR,
                duration_ms=60,
                flags=flags | (VoiceFlag.FIRST if number == 0 else 0),
                payload=payloads[-1],
            )
            self.say(VoiceHeard(at=now(), address="7", frame=frame))
        return payloads

    def end(self, stream: str) -> None:
        self.say(FloorIdle(at=now(), address="7", stream=stream))

    def heard(self) -> list[bytes]:
        return [frame.payload for frame in self.sent]


class Voiced(ScriptedAdapter):
    capabilities: ClassVar[frozenset[Capability]] = frozenset({Capability.KEY, Capability.VOICE})
    script: VoiceScript

    async def send_voice(self, frames: AsyncIterator[VoiceFrame]) -> None:
        self.script.sending += 1
        try:
            async for frame in frames:
                self.script.sent.append(frame)
        finally:
            self.script.sending -= 1


@dataclasses.dataclass(slots=True)
class Stage:
    bus: Bus
    bridge_bus: Bus
    bridge: Bridge
    bridge_tasks: list[asyncio.Task[None]]
    scripts: dict[str, VoiceScript]
    agents: dict[str, RadioAgent]
    states: dict[str, dict[str, Any]]
    on_in: list[VoiceFrame]
    defined: Definitions
    lease: BridgeLease
    commands: list[dict[str, Any]]

    def forwards(self, name: str) -> list[dict[str, Any]]:
        return [
            each
            for each in self.commands
            if (each["channel"], each["action"]) == (f"channel-{name}", "voice.forward")
        ]

    async def ready(self) -> None:
        patches = self.defined.patches
        members = patches[0].members if patches else ()
        lines = [self.bus.voice("agent")]
        if patches and patches[0].voice == "frames":
            lines.append(self.bridge_bus.voice("bridge"))
        await wait_until(lambda: self.lease.held, timeout_s=60, what="the lease")
        for line in lines:
            await wait_until(line.ready.is_set, timeout_s=60, what="voice")
        for member in members:
            await wait_until(
                lambda name=member.channel[-1]: self.member(name).get("health") == "ok",  # type: ignore[misc]
                timeout_s=60,
                what=f"health of {member.channel}",
            )

    def member(self, name: str) -> dict[str, Any]:
        members = self.states.get("patch-1", {}).get("members", [])
        return next((each for each in members if each["channel"] == f"channel-{name}"), {})

    def keyed(self, name: str) -> str:
        return self.scripts[name].keyed.get("7", "")


def patched(*names: str, **fields: Any) -> Definitions:
    return Definitions(
        channels=tuple(
            ChannelDefinition(
                id=f"channel-{name}",
                name=name,
                org=ORG,
                system_id=f"system-{name}",
                voice=codecs,
            )
            for name, codecs in CODECS.items()
        ),
        patches=(
            PatchDefinition(
                id="patch-1",
                name="p",
                org=ORG,
                members=tuple(PatchMember(channel=f"channel-{name}") for name in names),
                **{"hang_s": 0.2, "max_talk_s": 60, "queue": False, "voice": "frames", **fields},
            ),
        ),
    )


Make = Callable[[tuple[str, ...]], Adapter]


@contextlib.asynccontextmanager
async def stage(
    broker: RunningBroker,
    defined: Definitions,
    systems: Mapping[str, Make] | None = None,
    address: str = "7",
) -> AsyncIterator[Stage]:
    """All up, and the bridge holding its lease. systems: real adapters by name, in place of
    scripted ones, for which `ready` is to be awaited; address: of each one's channel."""
    loop = asyncio.get_running_loop()
    bus = Bus(broker.address, node="agent", topics=Topics(), roles=("agent",))
    bridge_bus = Bus(broker.address, node="bridge", topics=Topics(), roles=("bridge",))
    presence = Presence(bridge_bus, loop.time)
    lease = BridgeLease(bridge_bus, presence)
    bridge = Bridge(bridge_bus, presence, lease, Directory())
    bridge.define(defined)
    scripts = {name: VoiceScript() for name in CODECS}
    states: dict[str, dict[str, Any]] = {}
    on_in: list[VoiceFrame] = []

    def note_state(topic: str, payload: bytes) -> None:
        states[topic.rsplit("/", 1)[1]] = decode(payload) if payload else {}

    commands: list[dict[str, Any]] = []

    def note_command(topic: str, payload: bytes) -> None:
        commands.append({**decode(payload), "channel": topic.rsplit("/", 1)[1]})

    bus.subscribe(bus.topics.org_all("patches", "state"), note_state, kept=True)
    bridge_bus.subscribe(bridge_bus.topics.org_all("channels", "command"), note_command)
    made = systems or {name: scripted(script) for name, script in scripts.items()}
    agents = {
        name: RadioAgent(
            bus,
            system_id=f"system-{name}",
            org=ORG,
            make=make,
            traits=RadioTraits(voice=CODECS[name]),
            channels=(Channel(id=f"channel-{name}", address=address, org=ORG),),
            budget=Budget(),
        )
        for name, make in made.items()
    }
    async with contextlib.AsyncExitStack() as stack:
        spy = await stack.enter_async_context(
            connect(
                broker.address.for_voice("bridge"),
                "spy",
                lambda _topic, message: on_in.append(decode_voice(message)),
            )
        )
        await spy.subscribe(Topics().voice_in_all(), 0)
        await stack.enter_async_context(running(bus.run()))
        tasks = await stack.enter_async_context(running(bridge_bus.run(), lease.run()))
        await stack.enter_async_context(running(*(agent.run() for agent in agents.values())))
        it = Stage(
            bus, bridge_bus, bridge, tasks, scripts, agents, states, on_in, defined, lease, commands
        )
        if systems is None:
            await it.ready()
        yield it


def scripted(script: VoiceScript) -> Make:
    return lambda _addresses: Voiced(script)
