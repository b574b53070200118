"""The PullPoint of one device: made, kept alive, read, given back."""

import asyncio
import contextlib
import dataclasses
import logging
import random
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from adapters.base import Emit
from adapters.errors import (
    AdapterError,
    AuthenticationFailed,
    Busy,
    NotSupported,
    ProtocolViolation,
    TimedOut,
    Unreachable,
)
from adapters.events import Unrecognised
from adapters.onvif import events_wire, wire
from adapters.onvif.client import OnvifClient
from adapters.onvif.events_topics import Places, condition, known
from adapters.onvif.events_wire import Pulled, Received, Subscription
from adapters.onvif.soap import DeviceFault

log = logging.getLogger("adapters.onvif.events")

LIVES_S = 120.0
"""Asked for: what a gateway that was killed leaves behind occupies a slot no longer than this."""
PULL_S = 30.0
SHORTEST_PULL_S = 5.0
LONGEST_WAIT_S = 60.0
FAREWELL_S = 1.5
EMPTY_HANDED_S = 1.0
MOST_POLLS = 20
"""In a second, of one device."""
_GONE = frozenset({"ResourceUnknownFault", "ResourceUnavailableFault", "ResourceUnknown"})
_REMEMBERED_TOPICS = 64
_OLDEST = timedelta(minutes=10)


@dataclasses.dataclass(slots=True)
class Held:
    """What outlives an adapter: the one subscription that the device has given us.

    reached: its address as we reach it. ends_s: when the device gives it up, of the monotonic
    clock. lives_s: how long it lives without a sign of life. pull_s: how long this device bears a
    poll. renewable: False once it refused to. clock_wrong: as it was told last. unknown: topics
    that were reported already.
    """

    subscription: Subscription | None = None
    reached: str = ""
    ends_s: float = 0.0
    lives_s: float = LIVES_S
    pull_s: float = PULL_S
    renewable: bool = True
    made_s: float = 0.0
    clock_wrong: bool = False
    unknown: set[str] = dataclasses.field(default_factory=set)


class PullPoint:
    """Reads the events of a device; `run` until cancelled, then `give_back`.

    device: its name in a log. device_url: how we reach it. offset_s: its clock minus ours. emit
    gets what its messages mean. answered_s: when it answered last, by `clock`, monotonic seconds;
    clock, sleep and chance are injected.
    """

    def __init__(
        self,
        client: OnvifClient,
        held: Held,
        *,
        device: str,
        device_url: str,
        where: Places,
        emit: Emit,
        offset_s: Callable[[], float] = lambda: 0.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.answered_s: float | None = None
        self._client = client
        self._held = held
        self._device = device
        self._device_url = device_url
        self._where = where
        self._emit = emit
        self._offset_s = offset_s
        self._clock, self._sleep, self._chance = clock, sleep, chance
        self._failures = 0
        self._second_s, self._polls = 0.0, 0

    async def run(self) -> None:
        """Returns when the device turns out to have no PullPoint.

        That one is full, or fails, does not take the device away: it is tried again after a while.
        Raises: AdapterError when the device itself is away, or refuses our password.
        """
        while True:
            try:
                await self._once()
            except NotSupported as error:
                if self._held.subscription is None:
                    return
                await self._failed(error)
            except AuthenticationFailed as error:
                if self._held.subscription is not None:
                    raise
                # Who we are was just accepted: this account may look, but not listen.
                log.warning("%s gives no events: %s", self._device, error.message)
                return
            except (Busy, ProtocolViolation) as error:
                await self._failed(error)
            except (TimedOut, Unreachable):
                await self._broken()

    async def give_back(self) -> None:
        """Unsubscribe, within `FAREWELL_S`: a device with two slots must not lose one by us."""
        held, subscription = self._held, self._held.subscription
        if subscription is None:
            return
        held.subscription = None
        with contextlib.suppress(AdapterError, TimeoutError):
            async with asyncio.timeout(FAREWELL_S):
                await self._client.call(events_wire.unsubscribe(subscription, held.reached))

    # --- one round ----------------------------------------------------------------------------

    async def _once(self) -> None:
        held = self._held
        subscription = held.subscription
        if subscription is None:
            subscription = await self._subscribe()
        elif self._left_s() < held.lives_s / 2:
            await self._renew(subscription)
        first = self.answered_s is None
        pull_s = 1.0 if first else self._pull_s()
        began_s = self._clock()
        pulled = await self._client.call(events_wire.pull(subscription, held.reached, pull_s))
        self._note(pulled)
        for received in pulled.notifications:
            self._report(received)
        if first and not any(each.is_state for each in pulled.notifications):
            await self._synchronize(subscription)
        await self._pace(idle=not pulled.notifications, took_s=self._clock() - began_s)

    async def _pace(self, *, idle: bool, took_s: float) -> None:
        """Some firmware answers at once instead of waiting, and some reports without end: neither
        may keep us, or the device, busy."""
        if idle and took_s < EMPTY_HANDED_S:
            await self._sleep(EMPTY_HANDED_S)
        now_s = self._clock()
        if now_s - self._second_s >= 1.0:
            self._second_s, self._polls = now_s, 0
        self._polls += 1
        if self._polls >= MOST_POLLS:
            await self._sleep(self._second_s + 1.0 - now_s)

    async def _synchronize(self, subscription: Subscription) -> None:
        """One that was taken over, or made by firmware that forgot to, does not say by itself how
        things stand."""
        with contextlib.suppress(DeviceFault, NotSupported, ProtocolViolation):
            await self._client.call(events_wire.synchronize(subscription, self._held.reached))

    async def _subscribe(self) -> Subscription:
        subscription = await self._client.call(events_wire.subscribe(LIVES_S))
        held = self._held
        held.reached = wire.reached_address(subscription.address, self._device_url)
        held.subscription = subscription
        held.lives_s = min(held.lives_s, subscription.granted_s or LIVES_S)
        held.made_s = self._clock()
        held.ends_s = held.made_s + held.lives_s
        if held.reached != subscription.address:
            log.info(
                "%s announces a PullPoint at %s: used at %s",
                self._device, subscription.address[:200], held.reached,
            )  # fmt: skip
        return subscription

    async def _renew(self, subscription: Subscription) -> None:
        """Where the device refuses, pulling alone has to keep it alive, as the standard says."""
        held = self._held
        if not held.renewable:
            return
        try:
            left_s = await self._client.call(events_wire.renew(subscription, held.reached, LIVES_S))
        except (DeviceFault, NotSupported) as error:
            if isinstance(error, DeviceFault) and _GONE.intersection(error.subcodes):
                raise
            held.renewable = False
            return
        held.ends_s = self._clock() + min(left_s or held.lives_s, held.lives_s)

    def _left_s(self) -> float:
        return self._held.ends_s - self._clock()

    def _pull_s(self) -> float:
        """Never so long that the subscription ends meanwhile."""
        held = self._held
        longest = self._left_s() / 2 if held.renewable else held.lives_s / 2
        return max(1.0, min(held.pull_s, longest))

    def _note(self, pulled: Pulled) -> None:
        self._failures = 0
        held = self._held
        self.answered_s = self._clock()
        if pulled.left_s is not None:
            held.ends_s = self.answered_s + min(pulled.left_s, held.lives_s)

    # --- when it fails ------------------------------------------------------------------------

    async def _failed(self, error: AdapterError) -> None:
        """The device is there, the subscription is not: a new one, at once where it had lived.

        Raises: AdapterError for a device that makes no sense at all.
        """
        if isinstance(error, ProtocolViolation) and not isinstance(error, DeviceFault):
            await self._client.measure_clock()  # whether it answers anything with sense
        held, subscription = self._held, self._held.subscription
        held.subscription = None
        age_s = self._clock() - held.made_s
        lived = subscription is not None and self._failures == 0
        if subscription is not None:
            if lived and self.answered_s is not None and age_s < held.lives_s:
                # It said that it lives longer: do not trust it that far again.
                held.lives_s = max(2 * SHORTEST_PULL_S, age_s / 2)
            with contextlib.suppress(DeviceFault, NotSupported, ProtocolViolation, Busy):
                await self._client.call(events_wire.unsubscribe(subscription, held.reached))
        self._failures += 1
        if self._failures == 2:
            log.warning("%s: no events for now: %s", self._device, error.message)
        if self._failures > 1 or not lived:
            await self._wait()

    async def _broken(self) -> None:
        """Some devices break a poll that lasts them too long; those that are away do not answer
        the next call either. Raises: AdapterError for them."""
        await self._client.measure_clock()
        self._failures += 1
        self._held.pull_s = max(SHORTEST_PULL_S, self._held.pull_s / 2)
        if self._failures > 1:
            await self._wait()

    async def _wait(self) -> None:
        longest_s = min(2.0**self._failures, LONGEST_WAIT_S)
        await self._sleep(longest_s * (0.5 + self._chance() / 2))

    # --- what came ----------------------------------------------------------------------------

    def _report(self, received: Received) -> None:
        notification = received.notification
        topic = known(notification.topic)
        if topic is None:
            self._unknown(received)
            return
        event = condition(notification, topic, self._where, self._at(received))
        if event is not None:
            self._emit(event)

    def _at(self, received: Received) -> datetime:
        """When it happened, by our clock: the device's own time where that can be."""
        now = datetime.now(UTC)
        if received.at is None:
            return now
        try:
            at = received.at - timedelta(seconds=self._offset_s())
        except OverflowError:
            return now
        return at if now - _OLDEST < at < now else now

    def _unknown(self, received: Received) -> None:
        topic, told = received.notification.topic, self._held.unknown
        if topic in told or len(told) >= _REMEMBERED_TOPICS:
            return
        told.add(topic)
        sample = events_wire.sample(received)
        self._emit(Unrecognised(at=datetime.now(UTC), kind=topic[:200], sample=sample))
