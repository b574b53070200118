"""The demo's simulated world: a scenario file, and the process that plays it."""

import asyncio
import contextlib
import json
import secrets
import signal
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from gateway.demo.district import PHONES, PTT_CHANNELS, RADIOS, CameraPlan

START_TIMEOUT_S = 30.0
REPEATERS = (460001, 460002)
RTSP_CAMERAS = 2


class SimulationFailed(Exception):
    """One sentence."""


def free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def scenario(
    cameras: Sequence[CameraPlan], *, secret: str, master_port: int, traffic: bool, clips: Path
) -> dict[str, Any]:
    """The scenario of the demo. secret: the common part of all passwords in it. traffic: whether
    radios and phones talk by themselves."""
    series = secrets.token_hex(2).upper()
    return {
        "cameras": {
            "clip_cache": str(clips),
            "discovery": {"interfaces": ["127.0.0.1"]},
            "onvif": [_onvif(plan, series) for plan in cameras],
            "rtsp": [
                {
                    "name": f"property-{number}",
                    "username": "view",
                    "password": f"{secret}-rtsp-{number}",
                    "host": f"127.0.0.{10 + number}",
                }
                for number in range(1, RTSP_CAMERAS + 1)
            ],
        },
        "homebrew": {
            "master": {"host": "127.0.0.1", "port": master_port},
            "repeaters": [
                {
                    "id": number,
                    "passphrase": f"{secret}-dmr",
                    "callsign": f"HT{number}",
                    "radios": [
                        {"id": radio, "alias": alias}
                        for index, (radio, alias) in enumerate(RADIOS)
                        if index % len(REPEATERS) == place
                    ],
                }
                for place, number in enumerate(REPEATERS)
            ],
        },
        "zello": {
            "accounts": {"gateway": f"{secret}-ptt"},
            "channels": [name for name, _, _ in PTT_CHANNELS],
            "phones": [{"name": name} for name, _ in PHONES],
        },
        "timeline": _timeline() if traffic else [],
    }


def _onvif(plan: CameraPlan, series: str) -> dict[str, Any]:
    return {
        "name": f"camera-{plan.number:03d}",
        "username": plan.username,
        "password": plan.password,
        # Its address in WS-Discovery follows from it: two demos must not be taken for one.
        "serial": f"HT{series}{plan.number:04d}",
        "host": plan.host,
        "location": plan.place,
        "ptz": plan.ptz,
        "profile": "main" if plan.number % 2 else "baseline",
    }


def _timeline() -> list[dict[str, Any]]:
    """A radio talks, a phone answers, now and then both press at once; quiet in between."""
    radio = {"action": "talk", "radio": RADIOS[0][0], "talkgroup": 3101, "slot": 1}
    phone = {"action": "talk", "phone": PHONES[0][0], "channel": PTT_CHANNELS[0][0]}
    other = {"action": "talk", "radio": RADIOS[2][0], "talkgroup": 3102, "slot": 2}
    return [
        {"at_s": 4, "every_s": 40, "seconds": 3, **radio},
        {"at_s": 12, "every_s": 40, "seconds": 3, **phone},
        {"at_s": 20, "every_s": 40, "seconds": 2, **other},
        {"at_s": 30, "every_s": 120, "seconds": 3, **radio},
        {"at_s": 30, "every_s": 120, "seconds": 3, **phone},
    ]


def write(file: Path, content: dict[str, Any]) -> None:
    """The file holds passwords of simulated cameras; it is readable to us alone all the same."""
    file.touch(mode=0o600)
    file.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")


class Simulation:
    """The child that plays. It ends with us, also when we die: it watches its standard input."""

    def __init__(self, child: asyncio.subprocess.Process, log: Path) -> None:
        self._child = child
        self._log = log

    async def addresses(self) -> dict[str, Any]:
        """Where everything listens, once it does. Raises: SimulationFailed."""
        assert self._child.stdout is not None
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                line = await self._child.stdout.readline()
        except TimeoutError:
            raise SimulationFailed("the simulators did not start within 30 s") from None
        if not line:
            code = await self._child.wait()
            said = self._log.read_text(encoding="utf-8", errors="replace").strip()
            reason = said.rpartition("\n")[2] or f"exit code {code}"
            raise SimulationFailed(f"the simulators ended at once: {reason}")
        found: dict[str, Any] = json.loads(line)
        return found

    async def end(self) -> None:
        if self._child.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._child.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(5):
                await self._child.wait()
        except TimeoutError:
            self._child.kill()
            await self._child.wait()


@contextlib.asynccontextmanager
async def playing(file: Path, log: Path) -> AsyncIterator[Simulation]:
    """Play a scenario file in a child process. log: the file that gets what it says."""
    command = ["-m", "simulators", "scenario", str(file), "--exit-with-stdin"]
    with log.open("wb") as said:
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=said,
            start_new_session=True,  # Ctrl-C is for us; we end it in order
        )
    simulation = Simulation(child, log)
    try:
        yield simulation
    finally:
        await simulation.end()
