"""How the radio systems and their agents are, wherever they run: as their agents say on the bus.

A state counts only while its writer is here. The clock of a node is compared for people to see;
nothing is decided by it.
"""

import collections
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from gateway.bus.client import Bus
from gateway.bus.messages import decode
from gateway.bus.presence import Presence

READINGS = 3
_MOST_NODES = 10_000

NO_STATE: Mapping[str, Any] = {
    "state": "unknown",
    "reason": "",
    "since": None,
    "last_heard": None,
    "alarms": [],
    "outbox": None,
}


class SystemStates:
    """Follows the states of systems, and what nodes say the time is. now: this machine's clock."""

    def __init__(
        self, bus: Bus, presence: Presence, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._topics, self._presence, self._now = bus.topics, presence, now
        self._states: dict[str, tuple[str, Mapping[str, Any]]] = {}
        self._offsets: dict[str, collections.deque[float]] = {}
        self._uptimes: dict[str, tuple[str, int]] = {}
        bus.subscribe(bus.topics.org_all("systems", "state"), self._on_state, kept=True)
        bus.subscribe(bus.topics.status_all(), self._on_status)

    def state(self, system_id: str) -> dict[str, Any]:
        """As its agent says, and on which node with which error of its clock; unknown while there
        is no agent."""
        _, said = self._states.get(system_id, ("", {}))
        node = str(said.get("node"))
        if not self._presence.believes(node, str(said.get("epoch"))):
            return {**NO_STATE, "node": None, "clock_offset_s": None}
        shown = {name: said.get(name, default) for name, default in NO_STATE.items()}
        return {**shown, "node": node, "clock_offset_s": self.clock_offset_s(node)}

    def unregistered(self, system_id: str) -> dict[str, int]:
        """What its agent heard on addresses that nobody registered; nothing while there is none."""
        _, said = self._states.get(system_id, ("", {}))
        if not self._presence.believes(str(said.get("node")), str(said.get("epoch"))):
            return {}
        heard = said.get("unregistered") or []
        return {str(each["address"]): int(each["events"]) for each in heard}

    def all(self) -> dict[str, dict[str, Any]]:
        """Of every system that an agent runs now."""
        states = {system_id: self.state(system_id) for system_id in sorted(self._states)}
        return {system_id: state for system_id, state in states.items() if state["node"]}

    def nodes(self) -> dict[str, Mapping[str, Any]]:
        """The last status of every node that is here."""
        return self._presence.nodes()

    def clock_offset_s(self, node: str) -> float | None:
        """A node's clock minus ours. Delay only makes it smaller, so the largest of the last few
        readings is the nearest."""
        readings = self._offsets.get(node)
        return round(max(readings), 3) if readings else None

    def _on_state(self, topic: str, payload: bytes) -> None:
        parts = self._topics.parse_org(topic)
        if parts is None or not re.fullmatch(r"[a-z0-9-]{1,64}", parts.id):
            raise ValueError("not the topic of a system")
        known = self._states.get(parts.id)
        if payload:
            self._states[parts.id] = (parts.org, decode(payload))
        elif known is not None and known[0] == parts.org:  # not when it moved elsewhere
            del self._states[parts.id]

    def _on_status(self, topic: str, payload: bytes) -> None:
        """A retained status may be old: only what follows one that we heard is a reading."""
        node = self._topics.parse_status(topic)
        if node is None or not payload:
            return
        said = decode(payload)
        epoch, uptime, time = said.get("epoch"), said.get("uptime_ms"), said.get("time")
        if said.get("state") != "online" or not isinstance(uptime, int):
            return
        known = self._uptimes.get(node)
        if known is None and len(self._uptimes) >= _MOST_NODES:
            return
        self._uptimes[node] = (str(epoch), uptime)
        if known is None or known[0] != epoch:
            self._offsets.pop(node, None)
        elif uptime > known[1] and isinstance(time, str):
            offset_s = (datetime.fromisoformat(time) - self._now()).total_seconds()
            self._offsets.setdefault(node, collections.deque(maxlen=READINGS)).append(offset_s)
