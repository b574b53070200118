"""Which nodes are there: what retained state may be believed, and what an agent's clock shows.

A state counts only while its writer's status is online, of the same epoch, and was renewed within
its `ttl_s` by our own clock. Offline counts only with the epoch last seen online.
"""

import asyncio
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from gateway.bus.client import STATUS_TTL_S, Bus
from gateway.bus.messages import decode

_SPARE_S = 0.01
_LONGEST_TTL_S = 3600.0


@dataclasses.dataclass(slots=True)
class _Node:
    epoch: str
    online: bool
    heard_s: float
    ttl_s: float
    uptime_ms: int
    uptime_heard_s: float
    status: Mapping[str, Any]


class Presence:
    """Follows `status/+`. now_s: our monotonic clock. on_change is called with a node's name when
    it came, went, or says something new of itself; also when its time ran out in silence."""

    def __init__(self, bus: Bus, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._prefix = bus.topics
        self._nodes: dict[str, _Node] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._listeners: list[Callable[[str], None]] = []
        bus.subscribe(bus.topics.status_all(), self._heard, kept=True)

    def on_change(self, listener: Callable[[str], None]) -> None:
        self._listeners.append(listener)

    def _heard(self, topic: str, payload: bytes) -> None:
        name = self._prefix.parse_status(topic)
        if name is None:
            return
        before = self._said(name)
        if payload:
            self.note(name, decode(payload))
        else:
            self._nodes.pop(name, None)
        self._watch(name)
        if self._said(name) != before:
            self._tell(name)

    def _said(self, name: str) -> tuple[object, ...]:
        """What others may build on; its clock goes on without being news."""
        node = self._nodes.get(name)
        if node is None:
            return ()
        status = node.status
        believed = self.believes(name, node.epoch)
        return believed, node.epoch, status.get("bridge_epoch"), status.get("roles")

    def _watch(self, name: str) -> None:
        """Silence sends no message: look again when the node's time has run out."""
        if (timer := self._timers.pop(name, None)) is not None:
            timer.cancel()
        node = self._nodes.get(name)
        if node is not None and node.online:
            loop = asyncio.get_running_loop()
            self._timers[name] = loop.call_later(node.ttl_s + _SPARE_S, self._ran_out, name)

    def _ran_out(self, name: str) -> None:
        del self._timers[name]
        self._tell(name)

    def _tell(self, name: str) -> None:
        for listener in self._listeners:
            listener(name)

    def note(self, name: str, status: Mapping[str, Any]) -> None:
        """Take a status in. Raises: ValueError when it has no epoch."""
        epoch, online = status.get("epoch"), status.get("state") == "online"
        if not isinstance(epoch, str) or not epoch:
            raise ValueError("a status without epoch")
        known = self._nodes.get(name)
        if not online and known is not None and known.epoch != epoch:
            return  # an old will: it speaks of an earlier life
        uptime, ttl = status.get("uptime_ms"), status.get("ttl_s")
        now = self._now_s()
        self._nodes[name] = _Node(
            epoch=epoch,
            online=online,
            heard_s=now,
            ttl_s=min(max(float(ttl), 0.0), _LONGEST_TTL_S)
            if isinstance(ttl, int | float)
            else STATUS_TTL_S,
            uptime_ms=uptime if isinstance(uptime, int) else 0,
            uptime_heard_s=now,
            status=status,
        )

    def note_uptime(self, name: str, epoch: str, uptime_ms: int) -> None:
        """A fresher reading of a node's monotonic clock, from one of its events."""
        node = self._nodes.get(name)
        if node is not None and node.epoch == epoch and uptime_ms >= node.uptime_ms:
            node.uptime_ms, node.uptime_heard_s = uptime_ms, self._now_s()

    def believes(self, name: str, epoch: str) -> bool:
        """May a state of this node and epoch be believed now?"""
        node = self._nodes.get(name)
        return (
            node is not None
            and node.online
            and node.epoch == epoch
            and self._now_s() - node.heard_s <= node.ttl_s
        )

    def clock_ms(self, name: str) -> int | None:
        """What a node's monotonic clock shows at the earliest: delay only makes it early."""
        node = self._nodes.get(name)
        if node is None:
            return None
        return node.uptime_ms + int((self._now_s() - node.uptime_heard_s) * 1000)

    def epoch(self, name: str) -> str | None:
        node = self._nodes.get(name)
        return node.epoch if node is not None else None

    def nodes(self) -> dict[str, Mapping[str, Any]]:
        """The last status of every node that is believed to be here."""
        return {n: node.status for n, node in self._nodes.items() if self.believes(n, node.epoch)}
