"""A small radio world for tests: a real broker, the bridge, the agents with the real adapters,
and simulated repeaters, radios, a PTT server and phones on the other end of their wires."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator
from typing import Any

from brokers import RunningBroker
from patience import wait_until
from wire_schema import Traffic

from gateway.agents.build import radio_adapter
from gateway.agents.radio import Channel, RadioAgent
from gateway.agents.supervisor import Budget
from gateway.bus.client import Bus
from gateway.bus.messages import decode, decode_event
from gateway.bus.presence import Presence
from gateway.bus.topics import Topics
from gateway.interop.bridge import Bridge
from gateway.interop.definitions import (
    ChannelDefinition,
    Definitions,
    PatchDefinition,
    PatchMember,
    UnitDefinition,
)
from gateway.interop.directory import Directory
from gateway.interop.lease import BridgeLease
from gateway.roster import traits_of
from simulators.homebrew_repeater import Radio, Repeater
from simulators.zello_server import Phone, ZelloServer

PASSPHRASE = "correct horse"
TALKGROUP, SLOT = 3101, 1
TRUNK_CHANNEL, PTT_CHANNEL = "channel-trunk", "channel-ptt"
TRUNK, PTT = "system-trunk", "system-ptt"
ORG = "shenhe/wanlian"


@dataclasses.dataclass(slots=True)
class Heard:
    """All that went over the bus, as a stranger with the reader's right would see it; it must be
    what docs/asyncapi.yaml says, unless the test itself writes what is not (poisoned)."""

    events: list[tuple[str, dict[str, Any]]] = dataclasses.field(default_factory=list)
    states: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    commands: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    raw: list[tuple[str, bytes]] = dataclasses.field(default_factory=list)
    traffic: Traffic = dataclasses.field(default_factory=Traffic)
    poisoned: bool = False

    def of(self, kind: str, channel: str | None = None) -> list[dict[str, Any]]:
        return [
            {"subject": subject, **data}
            for (k, data) in self.events
            if k == kind
            for subject in [data["_subject"]]
            if channel in (None, subject)
        ]


@dataclasses.dataclass(slots=True)
class Lab:
    """The pieces, to press, listen and break."""

    broker: RunningBroker
    bus: Bus
    bridge_bus: Bus
    bridge: Bridge
    bridge_task: asyncio.Task[None]
    trunk: RadioAgent
    ptt: RadioAgent
    repeater: Repeater
    radio: Radio
    listener: Radio
    server: ZelloServer
    phone: Phone
    heard: Heard
    definitions: Definitions

    def patch_state(self) -> dict[str, Any]:
        return self.heard.states.get("patch-1", {})

    def channel_state(self, channel: str) -> dict[str, Any]:
        return self.heard.states.get(channel, {})


def definitions(*, units: tuple[UnitDefinition, ...] = (), **patch: Any) -> Definitions:
    fields: dict[str, Any] = {
        "hang_s": 0.3,
        "max_talk_s": 60.0,
        "queue": False,
        "voice": "silence",
        **patch,
    }
    return Definitions(
        channels=(
            ChannelDefinition(id=TRUNK_CHANNEL, name="TG 3101", org=ORG, system_id=TRUNK),
            ChannelDefinition(id=PTT_CHANNEL, name="Patrol", org=ORG, system_id=PTT, can_tell=True),
        ),
        patches=(
            PatchDefinition(
                id="patch-1",
                name="Joined",
                org=ORG,
                members=(PatchMember(channel=TRUNK_CHANNEL), PatchMember(channel=PTT_CHANNEL)),
                **fields,
            ),
        ),
        units=units,
    )


def _listen(bus: Bus, heard: Heard) -> None:
    topics = bus.topics

    def on_event(topic: str, payload: bytes) -> None:
        heard.raw.append((topic, payload))
        heard.traffic.hear(topic, payload)
        event = decode_event(payload)
        heard.events.append((event.type, {**event.data, "_subject": event.subject}))

    def on_state(topic: str, payload: bytes) -> None:
        heard.raw.append((topic, payload))
        heard.traffic.hear(topic, payload)
        if payload:
            heard.states[topic.rsplit("/", 1)[-1]] = decode(payload)

    def on_command(topic: str, payload: bytes) -> None:
        heard.raw.append((topic, payload))
        heard.traffic.hear(topic, payload)
        heard.commands.append({"channel": topic.rsplit("/", 1)[-1], **decode(payload)})

    for kind in ("event", "decision"):
        bus.subscribe(topics.org_all("channels", kind), on_event)
    bus.subscribe(topics.org_all("systems", "event"), heard.traffic.hear)
    bus.subscribe(topics.org_all("channels", "request"), heard.traffic.hear)
    bus.subscribe(topics.status_all(), heard.traffic.hear)
    bus.subscribe(topics.bridge_lease(), heard.traffic.hear)
    bus.subscribe(topics.org_all("channels", "command"), on_command)
    for family in ("channels", "patches"):
        bus.subscribe(topics.org_all(family, "state"), on_state, kept=True)


@contextlib.asynccontextmanager
async def running(*works: Any) -> AsyncIterator[list[asyncio.Task[None]]]:
    tasks = [asyncio.create_task(work) for work in works]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task


@contextlib.asynccontextmanager
async def radio_lab(
    broker: RunningBroker, defined: Definitions | None = None, lease_ttl: object = None
) -> AsyncIterator[Lab]:
    """Everything up, signed in, and the bridge holding its lease."""
    defined = defined or definitions()
    loop = asyncio.get_running_loop()
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(
            ZelloServer(accounts={"gateway": "secret"}, channels=["Patrol"])
        )
        phone = server.phone("phone-1")
        agent_bus = Bus(broker.address, node="agent", topics=Topics(), roles=("agent",))
        bridge_bus = Bus(broker.address, node="bridge", topics=Topics(), roles=("bridge",))
        watch_bus = Bus(broker.address, node="watch", topics=Topics())
        heard = Heard()
        _listen(watch_bus, heard)
        presence = Presence(bridge_bus, loop.time)
        lease = BridgeLease(bridge_bus, presence)
        bridge = Bridge(bridge_bus, presence, lease, Directory())
        bridge.define(defined)
        budget = Budget()
        made: list[Any] = []

        def make_trunk(addresses: tuple[str, ...]) -> Any:
            settings = {"port": 0, "passphrase": PASSPHRASE, "hold_s": 0.6}
            made.append(radio_adapter("homebrew", settings, addresses))
            return made[-1]

        def make_ptt(addresses: tuple[str, ...]) -> Any:
            settings = {"url": server.url, "username": "gateway", "password": "secret"}
            return radio_adapter("zello", settings, addresses)

        trunk = RadioAgent(
            agent_bus,
            system_id=TRUNK,
            org=ORG,
            make=make_trunk,
            traits=traits_of("homebrew"),
            channels=(Channel(id=TRUNK_CHANNEL, address=f"{SLOT}/{TALKGROUP}", org=ORG),),
            budget=budget,
        )
        ptt = RadioAgent(
            agent_bus,
            system_id=PTT,
            org=ORG,
            make=make_ptt,
            traits=traits_of("zello"),
            channels=(Channel(id=PTT_CHANNEL, address="Patrol", org=ORG),),
            budget=budget,
        )
        await stack.enter_async_context(running(watch_bus.run(), agent_bus.run(), lease.run()))
        (bridge_task,) = await stack.enter_async_context(running(bridge_bus.run()))
        await watch_bus.connected.wait()
        await stack.enter_async_context(running(trunk.run(), ptt.run()))
        await wait_until(
            lambda: made and made[0].local_address is not None, what="homebrew listens"
        )
        repeater = await stack.enter_async_context(
            Repeater(id=460001, passphrase=PASSPHRASE, master=made[0].local_address)
        )
        await repeater.wait_signed_in()
        radio, listener = repeater.radio(3101001, "Zhang Wei"), repeater.radio(3101002, "Li Na")
        lab = Lab(
            broker=broker,
            bus=agent_bus,
            bridge_bus=bridge_bus,
            bridge=bridge,
            bridge_task=bridge_task,
            trunk=trunk,
            ptt=ptt,
            repeater=repeater,
            radio=radio,
            listener=listener,
            server=server,
            phone=phone,
            heard=heard,
            definitions=defined,
        )
        await wait_until(lambda: ready(lab), timeout_s=60, what=f"all ready: {lab.heard.states}")
        yield lab
        if not heard.poisoned:
            heard.traffic.check()


def ready(lab: Lab) -> bool:
    members = lab.patch_state().get("members", [])
    return len(members) == 2 and all(member["health"] == "ok" for member in members)
