"""The connection on which one role of a node speaks and hears voice, and nothing else.

Voice has a connection of its own, so that no key, event or lease ever waits behind it, so that the
broker can give it a right of its own, and so that its loss costs no more than silence. It is QoS 0:
what comes late is worth nothing, so what cannot be sent now is dropped and counted.
"""

import asyncio
import contextlib
import dataclasses
import random
from collections.abc import Callable
from typing import Any

import structlog

from gateway.bus.address import BrokerAddress
from gateway.bus.errors import BusError
from gateway.bus.link import Link, connect
from gateway.bus.topics import matches

MOST_WAITING_BYTES = 64 * 1024
"""About 15 s of one talk, or 0.3 s of fifty: what waits longer in a socket is no talk any more."""

log = structlog.get_logger("voice")


@dataclasses.dataclass(slots=True)
class VoiceCounters:
    """dropped: could not be sent at once. unreadable: no voice frame."""

    sent: int = 0
    received: int = 0
    dropped: int = 0
    unreadable: int = 0


class VoiceLine:
    """role: ``agent`` or ``bridge``, for the broker's rights. `run` connects for ever."""

    def __init__(self, address: Callable[[], BrokerAddress], role: str, identifier: str) -> None:
        self.counters = VoiceCounters()
        self.ready = asyncio.Event()
        self._address, self._role, self._identifier = address, role, identifier
        self._handlers: dict[str, Callable[[str, bytes], None]] = {}
        self._wild: list[str] = []
        self._changed = asyncio.Event()
        self._link: Link | None = None
        self._away = False

    def subscribe(self, pattern: str, handler: Callable[[str, bytes], None]) -> None:
        """handler takes topic and payload and returns at once. Raises (it): ValueError for what
        cannot be read, which is counted."""
        self._handlers[pattern] = handler
        self._note_change()

    def unsubscribe(self, pattern: str) -> None:
        self._handlers.pop(pattern, None)
        self._note_change()

    def _note_change(self) -> None:
        self._wild = [each for each in self._handlers if "+" in each]
        self.ready.clear()
        self._changed.set()

    def publish(self, topic: str, message: bytes) -> bool:
        """Now or never: False, and counted, where it cannot be sent at once."""
        link = self._link
        if link is None or link.unwritten_bytes > MOST_WAITING_BYTES:
            self.counters.dropped += 1
            return False
        if not link.publish_at_once(topic, message):
            self.counters.dropped += 1
            return False
        self.counters.sent += 1
        return True

    async def run(self) -> None:
        """Connect and stay connected until cancelled; jittered back-off from 0.2 s to 5 s."""
        delay_s = 0.2
        while True:
            try:
                address = self._address().for_voice(self._role)
                async with connect(address, self._identifier, self._receive) as link:
                    self._link, delay_s = link, 0.2
                    await self._stay(link)
            except BusError as error:
                if not self._away:
                    log.warning("no voice", role=self._role, reason=str(error))
                self._away = True
            finally:
                self._link = None
                self.ready.clear()
            await asyncio.sleep(delay_s * random.uniform(0.7, 1.3))
            delay_s = min(delay_s * 2, 5.0)

    async def _stay(self, link: Link) -> None:
        """Subscribe to what is asked for until the connection is over. Raises: BusError."""
        have: set[str] = set()
        while not link.closed.done():
            self._changed.clear()
            for pattern in have - self._handlers.keys():
                link.unsubscribe(pattern)
                have.discard(pattern)
            for pattern in sorted(self._handlers.keys() - have):
                if not await link.subscribe(pattern, 0):
                    log.error("no voice: refused by the broker's rights", pattern=pattern)
                have.add(pattern)
            if self._changed.is_set():
                continue
            self.ready.set()
            if self._away:
                log.info("voice is back", role=self._role)
            self._away = False
            await self._until_something_changes(link)
        raise link.closed.result()

    async def _until_something_changes(self, link: Link) -> None:
        changed: asyncio.Future[Any] = asyncio.ensure_future(self._changed.wait())
        try:
            await asyncio.wait([changed, link.closed], return_when=asyncio.FIRST_COMPLETED)
        finally:
            changed.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await changed

    def _receive(self, topic: str, message: bytes) -> None:
        self.counters.received += 1
        handler = self._handlers.get(topic)
        if handler is None:
            found = next((each for each in self._wild if matches(each, topic)), "")
            handler = self._handlers.get(found)
        if handler is None:
            return
        try:
            handler(topic, message)
        except ValueError as error:
            self._unreadable(topic, str(error))
        except Exception:  # a mistake of ours must not end the connection within a packet
            self.counters.unreadable += 1
            log.exception("voice not handled", topic=topic)

    def _unreadable(self, topic: str, reason: str) -> None:
        self.counters.unreadable += 1
        if str(self.counters.unreadable).rstrip("0") == "1":  # the first, the tenth, …
            log.warning(
                "unreadable voice", topic=topic, reason=reason, count=self.counters.unreadable
            )
