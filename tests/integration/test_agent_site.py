"""`hutong agent` as a process of its own: real brokers, a repeater, a bridge and a journal."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sqlite3
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from brokers import RunningBroker
from brokers import running as running_broker
from databases import ON_SQLITE
from lab import ORG, PASSPHRASE, PTT_CHANNEL, SLOT, TALKGROUP, TRUNK, TRUNK_CHANNEL, running
from patience import wait_until
from scripted import Script, maker, now
from test_agent_outbox import journalled
from test_bridge_takeover import url_of
from test_interop_journal import events_of, fill
from test_interop_two_bridges import agents, party
from test_roster_runs import running_roster
from wire_schema import faults

from adapters.errors import InvalidSettings
from adapters.events import FloorTaken
from gateway import roster, site
from gateway.agents.build import radio_adapter
from gateway.agents.radio import RadioAgent
from gateway.bus.client import Bus
from gateway.bus.errors import BrokerRefused
from gateway.bus.messages import CloudEvent, decode, decode_event
from gateway.bus.topics import Topics
from gateway.settings import SettingsError, load
from gateway.startup import CannotStart
from registry import organizations, systems
from registry.database import Database
from registry.organizations import NewOrganization
from registry.partition import SYSTEM
from simulators.homebrew_repeater import Radio, Repeater

pytest_plugins = ["databases"]
PATIENCE_S = 60.0


def config(port: int, **changes: Any) -> dict[str, Any]:
    channel = {"id": TRUNK_CHANNEL, "address": f"{SLOT}/{TALKGROUP}", "org": ORG}
    return {
        "version": 1,
        "adapter": "homebrew",
        "channels": [{**channel, "gateway_unit_id": "", "hold_s": None, "echo_s": None}],
        "org": ORG,
        "runs_at": "site",
        "settings": {"port": port, "hold_s": 0.6, "runs_at": "site"},
        **changes,
    }


def free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Place:
    """A site's machine: its data directory, and the processes that ran on it."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.url = folder, url
        self.port = free_udp_port()
        folder.mkdir()
        self.secrets = folder / f"agent-{TRUNK}.toml"
        self.secrets.write_text(f'passphrase = "{PASSPHRASE}"\n')
        self.secrets.chmod(0o600)

    @contextlib.asynccontextmanager
    async def agent(self) -> AsyncIterator[asyncio.subprocess.Process]:
        with (self.folder / "log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "gateway.cli", "agent", "--system", TRUNK),
                env={
                    **{n: v for n, v in os.environ.items() if not n.startswith("HUTONG_")},
                    "HUTONG_DATA_DIR": str(self.folder),
                    "HUTONG_MQTT_URL": self.url,
                },
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def refusal(self, secrets: Path | None = None, url: str | None = None) -> str:
        """What an agent says that ends by itself. In this process, which saves the imports."""
        settings = load(data_dir=self.folder, mqtt_url=self.url if url is None else url)
        with pytest.raises((CannotStart, SettingsError, BrokerRefused)) as refused:
            async with asyncio.timeout(PATIENCE_S):
                await site.run(settings, TRUNK, secrets)
        return str(refused.value)

    @contextlib.asynccontextmanager
    async def repeater(self) -> AsyncIterator[tuple[Radio, Radio]]:
        """Two radios on a repeater that is signed in."""
        address = ("127.0.0.1", self.port)
        async with Repeater(id=460001, passphrase=PASSPHRASE, master=address) as it:
            await it.wait_signed_in(PATIENCE_S)
            yield it.radio(3101001, "Zhang Wei"), it.radio(3101002, "Li Na")

    def kept(self) -> list[CloudEvent]:
        """What the outbox has on disk."""
        file = self.folder / "outbox" / f"{TRUNK}.db"
        if not file.exists():
            return []
        with contextlib.closing(sqlite3.connect(file)) as opened:
            try:
                rows = opened.execute("SELECT event FROM waiting ORDER BY key").fetchall()
            except sqlite3.OperationalError:  # it is just being made
                return []
        return [decode_event(row[0]) for row in rows]


@contextlib.asynccontextmanager
async def gateway(
    broker: RunningBroker, said: dict[str, Any]
) -> AsyncIterator[tuple[Bus, list[tuple[str, dict[str, Any]]]]]:
    """Who says the config; and what is heard of statuses and of the backlog."""
    bus = Bus(broker.address, node="gateway", topics=Topics())
    heard: list[tuple[str, dict[str, Any]]] = []
    wrong: list[str] = []

    def hear(topic: str, payload: bytes) -> None:
        by_hand = b'"node":"agent"' in payload or topic.endswith(PTT_CHANNEL)
        if not by_hand:  # the lab's agents say less than real ones
            wrong.extend(faults(topic, payload))
        if payload:
            heard.append((topic, decode(payload)))

    for pattern in (bus.topics.system_backlog_all(), bus.topics.status_all()):
        bus.subscribe(pattern, hear)
    for family in ("state", "event"):
        bus.subscribe(bus.topics.org_all("channels", family), hear)
    bus.set_state(bus.topics.system_config(TRUNK), said)
    async with running(bus.run()):
        await bus.connected.wait()
        yield bus, heard
    assert wrong == []


def node_states(heard: list[tuple[str, dict[str, Any]]], place: Place) -> list[str]:
    file = place.folder / "node"
    name = file.read_text().strip() if file.exists() else "?"
    return [said["state"] for topic, said in heard if topic.endswith(f"/status/{name}")]


async def test_a_site_keys_for_a_bridge_and_unkeys_when_the_bridge_dies(
    embedded_broker: RunningBroker, tmp_path: Path
) -> None:
    place = Place(tmp_path / "site", url_of(embedded_broker.address))
    async with (
        agents(embedded_broker) as air,
        gateway(embedded_broker, config(place.port)) as (_, heard),
        place.agent() as process,
        place.repeater() as (_, listener),
        party(embedded_broker, "one") as one,
    ):
        air.bus.disown(air.bus.topics.org("channels", "state", ORG, TRUNK_CHANNEL))
        node = (place.folder / "node").read_text().strip()
        state = f"channels/state/{ORG}/{TRUNK_CHANNEL}"
        await wait_until(
            lambda: any(t.endswith(state) and s["node"] == node for t, s in heard), PATIENCE_S
        )
        await wait_until(lambda: one.held and air.healthy())
        air.say("floor.taken", PTT_CHANNEL, hold_s=20)
        talk = await listener.wait_heard(timeout_s=PATIENCE_S)
        assert talk.talkgroup == TALKGROUP
        one.task.cancel()
        ended = await listener.wait_heard(ended=True, timeout_s=PATIENCE_S)
        assert ended.ended_by == "terminator"
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE_S):
            assert await process.wait() == 0
        await wait_until(lambda: node_states(heard, place)[-1] == "offline")


@ON_SQLITE
async def test_an_agent_killed_while_the_broker_is_dead_tells_it_all_once_in_its_next_life(
    tmp_path: Path, journal_store: Database, database: Database
) -> None:
    await database.write(fill)
    folder = tmp_path / "broker"
    folder.mkdir()
    async with running_broker("mosquitto", folder) as broker:
        place = Place(tmp_path / "site", url_of(broker.address))
        async with gateway(broker, config(place.port)) as (_, heard):
            async with place.agent() as process, place.repeater() as (radio, _):
                await wait_until(lambda: "online" in node_states(heard, place), PATIENCE_S)
                await broker.kill()
                for _ in range(2):
                    assert radio.press(TALKGROUP, SLOT, emergency=True)
                    await radio.release()
                await wait_until(lambda: len(place.kept()) >= 4, PATIENCE_S, "on disk")
                earlier = [each.id for each in place.kept()]
                process.send_signal(signal.SIGKILL)
                await process.wait()
            async with place.agent() as again, place.repeater() as (radio, _):
                # Its config is on its disk: it runs while the broker is still dead.
                assert radio.press(TALKGROUP, SLOT)
                await radio.release()
                await wait_until(lambda: len(place.kept()) == len(earlier) + 1, PATIENCE_S)
                expected = [each.id for each in place.kept()]
                assert again.returncode is None
                await broker.start()
                async with journalled(broker, journal_store, database):
                    await wait_until(lambda: not place.kept(), PATIENCE_S, "acknowledged")
        found = await events_of(journal_store, subject=TRUNK_CHANNEL)
        mine = [each for each in found if each.source.endswith(TRUNK)]
        assert [each.id for each in mine if each.id in earlier] == earlier
        assert all(each.late for each in mine if each.id in earlier)
        # What was still young when the broker came is told at once, before what is late.
        assert sorted(each.id for each in mine if each.id in expected) == sorted(expected)


async def test_what_cannot_work_is_one_sentence(
    embedded_broker: RunningBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site, "CONFIG_WITHIN_S", 1.0)
    address = embedded_broker.address
    place = Place(tmp_path / "site", url_of(address))
    assert await place.refusal(url="") == (
        "HUTONG_MQTT_URL is not set: an agent at a site needs the broker of the gateway, such "
        "as mqtts://user:password@gateway.example"
    )
    place.secrets.chmod(0o640)
    assert "has mode 0640, so others may read it: chmod 600" in await place.refusal()
    place.secrets.chmod(0o600)
    missing = tmp_path / "none.toml"
    assert f"there is no secrets file {missing}" in await place.refusal(missing)
    wrong = url_of(address).replace(str(address.password), "wrong")
    assert "refused our name or password" in await place.refusal(url=wrong)
    assert f"the broker knows no system {TRUNK}" in await place.refusal()
    async with gateway(embedded_broker, config(place.port, runs_at="gateway")):
        assert "is run by the gateway: set runs_at to site" in await place.refusal()
    place.secrets.unlink()
    # What it read a moment ago is on its disk; what the broker says now is believed.
    async with gateway(embedded_broker, config(place.port)):
        assert await place.refusal() == (
            "the system's settings cannot work: homebrew: passphrase: Field required; secret "
            f"settings belong into {place.secrets}"
        )


async def test_a_site_follows_what_the_gateway_says_of_its_system(
    embedded_broker: RunningBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[RadioAgent] = []

    def begin(*parts: Any, **options: Any) -> RadioAgent:
        begun.append(RadioAgent(*parts, **options))
        return begun[-1]

    monkeypatch.setattr(site, "RadioAgent", begin)
    place = Place(tmp_path / "site", url_of(embedded_broker.address))
    settings = load(data_dir=place.folder, mqtt_url=place.url)
    told = Bus(embedded_broker.address, node="gateway", topics=Topics())
    states: dict[str, bytes] = {}

    def hear(topic: str, payload: bytes) -> None:
        states[topic.rsplit("/", 1)[1]] = payload

    told.subscribe(told.topics.org_all("channels", "state"), hear)
    topic = told.topics.system_config(TRUNK)
    other = {**config(place.port)["channels"][0], "id": "channel-other", "address": "1/9"}
    told.set_state(topic, config(place.port))
    async with running(told.run(), site.run(settings, TRUNK)):
        await wait_until(lambda: states.get(TRUNK_CHANNEL), what="it runs")
        copy = place.folder / f"system-{TRUNK}.json"
        slow = {**config(place.port)["channels"][0], "echo_s": 1.5}
        told.set_state(topic, config(place.port, channels=[slow]))
        await wait_until(lambda: b'"echo_s":1.5' in copy.read_bytes(), what="the new echo")
        assert len(begun) == 1  # no link is broken for it
        assert [state.channel.echo_s for state in begun[0]._states.values()] == [1.5]
        told.set_state(topic, config(place.port, channels=[other]))
        await wait_until(lambda: states.get("channel-other"), what="the new channel")
        await wait_until(lambda: states[TRUNK_CHANNEL] == b"", what="the old one is cleared")
        states.clear()
        told.set_state(topic, config(place.port, runs_at="gateway"))
        await wait_until(lambda: b'"gateway"' in copy.read_bytes())
        told.set_state(topic, config(place.port, version=9))
        await wait_until(lambda: states.get(TRUNK_CHANNEL), what="it runs again")


@ON_SQLITE
async def test_a_gateway_leaves_a_system_to_its_site_and_tells_it_no_secrets(
    embedded_broker: RunningBroker,
    tmp_path: Path,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script = Script()
    monkeypatch.setattr(roster, "radio_adapter", maker(script))
    async with running_roster(embedded_broker, database, tmp_path, script) as stage:
        district = NewOrganization(kind="district", name="d", slug="d")
        stage.registry(organizations.create, SYSTEM, district)
        secret = json.dumps({"passphrase": "not for the bus"}).encode()
        system = stage.system(settings={"port": 62031, "runs_at": "site"}, secrets=secret)
        channel = stage.channel(system.id)
        await stage.look()
        topic = f"hutong/v1/systems/{system.id}/config"
        await wait_until(lambda: (stage.said.get(topic) or {}).get("channels"))
        said = stage.said[topic] or {}
        assert [each["id"] for each in said["channels"]] == [channel.id]
        assert (said["runs_at"], said["org"], said["settings"]["port"]) == ("site", "d", 62031)
        assert "not for the bus" not in json.dumps(said)
        assert faults(topic, json.dumps(said).encode()) == []
        assert stage.roster.agents.systems == {}
        assert script.attempts == 0
        settings = {"port": 62031, "runs_at": "gateway"}
        stage.registry(systems.update, SYSTEM, system.id, {"settings": settings})
        await stage.look()
        await wait_until(lambda: (stage.state("channels", channel.id) or {}).get("health") == "ok")
        script.say(FloorTaken(at=now(), address="1/3101", stream="s", talker="1", hold_s=9.0))
        await wait_until(
            lambda: (stage.state("channels", channel.id) or {}).get("floor") == "taken"
        )
        settings["runs_at"] = "site"
        stage.registry(systems.update, SYSTEM, system.id, {"settings": settings})
        await stage.look()
        assert stage.roster.agents.systems == {}
        # How it leaves the channel is said, and nothing after it: a site says the rest.
        await wait_until(lambda: (stage.state("channels", channel.id) or {})["floor"] == "idle")
        await wait_until(lambda: (stage.said[topic] or {})["runs_at"] == "site")


def test_who_runs_a_system_is_no_matter_of_its_adapter() -> None:
    radio_adapter("homebrew", {"passphrase": "x", "runs_at": "site"}, ())
    with pytest.raises(InvalidSettings, match="runs_at: must be gateway or site"):
        radio_adapter("homebrew", {"passphrase": "x", "runs_at": "elsewhere"}, ())
