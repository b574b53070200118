"""Reads topics of an MQTT 3.1.1 broker: paho-mqtt driven by the asyncio loop, without threads.

Only the connecting itself is in the loop's pool of threads, for paho has no other way; it is over
within `CONNECT_S`, cancelled or not.
"""

import asyncio
import contextlib
import dataclasses
import socket
import ssl
import uuid
from collections.abc import Callable, Iterable
from typing import Any, Never

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from adapters.errors import (
    AdapterError,
    AuthenticationFailed,
    InvalidSettings,
    TimedOut,
    Unreachable,
    reason_of,
)

CONNECT_S = 5.0
KEEPALIVE_S = 10
_REFUSED = {4, 5, 134, 135}
"""CONNACK codes of 3.1.1 and, as paho tells them, of 5: bad name or password, not authorised."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """Where a broker is, and as whom we connect. ca_file: None for what this machine trusts."""

    host: str
    port: int
    username: str = ""
    password: str = dataclasses.field(default="", repr=False)
    tls: bool = False
    ca_file: str | None = None

    @property
    def shown(self) -> str:
        return f"{'mqtts' if self.tls else 'mqtt'}://{self.host}:{self.port}"


@dataclasses.dataclass(frozen=True, slots=True)
class Message:
    """retained: it was on the broker before we came, and may be of any age."""

    topic: str
    payload: bytes
    retained: bool


async def read(
    broker: Broker,
    patterns: Iterable[str],
    receive: Callable[[Message], None],
    subscribed: Callable[[], None],
) -> Never:
    """Hand over every message of these topics until cancelled, or until the connection is over.

    receive, subscribed: return at once and raise nothing. Messages are taken as they come, none
    is kept here.
    Raises: Unreachable, TimedOut, AuthenticationFailed, InvalidSettings.
    """
    connection = _Connection(broker, receive)
    try:
        await connection.open()
        await connection.subscribe(distinct(patterns))
        subscribed()
        while True:
            await asyncio.wait([connection.closed], timeout=1.0)
            if connection.closed.done():
                raise connection.closed.result()
            connection.keep_alive()
    finally:
        connection.close()


def distinct(patterns: Iterable[str]) -> list[str]:
    """Without those that another one covers: a broker may deliver what two of them match twice."""
    given = list(dict.fromkeys(patterns))
    return [p for p in given if not any(p != other and _covers(other, p) for other in given)]


def _covers(pattern: str, other: str) -> bool:
    """Does a pattern (with ``+`` alone) match all that another one does?"""
    mine, its = pattern.split("/"), other.split("/")
    return len(mine) == len(its) and all(a in ("+", b) for a, b in zip(mine, its, strict=True))


class _Trust(ssl.SSLContext):
    """Whom we believe. It keeps the socket that it wrapped: paho forgets one whose handshake has
    failed, and leaves it open."""

    wrapped: ssl.SSLSocket | None = None

    def wrap_socket(self, *arguments: Any, **named: Any) -> ssl.SSLSocket:
        self.wrapped = super().wrap_socket(*arguments, **named)
        return self.wrapped


class _Connection:
    """closed: done with what ended it."""

    def __init__(self, broker: Broker, receive: Callable[[Message], None]) -> None:
        self._broker = broker
        self._loop = asyncio.get_running_loop()
        self._socket: socket.socket | None = None
        self._trust: _Trust | None = None
        self._flush_due = False
        self._over = False
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._answers: dict[int, asyncio.Future[bool]] = {}
        self.closed: asyncio.Future[AdapterError] = self._loop.create_future()
        client = self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"hutong-feed-{uuid.uuid4().hex[:12]}",
            clean_session=True,
            protocol=mqtt.MQTTv311,
            reconnect_on_failure=False,
        )
        client.connect_timeout = CONNECT_S
        if broker.username:
            client.username_pw_set(broker.username, broker.password)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_message = lambda _client, _data, message: receive(
            Message(message.topic, bytes(message.payload), bool(message.retain))
        )
        client.on_socket_open = self._on_socket_open
        client.on_socket_close = self._on_socket_close
        client.on_socket_register_write = self._on_socket_register_write

    async def open(self) -> None:
        host, port = self._broker.host, self._broker.port
        self._secure()
        connecting = self._loop.run_in_executor(None, self._client.connect, host, port, KEEPALIVE_S)
        connecting.add_done_callback(self._on_connecting_done)
        try:
            async with asyncio.timeout(CONNECT_S + 1):
                await asyncio.shield(connecting)
                await self._opened
        except TimeoutError:
            message = f"the broker did not answer within {CONNECT_S:g} s"
            raise TimedOut(message, device=self._broker.shown) from None
        except ssl.SSLCertVerificationError as error:
            message = f"the broker's certificate is not trusted: {error.verify_message}"
            raise InvalidSettings(message, device=self._broker.shown) from error
        except OSError as error:
            raise self._away(reason_of(error)) from error

    async def subscribe(self, patterns: Iterable[str]) -> None:
        """QoS 1: what the feed sends with less comes with less, and nothing is thrown away by a
        broker that would rather drop QoS 0."""
        for pattern in patterns:
            code, mid = self._client.subscribe(pattern, 1)
            if code != MQTTErrorCode.MQTT_ERR_SUCCESS or mid is None:
                raise self._away("the connection is gone")
            answer = self._answers[mid] = self._loop.create_future()
            waiting: list[asyncio.Future[Any]] = [answer, self.closed]
            await asyncio.wait(waiting, timeout=CONNECT_S, return_when=asyncio.FIRST_COMPLETED)
            if self.closed.done():
                raise self.closed.result()
            if not answer.done():
                message = f"the broker did not answer a subscription within {CONNECT_S:g} s"
                raise TimedOut(message, device=self._broker.shown)
            if not answer.result():
                message = f"the broker does not let us read {pattern!r}; give this user the right"
                raise AuthenticationFailed(message, device=self._broker.shown)

    def keep_alive(self) -> None:
        """Pings and time-outs; to be called once a second."""
        self._client.loop_misc()

    def close(self) -> None:
        self._over = True
        self._client.disconnect()
        self._flush()
        if self._socket is not None:
            self._forget_socket(self._socket)
        self._finish(self._away("it was closed"))
        if not self._opened.cancelled():
            self._opened.exception()  # nobody may wait for it any more
        self._drop()

    def _secure(self) -> None:
        if not self._broker.tls:
            return
        self._trust = _Trust(ssl.PROTOCOL_TLS_CLIENT)
        try:
            if self._broker.ca_file:
                self._trust.load_verify_locations(self._broker.ca_file)
            else:
                self._trust.load_default_certs()
        except OSError as error:
            message = f"ca_file cannot be read: {reason_of(error)}"
            raise InvalidSettings(message, device=self._broker.shown) from error
        self._client.tls_set_context(self._trust)

    def _away(self, reason: object) -> Unreachable:
        return Unreachable(f"the broker cannot be reached: {reason}", device=self._broker.shown)

    def _finish(self, error: AdapterError) -> None:
        if not self.closed.done():
            self.closed.set_result(error)
        if not self._opened.done():
            self._opened.set_exception(error)

    def _drop(self) -> None:
        """Close the socket whatever became of it; paho itself waits for an answer."""
        for opened in (self._client.socket(), self._trust.wrapped if self._trust else None):
            if opened is not None:
                with contextlib.suppress(OSError):
                    opened.close()

    # --- called by paho ---------------------------------------------------------------------------

    def _on_connecting_done(self, connecting: "asyncio.Future[Any]") -> None:
        if not connecting.cancelled():
            connecting.exception()
        if self._over:
            self._drop()

    def _on_connect(self, _c: Any, _d: Any, _flags: Any, code: Any, _properties: Any) -> None:
        if not code.is_failure:
            if not self._opened.done():
                self._opened.set_result(None)
        elif getattr(code, "value", 0) in _REFUSED:
            message = "the broker refused our name or password; correct them"
            self._finish(AuthenticationFailed(message, device=self._broker.shown))
        else:
            self._finish(self._away(code))

    def _on_disconnect(self, _c: Any, _d: Any, _flags: Any, code: Any, _properties: Any) -> None:
        self._finish(self._away(f"it broke off ({code})"))

    def _on_subscribe(self, _c: Any, _d: Any, mid: int, codes: Any, _properties: Any) -> None:
        answer = self._answers.pop(mid, None)
        if answer is not None and not answer.done():
            answer.set_result(not any(code.is_failure for code in codes))

    def _on_socket_open(self, _c: Any, _d: Any, opened: Any) -> None:
        """In the thread that connects."""
        with contextlib.suppress(OSError):
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(RuntimeError):  # the loop may be closed by now
            self._loop.call_soon_threadsafe(self._watch_socket, opened)

    def _watch_socket(self, opened: socket.socket) -> None:
        if self._over or opened.fileno() < 0:
            return
        self._socket = opened
        self._loop.add_reader(opened, self._client.loop_read)
        self._flush()

    def _on_socket_close(self, _c: Any, _d: Any, closed: Any) -> None:
        if self._socket is not None and self._socket is closed:
            self._forget_socket(self._socket)

    def _forget_socket(self, known: socket.socket) -> None:
        self._socket = None
        if known.fileno() >= 0:
            self._loop.remove_reader(known)
            self._loop.remove_writer(known)

    def _on_socket_register_write(self, _c: Any, _d: Any, _socket: Any) -> None:
        if self._socket is not None and not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_due = False
        if self._socket is None:
            return
        self._client.loop_write()
        known = self._socket
        if known is not None and self._client.want_write():
            self._loop.add_writer(known, self._flush)
        elif known is not None:
            self._loop.remove_writer(known)
