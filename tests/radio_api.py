"""All routes on a real HTTP server, with a real database and a real bus behind them.

PYTEST_DONT_REWRITE: test modules import this before pytest does, and it asserts nothing.
"""

import asyncio
import dataclasses
import os
from collections.abc import AsyncIterator

import aiohttp
import pytest
from brokers import RunningBroker
from core_api import PASSWORD, Caller, CoreApi, cheap_passwords, fill, served
from lab import running
from patience import wait_until

from adapters.base import MediaSource
from gateway.access.audit import Audit
from gateway.access.secrets import Sealer
from gateway.access.sessions import Access
from gateway.agents.cameras import Cameras
from gateway.agents.fleet import Fleet
from gateway.agents.system_states import SystemStates
from gateway.api.background import Jobs
from gateway.api.context import Context
from gateway.api.services import Services
from gateway.app import build_app
from gateway.bus.client import Bus
from gateway.bus.presence import Presence
from gateway.bus.topics import Topics
from gateway.interop.bridge import Bridge
from gateway.interop.directory import Directory
from gateway.interop.feed import Feed
from gateway.interop.journal import Journal
from gateway.interop.lease import BridgeLease
from gateway.live import LiveService, View
from gateway.vision import PicturePool
from registry.database import Database

pytest_plugins = ["core_api"]


@dataclasses.dataclass(frozen=True, slots=True)
class Stage:
    """nudges: how often the roster was told that something was written."""

    api: CoreApi
    services: Services
    agent: Bus
    bridge: Bridge
    lease: BridgeLease
    nudges: list[bool]

    async def caller(self, name: str) -> Caller:
        return await self.api.sign_in(name)


async def no_media(_point: str, _profile: str) -> MediaSource:
    raise AssertionError("no test here opens a stream")


async def always(_view: View) -> bool:
    return True


@pytest.fixture
async def stage(
    embedded_broker: RunningBroker,
    database: Database,
    audit_store: Database,
    journal_store: Database,
) -> AsyncIterator[Stage]:
    """A gateway's HTTP side joined to a broker, the bridge on the same node, and an agent's bus."""
    bus = Bus(embedded_broker.address, node="gateway", topics=Topics(), roles=("api", "bridge"))
    agent = Bus(embedded_broker.address, node="agent", topics=Topics(), roles=("agent",))
    presence = Presence(bus, asyncio.get_running_loop().time)
    directory = Directory()
    lease = BridgeLease(bus, presence)
    bridge = Bridge(bus, presence, lease, directory)
    journal = Journal(bus, lease, journal_store, database)
    access = Access(database, passwords=cheap_passwords())
    context = Context(
        database=database,
        access=access,
        audit=Audit(audit_store, database),
        sealer=Sealer(os.urandom(32)),
    )
    password_hash = access.passwords.hash_now(PASSWORD)
    await database.write(lambda connection: fill(connection, password_hash))
    nudges: list[bool] = []
    async with LiveService(no_media, always) as live, PicturePool() as pictures:
        services = Services(
            bus=bus,
            feed=Feed(bus, presence, directory),
            cameras=Cameras(database, context.sealer.open, {}),
            live=live,
            pictures=pictures,
            jobs=Jobs(database),
            nudge=lambda: nudges.append(True),
            systems={},
            system_states=SystemStates(bus, presence),
            fleet=Fleet(),
            rounds=None,
            history=journal_store,
            bridge=bridge,
            journal=journal,
        )
        jar = aiohttp.DummyCookieJar()
        app = build_app(context, services)
        async with (
            served(app) as url,
            aiohttp.ClientSession(cookie_jar=jar) as session,
            running(bus.run(), agent.run(), lease.run(), journal.run()),
        ):
            await wait_until(lambda: bus.connected.is_set() and agent.connected.is_set())
            api = CoreApi(url=url, context=context, session=session, app=app)
            yield Stage(api, services, agent, bridge, lease, nudges)
        await services.jobs.close()
    access.close()
