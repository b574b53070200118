"""The roster on a real database and a real bus: what is registered runs, what changes follows."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from brokers import RunningBroker
from databases import ON_SQLITE, Registry
from lab import running
from patience import wait_until
from scripted import Script, ScriptedAdapter, now

from adapters.events import FloorTaken
from gateway import roster as rooms
from gateway.access.errors import Unsealable
from gateway.agents.radio import RadioAgent
from gateway.bus.client import Bus
from gateway.bus.messages import decode
from gateway.bus.presence import Presence
from gateway.bus.topics import Topics
from gateway.interop.bridge import Bridge
from gateway.interop.definitions import DefinitionsFile
from gateway.interop.directory import Directory
from gateway.interop.lease import BridgeLease
from gateway.interop.showing import voice_between
from gateway.roster import Roster
from registry import channels, devices, organizations, patches, reshaping, systems
from registry.channels import NewChannel
from registry.database import Database
from registry.devices import NewDevice
from registry.organizations import NewOrganization
from registry.partition import SYSTEM
from registry.patches import Member, NewPatch
from registry.sources import FoundSource
from registry.systems import NewSystem

pytest_plugins = ["databases"]
pytestmark = ON_SQLITE


@dataclasses.dataclass(slots=True)
class Stage:
    """What runs, what is written, and what was said on the bus by topic."""

    roster: Roster
    bridge: Bridge
    bus: Bus
    registry: Registry
    script: Script
    file: Path
    said: dict[str, dict[str, Any] | None] = dataclasses.field(default_factory=dict)
    order: list[tuple[str, dict[str, Any] | None]] = dataclasses.field(default_factory=list)

    async def look(self) -> None:
        async with asyncio.timeout(30):
            await self.roster.look_now()

    def system(self, **fields: Any) -> systems.System:
        new = NewSystem(adapter="homebrew", name="Trunk", organization="d", **fields)
        return self.registry(systems.create, SYSTEM, new)

    def channel(self, system_id: str, address: str = "1/3101") -> channels.Channel:
        new = NewChannel(system=system_id, address=address, name=address, kind="trunk")
        return self.registry(channels.create, SYSTEM, new)

    def device(self) -> devices.Registration:
        new = NewDevice(adapter="onvif", endpoint="camera", organization="d")
        return self.registry(devices.register, SYSTEM, new, [FoundSource(address="v1")])

    def state(self, family: str, object_id: str) -> dict[str, Any] | None:
        return self.said.get(f"hutong/v1/org/{family}/state/d/{object_id}")


def opened(sealed: bytes) -> str:
    if sealed == b"other key":
        raise Unsealable
    return sealed.decode()


@contextlib.asynccontextmanager
async def running_roster(
    broker: RunningBroker, database: Database, folder: Path, script: Script
) -> AsyncIterator[Stage]:
    bus = Bus(broker.address, node="node", topics=Topics(), roles=("agent", "bridge"))
    watch = Bus(broker.address, node="watch", topics=Topics())
    presence = Presence(bus, asyncio.get_running_loop().time)
    lease = BridgeLease(bus, presence)
    bridge = Bridge(bus, presence, lease, Directory())
    file = folder / "definitions.json"
    roster = Roster(
        bus=bus,
        database=database,
        open_secret=opened,
        definitions_file=DefinitionsFile(file),
        directory=Directory(),
        bridge=bridge,
        run_agents=True,
    )
    stage = Stage(roster, bridge, bus, Registry(database), script, file)

    def hear(topic: str, payload: bytes) -> None:
        stage.said[topic] = decode(payload) if payload else None
        stage.order.append((topic, stage.said[topic]))

    for pattern in (
        "org/channels/state/#",
        "org/channels/event/#",
        "org/patches/state/#",
        "org/points/state/#",
        "systems/+/config",
    ):
        watch.subscribe(f"hutong/v1/{pattern}", hear)
    async with running(bus.run(), watch.run(), lease.run()):
        await wait_until(lambda: bus.connected.is_set() and watch.connected.is_set())
        async with running(roster.run()):
            yield stage


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    script = Script()
    monkeypatch.setattr(rooms, "radio_adapter", lambda *_: ScriptedAdapter(script))

    def camera(run: devices.RunningDevice, open_secret: Any) -> ScriptedAdapter:
        if run.secret:
            open_secret(run.secret)
        return ScriptedAdapter(script)

    monkeypatch.setattr(rooms, "device_adapter", camera)
    return script


@pytest.fixture
async def stage(
    embedded_broker: RunningBroker, database: Database, tmp_path: Path, script: Script
) -> AsyncIterator[Stage]:
    Registry(database)(
        organizations.create, SYSTEM, NewOrganization(kind="district", name="D", slug="d")
    )
    async with running_roster(embedded_broker, database, tmp_path, script) as it:
        yield it


async def test_what_is_registered_runs_and_is_said(stage: Stage) -> None:
    system = stage.system()
    channel = stage.channel(system.id)
    registration = stage.device()
    await stage.look()
    await wait_until(lambda: (stage.state("channels", channel.id) or {}).get("health") == "ok")
    point_id = registration.created[0].point_id
    await wait_until(lambda: (stage.state("points", point_id) or {}).get("status") == "online")
    config = stage.said[f"hutong/v1/systems/{system.id}/config"]
    assert config is not None
    assert [c["address"] for c in config["channels"]] == ["1/3101"]
    await wait_until(
        lambda: stage.registry(devices.get, SYSTEM, registration.device_id).status == "online"
    )


async def test_a_system_that_is_switched_off_while_keyed_gets_its_terminator(
    stage: Stage,
) -> None:
    system = stage.system()
    channel = stage.channel(system.id)
    await stage.look()
    await wait_until(lambda: stage.script.running)
    stage.script.keyed["1/3101"] = "t-1"
    stage.registry(systems.update, SYSTEM, system.id, {"enabled": False})
    await stage.look()
    assert stage.script.terminators == ["t-1"]
    assert stage.roster.agents.systems == {}
    await wait_until(lambda: stage.state("channels", channel.id) is None)
    await wait_until(lambda: stage.said[f"hutong/v1/systems/{system.id}/config"] is None)


async def test_an_edited_system_starts_anew_and_an_unchanged_one_does_not(stage: Stage) -> None:
    system = stage.system(settings={"port": 1})
    stage.channel(system.id)
    await stage.look()
    await wait_until(lambda: stage.script.attempts == 1)
    await stage.look()
    assert stage.script.attempts == 1
    stage.registry(systems.update, SYSTEM, system.id, {"settings": {"port": 2}})
    await stage.look()
    await wait_until(lambda: stage.script.attempts == 2)
    assert stage.script.at_once == 1


async def test_a_measured_echo_is_told_without_beginning_anew(stage: Stage) -> None:
    system = stage.system()
    channel = stage.channel(system.id)
    await stage.look()
    await wait_until(lambda: stage.script.attempts == 1)
    stage.registry(channels.note_echoes, SYSTEM, {channel.id: 0.8})
    await stage.look()
    topic = f"hutong/v1/systems/{system.id}/config"
    await wait_until(lambda: (stage.said[topic] or {})["channels"][0]["echo_s"] == 1.1)
    agent = stage.roster.agents.systems[system.id]
    assert agent._states[channel.id].channel.echo_s == 1.1
    assert stage.script.attempts == 1
    known = DefinitionsFile(stage.file).load()
    assert known is not None
    assert [each.echo_s for each in known.channels] == [1.1]


async def test_everything_that_was_keyed_is_ended_when_the_roster_ends(
    embedded_broker: RunningBroker, database: Database, tmp_path: Path, script: Script
) -> None:
    registry = Registry(database)
    registry(organizations.create, SYSTEM, NewOrganization(kind="district", name="D", slug="d"))
    async with running_roster(embedded_broker, database, tmp_path, script) as stage:
        stage.channel(stage.system().id)
        await stage.look()
        await wait_until(lambda: script.running)
        script.keyed["1/3101"] = "t-1"
    assert script.terminators == ["t-1"]
    assert script.running == 0


async def test_a_deleted_device_leaves_no_state_behind(stage: Stage) -> None:
    registration = stage.device()
    point_id = registration.created[0].point_id
    await stage.look()
    await wait_until(lambda: stage.state("points", point_id))
    stage.registry(devices.delete, SYSTEM, registration.device_id)
    await stage.look()
    await wait_until(lambda: stage.state("points", point_id) is None)
    assert stage.roster.agents.devices == {}


async def test_topics_follow_an_organisation_that_moves(
    broker: RunningBroker,
    database: Database,
    tmp_path: Path,
    script: Script,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Set under the new path first, then cleared under the old one; talk and keys end cleanly."""
    camera = Script()
    monkeypatch.setattr(rooms, "device_adapter", lambda *_: ScriptedAdapter(camera))
    registry = Registry(database)
    district = NewOrganization(kind="district", name="D", slug="d")
    district_id = registry(organizations.create, SYSTEM, district).id
    async with running_roster(broker, database, tmp_path, script) as stage:
        system = stage.system()
        channel, second = stage.channel(system.id), stage.channel(system.id, "2/3102")
        members = (Member(channel_id=channel.id), Member(channel_id=second.id))
        patch = NewPatch(name="P", organization="d", voice="silence", members=members)
        patch_id = registry(patches.create, SYSTEM, patch).id
        point_id = stage.device().created[0].point_id
        await stage.look()
        state = "hutong/v1/org/{}/state/{}/{}".format
        names = [("channels", channel.id), ("channels", second.id)]
        names += [("points", point_id), ("patches", patch_id)]
        await wait_until(
            lambda: all(stage.said.get(state(family, "d", name)) for family, name in names)
        )
        members_of = state("patches", "d", patch_id)
        await wait_until(
            lambda: {m["health"] for m in stage.said[members_of]["members"]} == {"ok"}  # type: ignore[index]
        )
        taken = FloorTaken(at=now(), address="1/3101", stream="s", talker="7", hold_s=30.0)
        script.say(taken)
        await wait_until(lambda: "2/3102" in script.keyed)
        await wait_until(lambda: stage.state("channels", channel.id)["floor"] == "taken")  # type: ignore[index]
        transmission = script.keyed["2/3102"]
        stage.order.clear()
        registry(reshaping.move, SYSTEM, district_id, parent=None, slug="e")
        await stage.look()
        await wait_until(
            lambda: all(
                stage.said.get(state(family, "e", name))
                and stage.said.get(state(family, "d", name)) is None
                for family, name in names
            )
        )
        assert script.terminators == [transmission]
        for family, name in names:
            said = [topic for topic, _ in stage.order]
            begun = said.index(state(family, "e", name))
            cleared = stage.order.index((state(family, "d", name), None))
            assert begun < cleared, (family, said)
        event = f"hutong/v1/org/channels/event/d/{channel.id}"
        ended = [said for topic, said in stage.order if topic == event and said]
        assert [each["type"] for each in ended] == ["hutong.floor.idle"]
        fresh = stage.said[state("channels", "e", channel.id)]
        assert fresh is not None
        assert (fresh["floor"], fresh["talker"]) == ("idle", "")
        # What talks from here on is bridged under the new path.
        await wait_until(lambda: script.running == 1)
        await wait_until(
            lambda: stage.said[state("channels", "e", second.id)]["health"] == "ok"  # type: ignore[index]
        )
        stage.order.clear()
        script.say(dataclasses.replace(taken, at=now(), stream="t"))
        await wait_until(lambda: script.keyed.get("2/3102") not in (None, transmission))
        assert not [topic for topic, _ in stage.order if "/d/" in topic]


async def test_a_secret_of_another_key_stops_that_system_and_nothing_else(stage: Stage) -> None:
    sealed = stage.system(secrets=b"other key")
    channel = stage.channel(sealed.id)
    registration = stage.device()
    await stage.look()
    await wait_until(lambda: (stage.state("channels", channel.id) or {}).get("health") == "down")
    await wait_until(
        lambda: stage.registry(devices.get, SYSTEM, registration.device_id).status == "online"
    )


async def test_a_look_that_is_awaited_saw_all_that_was_written_before(stage: Stage) -> None:
    """Also when another look was already under way."""
    for number in range(5):
        running_look = asyncio.create_task(stage.roster.look_now())
        await asyncio.sleep(0)
        system = stage.registry(
            systems.create,
            SYSTEM,
            NewSystem(adapter="homebrew", name=f"S{number}", organization="d"),
        )
        await stage.look()
        assert isinstance(stage.roster.agents.systems.get(system.id), RadioAgent)
        await running_look


async def test_patches_go_on_from_the_file_while_the_database_is_away(
    embedded_broker: RunningBroker, database: Database, tmp_path: Path, script: Script
) -> None:
    registry = Registry(database)
    registry(organizations.create, SYSTEM, NewOrganization(kind="district", name="D", slug="d"))
    async with running_roster(embedded_broker, database, tmp_path, script) as stage:
        system = stage.system()
        members = tuple(
            Member(channel_id=stage.channel(system.id, address).id)
            for address in ("1/3101", "2/3102")
        )
        new = NewPatch(name="Joined", organization="d", members=members)
        patch = registry(patches.create, SYSTEM, new)
        await stage.look()
        assert patch.id.encode() in stage.file.read_bytes()
    away = Database(f"sqlite:///{tmp_path / 'nowhere' / 'none.db'}")
    try:
        async with running_roster(embedded_broker, away, tmp_path, script) as stage:
            await wait_until(
                lambda: [len(f.rules.members) for f in stage.bridge.floors()] == [2],
            )
            (floor,) = stage.bridge.floors()
            assert set(voice_between(floor.rules).values()) == {"all"}, "they share a codec"
            await stage.look()
            assert [len(f.rules.members) for f in stage.bridge.floors()] == [2]
    finally:
        await away.close()


async def test_agents_go_on_when_the_database_dies(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = stage.channel(stage.system().id)
    await stage.look()
    await wait_until(lambda: (stage.state("channels", channel.id) or {}).get("health") == "ok")

    async def broken(_fn: object) -> None:
        raise RuntimeError("not foreseen")

    monkeypatch.setattr(stage.registry.database, "read", broken)
    await stage.look()
    taken = FloorTaken(at=now(), address="1/3101", stream="s", talker="7", hold_s=3.0)
    stage.script.say(taken)
    await wait_until(lambda: (stage.state("channels", channel.id) or {}).get("floor") == "taken")
