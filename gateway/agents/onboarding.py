"""Registering devices: one that is named, or all that a discovery found.

A device is probed first; one that turns out to be a registered one that moved is given its new
address instead of being registered twice.
"""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from adapters import catalog
from adapters.base import Capability
from adapters.errors import AdapterError, TimedOut, Unreachable
from adapters.events import Found, Inventory, Source
from gateway.agents.build import video_adapter
from registry import devices, recognition
from registry.binding import Registration
from registry.database import Connection, Database
from registry.devices import Device, DeviceIdentity, NewDevice
from registry.errors import Conflict, DatabaseAway, RegistryError
from registry.partition import Principal
from registry.sources import FoundSource, Profile

PROBE_TIMEOUT_S = 20.0
OLD_ADDRESS_TIMEOUT_S = 5.0
AT_ONCE = 32
"""Devices of one discovery that are probed side by side."""

ProbeKnown = Callable[[str], Awaitable[Inventory]]
"""Asks a registered device, by its id, what it is. Raises: AdapterError, RegistryError."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What to register. secret: the password, sealed. endpoint_reference: where discovery told."""

    adapter: str
    endpoint: str
    organization: str
    name: str = ""
    username: str = ""
    password: str = dataclasses.field(default="", repr=False)
    secret: bytes | None = dataclasses.field(default=None, repr=False)
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    endpoint_reference: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Onboarded:
    """moved_from: the endpoint it had, where the device was registered already."""

    device: Device
    registration: Registration
    moved_from: str | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of one device that was found.

    outcome: ``registered``, ``moved``, ``known`` (nothing was to be done) or ``refused``.
    """

    endpoint: str
    outcome: str
    reason: str = ""
    device_id: str | None = None
    registration: Registration | None = None


class Onboarding:
    """Writes to one registry. probe_known: see `ProbeKnown`."""

    def __init__(self, database: Database, probe_known: ProbeKnown) -> None:
        self._database = database
        self._probe_known = probe_known

    async def register(self, principal: Principal, wish: Wish) -> Onboarded:
        """Probe a device, register it and bind its sources. Nothing is kept when that fails.

        Raises: AdapterError, RegistryError; Conflict where it is registered already.
        """
        await self._check_place(principal, wish)
        adapter = video_adapter(
            wish.adapter, wish.endpoint, wish.username, wish.password, wish.settings
        )
        inventory = await in_time(adapter.probe(), wish.endpoint)
        identity = identity_of(inventory)
        if wish.endpoint_reference and not identity.endpoint_reference:
            identity = dataclasses.replace(identity, endpoint_reference=wish.endpoint_reference)
        before = await self._moved(principal, wish, identity)
        new = NewDevice(
            adapter=wish.adapter,
            endpoint=wish.endpoint,
            organization=wish.organization,
            name=wish.name,
            username=wish.username,
            secret=wish.secret,
            settings={**wish.settings, **inventory.settings},
        )
        found = found_sources(inventory)
        told: dict[str, Any] = {
            "identity": identity,
            "clock_offset_s": inventory.clock_offset_s,
            "notes": inventory.notes,
        }

        def write(connection: Connection) -> Onboarded:
            if before is None:
                done = devices.register(connection, principal, new, found, **told)
            else:
                done = recognition.move(connection, principal, before.id, new, found, **told)
            return Onboarded(
                device=devices.get(connection, principal, done.device_id),
                registration=done,
                moved_from=None if before is None else before.endpoint,
            )

        return await self._database.write(write)

    async def _check_place(self, principal: Principal, wish: Wish) -> None:
        """Kinds that can be discovered are one device at a host and port, however that is
        written; of others the path may tell several apart. Raises: Conflict."""
        if Capability.DISCOVER not in catalog.load(wish.adapter).capabilities:
            return
        known = await self._database.read(
            lambda c: recognition.at_endpoint(c, principal, wish.adapter, wish.endpoint)
        )
        if known is not None:
            raise Conflict(f"{wish.endpoint} is registered already", other=known)

    async def _moved(
        self, principal: Principal, wish: Wish, identity: DeviceIdentity
    ) -> Device | None:
        """The registered device that this one is, if it has left its old address.

        Raises: Conflict where it is registered and still answers there, too.
        """
        known = await self._database.read(
            lambda c: recognition.known_as(c, principal, wish.adapter, wish.endpoint, identity)
        )
        if known is None:
            return None
        try:
            async with asyncio.timeout(OLD_ADDRESS_TIMEOUT_S):
                there = identity_of(await self._probe_known(known.id))
        except (AdapterError, TimeoutError):
            return known
        if there.serial != identity.serial:
            return known  # its old address is another's by now
        reference = identity.endpoint_reference
        if reference and reference == known.identity.endpoint_reference:
            raise Conflict(
                f"{wish.endpoint} is another address of {known.endpoint}, which is registered",
                other=known.id,
            )
        return None  # two devices with one serial number

    async def register_found(
        self,
        principal: Principal,
        found: Iterable[Found],
        wish: Wish,
        told: Callable[[Result], None],
    ) -> None:
        """Register each of what was found, `AT_ONCE` side by side. wish: all but the endpoints.
        told gets what became of each, as it is known. Raises: DatabaseAway."""
        waiting = iter(found)

        async def work() -> None:
            for each in waiting:
                told(await self._one(principal, each, wish))

        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(work())

    async def _register_at(self, principal: Principal, wish: Wish, answered_from: str) -> Onboarded:
        """At the address it announces; nobody there, at the one that its answer came from."""
        try:
            return await self.register(principal, wish)
        except (Unreachable, TimedOut):
            other = at_host(wish.endpoint, answered_from)
            if other == wish.endpoint:
                raise
            return await self.register(principal, dataclasses.replace(wish, endpoint=other))

    async def _one(self, principal: Principal, found: Found, wish: Wish) -> Result:
        endpoint = found.endpoint
        try:
            wish = dataclasses.replace(
                wish, endpoint=endpoint, endpoint_reference=found.endpoint_reference
            )
            done = await self._register_at(principal, wish, found.answered_from)
        except DatabaseAway:
            raise
        except Conflict as error:
            return Result(
                endpoint=endpoint, outcome="known", reason=str(error), device_id=error.other
            )
        except AdapterError as error:
            return Result(endpoint=endpoint, outcome="refused", reason=error.message)
        except RegistryError as error:
            return Result(endpoint=endpoint, outcome="refused", reason=str(error))
        return Result(
            endpoint=endpoint,
            outcome="moved" if done.moved_from else "registered",
            device_id=done.device.id,
            registration=done.registration,
        )


def at_host(endpoint: str, host: str) -> str:
    """A URL with another host, its port kept; unchanged where there is no such host."""
    parts = urlsplit(endpoint)
    if not host or parts.hostname in (None, host):
        return endpoint
    shown = f"[{host}]" if ":" in host else host
    netloc = f"{shown}:{parts.port}" if parts.port else shown
    return urlunsplit((parts.scheme, netloc, parts.path, parts.query, ""))


async def in_time(probing: Awaitable[Inventory], device: str) -> Inventory:
    """A probe that ends. Raises: TimedOut, AdapterError."""
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            return await probing
    except TimeoutError:
        reason = f"it did not tell what it is within {PROBE_TIMEOUT_S:g} s"
        raise TimedOut(reason, device=device) from None


def found_sources(inventory: Inventory) -> list[FoundSource]:
    return [_found_source(source) for source in inventory.sources]


def _found_source(source: Source) -> FoundSource:
    return FoundSource(
        address=source.address,
        name=source.name,
        channel_number=source.channel_number,
        profiles=tuple(
            Profile(
                name=profile.name,
                codec=profile.codec,
                width=profile.width,
                height=profile.height,
                fps=profile.fps,
                token=profile.token,
                bit_rate_bps=profile.bit_rate_bps,
            )
            for profile in source.profiles
        ),
        capabilities=tuple(sorted(source.capabilities)),
        longitude_deg=source.longitude_deg,
        latitude_deg=source.latitude_deg,
    )


def identity_of(inventory: Inventory) -> DeviceIdentity:
    return DeviceIdentity(**dataclasses.asdict(inventory.identity))
