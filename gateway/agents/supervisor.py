"""One supervisor owns every retry: start, stop, back-off with jitter, breaker, attempt budget.

An adapter never retries; it raises, and the class of its error says whether a retry can help.
"""

import asyncio
import contextlib
import dataclasses
import random
from collections.abc import Callable
from typing import Any

import structlog

from adapters.base import Adapter
from adapters.errors import AdapterError, InvalidSettings, ProtocolViolation
from adapters.events import Event, Online

log = structlog.get_logger("supervisor")

FIRST_DELAY_S = 1.0
LONGEST_DELAY_S = 30.0
ATTEMPT_TIMEOUT_S = 30.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why an adapter does not run. retry_in_s: None when only a change can help."""

    error: AdapterError
    retry_in_s: float | None


class Budget:
    """How many connection attempts may be under way at once, over all devices of a node."""

    def __init__(self, attempts: int = 64) -> None:
        self._slots = asyncio.Semaphore(attempts)

    def attempt(self) -> asyncio.Semaphore:
        """To be held (`async with`) from the first packet until the device is online."""
        return self._slots


class Supervised:
    """Keeps one adapter running until cancelled.

    make: builds the adapter anew for each attempt. on_event gets all that it emits; on_failure is
    told of each end. `adapter` is the one that is online, else None.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[], Adapter],
        *,
        budget: Budget,
        on_event: Callable[[Event], None],
        on_failure: Callable[[Failure], None],
        jitter: Callable[[], float] = lambda: random.uniform(0.5, 1.0),
    ) -> None:
        self.name = name
        self.adapter: Adapter | None = None
        self._make = make
        self._budget = budget
        self._on_event = on_event
        self._on_failure = on_failure
        self._jitter = jitter
        self._nudged = asyncio.Event()
        self._online = asyncio.Event()
        self._warned = ""

    def nudge(self) -> None:
        """Try again now: the device said hello, or its settings changed."""
        self._nudged.set()

    async def run(self) -> None:
        failures = 0
        while True:
            self._online.clear()
            error = await self._run_once()
            failures = 1 if self._online.is_set() else failures + 1
            delay_s: float | None = None
            if error.retryable:
                longest = min(FIRST_DELAY_S * 2 ** min(failures - 1, 5), LONGEST_DELAY_S)
                delay_s = longest * self._jitter()
            self._warn_once(error)
            self._on_failure(Failure(error=error, retry_in_s=delay_s))
            await self._wait(delay_s)

    async def _run_once(self) -> AdapterError:
        """Run an adapter to its end; the attempt holds a slot of the budget until it is online."""
        try:
            adapter = self._make()
        except AdapterError as error:
            return error
        except Exception as error:  # settings of another version, a secret of another key
            log.exception("adapter not made", device=self.name)
            return InvalidSettings(f"it cannot be made: {error or error!r}", device=self.name)
        running: asyncio.Future[Any] | None = None
        try:
            async with self._budget.attempt():
                running = asyncio.ensure_future(adapter.run(self._emit_for(adapter)))
                await self._until_online(running)
            await running
            return ProtocolViolation("the adapter stopped by itself", device=self.name)
        except AdapterError as error:
            return error
        except Exception as error:  # an adapter's own mistake must not end the others
            log.exception("adapter failed", device=self.name)
            return ProtocolViolation(f"the adapter failed: {error!r}", device=self.name)
        finally:
            self.adapter = None
            if running is not None:
                running.cancel()
                with contextlib.suppress(asyncio.CancelledError, Exception):
                    await running

    async def _until_online(self, running: asyncio.Future[Any]) -> None:
        online: asyncio.Future[Any] = asyncio.ensure_future(self._online.wait())
        try:
            await asyncio.wait(
                [running, online], timeout=ATTEMPT_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            online.cancel()

    def _emit_for(self, adapter: Adapter) -> Callable[[Event], None]:
        def emit(event: Event) -> None:
            if isinstance(event, Online):
                self.adapter = adapter
                self._online.set()
                if self._warned:
                    log.info("device is back", device=self.name)
                self._warned = ""
            self._on_event(event)

        return emit

    def _warn_once(self, error: AdapterError) -> None:
        if str(error) != self._warned:
            log.warning("device is away", device=self.name, reason=str(error))
        self._warned = str(error)

    async def _wait(self, delay_s: float | None) -> None:
        self._nudged.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay_s):
                await self._nudged.wait()
