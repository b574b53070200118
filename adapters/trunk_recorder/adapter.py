"""The trunk-recorder adapter: what its MQTT status plugin tells, read from any broker."""

import asyncio
import uuid
from typing import ClassVar

from adapters.base import Adapter, Capability, Emit, Granting, RadioTraits
from adapters.errors import AdapterError
from adapters.mqtt.reader import read
from adapters.trunk_recorder.feed import Feed
from adapters.trunk_recorder.settings import TrunkRecorderSettings

LOOK_S = 1.0


class TrunkRecorderAdapter(Adapter):
    """Trunked systems as trunk-recorder hears them; nothing can be keyed.

    A channel is ``{wacn}-{sysid}/{talkgroup}`` on a trunked system, ``{instance}:{name}/{number}``
    on a conventional one.
    """

    capabilities: ClassVar[frozenset[Capability]] = frozenset()
    traits: ClassVar[RadioTraits] = RadioTraits(
        granting=Granting.LOCAL,
        identifies_talker=True,
        receive_only=True,
        advisory=True,
        hold_s=5.0,
        echo_s=6.0,
    )
    Settings = TrunkRecorderSettings
    settings: TrunkRecorderSettings

    async def run(self, emit: Emit) -> None:
        """Subscribe, emit `Online` at the first word of a recorder, report until cancelled.

        Raises: Unreachable when the broker is lost or every recorder is silent;
        AuthenticationFailed, InvalidSettings, TimedOut.
        """
        loop = asyncio.get_running_loop()
        tag = uuid.uuid4().hex[:6]
        feed = Feed(self.settings, self.channels, emit, now_s=loop.time(), tag=tag)

        async def reading() -> AdapterError:
            """Gives, and does not raise, what ends it: a task group would wrap it."""
            try:
                await read(
                    self.settings.address,
                    self.settings.patterns,
                    lambda message: feed.receive(message, loop.time()),
                    lambda: None,
                )
            except AdapterError as error:
                return error

        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(reading())
            failure = await _watch(feed, task)
            task.cancel()
        raise failure


async def _watch(feed: Feed, reading: "asyncio.Task[AdapterError]") -> AdapterError:
    """Look at the clock until the reading ends, or nobody has anything to say any more."""
    loop = asyncio.get_running_loop()
    while True:
        expiry_s = feed.next_expiry_s()
        wait_s = LOOK_S if expiry_s is None else min(max(expiry_s - loop.time(), 0.01), LOOK_S)
        await asyncio.wait([reading], timeout=wait_s)
        if reading.done():
            return reading.result()
        silence = feed.tick(loop.time())
        if silence is not None:
            return silence
