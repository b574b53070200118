"""The MMDVM adapter: what a host tells over MQTT, read from any broker."""

import asyncio
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import ClassVar

from adapters.base import Adapter, Capability, Emit, Granting, RadioTraits
from adapters.errors import AdapterError, Unreachable
from adapters.events import ChannelHealth, Malformed, Online
from adapters.mmdvm import wire
from adapters.mmdvm.settings import MmdvmSettings
from adapters.mmdvm.talks import Talks, ailing
from adapters.mqtt.reader import Message, read

LOOK_S = 1.0


class MmdvmAdapter(Adapter):
    """The radios that one MMDVMHost hears; nothing can be keyed.

    A channel is ``DMR/{slot}/{talkgroup}``, ``P25/{talkgroup}``, ``NXDN/{group}``,
    ``YSF/{dg-id}``, ``D-Star/{destination}`` or ``FM``.
    """

    capabilities: ClassVar[frozenset[Capability]] = frozenset()
    traits: ClassVar[RadioTraits] = RadioTraits(
        granting=Granting.LOCAL,
        identifies_talker=True,
        receive_only=True,
        advisory=True,
        resource="timeslot",
        hold_s=5.0,
        echo_s=6.0,
    )
    Settings = MmdvmSettings
    settings: MmdvmSettings

    async def run(self, emit: Emit) -> None:
        """Subscribe, emit `Online`, report until cancelled.

        Raises: Unreachable when the broker is lost, or the host silent where that is judged;
        AuthenticationFailed, InvalidSettings, TimedOut.
        """
        loop = asyncio.get_running_loop()
        feed = _Feed(self.settings, self.channels, emit)

        async def reading() -> AdapterError:
            """Gives, and does not raise, what ends it: a task group would wrap it."""
            try:
                await read(
                    self.settings.address,
                    [self.settings.topic],
                    lambda message: feed.receive(message, loop.time()),
                    lambda: emit(Online(at=datetime.now(UTC))),
                )
            except AdapterError as error:
                return error

        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(reading())
            failure = await _watch(feed, task)
            task.cancel()
        raise failure


class _Feed:
    """One connection. leftovers: retained messages, which are of whatever age."""

    def __init__(self, settings: MmdvmSettings, channels: Sequence[str], emit: Emit) -> None:
        self.leftovers = 0
        self.talks = Talks(hold_s=settings.hold_s, tag=uuid.uuid4().hex[:6] + "-")
        self._settings = settings
        self._channels = channels
        self._emit = emit
        self._heard_s: float | None = None
        self._ailing = ""

    def receive(self, message: Message, now_s: float) -> None:
        """Take a message of the broker. Raises nothing."""
        if message.retained:  # the host retains nothing: somebody else did
            self.leftovers += 1
            return
        at = datetime.now(UTC)
        self._heard_s = now_s
        try:
            document = wire.decode(message.payload)
        except wire.MalformedDocumentError as error:
            self._emit(Malformed(at=at, reason=str(error), peer=message.topic))
            return
        if isinstance(document, wire.HostState):
            self._host_says(document, at)
            return
        for event in self.talks.take(document, now_s, at):
            self._emit(event)

    def _host_says(self, state: wire.HostState, at: datetime) -> None:
        wrong = ailing(state)
        if wrong is None or wrong == self._ailing:
            return
        self._ailing = wrong
        health = "degraded" if wrong else "ok"
        for address in self._channels:
            self._emit(ChannelHealth(at=at, address=address, health=health, reason=wrong))

    def tick(self, now_s: float) -> Unreachable | None:
        """What is over by now. Gives what ends the connection: a silence that means something."""
        for event in self.talks.expire(now_s, datetime.now(UTC)):
            self._emit(event)
        silent_s = self._settings.silent_s
        self._heard_s = now_s if self._heard_s is None else self._heard_s
        if silent_s and now_s >= self._heard_s + silent_s:
            message = (
                f"the broker answers, but the host has not said a word for {silent_s:g} s; "
                "see that it runs, and that name is the one of its configuration"
            )
            return Unreachable(message, device=self._settings.address.shown)
        return None


async def _watch(feed: _Feed, reading: "asyncio.Task[AdapterError]") -> AdapterError:
    loop = asyncio.get_running_loop()
    while True:
        expiry_s = feed.talks.next_expiry_s()
        wait_s = LOOK_S if expiry_s is None else min(max(expiry_s - loop.time(), 0.01), LOOK_S)
        await asyncio.wait([reading], timeout=wait_s)
        if reading.done():
            return reading.result()
        silence = feed.tick(loop.time())
        if silence is not None:
            return silence
