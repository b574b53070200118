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
ANSWER_EVERY_S = 1.0
STATE_DELAY_S = 0.005
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
        self.bridge_epoch = 0
        self._roles, self._url, self._version = roles, url, version
        self._handlers: dict[str, tuple[int, list[Handler]]] = {}
        self._exact: dict[str, list[Handler]] = {}
        self._states: dict[str, bytes] = {}
        self._unsent: dict[str, None] = {}
        self._sending_soon = False
        self._sequences: dict[str, int] = {}
        self._refused: set[str] = set()
        self._leaving = False
        self._answered_s = float("-inf")
        self._lost: list[Callable[[], None]] = []
        self._link: Link | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._started = time.monotonic()
        self.subscribe(topics.status_all(), self._watch_own_status, qos=1)

    # --- what the rest of the gateway uses ----------------------------------------------------

    def next_sequence(self, writer: str) -> int:
        """1, 2, 3 … of a writer in this bus's epoch: an agent that is started anew goes on where
        the one before it ended, or all it says would be taken for a repeat."""
        self._sequences[writer] = self._sequences.get(writer, 0) + 1
        return self._sequences[writer]

    @property
    def unconfirmed(self) -> int:
        """How many QoS 1 messages the broker has not acknowledged; for whoever can wait."""
        return self._link.unconfirmed if self._link is not None else 0

    def uptime_ms(self) -> int:
        """This writer's monotonic clock."""
        return int((time.monotonic() - self._started) * 1000)

    def subscribe(
        self, pattern: str, handler: Handler, *, qos: int = 1, later: bool = False
    ) -> None:
        """Call handler for every message that matches. Filters of one client must not overlap.

        later: after what other handlers publish because of the same message is written, in the
        order of arrival: for whoever only looks on. Nobody on the air waits for those.
        """
        if later:
            handler = self._deferred(handler)
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
            task = asyncio.create_task(self._subscribe_late(self._link, pattern, qos))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _deferred(self, handler: Handler) -> Handler:
        def defer(topic: str, payload: bytes) -> None:
            asyncio.get_running_loop().call_soon(self._handle, handler, topic, payload)

        return defer

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
        """Own a retained topic: sent within 5 ms, and again whenever the broker comes back.

        Only the latest of several is sent; what is published meanwhile goes first, for somebody
        waits for it.
        """
        self._states[topic] = encode(payload)
        self._send_soon(topic)

    def clear_state(self, topic: str) -> None:
        """Give a retained topic up: cleared on the broker now, or when it is back, after what was
        set before."""
        self._states.pop(topic, None)
        self._states[topic] = b""
        self._unsent.pop(topic, None)
        self._send_soon(topic)

    def disown(self, topic: str) -> None:
        """Somebody else writes this retained topic from here on: never send it again."""
        self._states.pop(topic, None)

    def _send_soon(self, topic: str) -> None:
        if not self._sending_soon:
            self._sending_soon = True
            asyncio.get_running_loop().call_later(STATE_DELAY_S, self._send_states)
        self._unsent[topic] = None

    def _send_states(self) -> None:
        unsent, self._unsent, self._sending_soon = self._unsent, {}, False
        if self._link is not None:  # else all of them go when it is back
            for topic in unsent:
                self._send_state(topic)

    def _send_state(self, topic: str) -> None:
        payload = self._states.get(topic)
        if payload is None:
            return
        if not self._send(topic, payload, retain=True):
            self._refused.add(topic)
            return
        self._refused.discard(topic)
        if not payload:
            del self._states[topic]

    def obeys_bridge(self, bridge_epoch: int) -> bool:
        """Take notice of a bridge epoch; False for one that a later bridge has superseded.

        The highest that anybody on this node has heard is said in its status.
        """
        if bridge_epoch > self.bridge_epoch:
            self.bridge_epoch = bridge_epoch
            self._publish_status()
        return bridge_epoch == self.bridge_epoch

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
            await self._subscribe_all(link)
            self._link = link
            self._announce()
            try:
                while not link.closed.done():
                    await asyncio.wait({link.closed}, timeout=STATUS_EVERY_S)
                    self._publish_status()
                    for topic in list(self._refused):
                        self._send_state(topic)
            finally:
                self._link = None
            raise link.closed.result()

    async def _subscribe_all(self, link: Link) -> None:
        """Also to what is asked for, and not to what is given up, while this goes on."""
        asked: set[str] = set()
        while fresh := self._handlers.keys() - asked:
            for pattern in sorted(fresh):
                asked.add(pattern)
                if pattern in self._handlers:
                    await self._subscribe(link, pattern, self._handlers[pattern][0])
        for pattern in asked - self._handlers.keys():
            link.unsubscribe(pattern)

    async def _subscribe(self, link: Link, pattern: str, qos: int) -> None:
        """Raises: BusError when the broker does not answer."""
        if not await link.subscribe(pattern, qos):
            log.error("subscription refused by the broker's rights", pattern=pattern)

    async def _subscribe_late(self, link: Link, pattern: str, qos: int) -> None:
        """A connection that leaves us deaf on a topic is worth nothing: begin another."""
        try:
            await self._subscribe(link, pattern, qos)
        except BusError:
            await link.close()

    def _announce(self) -> None:
        self.counters.connects += 1
        self._publish_status()
        for topic in list(self._states):
            self._send_state(topic)
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
            self._handle(handler, topic, payload)

    def _handle(self, handler: Handler, topic: str, payload: bytes) -> None:
        try:
            handler(topic, payload)
        except ValueError as error:
            self.counters.unreadable += 1
            log.warning("unreadable message", topic=topic, reason=str(error)[:200])
        except Exception:
            # What anybody may write must not end the connection in the middle of a packet.
            self.counters.unreadable += 1
            log.exception("message not handled", topic=topic)

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
            "bridge_epoch": self.bridge_epoch,
        }

    def _will(self) -> Will:
        return Will(topic=self.topics.status(self.node), payload=encode(self.status("offline")))

    def _publish_status(self) -> None:
        if self._link is not None:
            status = self.status("offline" if self._leaving else "online")
            self._send(self.topics.status(self.node), encode(status), retain=True)

    def _watch_own_status(self, topic: str, payload: bytes) -> None:
        """An old will may overwrite our birth: say again that we are here. At most once a second:
        two processes that use one name by mistake would answer each other without end."""
        if topic != self.topics.status(self.node) or not payload or self._leaving:
            return
        said = decode(payload)
        if said.get("state") == "online" and said.get("epoch") == self.epoch:
            return
        now_s = time.monotonic()
        if said.get("state") == "online" and self.connected.is_set():
            log.warning("another process uses the name of this node", node=self.node)
        if now_s - self._answered_s >= ANSWER_EVERY_S:
            self._answered_s = now_s
            self._publish_status()

    async def leave(self) -> None:
        """Say offline ourselves before a clean end; the will is only for unclean ones."""
        self._leaving = True
        link = self._link
        if link is not None:
            self._send_states()
            self._publish_status()
            await link.drain()


async def check(address: BrokerAddress) -> None:
    """Can we connect? Raises: BrokerAway, BrokerRefused, one sentence each."""
    async with connect(address, f"hutong-check-{uuid.uuid4().hex[:8]}"):
        pass
