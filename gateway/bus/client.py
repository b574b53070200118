"""One MQTT connection of a node: subscriptions, birth and will, and its own states kept retained.

On connecting it subscribes first, then publishes its birth, then every state that it owns. What
is sent while the broker is away is kept by kind: a *state* waits (the latest for each topic),
anything else is dropped and counted, because a late press must never key a radio.
"""

import asyncio
import dataclasses
import random
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from gateway.bus.errors import BusError
from gateway.bus.link import BrokerAddress, Link, Will, connect
from gateway.bus.messages import decode, encode
from gateway.bus.topics import Topics, matches, overlap

STATUS_EVERY_S = 10.0
STATUS_TTL_S = 30.0
_MAX_UNCONFIRMED = 20_000

Handler = Callable[[str, bytes], None]
"""Takes topic and payload and returns at once. Raises: ValueError for what cannot be read."""

log = structlog.get_logger("bus")


@dataclasses.dataclass(slots=True)
class BusCounters:
    received: int = 0
    sent: int = 0
    dropped: int = 0
    unreadable: int = 0
    connects: int = 0


class Bus:
    """The connection of one node.

    node: ``[a-z0-9-]``. roles: what runs here, told in the status. `run` connects for ever;
    `subscribe` before it, or at any time.
    """

    def __init__(
        self,
        address: Callable[[], BrokerAddress] | BrokerAddress,
        *,
        node: str,
        topics: Topics,
        roles: tuple[str, ...] = (),
        url: str = "",
        version: str = "",
    ) -> None:
        self._address = address if callable(address) else (lambda: address)
        self.node = node
        self.topics = topics
        self.epoch = uuid.uuid4().hex[:12]
        self.counters = BusCounters()
        self.connected = asyncio.Event()
        self.last_error = ""
        self.status_extra: dict[str, Any] = {}
        self._roles, self._url, self._version = roles, url, version
        self._handlers: dict[str, tuple[int, list[Handler]]] = {}
        self._exact: dict[str, list[Handler]] = {}
        self._states: dict[str, bytes] = {}
        self._lost: list[Callable[[], None]] = []
        self._link: Link | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._started = time.monotonic()
        self.subscribe(topics.status_all(), self._watch_own_status, qos=1)

    # --- what the rest of the gateway uses ----------------------------------------------------

    def uptime_ms(self) -> int:
        """This writer's monotonic clock."""
        return int((time.monotonic() - self._started) * 1000)

    def subscribe(self, pattern: str, handler: Handler, *, qos: int = 1) -> None:
        """Call handler for every message that matches. Filters of one client must not overlap."""
        if pattern in self._handlers:
            self._handlers[pattern][1].append(handler)
            return
        for other in self._handlers:
            if overlap(pattern, other):
                raise ValueError(f"subscription {pattern} overlaps {other}")
        self._handlers[pattern] = (qos, [handler])
        if "+" not in pattern and "#" not in pattern:
            self._exact[pattern] = self._handlers[pattern][1]
        if self._link is not None:
            task = asyncio.create_task(self._subscribe(self._link, pattern, qos))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def unsubscribe(self, pattern: str) -> None:
        if self._handlers.pop(pattern, None) is None:
            return
        self._exact.pop(pattern, None)
        if self._link is not None:
            self._link.unsubscribe(pattern)

    def on_lost(self, callback: Callable[[], None]) -> None:
        """Called at once when the connection to the broker is lost."""
        self._lost.append(callback)

    def off_lost(self, callback: Callable[[], None]) -> None:
        self._lost.remove(callback)

    def publish(self, topic: str, payload: bytes, *, qos: int = 1) -> bool:
        """Send now or never: False, and counted, while the broker is away."""
        return self._send(topic, payload, qos=qos)

    def publish_retained(self, topic: str, payload: bytes) -> bool:
        """Like `publish`, retained, for what must not be sent again when the broker is back."""
        return self._send(topic, payload, retain=True)

    def set_state(self, topic: str, payload: Mapping[str, Any]) -> None:
        """Own a retained topic: sent now, and again whenever the broker comes back."""
        self._states[topic] = encode(payload)
        self._send(topic, self._states[topic], retain=True)

    def clear_state(self, topic: str) -> None:
        """Give a retained topic up: cleared on the broker now, or when it is back."""
        self._states[topic] = b""
        if self._send(topic, b"", retain=True):
            del self._states[topic]

    def set_status(self, **fields: Any) -> None:
        """Change what this node says of itself, such as bridge_epoch."""
        self.status_extra.update(fields)
        self._publish_status()

    async def run(self) -> None:
        """Connect and stay connected until cancelled; jittered back-off from 0.2 s to 5 s."""
        delay_s = 0.2
        while True:
            try:
                await self._session()
            except BusError as error:
                self._note(error)
            if self.connected.is_set():
                delay_s = 0.2
                self._disconnected()
            await asyncio.sleep(delay_s * random.uniform(0.7, 1.3))
            delay_s = min(delay_s * 2, 5.0)

    # --- one connection -----------------------------------------------------------------------

    async def _session(self) -> None:
        """Subscribe, say that we are here, send our states, and stay until the link is over."""
        identifier = f"hutong-{self.node}-{self.epoch}"
        async with connect(self._address(), identifier, self._dispatch, will=self._will()) as link:
            for pattern, (qos, _) in list(self._handlers.items()):
                await self._subscribe(link, pattern, qos)
            self._link = link
            self._announce()
            try:
                while not link.closed.done():
                    await asyncio.wait({link.closed}, timeout=STATUS_EVERY_S)
                    self._publish_status()
            finally:
                self._link = None
            raise link.closed.result()

    async def _subscribe(self, link: Link, pattern: str, qos: int) -> None:
        try:
            granted = await link.subscribe(pattern, qos)
        except BusError:
            return  # the session notices by itself
        if not granted:
            log.error("subscription refused by the broker's rights", pattern=pattern)

    def _announce(self) -> None:
        self.counters.connects += 1
        self._publish_status()
        for topic, payload in list(self._states.items()):
            if not payload:
                del self._states[topic]
            self._send(topic, payload, retain=True)
        if self.last_error:
            log.info("broker is back", broker=self._address().shown)
        self.last_error = ""
        self.connected.set()

    def _disconnected(self) -> None:
        self.connected.clear()
        for callback in list(self._lost):
            callback()

    def _note(self, error: BusError) -> None:
        """Warn once when the broker is lost, not at every attempt."""
        if not self.last_error:
            log.warning("broker is away", reason=str(error))
        self.last_error = str(error)

    def _dispatch(self, topic: str, payload: bytes) -> None:
        self.counters.received += 1
        handlers = self._exact.get(topic)
        if handlers is None:
            found = (h for p, (_, h) in self._handlers.items() if matches(p, topic))
            handlers = next(found, [])
        for handler in list(handlers):
            try:
                handler(topic, payload)
            except ValueError as error:
                self.counters.unreadable += 1
                log.warning("unreadable message", topic=topic, reason=str(error)[:200])

    def _send(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> bool:
        link = self._link
        if link is None or link.unconfirmed >= _MAX_UNCONFIRMED:
            self.counters.dropped += 1
            return False
        if not link.publish(topic, payload, qos=qos, retain=retain):
            self.counters.dropped += 1
            return False
        self.counters.sent += 1
        return True

    # --- presence -----------------------------------------------------------------------------

    def status(self, state: str = "online") -> dict[str, Any]:
        return {
            "state": state,
            "epoch": self.epoch,
            "uptime_ms": self.uptime_ms(),
            "ttl_s": STATUS_TTL_S,
            "version": self._version,
            "roles": list(self._roles),
            "url": self._url,
            "bridge_epoch": 0,
            **self.status_extra,
        }

    def _will(self) -> Will:
        return Will(topic=self.topics.status(self.node), payload=encode(self.status("offline")))

    def _publish_status(self, state: str = "online") -> None:
        if self._link is not None:
            self._send(self.topics.status(self.node), encode(self.status(state)), retain=True)

    def _watch_own_status(self, topic: str, payload: bytes) -> None:
        """An old will may overwrite our birth: say again that we are here."""
        if topic != self.topics.status(self.node) or not payload:
            return
        said = decode(payload)
        if said.get("state") != "online" or said.get("epoch") != self.epoch:
            self._publish_status()

    async def leave(self) -> None:
        """Say offline ourselves before a clean end; the will is only for unclean ones."""
        link = self._link
        if link is not None:
            self.unsubscribe(self.topics.status_all())
            self._publish_status("offline")
            await link.drain()


async def check(address: BrokerAddress) -> None:
    """Can we connect? Raises: BrokerAway, BrokerRefused, one sentence each."""
    async with connect(address, f"hutong-check-{uuid.uuid4().hex[:8]}"):
        pass
