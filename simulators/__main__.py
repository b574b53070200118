"""`python -m simulators`: cameras, radios, or a whole district from a file."""

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

# What takes long to import (PyAV, numpy, aiohttp) waits until the command line is understood.
if TYPE_CHECKING:
    from simulators.scenario import Scenario

log = logging.getLogger("simulators")


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit codes: 0 ended by a signal or by stdin, 1 cannot start, 2 wrong usage or file."""
    options = _parser().parse_args(arguments)
    from simulators.scenario import BadScenario

    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    logging.getLogger("websockets").setLevel(logging.WARNING)
    try:
        wanted = _wanted(options)
    except BadScenario as bad:
        for problem in bad.problems:
            print(problem, file=sys.stderr)  # noqa: T201
        return 2
    return asyncio.run(_run(wanted, exit_with_stdin=options.exit_with_stdin))


async def _run(wanted: "Scenario", *, exit_with_stdin: bool) -> int:
    """Run until told to stop."""
    from simulators.control import Control
    from simulators.district import District

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    if exit_with_stdin:
        _watch_stdin(loop, stop)
    try:
        async with (
            District(wanted) as district,
            Control(district, host=wanted.control.host, port=wanted.control.port) as control,
        ):
            ready = district.addresses() | {"control": control.url}
            print(json.dumps(ready, ensure_ascii=False), flush=True)  # noqa: T201
            timeline = asyncio.create_task(district.run_timeline())
            timeline.add_done_callback(_note_failure)
            await stop.wait()
            timeline.cancel()
            await asyncio.wait([timeline])
    except OSError as error:
        log.error("cannot start: %s", error)
        return 1
    return 0


def _note_failure(timeline: asyncio.Task[None]) -> None:
    """The district goes on without its timeline."""
    if not timeline.cancelled() and (error := timeline.exception()) is not None:
        log.error("the timeline broke off", exc_info=error)


def _watch_stdin(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """Stop when whoever started us closes our standard input, if only by dying."""

    def read() -> None:
        if not os.read(sys.stdin.fileno(), 4096):
            loop.remove_reader(sys.stdin.fileno())
            stop.set()

    if sys.stdin is None:
        stop.set()
        return
    try:
        loop.add_reader(sys.stdin.fileno(), read)
    except (PermissionError, ValueError):
        # A file or /dev/null cannot be waited for: it is at its end already.
        stop.set()


# --- command line -------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="simulators",
        description="Simulated cameras (ONVIF, RTSP), DMR repeaters with radios (Homebrew), a "
        "push-to-talk server with phones (Zello Channel API), and trunk-recorders and MMDVMHosts "
        "on an MQTT broker. When all of it runs, one line of "
        "JSON on standard output says where; logs go to standard error.",
    )
    commands = parser.add_subparsers(dest="command", required=True)

    cameras = commands.add_parser("cameras", help="ONVIF and RTSP cameras")
    cameras.add_argument("--count", type=int, default=1, help="ONVIF cameras (1)")
    cameras.add_argument("--rtsp", type=int, default=0, help="plain RTSP cameras (0)")
    cameras.add_argument("--host", default="127.0.0.1", help="address to listen on")
    cameras.add_argument("--username", default="admin")
    cameras.add_argument("--password", default="camera", help="of every camera (camera)")
    cameras.add_argument("--ptz", action="store_true", help="with pan, tilt and zoom")
    cameras.add_argument(
        "--persona",
        action="append",
        default=[],
        metavar="NAME",
        help="how the ONVIF ones misbehave, such as digest-only or wrong-xaddr; repeatable",
    )
    cameras.add_argument("--delay-ms", type=float, default=0.0, help="for each ONVIF call")
    cameras.add_argument("--clip-cache", type=Path, help="directory to keep encoded clips in")
    cameras.add_argument("--discovery-port", type=int, default=3702, help="-1: no WS-Discovery")

    radios = commands.add_parser(
        "radios", help="DMR repeaters, a push-to-talk server, recorders and hosts on a broker"
    )
    radios.add_argument("--master", default="127.0.0.1:62031", help="where repeaters sign in")
    radios.add_argument("--repeaters", type=int, default=1)
    radios.add_argument("--first-repeater", type=int, default=460_001)
    radios.add_argument("--passphrase", default="repeater", help="of every repeater (repeater)")
    radios.add_argument("--radios", type=int, default=2, help="on each repeater (2)")
    radios.add_argument("--first-radio", type=int, default=4_600_001)
    radios.add_argument("--zello-port", type=int, default=0, help="0: a free one; -1: no server")
    radios.add_argument(
        "--account", action="append", default=[], metavar="USER:PASSWORD", help="repeatable"
    )
    radios.add_argument("--channel", action="append", default=[], help="repeatable")
    radios.add_argument("--phone", action="append", default=[], help="repeatable")
    radios.add_argument(
        "--trunk-recorder", action="append", default=[], metavar="NAME", help="repeatable"
    )
    radios.add_argument("--mmdvm", action="append", default=[], metavar="NAME", help="repeatable")
    radios.add_argument("--broker", default="127.0.0.1:1883", help="of these two")
    radios.add_argument("--broker-account", default="", metavar="USER:PASSWORD")

    district = commands.add_parser("scenario", help="a district from a YAML file")
    district.add_argument("file", type=Path)

    load = commands.add_parser("load", help="very many radios and phones that press at random")
    load.add_argument("profile", choices=("province", "storm"))
    load.add_argument("--master", default="127.0.0.1:62031", metavar="HOST:PORT")
    load.add_argument("--passphrase", default="passw0rd")
    load.add_argument("--channels", type=int, default=100)
    load.add_argument("--talk-s", type=float, default=2.0, help="mean length of a talk")
    load.add_argument("--seed", type=int)

    for command in (cameras, radios, district, load):
        command.add_argument("--control-port", type=int, help="of the control API (a free one)")
        command.add_argument(
            "--exit-with-stdin", action="store_true", help="end when standard input is closed"
        )
    return parser


def _wanted(options: argparse.Namespace) -> "Scenario":
    """The scenario that a command line asks for. Raises: BadScenario."""
    from simulators import scenario

    if options.command == "scenario":
        wanted = scenario.load(options.file)
    else:
        make = {"cameras": _cameras, "radios": _radios, "load": _load}[options.command]
        wanted = scenario.parse(json.dumps(make(options)), "command line")
    if options.control_port is None:
        return wanted
    control = wanted.control.model_copy(update={"port": options.control_port})
    return wanted.model_copy(update={"control": control})


def _cameras(options: argparse.Namespace) -> dict[str, object]:
    common = {"username": options.username, "password": options.password, "host": options.host}
    discovery = {"port": options.discovery_port, "interfaces": [options.host]}
    return {
        "cameras": {
            "clip_cache": str(options.clip_cache) if options.clip_cache else None,
            "discovery": discovery if options.discovery_port >= 0 else None,
            "onvif": [
                {
                    "name": f"camera-{number:03d}",
                    "ptz": options.ptz,
                    "persona": options.persona,
                    "delay_ms": options.delay_ms,
                    **common,
                }
                for number in range(1, options.count + 1)
            ],
            "rtsp": [
                {"name": f"rtsp-{number:03d}", **common} for number in range(1, options.rtsp + 1)
            ],
        }
    }


def _radios(options: argparse.Namespace) -> dict[str, object]:
    host, _, port = options.master.rpartition(":")
    radio_ids = iter(range(options.first_radio, 1 << 24))
    repeaters = [
        {
            "id": options.first_repeater + number,
            "passphrase": options.passphrase,
            "callsign": f"SIM{number + 1:03d}",
            "radios": [
                {"id": next(radio_ids), "alias": f"radio {number + 1}-{radio + 1}"}
                for radio in range(options.radios)
            ],
        }
        for number in range(options.repeaters)
    ]
    zello = {
        "port": options.zello_port,
        "accounts": dict(account.split(":", 1) for account in options.account if ":" in account)
        or {"gateway": "gateway"},
        "channels": options.channel or ["channel"],
        "phones": [{"name": name} for name in options.phone or ["phone"]],
    }
    return {
        "homebrew": {"master": {"host": host, "port": port}, "repeaters": repeaters},
        "zello": [zello] if options.zello_port >= 0 else [],
        "feeds": _feeds(options),
    }


def _load(options: argparse.Namespace) -> dict[str, object]:
    from simulators import load

    host, _, port = options.master.rpartition(":")
    make = load.province if options.profile == "province" else load.storm
    return make(
        master={"host": host, "port": port},
        passphrase=options.passphrase,
        channels=options.channels,
        talk_s=options.talk_s,
        seed=options.seed,
    )


def _feeds(options: argparse.Namespace) -> dict[str, object]:
    host, _, port = options.broker.rpartition(":")
    username, _, password = options.broker_account.partition(":")
    units = [
        {"id": options.first_radio + number, "alias": f"unit {number + 1}"}
        for number in range(options.radios)
    ]
    return {
        "broker": {"host": host, "port": port, "username": username, "password": password},
        "trunk_recorders": [{"name": name, "units": units} for name in options.trunk_recorder],
        "mmdvm_hosts": [{"name": name, "units": units} for name in options.mmdvm],
    }


if __name__ == "__main__":
    sys.exit(main())
