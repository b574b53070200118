"""Two bridge processes and one broker: one is killed in the middle of a talk, the other goes on."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from brokers import RunningBroker
from lab import ORG, running
from patience import wait_until
from test_interop_two_bridges import Agents, agents

from gateway.bus.address import BrokerAddress
from gateway.bus.messages import decode
from registry import channels, organizations, patches, systems
from registry.channels import NewChannel
from registry.database import Connection, Database
from registry.organizations import NewOrganization
from registry.partition import SYSTEM
from registry.patches import Member, NewPatch
from registry.systems import NewSystem

TAKEOVER_S = 3.0


def fill(connection: Connection) -> tuple[str, str, str]:
    """Two channels in a patch; the ids of both and of the patch."""
    district = NewOrganization(kind="district", name="s", slug="shenhe")
    organizations.create(connection, SYSTEM, district)
    station = NewOrganization(kind="station", name="w", slug="wanlian", parent="shenhe")
    organizations.create(connection, SYSTEM, station)
    system = NewSystem(adapter="homebrew", name="x", organization=ORG, settings={}, secrets=None)
    made = systems.create(connection, SYSTEM, system)
    ids = []
    for address in ("1/1", "1/2"):
        new = NewChannel(
            system=made.id, address=address, name=address, kind="trunk", organization=ORG
        )
        ids.append(channels.create(connection, SYSTEM, new).id)
    patch = NewPatch(
        name="p",
        organization=ORG,
        voice="silence",
        members=tuple(Member(channel_id=each) for each in ids),
    )
    return ids[0], ids[1], patches.create(connection, SYSTEM, patch).id


def url_of(address: BrokerAddress) -> str:
    who = f"{address.username}:{address.password}@" if address.username else ""
    return f"mqtt://{who}{address.host}:{address.port}"


@contextlib.asynccontextmanager
async def bridge(
    folder: Path, name: str, broker: BrokerAddress, database: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """`hutong serve --role bridge` in a process of its own, under this node name."""
    own = folder / name
    own.mkdir()
    (own / "node").write_text(f"{name}\n")
    settings = {
        "HUTONG_DATA_DIR": str(own),
        "HUTONG_DATABASE_URL": database,
        "HUTONG_MQTT_URL": url_of(broker),
    }
    with (own / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "gateway.cli", "serve", "--role", "bridge"),
            env={**os.environ, **settings},
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def talk_on(air: Agents, channel: str) -> None:
    """A radio that goes on talking."""
    while True:
        air.say("floor.refreshed", channel, stream="long", hold_s=3.0)
        await asyncio.sleep(0.5)


async def test_the_standby_goes_on_within_three_seconds_of_a_kill(
    embedded_broker: RunningBroker, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'registry.db'}"
    database = Database(url)
    await database.upgrade()
    talks, keyed, patch = await database.write(fill)
    await database.close()
    nodes: dict[str, str] = {}
    lease: list[dict[str, Any]] = []
    async with (
        agents(embedded_broker) as air,
        bridge(tmp_path, "bridge-one", embedded_broker.address, url) as one,
        bridge(tmp_path, "bridge-two", embedded_broker.address, url) as two,
    ):
        topics = air.bus.topics
        air.bus.subscribe(topics.bridge_lease(), lambda _t, payload: lease.append(decode(payload)))
        air.bus.subscribe(
            topics.status_all(),
            lambda topic, payload: nodes.update(
                {topic.rsplit("/", 1)[1]: decode(payload)["state"]}
            ),
        )
        place = f"{ORG}/{patch}"
        for channel in (talks, keyed):
            air.speak_for(channel)
        await wait_until(
            lambda: (
                {n for n, state in nodes.items() if state == "online"}
                >= {"bridge-one", "bridge-two"}
            ),
            timeout_s=60,
            what="both are there",
        )
        await wait_until(
            lambda: [m["health"] for m in air.shown(place).get("members", [])] == ["ok", "ok"],
            timeout_s=30,
            what="the patch is joined",
        )
        holder = lease[-1]["node"]
        async with running(talk_on(air, talks)):
            await wait_until(lambda: air.keys())
            # The standby has heard the talk too before the holder dies.
            heard = len(air.keys())
            await wait_until(lambda: len(air.keys()) > heard + 1)
            old = air.keys()[-1]["bridge_epoch"]
            killed = one if holder == "bridge-one" else two
            killed.send_signal(signal.SIGKILL)
            await killed.wait()
            killed_s, since = time.monotonic(), len(air.commands)
            await wait_until(
                lambda: any(c["bridge_epoch"] > old for c in air.keys(since)),
                timeout_s=60,
                what="the standby keys",
            )
            took_s = time.monotonic() - killed_s
            assert took_s <= TAKEOVER_S, f"{took_s:.1f} s"
            first = next(c for c in air.keys(since) if c["bridge_epoch"] > old)
            assert first["channel"] == keyed
            assert first["transmission"] != air.keys()[0]["transmission"]
            after = air.commands[air.commands.index(first) :]
            assert {c["bridge_epoch"] for c in after} == {first["bridge_epoch"]}
            await wait_until(lambda: air.shown(place).get("bridge_epoch") == first["bridge_epoch"])
            assert air.shown(place)["floor"] == "taken"
            assert lease[-1]["node"] != holder
