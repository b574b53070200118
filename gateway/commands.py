"""What the command line does beyond starting a node."""

import asyncio
import shutil
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from adapters import catalog
from adapters.errors import AdapterError
from adapters.events import Found, Scope
from gateway import bootstrap
from gateway.agents.build import video_adapter
from gateway.api.devices import found_sources, identity_of
from gateway.bus.client import check as check_broker
from gateway.bus.link import parse_broker_url
from gateway.settings import Settings
from gateway.startup import broker, open_database, prepare_data_dir, sealer_of
from gateway.vision import available
from registry import devices
from registry.database import Connection, Database
from registry.devices import NewDevice
from registry.errors import RegistryError
from registry.partition import SYSTEM

LEAST_FREE_BYTES = 1 << 30
AT_ONCE = 16


def say(text: str) -> None:
    sys.stdout.write(text + "\n")


async def upgrade_database(settings: Settings) -> None:
    """Raises: CannotStart, RegistryError."""
    prepare_data_dir(settings)
    database = open_database(settings)
    try:
        await database.upgrade()
        say(f"the database at {database.shown_url} is up to date")
    finally:
        await database.close()


async def add_user(
    settings: Settings, name: str, password: str, role: str, organization: str, district: str
) -> None:
    """Raises: CannotStart, RegistryError."""
    prepare_data_dir(settings)
    database = open_database(settings)
    try:
        await database.upgrade()
        await bootstrap.add_user(
            database,
            name=name,
            password=password,
            role=role,
            organization=organization,
            district=district,
        )
        say(f"user {name} is {role} at {organization}")
    finally:
        await database.close()


# --- discovery ------------------------------------------------------------------------------------


async def discover_devices(
    settings: Settings,
    *,
    interfaces: tuple[str, ...],
    subnets: tuple[str, ...],
    timeout_s: float,
    register: str | None,
    username: str,
    password: str,
) -> int:
    """Print what is found, register it where asked; gives how many were refused."""
    scope = Scope(interfaces=interfaces, subnets=subnets, timeout_s=timeout_s)
    found = [each async for each in _each(scope)]
    for each in found:
        say(f"{each.endpoint}\t{each.name}\t{each.hardware}\t{each.location}")
    say(f"{len(found)} devices found")
    if register is None or not found:
        return 0
    prepare_data_dir(settings)
    database = open_database(settings)
    try:
        await database.upgrade()
        sealed = sealer_of(settings).seal(password) if password else None
        slots = asyncio.Semaphore(AT_ONCE)

        async def one(each: Found) -> bool:
            async with slots:
                return await _register(database, each, register, username, password, sealed)

        results = await asyncio.gather(*(one(each) for each in found))
    finally:
        await database.close()
    return results.count(False)


def _each(scope: Scope) -> AsyncIterator[Found]:
    return catalog.load("onvif").discover(scope)


async def _register(
    database: Database,
    found: Found,
    organization: str,
    username: str,
    password: str,
    sealed: bytes | None,
) -> bool:
    new = NewDevice(
        adapter="onvif",
        endpoint=found.endpoint,
        organization=organization,
        username=username,
        secret=sealed,
    )
    try:
        inventory = await video_adapter("onvif", found.endpoint, username, password, {}).probe()

        def write(connection: Connection) -> int:
            return len(
                devices.register(
                    connection,
                    SYSTEM,
                    new,
                    found_sources(inventory),
                    identity=identity_of(inventory),
                    clock_offset_s=inventory.clock_offset_s,
                ).bound
            )

        bound = await database.write(write)
    except (AdapterError, RegistryError) as error:
        say(f"{found.endpoint}: refused: {error}")
        return False
    say(f"{found.endpoint}: registered, {bound} of {len(inventory.sources)} sources bound")
    return True


# --- doctor ---------------------------------------------------------------------------------------


async def examine(settings: Settings) -> int:
    """Check one thing after the other and say what to do; gives how many failed."""
    checks: list[tuple[str, Callable[[Settings], Awaitable[str]]]] = [
        ("data directory", _data_dir),
        ("disk", _disk),
        ("database", _database),
        ("broker", _broker),
        ("pictures", _pictures),
        ("clock", _clock),
    ]
    failed = 0
    for name, check in checks:
        try:
            said = await check(settings)
            say(f"ok      {name}: {said}")
        except Exception as error:
            failed += 1
            say(f"FAILED  {name}: {error}")
    return failed


async def _data_dir(settings: Settings) -> str:
    return str(prepare_data_dir(settings).absolute())


async def _disk(settings: Settings) -> str:
    free = shutil.disk_usage(settings.data_dir).free
    if free < LEAST_FREE_BYTES:
        raise OSError(f"only {free >> 20} MiB are free: make room, events and clips need it")
    return f"{free >> 30} GiB free"


async def _database(settings: Settings) -> str:
    database = open_database(settings)
    try:
        await database.upgrade()
        began_s = time.monotonic()
        await database.ping()
        return f"{database.shown_url} answers in {(time.monotonic() - began_s) * 1000:.1f} ms"
    finally:
        await database.close()


async def _broker(settings: Settings) -> str:
    if settings.mqtt_url is not None and settings.mqtt_url.get_secret_value():
        address = parse_broker_url(settings.mqtt_url.get_secret_value())
        await check_broker(address)
        return f"{address.shown} answers"
    async with broker(settings, Path(settings.data_dir) / "doctor") as (address, _):
        await check_broker(address)
    shutil.rmtree(settings.data_dir / "doctor", ignore_errors=True)
    return "the embedded broker starts and answers"


async def _pictures(_settings: Settings) -> str:
    usable, sentence = available()
    if not usable:
        raise OSError(sentence)
    return "OpenCV is usable"


async def _clock(_settings: Settings) -> str:
    """Wall clocks order nothing here, but cameras refuse a sign-in that is hours off."""
    if time.gmtime().tm_year < 2026:
        raise OSError("this machine's clock is wrong: set it, cameras refuse old sign-ins")
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
