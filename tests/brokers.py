"""Real brokers for the tests: the embedded one, and a private Mosquitto."""

import asyncio
import contextlib
import os
import shutil
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Protocol

import pytest

from gateway.bus.address import BrokerAddress
from gateway.bus.broker import EmbeddedBroker
from gateway.bus.errors import BusError
from gateway.bus.link import Link, connect


class RunningBroker(Protocol):
    """A broker that a test can kill (-9) and start again on the same port; forget, while it is
    killed, takes from its disk all that it kept."""

    @property
    def address(self) -> BrokerAddress: ...
    async def kill(self) -> None: ...
    async def start(self) -> None: ...
    def forget(self) -> None: ...


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def mosquitto_path() -> str | None:
    """Debian keeps it in /usr/sbin, which is not on everybody's PATH."""
    return shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


async def until_it_answers(address: BrokerAddress) -> None:
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(BusError):
                async with connect(address, "waiting"):
                    return
            await asyncio.sleep(0.02)


async def read_kept(link: Link, pattern: str, seen: Callable[[], object]) -> None:
    """Subscribe, and once more where that is needed, until what is retained was seen.

    nats-server gives a message that is being stored neither as it happens nor as it is kept.
    """
    async with asyncio.timeout(30):
        while not seen():
            await link.subscribe(pattern, 1)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    while not seen():  # noqa: ASYNC110 - a test may look often
                        await asyncio.sleep(0.005)


class Mosquitto:
    """A private Mosquitto with the limits that the bus needs; retained messages on disk."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._port = free_port()
        self._process: asyncio.subprocess.Process | None = None

    @property
    def address(self) -> BrokerAddress:
        return BrokerAddress(host="127.0.0.1", port=self._port)

    async def start(self) -> None:
        binary = mosquitto_path()
        assert binary is not None
        config = self._directory / "mosquitto.conf"
        config.write_text(self.configuration())
        self._process = await asyncio.create_subprocess_exec(
            binary,
            "-c",
            str(config),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        await until_it_answers(self.address)

    def configuration(self) -> str:
        return (
            f"listener {self._port} 127.0.0.1\nallow_anonymous true\nuser root\n"
            "max_queued_messages 0\nmax_inflight_messages 1000\n"
            f"persistence true\npersistence_location {self._directory}/\nautosave_interval 1\n"
        )

    async def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        await self._process.wait()

    def forget(self) -> None:
        for kept in self._directory.glob("mosquitto.db*"):
            kept.unlink()

    async def __aenter__(self) -> "Mosquitto":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            await self._process.wait()


class Embedded:
    """The embedded broker under the same handle."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._port = 0
        self._stack = contextlib.AsyncExitStack()
        self._broker: EmbeddedBroker | None = None

    @property
    def broker(self) -> EmbeddedBroker:
        assert self._broker is not None
        return self._broker

    @property
    def address(self) -> BrokerAddress:
        return self.broker.address

    async def start(self) -> None:
        """The embedded broker comes back by itself."""
        await until_it_answers(self.address)

    async def kill(self) -> None:
        self.broker.kill()

    def forget(self) -> None:
        shutil.rmtree(self._directory / "store", ignore_errors=True)

    async def __aenter__(self) -> "Embedded":
        self._broker = await self._stack.enter_async_context(EmbeddedBroker(self._directory))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()


BROKERS: dict[str, type[Embedded] | type[Mosquitto]] = {
    "embedded": Embedded,
    "mosquitto": Mosquitto,
}


@contextlib.asynccontextmanager
async def running(kind: str, directory: Path) -> AsyncIterator[RunningBroker]:
    if kind == "mosquitto" and mosquitto_path() is None:
        pytest.skip("mosquitto is not installed: apt-get install mosquitto")
    async with BROKERS[kind](directory) as broker:
        yield broker
