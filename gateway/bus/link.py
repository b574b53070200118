"""One MQTT 3.1.1 connection: paho-mqtt driven by the asyncio loop, without threads of its own.

TCP_NODELAY is set: with Nagle's algorithm on, a lone QoS 1 message waits 40 ms for the delayed
acknowledgement of the one before it (measured; paho.mqtt.python issue 874).
"""

import asyncio
import contextlib
import dataclasses
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from gateway.bus.address import BrokerAddress
from gateway.bus.buffered import BufferedClient, BufferedSocket
from gateway.bus.errors import BrokerRefused, BusError

CONNECT_TIMEOUT_S = 5.0
KEEPALIVE_S = 5
MOST_UNWRITTEN_BYTES = 16 * 1024 * 1024
"""A broker that takes nothing more is as good as away."""
PACKETS_AT_ONCE = 32
"""Then others have their turn, another connection's packets above all."""
_MAX_IN_FLIGHT = 1000
_REFUSED = {4, 5}
"""CONNACK return codes: bad user name or password, not authorised."""


def publish_packet(topic: str, payload: bytes) -> bytes:
    """PUBLISH with QoS 0 [MQTT-3.3]. Raises: ValueError for what MQTT cannot carry."""
    name = topic.encode()
    length = 2 + len(name) + len(payload)
    if len(name) > 0xFFFF or length > 0x0FFF_FFFF:
        raise ValueError(f"a message of {length} bytes does not fit into MQTT")
    head = bytearray((0x30,))
    while length > 0x7F:
        head.append(length & 0x7F | 0x80)
        length >>= 7
    head.append(length)
    return b"".join((head, len(name).to_bytes(2, "big"), name, payload))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Will:
    topic: str
    payload: bytes


class Link:
    """Made by `connect`. `closed` is done when the connection is over, with what ended it."""

    def __init__(
        self, address: BrokerAddress, client: mqtt.Client, receive: Callable[[str, bytes], None]
    ) -> None:
        self._address = address
        self._client = client
        self._loop = asyncio.get_running_loop()
        self._socket: BufferedSocket | None = None
        self._flush_due = False
        self._going_on = False
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self.closed: asyncio.Future[BusError] = self._loop.create_future()
        self._subscribing: dict[int, asyncio.Future[bool]] = {}
        self._unconfirmed: set[int] = set()
        self._drained = asyncio.Event()
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_publish = self._on_publish
        client.on_message = lambda _client, _data, message: receive(
            message.topic, bytes(message.payload)
        )
        client.on_socket_open = self._on_socket_open
        client.on_socket_close = self._on_socket_close
        client.on_socket_register_write = self._on_socket_register_write

    @property
    def unconfirmed(self) -> int:
        """How many QoS 1 messages the broker has not acknowledged."""
        return len(self._unconfirmed)

    @property
    def unwritten(self) -> bool:
        """Is something published that was not yet handed to the system?"""
        return self.unwritten_bytes > 0 or self._client.want_write()

    @property
    def unwritten_bytes(self) -> int:
        """What was published and the system has not taken yet."""
        return self._socket.unwritten_bytes if self._socket is not None else 0

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> bool:
        """Hand a message over; False when the connection is gone, or takes nothing more."""
        known = self._socket
        if self.closed.done() or known is None or known.unwritten_bytes > MOST_UNWRITTEN_BYTES:
            return False
        info = self._client.publish(topic, payload, qos, retain)
        if qos and info.rc == MQTTErrorCode.MQTT_ERR_SUCCESS:
            self._unconfirmed.add(info.mid)
        return info.rc == MQTTErrorCode.MQTT_ERR_SUCCESS

    def publish_at_once(self, topic: str, payload: bytes) -> bool:
        """QoS 0, without paho: its queue, locks and message objects cost twenty times as much,
        and it hands whole packets to our socket, so that one of ours is never in the middle."""
        known = self._socket
        if self.closed.done() or known is None or not self._opened.done():
            return False
        known.send(publish_packet(topic, payload))
        self._on_socket_register_write(None, None, None)
        return True

    async def subscribe(self, pattern: str, qos: int) -> bool:
        """False when the broker refuses this subscription. Raises: BusError when it is gone."""
        code, mid = self._client.subscribe(pattern, qos)
        if code != MQTTErrorCode.MQTT_ERR_SUCCESS or mid is None:
            raise self._address.away("the connection is gone")
        answer: asyncio.Future[bool] = self._loop.create_future()
        self._subscribing[mid] = answer
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                return await answer
        except TimeoutError:
            raise self._address.away("it did not answer a subscription within 5 s") from None
        finally:
            self._subscribing.pop(mid, None)

    def ask(self, pattern: str, qos: int) -> None:
        """Subscribe once more: the broker sends again what it keeps [MQTT-3.8.4-3]."""
        if not self.closed.done():
            self._client.subscribe(pattern, qos)

    def unsubscribe(self, pattern: str) -> None:
        if not self.closed.done():
            self._client.unsubscribe(pattern)

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

    # --- opening and closing --------------------------------------------------------------------

    async def open(self) -> None:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S + 1):
                await self._loop.run_in_executor(
                    None, self._client.connect, self._address.host, self._address.port, KEEPALIVE_S
                )
                await self._opened
        except TimeoutError:
            raise self._address.away("no answer within 5 s") from None
        except (OSError, ValueError) as error:
            raise self._address.away(getattr(error, "strerror", None) or error) from None

    async def keep_alive(self) -> None:
        """Pings and time-outs; returns never, ends by cancellation."""
        while True:
            await asyncio.sleep(1)
            self._client.loop_misc()

    async def close(self) -> None:
        """Say goodbye, and leave no socket behind."""
        self._client.disconnect()
        self._flush()
        known = self._socket
        if known is not None:
            self._forget_socket(known)
            known.close()
        self._finish(self._address.away("closed"))

    def abort(self) -> None:
        """End without a goodbye, as when a process dies: the broker sends our will."""
        known = self._socket
        if known is not None:
            self._forget_socket(known)
            known.abort()
        self._finish(self._address.away("given up"))

    def _finish(self, error: BusError) -> None:
        if not self.closed.done():
            self.closed.set_result(error)
        if not self._opened.done():
            self._opened.set_exception(error)
        for waiting in self._subscribing.values():
            if not waiting.done():
                waiting.set_exception(error)

    # --- called by paho ---------------------------------------------------------------------------

    def _on_connect(self, _c: Any, _d: Any, _flags: Any, code: Any, _properties: Any) -> None:
        if not code.is_failure:
            if not self._opened.done():
                self._opened.set_result(None)
            return
        if getattr(code, "value", 0) in (*_REFUSED, 134, 135):
            self._finish(
                BrokerRefused(
                    f"the broker at {self._address.shown} refused our name or password: "
                    "check HUTONG_MQTT_URL"
                )
            )
        else:
            self._finish(self._address.away(code))

    def _on_disconnect(self, _c: Any, _d: Any, _flags: Any, code: Any, _properties: Any) -> None:
        self._finish(self._address.away(code))

    def _on_subscribe(self, _c: Any, _d: Any, mid: int, codes: Any, _properties: Any) -> None:
        answer = self._subscribing.get(mid)
        if answer is not None and not answer.done():
            answer.set_result(not any(code.is_failure for code in codes))

    def _on_publish(self, _c: Any, _d: Any, mid: int, _code: Any, _properties: Any) -> None:
        self._unconfirmed.discard(mid)
        if not self._unconfirmed:
            self._drained.set()

    def _on_socket_open(self, _c: Any, _d: Any, opened: Any) -> None:
        """In the thread that connects."""
        with contextlib.suppress(OSError):
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._loop.call_soon_threadsafe(self._watch_socket, opened)

    def _watch_socket(self, opened: BufferedSocket) -> None:
        if self.closed.done():
            return
        self._socket = opened
        self._loop.add_reader(opened.fileno(), self._read)
        self._flush()

    def _read(self) -> None:
        """What handlers published because of what came is written before anything else runs. What
        is left over has one turn of the loop each, however often the socket has more: else they
        add up, and nothing else runs, not even the other connection."""
        if self._going_on:
            return
        for _ in range(PACKETS_AT_ONCE):
            self._client.loop_read()
            if self._flush_due:
                self._flush()
            if self._socket is None or not self._socket.waiting:
                return
        self._going_on = True
        self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._going_on = False
        if self._socket is not None:
            self._read()

    def _on_socket_close(self, _c: Any, _d: Any, closed: Any) -> None:
        if self._socket is not None and self._socket is closed:
            self._forget_socket(self._socket)

    def _forget_socket(self, known: BufferedSocket) -> None:
        self._socket = None
        self._loop.remove_reader(known.fileno())
        self._loop.remove_writer(known.fileno())

    def _on_socket_register_write(self, _c: Any, _d: Any, _socket: Any) -> None:
        """One write for all that is published in this turn of the loop."""
        if self._socket is not None and not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_due = False
        if self._socket is None:
            return
        self._client.loop_write()
        known = self._socket
        if known is None:
            return
        try:
            written = known.flush()
        except OSError as error:
            self._finish(self._address.away(error.strerror or error))
            return
        if written:
            self._loop.remove_writer(known.fileno())
        else:
            self._loop.add_writer(known.fileno(), self._flush)


@contextlib.asynccontextmanager
async def connect(
    address: BrokerAddress,
    identifier: str,
    receive: Callable[[str, bytes], None] = lambda _topic, _payload: None,
    *,
    will: Will | None = None,
) -> AsyncIterator[Link]:
    """A connection with a clean session. Raises: BrokerAway, BrokerRefused, a sentence each."""
    client = BufferedClient(
        CallbackAPIVersion.VERSION2,
        client_id=identifier,
        clean_session=True,
        protocol=mqtt.MQTTv311,
        reconnect_on_failure=False,
    )
    client.connect_timeout = CONNECT_TIMEOUT_S
    client.max_inflight_messages_set(_MAX_IN_FLIGHT)
    if address.username is not None:
        client.username_pw_set(address.username, address.password)
    if address.tls:
        client.tls_set_context(ssl.create_default_context())
    if will is not None:
        client.will_set(will.topic, will.payload, qos=1, retain=True)
    link = Link(address, client, receive)
    keeping: asyncio.Task[None] | None = None
    try:
        await link.open()
        keeping = asyncio.create_task(link.keep_alive())
        yield link
    finally:
        if keeping is not None:
            keeping.cancel()
        await link.close()
        if link._opened.done() and not link._opened.cancelled():
            link._opened.exception()
