"""Cameras by point: whoever needs the device of a point asks here.

The adapter that keeps the device online is used where there is one, so that a camera sees one
client; otherwise one is made for the occasion.
"""

import dataclasses
import unicodedata
from collections.abc import Callable, Mapping

from adapters.base import Adapter, MediaSource
from adapters.errors import AdapterError, AuthenticationFailed, NotSupported
from adapters.events import (
    Command,
    FindPreset,
    Image,
    Inventory,
    Outcome,
    RequestKeyframe,
    Result,
)
from gateway.agents.build import video_adapter
from gateway.agents.device import DeviceAgent
from registry import devices, points
from registry.database import Database
from registry.devices import RunningDevice
from registry.partition import SYSTEM

OpenSecret = Callable[[bytes], str]
"""Opens a sealed secret."""


class NoCamera(Exception):
    """The point has no source now."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Found:
    adapter: Adapter
    address: str


def device_adapter(run: RunningDevice, open_secret: OpenSecret) -> Adapter:
    """An adapter for a registered device. Raises: AdapterError."""
    device = run.device
    password = open_secret(run.secret) if run.secret else ""
    return video_adapter(
        device.adapter, device.endpoint, device.username, password, device.settings
    )


class Cameras:
    """agents: the device agents of this node, by device id."""

    def __init__(
        self, database: Database, open_secret: OpenSecret, agents: Mapping[str, DeviceAgent]
    ) -> None:
        self._database = database
        self._open_secret = open_secret
        self._agents = agents

    async def open_media(self, point_id: str, profile: str) -> MediaSource:
        """Where a point's stream can be had. Raises: NoCamera, AdapterError, DatabaseAway."""
        found = await self._find(point_id)
        return await found.adapter.open_media(found.address, profile)

    async def snapshot(self, point_id: str) -> Image:
        """A picture from the device's own snapshot service. Raises: as `open_media`."""
        found = await self._find(point_id)
        return await found.adapter.snapshot(found.address)

    async def execute(self, point_id: str, command: Callable[[str], Command]) -> Outcome:
        """Carry out a command, made for the source's address. Raises: as `open_media`."""
        found = await self._find(point_id)
        return await found.adapter.execute(command(found.address))

    async def request_keyframe(self, point_id: str, profile: str) -> None:
        """Have a point's stream go on with a keyframe. Raises: NotSupported where the device
        cannot or will not, and as `open_media`."""
        outcome = await self.execute(
            point_id, lambda address: RequestKeyframe(address=address, profile=profile)
        )
        if outcome.result is Result.REFUSED:
            raise NotSupported(outcome.reason)

    async def stands_at(self, point_id: str) -> frozenset[str]:
        """The presets at which a point's camera stands, in Unicode NFC; none while it moves, or
        stands elsewhere. Raises: NotSupported where it does not tell; as `open_media`."""
        outcome = await self.execute(point_id, lambda address: FindPreset(address=address))
        if outcome.result is not Result.DONE:
            raise NotSupported(f"the camera does not tell where it points: {outcome.reason}")
        return frozenset(unicodedata.normalize("NFC", each.strip()) for each in outcome.presets)

    async def command(self, device_id: str, command: Command) -> Outcome:
        """Carry out a command for a device as a whole. Raises: AdapterError, NotFound."""
        return await (await self._adapter(device_id)).execute(command)

    def stream_seen(self, point_id: str, error: AdapterError | None) -> None:
        """A point's stream opened just now, or did not: evidence for its status."""
        for agent in self._agents.values():
            if agent.stream_seen(point_id, error):
                return

    async def probe(self, device_id: str) -> Inventory:
        """Ask a registered device anew what it is. Raises: AdapterError, NotFound."""
        return await (await self._adapter(device_id)).probe()

    async def _find(self, point_id: str) -> _Found:
        point = await self._database.read(lambda c: points.get(c, SYSTEM, point_id))
        if point.device_id is None or point.address is None:
            raise NoCamera
        agent = self._agents.get(point.device_id)
        if agent is not None and isinstance(agent.refused, AuthenticationFailed):
            # Each new try with a wrong password brings the camera nearer to locking the account.
            raise AuthenticationFailed(agent.refused.message)
        return _Found(await self._adapter(point.device_id), point.address)

    async def _adapter(self, device_id: str) -> Adapter:
        agent = self._agents.get(device_id)
        if agent is not None and agent.adapter is not None:
            return agent.adapter
        run = await self._database.read(lambda c: devices.run(c, device_id))
        return device_adapter(run, self._open_secret)
