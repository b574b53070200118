"""A gateway that is told to stop: radios get their terminators, and the bus is the last to go."""

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest
from brokers import RunningBroker
from databases import ON_SQLITE, Registry
from patience import wait_until
from scripted import Script, ScriptedAdapter

from gateway import roster as rooms
from gateway.app import run
from gateway.bus.link import connect
from gateway.bus.messages import decode
from gateway.settings import Settings
from registry import channels, organizations, systems
from registry.channels import NewChannel
from registry.database import Database
from registry.organizations import NewOrganization
from registry.partition import SYSTEM
from registry.systems import NewSystem

pytest_plugins = ["databases"]
pytestmark = ON_SQLITE


def settings_of(broker: RunningBroker, database_url: str, folder: Path) -> Settings:
    address = broker.address
    mqtt_url = f"mqtt://{address.username}:{address.password}@{address.host}:{address.port}"
    return Settings(
        data_dir=folder / "var", database_url=database_url, mqtt_url=mqtt_url, http_port=0
    )


@pytest.mark.parametrize("role", ["agent", "all"])
async def test_a_keyed_radio_is_unkeyed_before_the_node_says_that_it_leaves(
    embedded_broker: RunningBroker,
    database: Database,
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    role: str,
) -> None:
    script = Script()
    monkeypatch.setattr(rooms, "radio_adapter", lambda *_: ScriptedAdapter(script))
    registry = Registry(database)
    registry(organizations.create, SYSTEM, NewOrganization(kind="district", name="D", slug="d"))
    trunk = NewSystem(adapter="homebrew", name="Trunk", organization="d")
    system = registry(systems.create, SYSTEM, trunk)
    channel = NewChannel(system=system.id, address="1/3101", name="TG", kind="trunk")
    registry(channels.create, SYSTEM, channel)
    said: list[tuple[str, dict[str, Any]]] = []

    def hear(topic: str, payload: bytes) -> None:
        kind = topic.split("/")[2]
        if kind in ("org", "status"):
            said.append((kind, decode(payload)))

    async with connect(embedded_broker.address, "watch", hear) as watch:
        await watch.subscribe("hutong/v1/#", 1)  # one subscription, so all in their order
        node = asyncio.create_task(run(settings_of(embedded_broker, database_url, tmp_path), role))
        await wait_until(lambda: ("org", "ok") in [(k, d.get("health")) for k, d in said], 10)
        script.keyed["1/3101"] = "t-1"
        epoch = next(d["epoch"] for k, d in said if k == "org")
        node.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await node
        assert script.terminators == ["t-1"]
        await wait_until(lambda: ("status", "offline", epoch) in _lives(said))
        after = said[_lives(said).index(("status", "offline", epoch)) :]
        assert [kind for kind, _ in after] == ["status"]
        assert "online" not in [d.get("state") for _, d in after if d["epoch"] == epoch]


def _lives(said: list[tuple[str, dict[str, Any]]]) -> list[tuple[str, Any, Any]]:
    return [(kind, data.get("state"), data["epoch"]) for kind, data in said]
