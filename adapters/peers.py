"""The other side of an adapter in its contract, and runs against it.

Part of `adapters.testing`, from where it is imported.
"""

import abc
import asyncio
import contextlib
import dataclasses
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Self, TypeVar

import pytest

from adapters.base import Adapter
from adapters.errors import AdapterError
from adapters.events import Event, Scope

E = TypeVar("E", bound=Event)

PATIENCE_S = 20.0
"""No single step of the contract takes longer, on a slow and busy machine."""


class Peer(abc.ABC):
    """The other side, simulated, on real sockets of loopback. One for each check.

    adapter: the class under test. secrets: every password the peer's settings hold, wrong ones
    included; each at least 8 characters, found nowhere else. channels: those to register.
    calls_us: the adapter listens and its peers sign in to it, rather than the other way round.
    loggers: those of the peer's side alone, which hears the passwords by right.
    """

    adapter: type[Adapter]
    secrets: Sequence[str]
    channels: Sequence[str] = ()
    calls_us: bool = False
    loggers: Sequence[str] = ()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        return None

    @abc.abstractmethod
    def settings(self) -> Any:
        """Settings that work."""

    @abc.abstractmethod
    def wrong_password(self) -> Any:
        """As `settings`, with a password that is not the peer's."""

    def at(self, host: str, port: int) -> Any:
        """Settings that work but for the peer being at host and port. Not asked for with
        `calls_us`."""
        raise AssertionError("a peer that is called says how it is called elsewhere")

    async def ready(self) -> None:
        """Wait until the adapter, which is online, and the peer can do things together."""
        return

    @abc.abstractmethod
    async def send_garbage(self) -> None:
        """From now on, or once: send what is not of the protocol. The adapter is running."""

    @abc.abstractmethod
    async def send_good(self) -> None:
        """End the garbage, and do something that the adapter reports: a talk begins and ends, a
        call is answered. Where nothing but the answer itself is reported, end the garbage."""

    def scope(self) -> Scope | None:
        """Where `discover` finds this peer; None where discovery is not of the kind."""
        return None


class ListeningPeer(Peer):
    """A peer with channels, the first of which it talks on in `send_good`."""


class RadioPeer(ListeningPeer):
    """One whose channels can be keyed."""

    @abc.abstractmethod
    def heard(self, address: str) -> Sequence[bool]:
        """Our transmissions that the peer has heard on a channel; True while one goes on."""


@dataclasses.dataclass(slots=True)
class Run:
    """A running adapter and what it has reported."""

    adapter: Adapter
    task: "asyncio.Task[None]"
    events: list[Event]

    async def first(self, kind: type[E], since: int = 0) -> E:
        """The first event of a kind, counted from `since`; what ended the run is raised."""

        def found() -> E | None:
            return next((e for e in self.events[since:] if isinstance(e, kind)), None)

        await until(lambda: found() is not None or self.task.done(), f"a {kind.__name__}")
        event = found()
        if event is None:
            await self.task
            raise AssertionError("run() returned; it may only raise or be cancelled")
        return event


async def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition; fails after `PATIENCE_S`, saying what was awaited."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited {PATIENCE_S:g} s in vain for {what}"
        await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def running(peer: Peer, settings: Any | None = None) -> AsyncIterator[Run]:
    """An adapter that runs against the peer, and is cancelled at the end."""
    chosen = peer.settings() if settings is None else settings
    adapter = peer.adapter(chosen, peer.channels)
    events: list[Event] = []
    task = asyncio.create_task(adapter.run(events.append))
    try:
        yield Run(adapter=adapter, task=task, events=events)
    finally:
        await ended(task)


async def ended(task: "asyncio.Task[None]") -> None:
    """Cancel a run and wait for it; an AdapterError it ended with is dropped."""
    task.cancel()
    async with asyncio.timeout(PATIENCE_S):
        with contextlib.suppress(asyncio.CancelledError, AdapterError):
            await task


async def failure_of(task: "asyncio.Task[None]") -> AdapterError:
    """The error that a run ends with by itself, within `PATIENCE_S`."""
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(AdapterError) as raised:
            await task
    return raised.value
