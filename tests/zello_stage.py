"""A Zello adapter that runs, what it emits, and the simulated server.

PYTEST_DONT_REWRITE: test modules import this before pytest does, and it asserts nothing.
"""

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

import pytest

from adapters.errors import (
    AdapterError,
)
from adapters.events import (
    ChannelHealth,
    Event,
    KeyChannel,
    Outcome,
    SendText,
    UnkeyChannel,
)
from adapters.zello.adapter import ZelloAdapter
from adapters.zello.settings import ZelloSettings
from simulators.zello_server import ZelloServer

E = TypeVar("E", bound=Event)

PASSWORD = "planted-password"
ACCOUNTS = {"gateway": PASSWORD, "other": "planted-other"}


class Gateway:
    """A running adapter and what it emits."""

    def __init__(self, url: str, channels: tuple[str, ...] = ("ops",), **given: Any) -> None:
        settings = {"url": url, "username": "gateway", "password": PASSWORD, **given}
        self.adapter = ZelloAdapter(ZelloSettings.model_validate(settings), channels)
        self.events: list[Event] = []
        self.task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    def emit(self, event: Event) -> None:
        self.events.append(event)
        self._changed.set()

    def start(self) -> "asyncio.Task[None]":
        self.task = asyncio.create_task(self.adapter.run(self.emit))
        self.task.add_done_callback(lambda task: self._changed.set())
        return self.task

    async def stop(self) -> None:
        if self.task is not None:
            self.task.cancel()
            with contextlib.suppress(asyncio.CancelledError, AdapterError):
                await self.task

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(30):
            while not condition():
                if self.task is None:
                    raise RuntimeError("the gateway was not started")
                if self.task.done():
                    await self.task
                self._changed.clear()
                await self._changed.wait()

    def all(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    async def get(self, kind: type[E], number: int = 0) -> E:
        """The event of that kind and number, from 0; waits for it."""
        await self.until(lambda: len(self.all(kind)) > number)
        return self.all(kind)[number]

    async def ready(self) -> None:
        """Until the channel is online."""
        await self.until(lambda: any(each.health == "ok" for each in self.all(ChannelHealth)))

    async def key(self, name: str = "t-1", channel: str = "ops") -> Outcome:
        return await self.adapter.execute(KeyChannel(address=channel, transmission=name))

    async def unkey(self, name: str = "t-1") -> Outcome:
        return await self.adapter.execute(UnkeyChannel(address="ops", transmission=name))

    async def text(self, text: str, channel: str = "ops") -> Outcome:
        return await self.adapter.execute(SendText(address=channel, text=text))


@contextlib.asynccontextmanager
async def running(server: ZelloServer, *channels: str, **given: Any) -> AsyncIterator[Gateway]:
    gateway = Gateway(server.url, channels or ("ops",), **given)
    gateway.start()
    try:
        await gateway.ready()
        yield gateway
    finally:
        await gateway.stop()


@contextlib.asynccontextmanager
async def a_server(**more: Any) -> AsyncIterator[ZelloServer]:
    async with ZelloServer(accounts=ACCOUNTS, channels=["ops", "north"], **more) as server:
        yield server


async def failure_of(gateway: Gateway) -> AdapterError:
    async with asyncio.timeout(30):
        with pytest.raises(AdapterError) as raised:
            await (gateway.task or gateway.start())
    return raised.value


def a_token(ends_s: float = 4_000_000_000) -> str:
    """A token as consumer Zello wants it; the simulated server checks its form and its end, in
    seconds since 1970."""
    parts = (
        json.dumps({"alg": "RS256", "typ": "JWT"}).encode(),
        json.dumps({"iss": "x", "exp": ends_s}).encode(),
        bytes(256),
    )
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)
