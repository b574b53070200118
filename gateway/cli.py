"""The command line. Exit codes: 0 done, 1 failed, 2 wrong usage, 3 done in part."""

import asyncio
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from gateway import logs
from gateway.adapter_cli import add_adapter_commands
from gateway.backup_cli import add_backup_commands
from gateway.exchange_cli import add_exchange_commands
from gateway.garbage import leave_alone_what_stays
from gateway.settings import Settings, SettingsError, load, shown
from gateway.token_cli import add_token_commands

app = typer.Typer(
    name="hutong",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
database_app = typer.Typer(help="The registry's database.", no_args_is_help=True)
user_app = typer.Typer(help="Users.", no_args_is_help=True)
app.add_typer(database_app, name="db")
app.add_typer(user_app, name="user")

ROLES = ("all", "api", "agent", "bridge")
END_WITHIN_S = 2.5
"""After a signal a gateway ends at the latest after this; what then still blocks is a thread that
waits for a host that does not answer."""
DEMO_ENDS_WITHIN_S = 10.0
STARTED_AFTER_S = 3.0


class Failed(Exception):
    """One sentence for standard error, and the exit code."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


def _settings(**changes: object) -> Settings:
    given = {name: value for name, value in changes.items() if value is not None}
    settings = load(**given)
    logs.configure(settings.log_format)
    return settings


def _run(main: Callable[[], Coroutine[Any, Any, None]], end_within_s: float = END_WITHIN_S) -> None:
    """Run with uvloop where there is one. SIGINT and SIGTERM are an ordinary end, in order."""
    try:
        import uvloop

        runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    except ImportError:
        runner = asyncio.Runner()

    async def until_signalled() -> None:
        _end_on_signals(end_within_s)
        asyncio.get_running_loop().call_later(STARTED_AFTER_S, leave_alone_what_stays)
        await main()

    with runner, contextlib.suppress(KeyboardInterrupt):
        runner.run(until_signalled())


def _end_on_signals(end_within_s: float) -> None:
    """Let SIGTERM cancel the main task as the runner lets SIGINT, and see that it does end."""
    cancel = signal.getsignal(signal.SIGINT)
    watchdog = threading.Timer(end_within_s, os._exit, (0,))
    watchdog.daemon = True

    def end(_number: int, frame: FrameType | None) -> None:
        if watchdog.ident is None:
            watchdog.start()
        if callable(cancel):
            cancel(signal.SIGINT, frame)

    signal.signal(signal.SIGINT, end)
    signal.signal(signal.SIGTERM, end)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"hutong {version('hutong')}")
        raise typer.Exit


@app.callback()
def hutong(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Brings a neighbourhood's video points and a district's radios together."""


@app.command(short_help="A whole simulated district with gateway and console.")
def demo(
    cameras: Annotated[int, typer.Option(min=1, max=500, help="Simulated ONVIF cameras.")] = 24,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="HTTP port, 0 for any free one.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Say where it is as one line of JSON.")
    ] = False,
    traffic: Annotated[
        bool, typer.Option(help="Radios and phones talk by themselves now and then.")
    ] = True,
) -> None:
    """Everything on one machine, nothing else installed: a simulated district, the gateway and
    the console. Ctrl-C ends it."""
    from gateway.demo.run import demo as run_demo

    settings = _settings(http_port=port)
    _run(
        lambda: run_demo(settings, camera_count=cameras, as_json=as_json, traffic=traffic),
        DEMO_ENDS_WITHIN_S,
    )


@app.command()
def serve(
    role: Annotated[str, typer.Option(help="all, api, agent or bridge.")] = "all",
    show_settings: Annotated[
        bool, typer.Option("--show-settings", help="Print the settings and end.")
    ] = False,
) -> None:
    """The gateway."""
    if role not in ROLES:
        raise Failed(f"--role must be one of {', '.join(ROLES)}, not {role!r}", code=2)
    settings = _settings()
    if show_settings:
        for name, value in shown(settings).items():
            typer.echo(f"{name}={value}")
        return
    from gateway.app import run

    _run(lambda: run(settings, role))


@app.command(short_help="One radio system's agent at a remote site.")
def agent(
    system: Annotated[str, typer.Option(help="Id of the radio system.")],
    secrets: Annotated[
        Path | None,
        typer.Option(help="Its secret settings in TOML, mode 0600. [data dir: agent-SYSTEM.toml]"),
    ] = None,
) -> None:
    """One radio system's agent at a remote site: needs the broker, not the database."""
    settings = _settings()
    from gateway.site import run

    _run(lambda: run(settings, system, secrets))


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    add_help_option=False,
    short_help="Simulators alone: cameras, radios, or a scenario file.",
)
def simulate(context: typer.Context) -> None:
    """Simulators alone: cameras, radios, or a scenario FILE; --help shows more."""
    os.execv(sys.executable, [sys.executable, "-m", "simulators", *context.args])


@app.command(short_help="Finds ONVIF devices on the network, and registers them.")
def discover(
    interface: Annotated[
        list[str] | None, typer.Option(help="Own address to ask from; all when left out.")
    ] = None,
    subnet: Annotated[
        list[str] | None, typer.Option(help="CIDR block to ask one address after the other.")
    ] = None,
    register: Annotated[
        str | None, typer.Option(metavar="ORG", help="Register what is found under ORG.")
    ] = None,
    username: Annotated[str, typer.Option(help="For --register.")] = "",
    timeout_s: Annotated[float, typer.Option(min=0.1, max=60)] = 3.0,
) -> None:
    """ONVIF devices by WS-Discovery, or by unicast probe of a subnet.

    --register takes the devices' password from HUTONG_DEVICE_PASSWORD, or asks for it."""
    from adapters.errors import InvalidSettings
    from adapters.events import Scope
    from gateway.commands import Registering, discover_devices

    settings = _settings()
    registering = None
    if register is not None:
        password = _secret("HUTONG_DEVICE_PASSWORD", "Password of the devices", confirm=False)
        registering = Registering(organization=register, username=username, password=password)
    scope = Scope(
        interfaces=tuple(interface or ()), subnets=tuple(subnet or ()), timeout_s=timeout_s
    )
    try:
        found, refused = asyncio.run(discover_devices(settings, scope, registering))
    except InvalidSettings as error:
        raise Failed(str(error), code=2) from None
    if refused:
        message = f"{refused} of {found} devices were not registered"
        raise Failed(message, code=3 if refused < found else 1)


@database_app.command("upgrade")
def database_upgrade() -> None:
    """Bring the tables to this version's shape."""
    from gateway.commands import upgrade_database

    asyncio.run(upgrade_database(_settings()))


@user_app.command("add")
def user_add(
    name: str,
    role: Annotated[
        str,
        typer.Option(help="viewer, dispatcher, integrator, auditor, clear_view or admin."),
    ],
    organization: Annotated[str, typer.Option(help="Slug path, such as shenhe/wanlian.")],
    district: Annotated[
        str, typer.Option(metavar="NAME", help="Make the root district of that name first.")
    ] = "",
) -> None:
    """Add a user; the password comes from HUTONG_USER_PASSWORD, or is asked for."""
    from gateway.commands import add_user
    from registry.partition import Role

    if role not in set(Role):
        raise Failed(f"--role must be one of {', '.join(Role)}, not {role!r}", code=2)
    settings = _settings()
    password = _secret("HUTONG_USER_PASSWORD", "Password", confirm=True)
    asyncio.run(add_user(settings, name, password, role, organization, district))


@app.command(short_help="Checks what the gateway needs; says what to do.")
def doctor() -> None:
    """Checks data directory, database, broker, media and clock; says what to do."""
    from gateway.commands import examine

    failed = asyncio.run(examine(_settings()))
    if failed:
        raise Failed(f"{failed} of the checks failed")


@app.command(short_help="What runs on the broker, and what is wrong with it.")
def status(
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Nodes and radio systems, at sites too, as they say on the broker. Exit code 1 when something
    is wrong with one of them."""
    from gateway.commands import show_status

    wrong = asyncio.run(show_status(_settings(), as_json=as_json))
    if wrong:
        raise typer.Exit(1)


def _secret(variable: str, question: str, *, confirm: bool) -> str:
    """From the environment, else from a person: never from the command line, which all can see."""
    if variable in os.environ:
        return os.environ[variable]
    if not sys.stdin.isatty():
        raise Failed(f"set {variable}, or run this at a terminal to be asked", code=2)
    answer: str = typer.prompt(
        question, hide_input=True, confirmation_prompt=confirm, default="", show_default=False
    )
    return answer


add_exchange_commands(app, _settings)
add_adapter_commands(app, Failed)
add_backup_commands(app, _settings, Failed)
add_token_commands(app, _settings, Failed)


def main() -> None:
    """Entry point: every failure that can be foreseen is one sentence and an exit code."""
    try:
        app()
    except Failed as failure:
        _fail(str(failure), failure.code)
    except SettingsError as error:
        _fail(str(error), 2)
    except BrokenPipeError:
        os._exit(1)  # whoever read our output has gone; nothing more can be said
    except Exception as error:
        sentence = foreseen(error)
        if sentence is None:
            raise
        _fail(sentence, 1)


def _fail(message: str, code: int) -> None:
    sys.stderr.write(f"hutong: {message}\n")
    sys.exit(code)


def foreseen(error: BaseException) -> str | None:
    """The sentence of an error that is ours, None for one that is a mistake in the program."""
    from adapters.errors import AdapterError
    from gateway.bus.errors import BusError
    from gateway.demo.simulation import SimulationFailed
    from gateway.startup import CannotStart
    from registry.errors import RegistryError

    if isinstance(error, CannotStart | BusError | RegistryError | AdapterError | SimulationFailed):
        return str(error)
    if isinstance(error, BaseExceptionGroup):
        sentences = [foreseen(each) for each in error.exceptions]
        return None if None in sentences else "; ".join(dict.fromkeys(map(str, sentences)))
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename} cannot be used: {error.strerror}"
    return None


if __name__ == "__main__":
    main()
