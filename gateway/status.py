"""`hutong status`: what runs, and what is wrong with it, as nodes and agents say on the broker.

It only listens: whoever may read the bus may ask. What is retained may be of a node that died, so
a node counts as here when it says so once more while we listen.
"""

import asyncio
import contextlib
import dataclasses
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from gateway.agents.system_states import NO_STATE
from gateway.bus.address import BrokerAddress
from gateway.bus.client import STATUS_EVERY_S
from gateway.bus.link import connect
from gateway.bus.messages import decode
from gateway.bus.topics import Topics, matches

WITHIN_S = STATUS_EVERY_S + 2.0
QUIET_S = 1.0
"""What a broker keeps has come when nothing of a new topic came for so long."""
CLOCK_OFF_S = 30.0


@dataclasses.dataclass(slots=True)
class _Node:
    said: Mapping[str, Any]
    fresh: bool = False
    clock_offset_s: float | None = None


class Looked:
    """All that was heard of nodes, systems and their configs."""

    def __init__(self, topics: Topics) -> None:
        self._topics = topics
        self._nodes: dict[str, _Node] = {}
        self._states: dict[str, Mapping[str, Any]] = {}
        self._configs: dict[str, Mapping[str, Any]] = {}
        self.unreadable = 0

    def hear(self, topic: str, payload: bytes) -> None:
        try:
            said = decode(payload) if payload else {}
        except ValueError:
            self.unreadable += 1
            return
        if (node := self._topics.parse_status(topic)) is not None:
            self._hear_node(node, said)
        elif (system_id := self._topics.parse_system_config(topic)) is not None:
            self._set(self._configs, system_id, said)
        elif (parts := self._topics.parse_org(topic)) is not None:
            self._set(self._states, parts.id, said)

    def _set(self, into: dict[str, Mapping[str, Any]], name: str, said: Mapping[str, Any]) -> None:
        if said:
            into[name] = said
        else:
            into.pop(name, None)

    def _hear_node(self, name: str, said: Mapping[str, Any]) -> None:
        if not said:
            self._nodes.pop(name, None)
            return
        known = self._nodes.get(name)
        node = self._nodes[name] = _Node(said)
        if known is None or known.said.get("epoch") != said.get("epoch"):
            return
        node.fresh, node.clock_offset_s = known.fresh, known.clock_offset_s
        if said.get("uptime_ms") != known.said.get("uptime_ms"):
            node.fresh = True
            with contextlib.suppress(ValueError, TypeError):
                at = datetime.fromisoformat(str(said.get("time")))
                node.clock_offset_s = round((at - datetime.now(UTC)).total_seconds(), 1)

    @property
    def awaited(self) -> bool:
        """Is there a node that says it is here, and has not said so since we listen?"""
        return any(each.said.get("state") == "online" and not each.fresh for each in self._here())

    def _here(self) -> list[_Node]:
        return [each for each in self._nodes.values() if each.said.get("state") == "online"]

    def nodes(self) -> dict[str, dict[str, Any]]:
        return {
            name: {
                "state": "online" if node.fresh and node in self._here() else "offline",
                "roles": list(node.said.get("roles") or ()),
                "version": str(node.said.get("version") or ""),
                "uptime_s": int(node.said.get("uptime_ms") or 0) // 1000,
                "clock_offset_s": node.clock_offset_s,
            }
            for name, node in sorted(self._nodes.items())
        }

    def systems(self) -> dict[str, dict[str, Any]]:
        """Every system that the gateway has enabled."""
        return {
            system_id: {
                "adapter": str(config.get("adapter") or ""),
                "runs_at": str(config.get("runs_at") or "gateway"),
                **self._state(system_id),
            }
            for system_id, config in sorted(self._configs.items())
        }

    def _state(self, system_id: str) -> dict[str, Any]:
        said = self._states.get(system_id, {})
        node = self._nodes.get(str(said.get("node")))
        if node is None or not node.fresh or node.said.get("epoch") != said.get("epoch"):
            return {**NO_STATE, "node": None}
        return {**{name: said.get(name, value) for name, value in NO_STATE.items()}} | {
            "node": str(said.get("node"))
        }

    def troubles(self) -> list[str]:
        """What somebody should see to, a sentence each."""
        nodes, found = self.nodes(), []
        if not any(node["state"] == "online" for node in nodes.values()):
            found.append("no node is here: is a gateway running on this broker and prefix?")
        for name, node in nodes.items():
            offset_s = node["clock_offset_s"]
            if node["state"] == "online" and offset_s and abs(offset_s) > CLOCK_OFF_S:
                side = "ahead of" if offset_s > 0 else "behind"
                found.append(f"node {name}: its clock is {abs(offset_s):g} s {side} ours")
        for system_id, system in self.systems().items():
            found += _troubles_of(system_id, system)
        return found


def _troubles_of(system_id: str, system: Mapping[str, Any]) -> list[str]:
    name = f"system {system_id} ({system['adapter']})"
    if system["node"] is None:
        who = "hutong agent at its site" if system["runs_at"] == "site" else "no node with agents"
        return [f"{name}: nothing runs it ({who} is not here)"]
    found = [f"{name}: {each['reason']}" for each in system["alarms"]]
    if system["state"] == "offline":
        found.insert(0, f"{name}: away, {system['reason']}")
    return found


async def look(
    address: BrokerAddress, prefix: str = "hutong/v1", *, within_s: float | None = None
) -> Looked:
    """Listen until every node has said that it is here, within_s (`WITHIN_S`) at most.

    Raises: BrokerAway, BrokerRefused.
    """
    topics = Topics(prefix)
    looked = Looked(topics)
    patterns = (
        topics.status_all(),
        topics.system_config_all(),
        topics.org_all("systems", "state"),
    )
    loop = asyncio.get_running_loop()
    new_s = loop.time()
    topics_heard: set[str] = set()

    def receive(topic: str, payload: bytes) -> None:
        nonlocal new_s
        if any(matches(pattern, topic) for pattern in patterns):
            if topic not in topics_heard:
                topics_heard.add(topic)
                new_s = loop.time()
            looked.hear(topic, payload)

    async with connect(address, f"hutong-status-{uuid.uuid4().hex[:8]}", receive) as link:
        for pattern in patterns:
            await link.subscribe(pattern, 0)
        until_s = loop.time() + (within_s or WITHIN_S)
        while loop.time() < until_s:
            if loop.time() - new_s > QUIET_S and not looked.awaited:
                break
            await asyncio.sleep(0.05)
    return looked


def lines(looked: Looked) -> list[str]:
    """For a terminal."""
    said = []
    for name, node in looked.nodes().items():
        offset_s = node["clock_offset_s"]
        clock = "" if offset_s is None else f", clock {offset_s:+.1f} s"
        roles = " ".join(node["roles"])
        said.append(f"node    {name}: {node['state']} ({roles}), up {node['uptime_s']} s{clock}")
    for system_id, system in looked.systems().items():
        said.append(f"system  {system_id}: {_told(system)}")
    return said + [f"WRONG   {trouble}" for trouble in looked.troubles()]


def _told(system: Mapping[str, Any]) -> str:
    parts = [f"{system['adapter']} at the {system['runs_at']}, {system['state']}"]
    if system["last_heard"]:
        parts.append(f"last heard {system['last_heard']}")
    outbox = system["outbox"]
    if isinstance(outbox, Mapping):
        parts.append(
            f"outbox {outbox.get('waiting')} waiting, oldest {outbox.get('oldest_s')} s, "
            f"lost {outbox.get('lost')}"
        )
    return ", ".join(parts)
