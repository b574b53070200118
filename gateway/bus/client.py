"""One MQTT connection of a node: subscriptions, birth and will, and its own states kept retained.

On connecting it subscribes first, then publishes its birth, then every state that it owns. What
is sent while the broker is away is kept by kind: a *state* waits (the latest for each topic),
anything else is dropped and counted, because a late press must never key a radio.
"""

import asyncio
import collections
import contextlib
import dataclasses
import itertools
import random
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import structlog

from gateway.bus.address import BrokerAddress
from gateway.bus.errors import BusError
from gateway.bus.link import Link, Will, connect
from gateway.bus.messages import CloudEvent, decode, decode_event, encode, rfc3339
from gateway.bus.topics import OrgTopic, Topics, matches, overlap
from gateway.bus.voice_line import VoiceCounters, VoiceLine

STATUS_EVERY_S = 10.0
STATUS_TTL_S = 30.0
ANSWER_EVERY_S = 1.0
STATE_DELAY_S = 0.005
MOST_STATES_UNCONFIRMED = 64
ASK_AGAIN_S = 1.0
_MAX_UNCONFIRMED = 20_000
_MOST_ROUTES = 20_000

Handler = Callable[[str, bytes], None]
"""Takes topic and payload and returns at once. Raises: ValueError for what cannot be read."""
EventHandler = Callable[[OrgTopic, CloudEvent], None]
"""The same for an event or a decision of an organisation's tree, read once for all handlers."""

log = structlog.get_logger("bus")


@dataclasses.dataclass(slots=True)
class _Subscription:
    """apart: on the connection that only the lease uses. *_later: for whoever only looks on."""

    qos: int
    apart: bool
    kept: bool = False
    raw: list[Handler] = dataclasses.field(default_factory=list)
    raw_later: list[Handler] = dataclasses.field(default_factory=list)
    events: list[EventHandler] = dataclasses.field(default_factory=list)
    events_later: list[EventHandler] = dataclasses.field(default_factory=list)


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
        self._handlers: dict[str, _Subscription] = {}
        self._wild: set[str] = set()
        self._routes: dict[str, tuple[_Subscription, OrgTopic | None]] = {}
        self._looked_on: collections.deque[tuple[_Subscription, str, bytes, Any]] = (
            collections.deque()
        )
        self._states: dict[str, bytes] = {}
        self._unsent: dict[str, None] = {}
        self._sending_soon = False
        self._sequences: dict[str, int] = {}
        self._refused: set[str] = set()
        self._leaving = False
        self._answered_s = float("-inf")
        self._lost: list[Callable[[], None]] = []
        self._link: Link | None = None
        self._apart: Link | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._lines: dict[str, VoiceLine] = {}
        self._speaking: dict[str, asyncio.Task[None]] = {}
        self._runs = False
        self._started = time.monotonic()
        self.subscribe(topics.status_all(), self._watch_own_status)

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
        self,
        pattern: str,
        handler: Handler,
        *,
        qos: int = 0,
        later: bool = False,
        apart: bool = False,
        kept: bool = False,
    ) -> None:
        """Call handler for every message that matches. Filters of one client must not overlap.

        qos: 0, because our sessions are clean: what a lost connection loses is lost either way,
        and brokers pass over QoS 1 messages where too many of a connection wait for their
        acknowledgement (nats-server: 1,024, of which it speaks again after 30 s).
        later: after what other handlers publish because of the same message is written, in the
        order of arrival: for whoever only looks on. Nobody on the air waits for those.
        apart: on a connection of its own, whose messages wait for no others.
        kept: what matches is retained, and asked for once more a second later (seen: who
        subscribes to nats-server while a retained message is being stored gets it neither as it
        happens nor as it is kept). So the handler may get a state twice.
        """
        known = self._subscription(pattern, qos, apart)
        known.kept = known.kept or kept
        (known.raw_later if later else known.raw).append(handler)

    def subscribe_events(
        self, family: str, kind: str, handler: EventHandler, *, later: bool = False
    ) -> None:
        """Call handler for all CloudEvents of a kind; later: as in `subscribe`."""
        known = self._subscription(self.topics.org_all(family, kind), 0, apart=False)
        (known.events_later if later else known.events).append(handler)

    def _subscription(self, pattern: str, qos: int, apart: bool) -> _Subscription:
        if (known := self._handlers.get(pattern)) is not None:
            return known
        wild = "+" in pattern or "#" in pattern
        for other in self._handlers if wild else self._wild:
            if overlap(pattern, other):
                raise ValueError(f"subscription {pattern} overlaps {other}")
        known = self._handlers[pattern] = _Subscription(qos, apart)
        if wild:
            self._wild.add(pattern)
        self._routes.clear()
        if self._link is not None:
            task = asyncio.create_task(self._subscribe_late(self._link, pattern, qos))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return known

    def unsubscribe(self, pattern: str) -> None:
        known = self._handlers.pop(pattern, None)
        if known is None:
            return
        self._wild.discard(pattern)
        self._routes.clear()
        link = self._apart if known.apart else self._link
        if link is not None:
            link.unsubscribe(pattern)

    def voice(self, role: str) -> VoiceLine:
        """The connection for voice of a role, ``agent`` or ``bridge``; there is none until somebody
        asks for it."""
        if role not in self._lines:
            name = f"hutong-{self.node}-{self.epoch}-voice-{role}"
            self._lines[role] = VoiceLine(self._address, role, name)
            if self._runs:
                self._speak(role)
        return self._lines[role]

    def voice_counters(self) -> dict[str, VoiceCounters]:
        """By role, of the connections for voice that there are."""
        return {role: line.counters for role, line in self._lines.items()}

    def _speak(self, role: str) -> None:
        self._speaking[role] = asyncio.create_task(self._lines[role].run())

    def on_lost(self, callback: Callable[[], None]) -> None:
        """Called at once when the connection to the broker is lost."""
        self._lost.append(callback)

    def off_lost(self, callback: Callable[[], None]) -> None:
        self._lost.remove(callback)

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, apart: bool = False) -> bool:
        """Send now or never: False, and counted, while the broker is away. apart: by the connection
        of its own, where there is one, past all that waits on the other."""
        return self._send(topic, payload, qos=qos, link=self._apart if apart else None)

    def publish_retained(self, topic: str, payload: bytes) -> bool:
        """Like `publish`, retained, for what must not be sent again when the broker is back; by
        the connection apart, where there is one."""
        return self._send(topic, payload, retain=True, link=self._apart or self._link)

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
        """As many as the broker takes: it stores each, and events and decisions wait behind them.
        What waits here is only the latest."""
        self._sending_soon = False
        if self._link is None:  # all of them go when it is back
            self._unsent.clear()
            return
        room = max(0, MOST_STATES_UNCONFIRMED - self._link.unconfirmed)
        for topic in list(itertools.islice(self._unsent, room)):
            del self._unsent[topic]
            self._send_state(topic)
        if self._unsent:
            self._sending_soon = True
            asyncio.get_running_loop().call_later(STATE_DELAY_S, self._send_states)

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
        self._runs = True
        for role in self._lines:
            self._speak(role)
        try:
            await self._connect_for_ever()
        finally:
            self._runs = False
            speaking = list(self._speaking.values())
            self._speaking.clear()
            for task in speaking:
                task.cancel()
            await asyncio.gather(*speaking, return_exceptions=True)

    async def _connect_for_ever(self) -> None:
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
        async with (
            connect(self._address(), identifier, self._dispatch, will=self._will()) as link,
            self._connected_apart(identifier) as apart,
        ):
            await self._subscribe_all(link, apart)
            self._link, self._apart = link, apart
            self._announce()
            asking = asyncio.get_running_loop().call_later(ASK_AGAIN_S, self._ask_again, link)
            ends = {link.closed, *([apart.closed] if apart is not None else [])}
            try:
                while not any(end.done() for end in ends):
                    await asyncio.wait(
                        ends, timeout=STATUS_EVERY_S, return_when=asyncio.FIRST_COMPLETED
                    )
                    self._publish_status()
                    for topic in list(self._refused):
                        self._send_state(topic)
            finally:
                asking.cancel()
                self._link = self._apart = None
            raise next(end for end in ends if end.done()).result()

    def _ask_again(self, link: Link) -> None:
        for pattern, known in self._handlers.items():
            if known.kept and not known.apart:
                link.ask(pattern, known.qos)

    @contextlib.asynccontextmanager
    async def _connected_apart(self, identifier: str) -> AsyncIterator[Link | None]:
        """One is over with the other: who hears only half of it all must begin anew."""
        if not any(known.apart for known in self._handlers.values()):
            yield None
            return
        async with connect(self._address(), f"{identifier}-apart", self._dispatch) as apart:
            yield apart

    async def _subscribe_all(self, link: Link, apart: Link | None) -> None:
        """Also to what is asked for, and not to what is given up, while this goes on."""
        asked: dict[str, Link] = {}
        while fresh := self._handlers.keys() - asked.keys():
            for pattern in sorted(fresh):
                known = self._handlers.get(pattern)
                asked[pattern] = apart if apart and known and known.apart else link
                if known is not None:
                    await self._subscribe(asked[pattern], pattern, known.qos)
        for pattern in asked.keys() - self._handlers.keys():
            asked[pattern].unsubscribe(pattern)

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
        route = self._routes.get(topic) or self._route(topic)
        if route is None:
            return
        known, parts = route
        for handler in known.raw:
            self._handle(handler, topic, payload)
        event = None
        if parts is not None and (known.events or known.events_later):
            event = self._read(topic, payload)
        if event is not None and parts is not None:
            for reader in known.events:
                self._handle(reader, parts, event, topic)
        if known.raw_later or (known.events_later and event is not None):
            if not self._looked_on:
                asyncio.get_running_loop().call_soon(self._look_on)
            self._looked_on.append((known, topic, payload, (parts, event)))

    def _route(self, topic: str) -> tuple[_Subscription, OrgTopic | None] | None:
        """Found once for each topic; there are as many as channels and points."""
        pattern = topic
        if topic not in self._handlers:
            pattern = next((each for each in self._wild if matches(each, topic)), "")
        known = self._handlers.get(pattern)
        if known is None:
            return None
        if len(self._routes) >= _MOST_ROUTES:
            self._routes.clear()
        route = self._routes[topic] = (known, self.topics.parse_org(topic))
        return route

    def _look_on(self) -> None:
        looked_on, self._looked_on = self._looked_on, collections.deque()
        for known, topic, payload, (parts, event) in looked_on:
            for handler in known.raw_later:
                self._handle(handler, topic, payload)
            if event is not None:
                for reader in known.events_later:
                    self._handle(reader, parts, event, topic)

    def _read(self, topic: str, payload: bytes) -> CloudEvent | None:
        try:
            return decode_event(payload)
        except ValueError as error:
            self._unreadable(topic, error)
            return None

    def _handle(self, handler: Any, said_by: Any, said: Any, topic: str = "") -> None:
        try:
            handler(said_by, said)
        except ValueError as error:
            self._unreadable(topic or said_by, error)
        except Exception:
            # What anybody may write must not end the connection in the middle of a packet.
            self.counters.unreadable += 1
            log.exception("message not handled", topic=topic or said_by)

    def _unreadable(self, topic: str, error: ValueError) -> None:
        self.counters.unreadable += 1
        log.warning("unreadable message", topic=topic, reason=str(error)[:200])

    def _send(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 1,
        retain: bool = False,
        link: Link | None = None,
    ) -> bool:
        link = link or self._link
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
            "time": rfc3339(datetime.now(UTC)),
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
            unsent, self._unsent = self._unsent, {}
            for topic in unsent:
                self._send_state(topic)
            self._publish_status()
            await link.drain()


async def check(address: BrokerAddress) -> None:
    """Can we connect? Raises: BrokerAway, BrokerRefused, one sentence each."""
    async with connect(address, f"hutong-check-{uuid.uuid4().hex[:8]}"):
        pass
