"""One MQTT 3.1.1 connection, in the asyncio loop.

It exists because the way from a press to the air leads through it twice: paho-mqtt reads three
times for a packet and took some 0.2 ms of CPU for each, three times as much as this. asyncio sets
TCP_NODELAY: with Nagle's algorithm on, a lone QoS 1 message would wait 40 ms for the delayed
acknowledgement of the one before it.
"""

import asyncio
import contextlib
import dataclasses
import os
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any, cast
from urllib.parse import unquote, urlsplit

from gateway.bus import packets
from gateway.bus.errors import BrokerAway, BrokerRefused, BusError
from gateway.bus.packets import Kind, MalformedPacket

CONNECT_TIMEOUT_S = 5.0
KEEPALIVE_S = 5
PING_AT_S = 4.0
CLOSED_WITHIN_S = 1.0
MOST_UNWRITTEN_BYTES = 16 * 1024 * 1024
"""A broker that takes nothing more is as good as away."""
PACKETS_AT_ONCE = 32
"""Then others have their turn, another connection's packets above all."""
_REFUSED = {4, 5}
_CONNACK_SAYS = {
    1: "it does not speak MQTT 3.1.1",
    2: "it refused our client identifier",
    3: "it is not available",
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BrokerAddress:
    """Where a broker is. password never shows in repr."""

    host: str
    port: int
    username: str | None = None
    password: str | None = dataclasses.field(default=None, repr=False)
    tls: bool = False

    @property
    def shown(self) -> str:
        return f"{'mqtts' if self.tls else 'mqtt'}://{self.host}:{self.port}"

    def away(self, reason: object) -> BrokerAway:
        return BrokerAway(
            f"the broker at {self.shown} does not answer ({reason}): "
            "check HUTONG_MQTT_URL and that the broker runs"
        )


def parse_broker_url(url: str) -> BrokerAddress:
    """``mqtt://user:password@host:1883`` or ``mqtts://host:8883``. Raises: ValueError."""
    parts = urlsplit(url)
    if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
        raise ValueError("HUTONG_MQTT_URL must look like mqtt://host:1883 or mqtts://host:8883")
    tls = parts.scheme == "mqtts"
    try:
        port = parts.port
    except ValueError:
        raise ValueError("HUTONG_MQTT_URL has a port that is not a number") from None
    return BrokerAddress(
        host=parts.hostname,
        port=port or (8883 if tls else 1883),
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        tls=tls,
    )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Will:
    topic: str
    payload: bytes


class Link(asyncio.Protocol):
    """Made by `connect`. `closed` is done when the connection is over, with what ended it."""

    def __init__(self, address: BrokerAddress, receive: Callable[[str, bytes], None]) -> None:
        self._address = address
        self._receive = receive
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._gone: asyncio.Future[None] = self._loop.create_future()
        self.closed: asyncio.Future[BusError] = self._loop.create_future()
        self._subscribing: dict[int, asyncio.Future[bool]] = {}
        self._unconfirmed: set[int] = set()
        self._drained = asyncio.Event()
        self._last_id = 0
        self._coming = bytearray()
        self._working = False
        self._going: list[bytes] = []
        self._flush_due = False
        self._heard_s = self._wrote_s = self._loop.time()
        self._asked_s: float | None = None

    @property
    def unconfirmed(self) -> int:
        """How many QoS 1 messages the broker has not acknowledged."""
        return len(self._unconfirmed)

    @property
    def unwritten(self) -> bool:
        """Is something published that was not yet handed to the system?"""
        return bool(self._going)

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> bool:
        """Hand a message over; False when the connection is gone, or takes nothing more."""
        transport = self._transport
        if self.closed.done() or transport is None:
            return False
        if transport.get_write_buffer_size() > MOST_UNWRITTEN_BYTES:
            return False
        packet_id = self._next_id() if qos else 0
        self._send(packets.publish(topic, payload, packet_id=packet_id, retain=retain))
        if packet_id:
            self._unconfirmed.add(packet_id)
        return True

    async def subscribe(self, pattern: str, qos: int) -> bool:
        """False when the broker refuses this subscription. Raises: BusError when it is gone."""
        if self.closed.done():
            raise self._address.away("the connection is gone")
        packet_id = self._next_id()
        answer: asyncio.Future[bool] = self._loop.create_future()
        self._subscribing[packet_id] = answer
        self._send(packets.subscribe(packet_id, pattern, qos))
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                return await answer
        except TimeoutError:
            raise self._address.away("it did not answer a subscription within 5 s") from None
        finally:
            self._subscribing.pop(packet_id, None)

    def ask(self, pattern: str, qos: int) -> None:
        """Subscribe once more: the broker sends again what it keeps [MQTT-3.8.4-3]."""
        if not self.closed.done():
            self._send(packets.subscribe(self._next_id(), pattern, qos))

    def unsubscribe(self, pattern: str) -> None:
        if not self.closed.done():
            self._send(packets.unsubscribe(self._next_id(), pattern))

    async def drain(self, timeout_s: float = 2.0) -> None:
        """Wait until the broker acknowledged all that was sent, or the time is up."""
        if not self._unconfirmed:
            return
        self._drained.clear()
        waiting: asyncio.Future[Any] = asyncio.ensure_future(self._drained.wait())
        await asyncio.wait(
            [waiting, self.closed], timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
        )
        waiting.cancel()

    def _next_id(self) -> int:
        """Of 65,535; one that still waits for its acknowledgement is not given again."""
        for _ in range(packets.MOST_PACKET_IDS):
            self._last_id = self._last_id % packets.MOST_PACKET_IDS + 1
            if self._last_id not in self._unconfirmed and self._last_id not in self._subscribing:
                break
        return self._last_id

    # --- opening and closing --------------------------------------------------------------------

    async def open(self, identifier: str, will: Will | None) -> None:
        """Raises: BusError."""
        address = self._address
        hello = packets.connect(
            identifier,
            keepalive_s=KEEPALIVE_S,
            username=address.username,
            password=address.password,
            will=(will.topic, will.payload) if will else None,
        )
        context = ssl.create_default_context() if address.tls else None
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await self._loop.create_connection(
                    lambda: self, address.host, address.port, ssl=context
                )
                self._send(hello)
                await self._opened
        except TimeoutError:
            raise address.away("no answer within 5 s") from None
        except (OSError, ValueError) as error:
            raise address.away(_reason_of(error)) from None

    async def keep_alive(self) -> None:
        """Pings, and an end where nobody answers them; returns never, ends by cancellation."""
        while True:
            await asyncio.sleep(1)
            now_s = self._loop.time()
            if self._asked_s is not None and now_s - self._asked_s >= KEEPALIVE_S:
                if self._heard_s < self._asked_s:
                    self._finish(self._address.away("it does not answer any more"))
                self._asked_s = None
            elif self._asked_s is None and now_s - min(self._heard_s, self._wrote_s) >= PING_AT_S:
                self._asked_s = now_s
                self._send(packets.PINGREQ)

    async def close(self) -> None:
        """Say goodbye, and leave no socket behind."""
        self._finish(self._address.away("closed"))
        transport = self._transport
        if transport is None:
            return
        self._going.append(packets.DISCONNECT)
        self._flush()
        transport.close()
        await asyncio.wait([self._gone], timeout=CLOSED_WITHIN_S)
        transport.abort()

    def abort(self) -> None:
        """End without a goodbye, as when a process dies: the broker sends our will."""
        if self._transport is not None:
            self._transport.abort()

    def _finish(self, error: BusError) -> None:
        if not self.closed.done():
            self.closed.set_result(error)
        if not self._opened.done():
            self._opened.set_exception(error)
        for waiting in self._subscribing.values():
            if not waiting.done():
                waiting.set_exception(error)

    # --- called by the transport ------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none of asyncio's classes.
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        reason = _reason_of(exc) if exc is not None else "it closed the connection"
        self._finish(self._address.away(reason))
        if not self._gone.done():
            self._gone.set_result(None)

    def data_received(self, data: bytes) -> None:
        self._heard_s = self._loop.time()
        self._coming += data
        if not self._working:
            self._work()

    def _work(self) -> None:
        """What handlers publish because of what came is written before anything else runs. Where
        more came than is handled at once, nothing more is read until that is done."""
        transport = self._transport
        if transport is None or self.closed.done():
            return
        try:
            more = self._take_some()
        except MalformedPacket as error:
            self._finish(self._address.away(f"it sends what is not MQTT: {error}"))
            return
        self._flush()
        if more == self._working:
            if more:
                self._loop.call_soon(self._work)
        elif more:
            self._working = True
            transport.pause_reading()
            self._loop.call_soon(self._work)
        else:
            self._working = False
            transport.resume_reading()

    def _take_some(self) -> bool:
        """Handle some packets; is there another? Raises: MalformedPacket."""
        coming, at, found = self._coming, 0, None
        try:
            for _ in range(PACKETS_AT_ONCE):
                found = packets.next_packet(coming, at)
                if found is None:
                    return False
                first, begin, at = found
                self._take(first, bytes(coming[begin:at]))
            return packets.next_packet(coming, at) is not None
        finally:
            del coming[:at]

    def _take(self, first: int, body: bytes) -> None:
        match first >> 4:
            case Kind.PUBLISH:
                message = packets.read_publish(first, body)
                if message.packet_id:
                    self._going.append(packets.puback(message.packet_id))
                going = len(self._going)
                self._receive(message.topic, message.payload)
                if len(self._going) > going:
                    self._flush()
            case Kind.PUBACK:
                self._unconfirmed.discard(packets.read_packet_id(body))
                if not self._unconfirmed:
                    self._drained.set()
            case Kind.CONNACK:
                self._welcomed(packets.read_connack(body))
            case Kind.SUBACK:
                answer = self._subscribing.get(packets.read_packet_id(body))
                if answer is not None and not answer.done():
                    answer.set_result(all(packets.granted(body)))
            case Kind.UNSUBACK | Kind.PINGRESP:
                pass
            case kind:
                raise MalformedPacket(f"a packet of kind {kind}")

    def _welcomed(self, code: int) -> None:
        if code == 0:
            if not self._opened.done():
                self._opened.set_result(None)
        elif code in _REFUSED:
            self._finish(
                BrokerRefused(
                    f"the broker at {self._address.shown} refused our name or password: "
                    "check HUTONG_MQTT_URL"
                )
            )
        else:
            self._finish(self._address.away(_CONNACK_SAYS.get(code, f"it refused us: {code}")))

    def _send(self, packet: bytes) -> None:
        """One write for all that is sent in this turn of the loop."""
        self._going.append(packet)
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush_now)

    def _flush_now(self) -> None:
        self._flush_due = False
        self._flush()

    def _flush(self) -> None:
        if not self._going or self._transport is None:
            return
        going, self._going = self._going, []
        self._wrote_s = self._loop.time()
        self._transport.write(b"".join(going))


def _reason_of(error: Exception) -> object:
    """The system's own words; asyncio's name the address once more."""
    number = getattr(error, "errno", None)
    if isinstance(error, ssl.SSLError) or not isinstance(number, int) or number <= 0:
        return getattr(error, "strerror", None) or error
    return os.strerror(number)


@contextlib.asynccontextmanager
async def connect(
    address: BrokerAddress,
    identifier: str,
    receive: Callable[[str, bytes], None] = lambda _topic, _payload: None,
    *,
    will: Will | None = None,
) -> AsyncIterator[Link]:
    """A connection with a clean session. Raises: BrokerAway, BrokerRefused, a sentence each."""
    link = Link(address, receive)
    keeping: asyncio.Task[None] | None = None
    try:
        await link.open(identifier, will)
        keeping = asyncio.create_task(link.keep_alive())
        yield link
    finally:
        if keeping is not None:
            keeping.cancel()
        await link.close()
        if link._opened.done() and not link._opened.cancelled():
            link._opened.exception()
