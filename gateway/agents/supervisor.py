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
from adapters.errors import AdapterError, InvalidSettings, ProtocolViolation, TimedOut
from adapters.events import Event, Online, SignalLost, SourceStatus
from gateway.agents.budget import Budget, Place, Urgency
from gateway.agents.steadiness import Steadiness

__all__ = ["Budget", "Failure", "Supervised"]

log = structlog.get_logger("supervisor")

FIRST_DELAY_S = 1.0
LONGEST_DELAY_S = 30.0
DEAD_DELAY_S = 300.0
"""Between attempts at a device that has been away for `DEAD_AFTER_S`."""
DEAD_AFTER_S = 3600.0
ATTEMPT_TIMEOUT_S = 30.0
DEVICE_ATTEMPT_LIMIT_S = 60.0
"""A slow recorder takes its time; one slower than this would keep a slot from all others."""
BREAKER_AFTER = 5
"""Failures in a row that open the breaker: what was never there is then tried as the dead are."""
FORWARD_EVERY_S = 8.0
GREETED_EVERY_S = 600.0
"""How often a hello may bring on an attempt that a final error forbids. Anybody on the network can
say hello, and a wrong password locks an account; but a camera may have been set right."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why an adapter does not run. retry_in_s: None when only a change can help. flapping: it
    comes and goes, and this end of it is no news."""

    error: AdapterError
    retry_in_s: float | None
    flapping: bool = False


class Supervised:
    """Keeps one adapter running until cancelled.

    make: builds the adapter anew for each attempt; it takes over from the one before it. on_event
    gets all that it emits; on_failure is told of each end. `adapter` is the one that is online,
    else None. steadiness: where one is given, a device that flaps is told by `on_flapping` once,
    and its `Online` and `SourceStatus` are held back until it has stayed. attempt_limit_s: an
    attempt that is not online by then is ended; without it it goes on outside the budget (a radio
    system may have to be waited for). on_back: called when it is online after it was away.
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
        steadiness: Steadiness | None = None,
        on_flapping: Callable[[bool], None] = lambda _begins: None,
        attempt_limit_s: float | None = None,
    ) -> None:
        self.name = name
        self.adapter: Adapter | None = None
        self.attempts = 0
        self.failures = 0
        self.final = False
        self.on_back: Callable[[], None] = lambda: None
        self._make = make
        self._latest: Adapter | None = None
        self._budget = budget
        self._on_event = on_event
        self._on_failure = on_failure
        self._jitter = jitter
        self._steadiness = steadiness
        self._on_flapping = on_flapping
        self._attempt_limit_s = attempt_limit_s
        self._now_s = asyncio.get_running_loop().time
        self._called = False
        self._changed = asyncio.Event()
        self._online = asyncio.Event()
        self._was_online = False
        self._away_since_s = 0.0
        self._due_s: float | None = None
        self._waits = False
        self._forwarded_s = float("-inf")
        self._greeted_s = float("-inf")
        self._place = Place()
        self._held: dict[tuple[type[Event], str], Event] = {}
        self._settling: asyncio.TimerHandle | None = None
        self._warned = ""

    @property
    def online(self) -> bool:
        return self.adapter is not None

    @property
    def flapping(self) -> bool:
        return self._steadiness is not None and self._steadiness.flapping

    @property
    def breaker_open(self) -> bool:
        """No attempts until something changes, or only those of the dead."""
        return self.final or self._urgency() is Urgency.DEAD

    def nudge(self) -> None:
        """Try again now: its settings changed, or somebody asks for it. During an attempt that then
        fails: try once more."""
        if self.online:
            return
        self._called = True
        self._budget.hurry(self._place, Urgency.CALLED)
        self._changed.set()

    def greet(self) -> bool:
        """It said hello, or somebody in its place: try now. Whether it does."""
        now_s = self._now_s()
        if self.online or (self.final and now_s - self._greeted_s < GREETED_EVERY_S):
            return False
        if self.final:
            self._greeted_s = now_s
        self.nudge()
        return True

    def bring_forward(self, delay_s: float) -> bool:
        """A sibling is back: try within delay_s, unless that comes sooner by itself, was asked
        for a moment ago, or cannot help. Whether it does."""
        now_s = self._now_s()
        if self.online or self.final or now_s - self._forwarded_s < FORWARD_EVERY_S:
            return False
        self._budget.hurry(self._place, Urgency.RECENT)
        if not self._waits or self._due_s is None or self._due_s <= now_s + delay_s:
            return False
        self._forwarded_s = now_s
        self._due_s = now_s + delay_s
        self._place.urgency = min(self._place.urgency, Urgency.RECENT)
        self._changed.set()
        return True

    async def run(self) -> None:
        self._away_since_s = self._now_s()
        try:
            while True:
                self._online.clear()
                error = await self._run_once()
                self._after(error)
                await self._wait()
        finally:
            self._stop_settling()

    def _after(self, error: AdapterError) -> None:
        """What an end means for the next attempt, and for those who are told."""
        now_s = self._now_s()
        if self._online.is_set():
            self._was_online = True
            self._away_since_s = now_s
            if self._steadiness is not None and self._steadiness.lost(now_s):
                self._on_flapping(True)
        self._settle_if_gone(now_s)
        # What flaps is not begun anew each time: it would be tried every second all day.
        anew = self._online.is_set() and not self.flapping
        self.failures = 1 if anew else self.failures + 1
        self.final = not error.retryable
        self._place = Place(self._urgency())
        delay_s = None if self.final else self._delay_s(now_s)
        self._due_s = None if delay_s is None else now_s + delay_s
        self._warn_once(error)
        self._on_failure(Failure(error=error, retry_in_s=delay_s, flapping=self.flapping))

    def _delay_s(self, now_s: float) -> float:
        if now_s - self._away_since_s > DEAD_AFTER_S:
            return DEAD_DELAY_S * self._jitter()
        longest = min(FIRST_DELAY_S * 2 ** min(self.failures - 1, 5), LONGEST_DELAY_S)
        delay_s: float = longest * self._jitter()
        return delay_s

    def _urgency(self) -> Urgency:
        if self.failures < BREAKER_AFTER:
            return Urgency.RECENT
        gone = self._now_s() - self._away_since_s > DEAD_AFTER_S
        return Urgency.DEAD if gone or not self._was_online else Urgency.RECENT

    async def _run_once(self) -> AdapterError:
        """Run an adapter to its end; the attempt holds a slot of the budget until it is online."""
        self._called = False
        try:
            adapter = self._made()
        except AdapterError as error:
            return error
        except Exception as error:  # settings of another version, a secret of another key
            log.exception("adapter not made", device=self.name)
            return InvalidSettings(f"it cannot be made: {error or error!r}", device=self.name)
        running: asyncio.Future[Any] | None = None
        try:
            async with self._budget.attempt(self._place):
                self._called = False
                self.attempts += 1
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

    def _made(self) -> Adapter:
        adapter = self._make()
        if self._latest is not None:
            adapter.take_over(self._latest)
        self._latest = adapter
        return adapter

    async def _until_online(self, running: asyncio.Future[Any]) -> None:
        online: asyncio.Future[Any] = asyncio.ensure_future(self._online.wait())
        try:
            limit_s = self._attempt_limit_s or ATTEMPT_TIMEOUT_S
            done, _ = await asyncio.wait(
                [running, online], timeout=limit_s, return_when=asyncio.FIRST_COMPLETED
            )
            if not done and self._attempt_limit_s is not None:
                raise TimedOut(f"it was not there within {limit_s:g} s", device=self.name)
        finally:
            online.cancel()

    def _emit_for(self, adapter: Adapter) -> Callable[[Event], None]:
        def emit(event: Event) -> None:
            if isinstance(event, Online):
                came_back = self.adapter is None and self.failures > 0
                self.adapter = adapter
                self._online.set()
                if self._warned:
                    log.info("device is back", device=self.name)
                self._warned = ""
                self._begin_settling()
                if came_back:
                    self.on_back()
            if not (self.flapping and self._hold_back(event)):
                self._on_event(event)

        return emit

    # --- flapping -------------------------------------------------------------------------------

    def _hold_back(self, event: Event) -> bool:
        """Keep what is a state until the device is calm; whether it is nothing but that."""
        match event:
            case Online():
                self._held[Online, ""] = event
            case SourceStatus():
                self._held[SourceStatus, event.address] = event
            case SignalLost():
                # An occurrence too: told now, and said again as how it stands.
                standing = dataclasses.replace(event, initial=True)
                self._held[SignalLost, event.address] = standing
                return False
            case _:
                return False
        return True

    def _begin_settling(self) -> None:
        self._stop_settling()
        if self._steadiness is not None and self._steadiness.flapping:
            loop = asyncio.get_running_loop()
            self._settling = loop.call_later(self._steadiness.calm_s, self._settle)

    def _stop_settling(self) -> None:
        if self._settling is not None:
            self._settling.cancel()
            self._settling = None

    def _settle(self) -> None:
        """The episode is over; what was held back is told now, the device first."""
        if self._steadiness is not None:
            self._steadiness.settle()
        held, self._held = self._held, {}
        self._on_flapping(False)
        if self.online:
            for key in sorted(held, key=lambda each: each[0] is not Online):
                self._on_event(held[key])

    def _settle_if_gone(self, now_s: float) -> None:
        """It ended once more: what it said then is no longer so, and after a while away it does
        not flap but is gone."""
        self._stop_settling()
        self._held.clear()
        if self._steadiness is not None and self.flapping and self._steadiness.calm(now_s):
            self._settle()

    # --- waiting --------------------------------------------------------------------------------

    def _warn_once(self, error: AdapterError) -> None:
        if str(error) != self._warned and not (self.flapping and self._warned):
            log.warning("device is away", device=self.name, reason=str(error))
        self._warned = str(error)

    async def _wait(self) -> None:
        self._waits = True
        try:
            while not self._called:
                self._changed.clear()
                if self._due_s is not None and self._due_s <= self._now_s():
                    return
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(self._due_s):
                        await self._changed.wait()
            self._place.urgency = Urgency.CALLED
        finally:
            self._waits = False
