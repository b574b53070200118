"""The roster: what the registry says should run on this node, and keeping it so.

Reads the registry when something changed, starts and stops agents, tells the bridge the patches,
and publishes each system's config. Goes on with what it knew while the database is away.
"""

import asyncio
import contextlib
import dataclasses
import functools
import json
from collections.abc import Callable, Collection, Coroutine, Mapping
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import Connection

from adapters.base import Adapter, RadioTraits
from adapters.catalog import load as load_kind
from adapters.errors import AdapterError
from gateway.agents.budget import Budget
from gateway.agents.build import radio_adapter, runs_at_site, split_secrets
from gateway.agents.cameras import OpenSecret, device_adapter
from gateway.agents.device import BoundPoint, DeviceAgent, StatusChange, StatusWriter
from gateway.agents.fleet import Fleet
from gateway.agents.outbox import Outbox
from gateway.agents.radio import Channel, RadioAgent
from gateway.agents.unrecognised import UnrecognisedLog
from gateway.bus.client import Bus
from gateway.interop.bridge import Bridge
from gateway.interop.definitions import (
    ChannelDefinition,
    Definitions,
    DefinitionsFile,
    PatchDefinition,
    PatchMember,
    UnitDefinition,
)
from gateway.interop.directory import Directory
from gateway.interop.model import Call, Direction, Voice
from registry import changes, channels, devices, patches, point_status, systems, units
from registry.database import Database
from registry.errors import DatabaseAway

log = structlog.get_logger("roster")

LOOK_EVERY_S = 2.0
FULL_LOOK_EVERY_S = 15.0
RADIO_ATTEMPTS = 16


@dataclasses.dataclass(frozen=True, slots=True)
class _Wanted:
    """All that the registry says, in one reading."""

    devices: tuple[devices.RunningDevice, ...]
    systems: tuple[systems.RunningSystem, ...]
    definitions: Definitions


@dataclasses.dataclass(slots=True)
class _Run:
    """An agent at work. key: what it was started with; another key means a new start."""

    key: object
    agent: DeviceAgent | RadioAgent
    task: asyncio.Task[None]


class Agents:
    """The agents of this node by id: devices and radio systems."""

    def __init__(self) -> None:
        self.devices: dict[str, DeviceAgent] = {}
        self.systems: dict[str, RadioAgent] = {}


class Roster:
    """roles: ``agent`` runs agents, ``bridge`` feeds the bridge; both where the role is ``all``.

    outboxes: the folder where radio agents keep what the journal has not stored. tells_sites:
    publish the systems' configs though no agents run here.
    """

    def __init__(
        self,
        *,
        bus: Bus,
        database: Database,
        open_secret: OpenSecret,
        definitions_file: DefinitionsFile,
        directory: Directory,
        bridge: Bridge | None,
        run_agents: bool,
        outboxes: Path | None = None,
        tells_sites: bool = False,
    ) -> None:
        self.agents = Agents()
        self._bus = bus
        self._database = database
        self._open = open_secret
        self._file = definitions_file
        self._directory = directory
        self._bridge = bridge
        self._run_agents = run_agents
        self._outboxes = outboxes
        self._tells_sites = tells_sites
        self.fleet = Fleet()
        # A radio system never waits for the cameras of a district that come back.
        self._radio_budget = Budget(RADIO_ATTEMPTS)
        self._writer = StatusWriter()
        self._unrecognised = UnrecognisedLog()
        self._runs: dict[str, _Run] = {}
        self._configs: dict[str, dict[str, Any]] = {}
        self._nudged = asyncio.Event()
        self._settled = asyncio.Condition()
        self._rounds = 0
        self._looking = False

    def nudge(self) -> None:
        """Something was written: look now."""
        self._nudged.set()

    async def look_now(self) -> None:
        """Look, and return when everything runs as the registry says."""
        # A look that is under way may have read before whatever was written.
        wanted = self._rounds + (2 if self._looking else 1)
        self.nudge()
        async with self._settled:
            await self._settled.wait_for(lambda: self._rounds >= wanted)

    async def run(self) -> None:
        if self._bridge is not None and (known := self._file.load()) is not None:
            self._bridge.define(known)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._writer.batches(self._store))
                group.create_task(self._follow())
        finally:
            await self._stop(tuple(self._runs))

    async def _follow(self) -> None:
        stamp: str | None = None
        last_full_s = float("-inf")
        now_s = asyncio.get_running_loop().time
        while True:
            nudged = self._nudged.is_set()
            self._nudged.clear()
            self._looking = True
            try:
                fresh = await self._database.read(changes.stamp)
                if nudged or fresh != stamp or now_s() - last_full_s > FULL_LOOK_EVERY_S:
                    await self._take(await self._database.read(read_wanted))
                    stamp, last_full_s = fresh, now_s()
            except DatabaseAway:
                pass  # what was known goes on; the stamp tells of what was written meanwhile
            except Exception:
                # What runs goes on: a mistake here must not silence every radio and camera.
                log.exception("look failed")
            async with self._settled:
                self._rounds += 1
                self._looking = False
                self._settled.notify_all()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._nudged.wait()

    async def _take(self, wanted: _Wanted) -> None:
        self._directory.replace(wanted.definitions.units)
        if self._bridge is not None:
            self._bridge.define(wanted.definitions)
            try:
                self._file.save(wanted.definitions)
            except OSError as error:
                log.warning("definitions not saved", reason=str(error))
        if self._run_agents or self._tells_sites:
            self._publish_configs(wanted.systems)
        if self._run_agents:
            await self._reconcile(wanted)

    # --- systems' retained config ---------------------------------------------------------------

    def _publish_configs(self, wanted: tuple[systems.RunningSystem, ...]) -> None:
        topics = self._bus.topics
        fresh = {run.system.id: _config(run) for run in wanted}
        for system_id, config in fresh.items():
            if self._configs.get(system_id) != config:
                self._bus.set_state(topics.system_config(system_id), config)
        for system_id in self._configs.keys() - fresh.keys():
            self._bus.clear_state(topics.system_config(system_id))
        self._configs = fresh

    # --- agents ---------------------------------------------------------------------------------

    async def _reconcile(self, wanted: _Wanted) -> None:
        keys: dict[str, object] = {}
        starts: dict[str, Callable[[], Any]] = {}
        for device in wanted.devices:
            keys[device.device.id] = _device_key(device)
            starts[device.device.id] = functools.partial(self._device_agent, device)
        for system in wanted.systems:
            if runs_at_site(system.system.settings):
                continue
            keys[system.system.id] = _system_key(system)
            starts[system.system.id] = functools.partial(self._radio_agent, system)
        gone = [n for n, run in self._runs.items() if keys.get(n) != run.key]
        stopped = await self._stop(gone)
        for device in wanted.devices:
            agent = self.agents.devices.get(device.device.id)
            if agent is not None:
                agent.rebind(_bound(device))
        for system in wanted.systems:
            radio = self.agents.systems.get(system.system.id)
            if radio is not None:
                radio.retime(_channel(channel) for channel in system.channels)
        for name in keys.keys() - self._runs.keys():
            self._start(name, keys[name], starts[name])
        if stopped:
            # What begins says its states in its first step: a new topic is set before its old one
            # is cleared.
            await asyncio.sleep(0)
        for run in stopped:
            _retire(run.agent, wanted)

    def _start(self, name: str, key: object, make: Callable[[], Any]) -> None:
        agent = make()
        if isinstance(agent, DeviceAgent):
            self.agents.devices[name] = agent
        else:
            self.agents.systems[name] = agent
        task = asyncio.create_task(self._guard(name, agent.run()))
        self._runs[name] = _Run(key=key, agent=agent, task=task)

    async def _guard(self, name: str, running: Coroutine[Any, Any, None]) -> None:
        """An agent's own mistake ends that agent, is logged, and is mended at the next change."""
        try:
            await running
        except Exception:
            log.exception("agent failed", id=name)

    async def _stop(self, names: Collection[str]) -> list[_Run]:
        """Stop agents, side by side; what they keyed is unkeyed when this returns.

        When it is cancelled itself, they are still known, and can be waited for again.
        """
        for name in names:
            self._runs[name].task.cancel()
        if names:
            await asyncio.wait([self._runs[name].task for name in names])
        for name in names:
            self.agents.devices.pop(name, None)
            self.agents.systems.pop(name, None)
        return [self._runs.pop(name) for name in names]

    def _device_agent(self, run: devices.RunningDevice) -> DeviceAgent:
        return DeviceAgent(
            self._bus,
            device_id=run.device.id,
            make=lambda: device_adapter(run, self._open),
            points=_bound(run),
            fleet=self.fleet,
            report=self._writer.report,
            endpoint=run.device.endpoint,
            unrecognised=self._unrecognised.note,
        )

    def _radio_agent(self, run: systems.RunningSystem) -> RadioAgent:
        system = run.system

        def make(addresses: tuple[str, ...]) -> Adapter:
            secrets = json.loads(self._open(run.secrets)) if run.secrets else {}
            return radio_adapter(system.adapter, {**system.settings, **secrets}, addresses)

        return RadioAgent(
            self._bus,
            system_id=system.id,
            org=system.organization.path,
            make=make,
            traits=traits_of(system.adapter),
            channels=tuple(_channel(channel) for channel in run.channels),
            budget=self._radio_budget,
            outbox=self._outbox(system.id),
        )

    def _outbox(self, system_id: str) -> Outbox | None:
        if self._outboxes is None:
            return None
        return Outbox(self._bus, system_id, self._outboxes / f"{system_id}.db")

    # --- status, to the registry ----------------------------------------------------------------

    async def _store(self, batch: list[StatusChange]) -> bool:
        try:
            await self._database.write(lambda connection: _store_status(connection, batch))
        except DatabaseAway:
            return False
        except Exception:
            # Tried again it would fail again, and hold up all that comes after it.
            log.exception("status not stored", changes=len(batch))
        return True


def _retire(agent: DeviceAgent | RadioAgent, wanted: _Wanted) -> None:
    """Clear what an agent said of points or channels that it has no longer."""
    if isinstance(agent, RadioAgent):
        system = next((s.system for s in wanted.systems if s.system.id == agent.system_id), None)
        if system is not None and runs_at_site(system.settings):
            agent.hand_over()
        agent.retire_system(system.organization.path if system is not None else None)
        agent.retire({(c.id, c.organization.path) for s in wanted.systems for c in s.channels})
    else:
        agent.retire({(p.id, p.org) for d in wanted.devices for p in _bound(d).values()})


def _store_status(connection: Connection, batch: list[StatusChange]) -> None:
    point_status.set_status(
        connection,
        [(c.point_id, c.status, c.since, c.reason) for c in batch if c.point_id is not None],
    )
    for change in batch:
        if change.point_id is None:
            identity = change.identity
            devices.set_status(
                connection,
                change.device_id,
                change.status,
                change.since,
                change.reason,
                devices.DeviceIdentity(**dataclasses.asdict(identity)) if identity else None,
            )


def read_wanted(connection: Connection) -> _Wanted:
    """One reading of all that agents and bridge need."""
    all_systems = systems.running(connection)
    adapters = {run.system.id: run.system.adapter for run in all_systems}
    return _Wanted(
        devices=devices.running(connection),
        systems=all_systems,
        definitions=Definitions(
            channels=tuple(
                _channel_definition(channel, adapters)
                for channel in channels.every(connection)
                if channel.system_id in adapters
            ),
            patches=tuple(_patch_definition(patch) for patch in patches.running(connection)),
            units=tuple(unit_definition(unit) for unit in units.every(connection)),
        ),
    )


def traits_of(adapter: str) -> RadioTraits:
    """What a kind of system can do; the defaults for a kind that is not installed here."""
    try:
        return load_kind(adapter).traits or RadioTraits()
    except AdapterError:
        return RadioTraits()


def unit_definition(unit: units.Unit) -> UnitDefinition:
    """A person, with all addresses; they may have several radios on one system."""
    addresses: dict[str, tuple[str, ...]] = {}
    for each in unit.addresses:
        addresses[each.system_id] = (*addresses.get(each.system_id, ()), each.address)
    return UnitDefinition(id=unit.id, alias=unit.alias, priority=unit.priority, addresses=addresses)


def _channel_definition(
    channel: channels.Channel, adapters: Mapping[str, str]
) -> ChannelDefinition:
    traits = traits_of(adapters[channel.system_id])
    return ChannelDefinition(
        id=channel.id,
        name=channel.name,
        org=channel.organization.path,
        system_id=channel.system_id,
        receive_only=traits.receive_only,
        advisory=traits.advisory,
        can_tell=traits.can_tell,
        identifies_talker=traits.identifies_talker,
        priority=channel.priority,
        echo_s=channel.echo_in_use_s if channel.echo_in_use_s is not None else traits.echo_s,
        lease_s=traits.lease_s,
        gateway_unit_id=channel.gateway_unit_id,
        voice=traits.voice,
    )


def _patch_definition(patch: patches.Patch) -> PatchDefinition:
    options = patch.options
    return PatchDefinition(
        id=patch.id,
        name=patch.name,
        org=patch.organization.path,
        hang_s=patch.hang_s,
        max_talk_s=patch.max_talk_s,
        queue=patch.queue,
        queue_timeout_s=options.queue_timeout_s,
        revoke_grace_s=options.revoke_grace_s,
        penalty_s=options.penalty_s,
        emergency_hold_s=options.emergency_hold_s,
        encrypted=options.encrypted,
        allow_units=options.units.allow,
        deny_units=options.units.deny,
        allow_calls=tuple(Call(each) for each in options.calls.allow),
        deny_calls=tuple(Call(each) for each in options.calls.deny),
        voice=Voice(patch.voice),
        until=patch.until,
        schedule=dict(patch.schedule) if patch.schedule is not None else None,
        members=tuple(
            PatchMember(
                channel=member.channel_id,
                direction=Direction(member.direction),
                priority=member.priority,
                muted=member.muted,
            )
            for member in patch.members
        ),
    )


def _channel(channel: channels.Channel) -> Channel:
    return Channel(
        id=channel.id,
        address=channel.address,
        org=channel.organization.path,
        gateway_unit_id=channel.gateway_unit_id,
        hold_s=channel.hold_s,
        echo_s=channel.echo_in_use_s,
    )


def _config(run: systems.RunningSystem) -> dict[str, Any]:
    """Whoever may read the bus reads this: the plain settings only where a site needs them."""
    system = run.system
    config = {
        "version": system.version,
        "adapter": system.adapter,
        "channels": [dataclasses.asdict(_channel(channel)) for channel in run.channels],
        "org": system.organization.path,
        "runs_at": "gateway",
    }
    if runs_at_site(system.settings):
        shown, _ = split_secrets(system.adapter, system.settings)
        config |= {"runs_at": "site", "settings": shown}
    return config


def _bound(run: devices.RunningDevice) -> dict[str, BoundPoint]:
    return {
        source.address: BoundPoint(id=source.point_id, org=source.organization_path)
        for source in run.device.sources
        if source.point_id is not None and source.organization_path is not None
    }


def _device_key(run: devices.RunningDevice) -> object:
    device = run.device
    settings = json.dumps(dict(device.settings), sort_keys=True)
    return (device.adapter, device.endpoint, device.username, run.secret, settings)


def _system_key(run: systems.RunningSystem) -> object:
    system = run.system
    settings = json.dumps(dict(system.settings), sort_keys=True)
    # What a test measures of an echo is told to an agent that runs: no link is broken for it.
    bindings = tuple(
        dataclasses.replace(_channel(channel), echo_s=None) for channel in run.channels
    )
    return (system.adapter, system.organization.path, run.secrets, settings, bindings)
