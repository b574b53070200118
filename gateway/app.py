"""The gateway put together: the only place that knows every room.

`run` builds a node from its settings and keeps it up. Without a broker it goes on showing
cameras, without a database it goes on bridging; `/readyz` says which is away.
"""

import asyncio
import contextlib
import dataclasses
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from importlib.metadata import version

import structlog
import uvicorn
from fastapi import FastAPI

from adapters import events as seam
from gateway.access.audit import Audit
from gateway.access.secrets import Sealer
from gateway.access.sessions import Access
from gateway.agents.cameras import Cameras
from gateway.agents.diagnosis import DiagnosisRounds
from gateway.agents.hello import follow_announcements
from gateway.agents.system_states import SystemStates
from gateway.api import (
    audit,
    auth,
    codes,
    devices,
    events,
    exchange,
    health,
    history,
    install_middleware,
    jobs,
    levels,
    masks,
    organizations,
    patches,
    points,
    quality,
    shares,
    systems,
    talk,
    tokens,
    users,
    views,
    walls,
)
from gateway.api.background import Jobs
from gateway.api.console import console_router
from gateway.api.context import Context
from gateway.api.errors import install_error_answers
from gateway.api.headers import SecurityHeaders
from gateway.api.jwks import jwks_router
from gateway.api.live import live_router
from gateway.api.services import Services
from gateway.api.wire import WireProtocol
from gateway.bus.address import BrokerAddress
from gateway.bus.client import Bus
from gateway.bus.presence import Presence
from gateway.bus.topics import Topics
from gateway.interop.bridge import Bridge
from gateway.interop.definitions import DefinitionsFile
from gateway.interop.directory import Directory
from gateway.interop.feed import Feed
from gateway.interop.journal import Journal, Retention
from gateway.interop.lease import BridgeLease
from gateway.live.mediaserver import KeyRing
from gateway.roster import Roster
from gateway.settings import Settings
from gateway.startup import (
    CannotStart,
    broker,
    holding,
    listening_socket,
    node_name,
    open_audit,
    open_database,
    open_journal,
    prepare_data_dir,
    sealer_of,
)
from gateway.viewing import open_view, thumbnails_of
from gateway.vision import available
from registry import jobs as stored_jobs
from registry.database import Database
from registry.errors import DatabaseAway, DatabaseUnusable

log = structlog.get_logger("gateway")

API = "/api/v1"
_RETRY_DATABASE_S = 2.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A node that runs. broker: how the gateway connects; reader: a read-only credential, where
    the broker is our own."""

    settings: Settings
    url: str
    database: Database
    access: Access
    audit: Audit
    bus: Bus
    roster: Roster
    rounds: DiagnosisRounds | None
    history: Database
    bridge: Bridge | None
    journal: Journal | None
    broker: BrokerAddress
    reader: BrokerAddress | None


OnReady = Callable[[Node], Awaitable[None]]


async def run(settings: Settings, role: str = "all", on_ready: OnReady | None = None) -> None:
    """Build a node and keep it up until cancelled, or told to stop by SIGINT or SIGTERM.

    on_ready: awaited beside it once it serves; an error of it ends the node.
    Raises: CannotStart.
    """
    folder = prepare_data_dir(settings)
    sealer = sealer_of(settings)
    database, store = open_database(settings), open_audit(settings)
    past = open_journal(settings)
    roles = ("api", "agent", "bridge") if role == "all" else (role,)
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(holding(folder))
        listening = stack.enter_context(listening_socket(settings)) if "api" in roles else None
        stack.push_async_callback(database.close)
        stack.push_async_callback(store.close)
        stack.push_async_callback(past.close)
        address, reader = await stack.enter_async_context(broker(settings, folder))
        name = node_name(folder)
        upgraded = await _upgrade(database, store, past, jobs_of=name if "api" in roles else None)
        bus = Bus(
            address,
            node=name,
            topics=Topics(settings.mqtt_prefix),
            roles=roles,
            url=_url(settings, listening) if listening else "",
            version=version("hutong"),
        )
        presence = Presence(bus, asyncio.get_running_loop().time)
        directory = Directory()
        lease = BridgeLease(bus, presence) if "bridge" in roles else None
        bridge = Bridge(bus, presence, lease, directory) if lease else None
        journal = _journal(settings, bus, lease, past, database, directory) if lease else None
        roster = Roster(
            bus=bus,
            database=database,
            open_secret=sealer.open,
            definitions_file=DefinitionsFile(folder / "definitions.json"),
            directory=directory,
            bridge=bridge,
            run_agents="agent" in roles,
            outboxes=folder / "outbox",
            tells_sites="api" in roles,
        )
        node = Node(
            settings=settings,
            url=_url(settings, listening) if listening else "",
            database=database,
            access=Access(database),
            audit=Audit(store, database),
            bus=bus,
            roster=roster,
            rounds=_rounds(settings, roles, database, roster),
            history=past,
            bridge=bridge,
            journal=journal,
            broker=address,
            reader=reader,
        )
        works = [roster.run, *([lease.run] if lease else [])]
        if journal is not None:
            works.append(journal.run)
        if listening is not None:
            works.append(node.access.uses.run)
        if node.rounds is not None:
            works.append(node.rounds.run)
        if "agent" in roles and settings.hears_hello_on is not None:
            scope = seam.Scope(interfaces=settings.hears_hello_on)
            works.append(lambda: follow_announcements(roster.fleet, scope))
        if not upgraded:
            works.append(lambda: _upgrade_later(database, store, past))
        if listening is not None:
            states = SystemStates(bus, presence)
            app = await _application(stack, node, sealer, Feed(bus, presence, directory), states)
            await _run_all(node, works, _server(settings, app), listening, on_ready)
        else:
            await _run_all(node, works, None, None, on_ready)


def _rounds(
    settings: Settings, roles: Sequence[str], database: Database, roster: Roster
) -> DiagnosisRounds | None:
    """None where video quality is not to be judged, or no device is this node's."""
    if "agent" not in roles or not settings.diagnosis_period_s:
        return None
    return DiagnosisRounds(database, roster.agents.devices, period_s=settings.diagnosis_period_s)


def _journal(
    settings: Settings,
    bus: Bus,
    lease: BridgeLease,
    store: Database,
    registry: Database,
    directory: Directory,
) -> Journal:
    kept = Retention(
        events_days=settings.journal_events_days, calls_days=settings.journal_calls_days
    )
    return Journal(bus, lease, store, registry, directory=directory, retention=kept)


# --- the database ---------------------------------------------------------------------------------


async def _upgrade(database: Database, *others: Database, jobs_of: str | None) -> bool:
    """Bring the tables to this version; False while the database is away, which ends nothing:
    bridging needs none. jobs_of: the node whose open jobs have failed, as it only starts now.
    Raises: CannotStart for one that can never work."""
    try:
        for each in (database, *others):
            await each.upgrade()
        if jobs_of is not None:
            reason = "the gateway stopped meanwhile"
            await database.write(lambda c: stored_jobs.fail_open(c, reason, jobs_of))
    except DatabaseUnusable as error:
        raise CannotStart(error.message) from None
    except DatabaseAway as error:
        log.warning("database is away", reason=error.message)
        return False
    return True


async def _upgrade_later(*databases: Database) -> None:
    """Where the database was away at the start: upgrade it when it comes. One that cannot be used
    then ends nothing either: who bridges goes on, and everybody else is told that it is away."""
    said = ""
    while True:
        await asyncio.sleep(_RETRY_DATABASE_S)
        try:
            for each in databases:
                await each.upgrade()
        except DatabaseAway:
            continue
        except DatabaseUnusable as error:
            if error.message != said:
                log.error("database cannot be used", reason=error.message)
            said = error.message
            continue
        log.info("database is back")
        return


# --- the HTTP application -----------------------------------------------------------------------


async def _application(
    stack: contextlib.AsyncExitStack,
    node: Node,
    sealer: Sealer,
    feed: Feed,
    states: SystemStates,
) -> FastAPI:
    """All rooms of a node that serves the API; the stack closes them."""
    database, roster, settings = node.database, node.roster, node.settings
    cameras = Cameras(database, sealer.open, roster.agents.devices)
    view = await open_view(
        stack,
        database=database,
        cameras=cameras,
        store=node.audit.store,
        node=node.bus.node,
        settings=settings,
        keys=KeyRing(sealer.derive),
    )
    background = Jobs(database, node=node.bus.node, folder=settings.data_dir / "imports")
    stack.push_async_callback(background.close)
    context = Context(
        database=database,
        access=node.access,
        audit=node.audit,
        sealer=sealer,
        public_url=settings.public_url,
    )
    services = Services(
        bus=node.bus,
        feed=feed,
        cameras=cameras,
        live=view.live,
        pictures=view.pictures,
        covers=view.covers,
        masking=view.masking,
        record=view.record,
        peers=view.peers,
        jobs=background,
        nudge=roster.nudge,
        systems=roster.agents.systems,
        system_states=states,
        fleet=roster.fleet,
        rounds=node.rounds,
        history=node.history,
        bridge=node.bridge,
        journal=node.journal,
        media=view.media,
    )
    small = thumbnails_of(database, services.snapshots)
    services.thumbnails = await stack.enter_async_context(small)
    return build_app(context, services)


def build_app(context: Context, services: Services) -> FastAPI:
    """All routes of the contract that this version has, and the console."""
    app = FastAPI(
        title="Hutong",
        version=version("hutong"),
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    app.state.context = context
    app.state.services = services
    install_error_answers(app)
    for router in (
        auth.router,
        exchange.router,
        organizations.router,
        points.router,
        masks.router,
        codes.router,
        views.router,
        devices.router,
        systems.router,
        patches.router,
        talk.router,
        history.router,
        levels.router,
        events.router,
        quality.router,
        shares.router,
        users.router,
        tokens.router,
        walls.router,
        audit.router,
        jobs.router,
        live_router(services.live, services.peers),
    ):
        app.include_router(router, prefix=API)
    app.include_router(health.router)
    app.include_router(jwks_router(KeyRing(context.sealer.derive)))
    app.include_router(console_router())
    install_middleware(app)
    app.add_middleware(SecurityHeaders, elsewhere=lambda: _elsewhere(services))
    return app


def _elsewhere(services: Services) -> Iterable[str]:
    """Browsers ask media servers for what they are handed out."""
    return services.media.origins if services.media is not None else ()


# --- running --------------------------------------------------------------------------------------


def _url(settings: Settings, listening: socket.socket) -> str:
    """Where people reach this node."""
    if settings.public_url:
        return settings.public_url
    host = settings.http_host
    if host in ("0.0.0.0", "::"):
        host = socket.gethostname()
    shown = f"[{host}]" if ":" in host else host
    return f"{settings.scheme}://{shown}:{listening.getsockname()[1]}"


def _server(settings: Settings, app: FastAPI) -> uvicorn.Server:
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        ws=WireProtocol,
        ws_max_size=64 * 1024,
        ws_per_message_deflate=False,  # video does not shrink; deflating it would cost every viewer
        lifespan="off",
        timeout_graceful_shutdown=1,  # an open event stream never ends by itself
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies or None,
        ssl_certfile=settings.tls_certificate,
        ssl_keyfile=settings.tls_key,
        server_header=False,
    )
    return uvicorn.Server(config)


async def _run_all(
    node: Node,
    works: Sequence[Callable[[], Awaitable[None]]],
    server: uvicorn.Server | None,
    listening: socket.socket | None,
    on_ready: OnReady | None,
) -> None:
    """Everything side by side; the node ends with its server, or with the first error.

    The bus is the last to go: what agents and bridge say at their end is still heard.
    """
    log.info("gateway starts", url=node.url, node=node.bus.node, data=str(node.settings.data_dir))
    usable, sentence = available()
    if not usable:
        log.warning("pictures cannot be resized", reason=sentence)
    bus = asyncio.create_task(node.bus.run())
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_coroutine(work)) for work in works]
            tasks.append(group.create_task(_outcome_of(bus)))
            if on_ready is not None:
                tasks.append(group.create_task(_when_ready(node, server, on_ready)))
            try:
                if server is None or listening is None:
                    await asyncio.Event().wait()
                else:
                    await server.serve(sockets=[listening])
            finally:
                for task in tasks:
                    task.cancel()
    finally:
        await node.bus.leave()
        bus.cancel()
        await asyncio.wait([bus])


async def _outcome_of(task: asyncio.Task[None]) -> None:
    """Ends with a task, as it does, and does not end it."""
    await asyncio.wait([task])
    task.result()


async def _coroutine(work: Callable[[], Awaitable[None]]) -> None:
    await work()


async def _when_ready(node: Node, server: uvicorn.Server | None, on_ready: OnReady) -> None:
    while server is not None and not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    await on_ready(node)
