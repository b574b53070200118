"""What the command line does beyond starting a node."""

import dataclasses
import json
import shutil
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable

from adapters import catalog
from adapters.events import Found, Inventory, Scope
from gateway import bootstrap
from gateway.access.secrets import Sealer
from gateway.agents.cameras import device_adapter
from gateway.agents.onboarding import Onboarding, Result, Wish
from gateway.broker_check import examine_broker
from gateway.bus.address import parse_broker_url
from gateway.bus.client import check as check_broker
from gateway.bus.errors import BusError
from gateway.live.mediaserver import KeyRing
from gateway.live.mediaserver import examine as examine_media_servers
from gateway.settings import Settings, SettingsError
from gateway.startup import CannotStart, broker, open_database, prepare_data_dir, sealer_of
from gateway.status import lines, look
from gateway.vision import available
from registry import devices, organizations
from registry.database import Database
from registry.errors import Conflict, Invalid, NotFound
from registry.partition import SYSTEM

LEAST_FREE_BYTES = 1 << 30


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
    """Raises: CannotStart, RegistryError. role and organization are checked by the registry."""
    prepare_data_dir(settings)
    database = open_database(settings)
    try:
        await database.upgrade()
        if not district:
            await _check_organization(database, organization)
        await bootstrap.add_user(
            database,
            name=name,
            password=password,
            role=role,
            organization=organization,
            district=district,
        )
        say(f"user {name} is {role} at {organization}")
    except Conflict:
        raise CannotStart(f"there is a user {name!r} already") from None
    except Invalid as error:
        said = (f"{each.field.rpartition('.')[2]}: {each.reason}" for each in error.reasons)
        raise CannotStart("; ".join(said)) from None
    finally:
        await database.close()


async def _check_organization(database: Database, path: str) -> None:
    try:
        await database.read(lambda connection: organizations.get(connection, SYSTEM, path))
    except NotFound as error:
        raise CannotStart(f"{error}; --district NAME makes a first one") from None


# --- discovery ------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Registering:
    """What to do with found devices. organization: id or slug path."""

    organization: str
    username: str
    password: str = dataclasses.field(repr=False)


async def discover_devices(
    settings: Settings, scope: Scope, registering: Registering | None
) -> tuple[int, int]:
    """Print what is found, register it where asked; gives how many were found and refused.

    Raises: InvalidSettings for a scope that cannot be; CannotStart, DatabaseAway.
    """
    if registering is None:
        return len(await _found(scope)), 0
    prepare_data_dir(settings)
    database = open_database(settings)
    try:
        await database.upgrade()
        await _check_organization(database, registering.organization)
        found = await _found(scope)
        refused = await _register(database, sealer_of(settings), found, registering)
    finally:
        await database.close()
    return len(found), refused


async def _found(scope: Scope) -> list[Found]:
    found = [each async for each in catalog.load("onvif").discover(scope)]
    for each in found:
        say("\t".join((each.endpoint, each.name, each.hardware, each.location)).rstrip())
    say(f"devices found: {len(found)}")
    return found


async def _register(
    database: Database, sealer: Sealer, found: list[Found], registering: Registering
) -> int:
    """Say what became of each, and how far we are; gives how many were refused."""

    async def probe_known(device_id: str) -> Inventory:
        run = await database.read(lambda c: devices.run(c, device_id))
        return await device_adapter(run, sealer.open).probe()

    password = registering.password
    wish = Wish(
        adapter="onvif",
        endpoint="",
        organization=registering.organization,
        username=registering.username,
        password=password,
        secret=sealer.seal(password) if password else None,
    )
    outcomes: Counter[str] = Counter()

    def told(result: Result) -> None:
        outcomes[result.outcome] += 1
        say(f"{result.endpoint}: {_told(result)}")
        if outcomes.total() % 50 == 0:
            say(f"devices done: {outcomes.total()} of {len(found)}")

    onboarding = Onboarding(database, probe_known)
    await onboarding.register_found(SYSTEM, found, wish, told)
    return outcomes["refused"]


def _told(result: Result) -> str:
    if result.registration is None:
        return f"{result.outcome}: {result.reason}" if result.reason else result.outcome
    done = result.registration
    counts = f"sources bound to points: {len(done.bound) + len(done.kept)}, "
    counts += f"new points: {len(done.created)}, ambiguous: {len(done.ambiguous)}"
    return f"{result.outcome}, {counts}"


# --- status ---------------------------------------------------------------------------------------


async def show_status(settings: Settings, *, as_json: bool) -> int:
    """Print what runs; gives how much is wrong with it. Raises: SettingsError, BusError."""
    if settings.mqtt_url is None or not settings.mqtt_url.get_secret_value():
        raise SettingsError(
            "HUTONG_MQTT_URL is not set: the embedded broker is open to its own gateway alone; ask "
            "that one for /readyz and /metrics, or look at the console"
        )
    address = parse_broker_url(settings.mqtt_url.get_secret_value())
    looked = await look(address, settings.mqtt_prefix)
    wrong = looked.troubles()
    if as_json:
        said = {"nodes": looked.nodes(), "systems": looked.systems(), "wrong": wrong}
        say(json.dumps(said, ensure_ascii=False))
    else:
        say("\n".join(lines(looked)))
    return len(wrong)


# --- doctor ---------------------------------------------------------------------------------------


async def examine(settings: Settings) -> int:
    """Check one thing after the other and say what to do; gives how many failed."""
    checks: list[tuple[str, Callable[[Settings], Awaitable[str]]]] = [
        ("data directory", _data_dir),
        ("disk", _disk),
        ("database", _database),
        ("broker", _broker),
        *([("radio", _radio)] if settings.mqtt_url is not None else []),
        ("media", _media),
        *([("media server", _media_server)] if settings.media_servers else []),
        ("pictures", _pictures),
        ("clock", _clock),
    ]
    failed = 0
    for name, check in checks:
        try:
            said = await check(settings)
            say(f"ok      {name}: {said}")
        except _NotChecked as reason:
            say(f"-       {name}: {reason}")
        except Exception as error:
            failed += 1
            say(f"FAILED  {name}: {error or type(error).__name__}")
    return failed


class _NotChecked(Exception):
    """Something else has to be put right first."""


def _need_data_dir(settings: Settings) -> None:
    try:
        prepare_data_dir(settings)
    except CannotStart:
        raise _NotChecked("not checked, it needs the data directory") from None


async def _data_dir(settings: Settings) -> str:
    return str(prepare_data_dir(settings).absolute())


async def _disk(settings: Settings) -> str:
    _need_data_dir(settings)
    free = shutil.disk_usage(settings.data_dir).free
    if free < LEAST_FREE_BYTES:
        raise OSError(f"only {free >> 20} MiB are free: make room, events and clips need it")
    return f"{free >> 30} GiB free"


async def _database(settings: Settings) -> str:
    if settings.database.startswith("sqlite:"):
        _need_data_dir(settings)
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
        return f"{address.shown} answers, {await examine_broker(address, settings.mqtt_prefix)}"
    _need_data_dir(settings)
    try:
        async with broker(settings, settings.data_dir / "doctor") as (address, _):
            await check_broker(address)
    finally:
        shutil.rmtree(settings.data_dir / "doctor", ignore_errors=True)
    return "the embedded broker starts and answers"


async def _radio(settings: Settings) -> str:
    """What runs on the broker already; a machine that is just set up has nothing."""
    if settings.mqtt_url is None or not settings.mqtt_url.get_secret_value():
        raise _NotChecked("not checked, the embedded broker is its own gateway's alone")
    address = parse_broker_url(settings.mqtt_url.get_secret_value())
    try:
        looked = await look(address, settings.mqtt_prefix)
    except BusError:
        raise _NotChecked("not checked, it needs the broker") from None
    nodes, systems = looked.nodes(), looked.systems()
    if not nodes:
        return "nothing runs on this broker yet"
    if wrong := looked.troubles():
        raise OSError("; ".join(wrong))
    return f"nothing is wrong with {len(systems)} systems and their agents"


async def _media(_settings: Settings) -> str:
    try:
        import av
    except ImportError as error:
        raise OSError(f"PyAV cannot be loaded ({error}): install what it names") from None
    return f"PyAV {av.__version__} is usable"


async def _media_server(settings: Settings) -> str:
    servers = settings.media_servers
    assert servers is not None
    _need_data_dir(settings)
    return await examine_media_servers(servers, KeyRing(sealer_of(settings).derive))


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
