"""A client that publishes to a broker as a device does: with a will, and lost connections."""

import asyncio
import contextlib
import dataclasses
import json
import random
import socket
from collections.abc import Callable
from typing import Any, Self

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from simulators.waiting import Changes

DELAYED = 10_000


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BrokerPlace:
    """Where the broker is, and as whom to connect. password is not shown."""

    host: str = "127.0.0.1"
    port: int = 1883
    username: str = ""
    password: str = dataclasses.field(default="", repr=False)


class Publisher:
    """Use as an async context manager: connected when entered, and again whenever it is lost.

    Raises on entering: OSError when the broker is not there, or does not let us in.

    will: topic and payload of a retained will, None for a client that leaves none. What is
    published while there is no connection is lost. on_connect is called at each connection, in
    the loop.

    Faults, to be set at any time: duplicate sends everything twice; loss is the part of messages
    that is lost; delay_s holds each back for a random time up to it, so that they overtake each
    other; silent sends nothing.
    """

    def __init__(
        self,
        place: BrokerPlace,
        client_id: str,
        *,
        qos: int = 0,
        will: tuple[str, bytes] | None = None,
        seed: int | None = None,
        on_connect: Callable[[], None] = lambda: None,
    ) -> None:
        self.duplicate = False
        self.loss = 0.0
        self.delay_s = 0.0
        self.silent = False
        self.sent = 0
        self.lost = 0
        self.connects = 0
        self.changes = Changes()
        self._place = place
        self._qos = qos
        self._random = random.Random(seed)
        self._on_connect = on_connect
        self._delayed: set[asyncio.TimerHandle] = set()
        client = self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=True
        )
        client.reconnect_delay_set(min_delay=1, max_delay=2)
        if place.username:
            client.username_pw_set(place.username, place.password)
        if will is not None:
            client.will_set(will[0], will[1], qos=qos, retain=True)

    @property
    def connected(self) -> bool:
        return self._client.is_connected()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()

        def connected(_c: Any, _d: Any, _flags: Any, code: Any, _properties: Any) -> None:
            if not code.is_failure:
                with contextlib.suppress(RuntimeError):  # the loop may be closed by now
                    loop.call_soon_threadsafe(self._connected)

        self._client.on_connect = connected
        await asyncio.to_thread(self._client.connect, self._place.host, self._place.port, 30)
        self._client.loop_start()
        try:
            await self.changes.until(lambda: self.connects > 0)
        except BaseException:  # refused, or cancelled: no thread is left behind
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for waiting in self._delayed:
            waiting.cancel()
        self._client.disconnect()
        await asyncio.to_thread(self._client.loop_stop)

    def _connected(self) -> None:
        self.connects += 1
        self._on_connect()
        self.changes.notify()

    # --- publishing -----------------------------------------------------------------------------

    def publish(self, topic: str, document: object, *, retain: bool = False) -> None:
        """Send a document as JSON, by the faults that are set."""
        self.publish_raw(topic, json.dumps(document, ensure_ascii=False).encode(), retain=retain)

    def publish_raw(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        if self.silent or self._random.random() < self.loss:
            self.lost += 1
            return
        for _ in range(2 if self.duplicate else 1):
            if self.delay_s and len(self._delayed) < DELAYED:
                self._later(topic, payload, retain)
            else:
                self._now(topic, payload, retain)

    def _later(self, topic: str, payload: bytes, retain: bool) -> None:
        def send() -> None:
            self._delayed.discard(handle)
            self._now(topic, payload, retain)

        delay_s = self._random.uniform(0, self.delay_s)
        handle = asyncio.get_running_loop().call_later(delay_s, send)
        self._delayed.add(handle)

    def _now(self, topic: str, payload: bytes, retain: bool) -> None:
        if not self.connected:
            self.lost += 1
            return
        self._client.publish(topic, payload, self._qos, retain)
        self.sent += 1

    # --- faults ---------------------------------------------------------------------------------

    def drop(self) -> None:
        """Break the connection without a word: the broker publishes the will. It connects again
        after a second."""
        connection: Any = self._client.socket()
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
