"""What happens at a simulated camera, and the PullPoints that wait for it."""

import asyncio
import dataclasses
import enum
import secrets
from collections import deque
from collections.abc import Callable
from types import MappingProxyType
from typing import Final

MAX_QUEUED: Final = 200
PULL_LIMIT_S: Final = 60.0
LIFETIME_S: Final = 60.0


class EventKind(enum.StrEnum):
    """What a camera reports about a video source, an input or a disk; each is on or off."""

    MOTION = "motion"
    CELL_MOTION = "cell_motion"
    TAMPER = "tamper"
    SIGNAL_LOST = "signal_lost"
    DIGITAL_INPUT = "digital_input"
    STORAGE = "storage"

    @property
    def form(self) -> "EventForm":
        return _FORMS[self]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class EventForm:
    """How a kind stands in a message. topic: without prefix. sources: items by name, ``{n}`` is
    the number of the source. state: the item of its data."""

    topic: str
    sources: tuple[tuple[str, str], ...] = (("Source", "source_{n}"),)
    state: str = "State"


_FORMS: Final = MappingProxyType(
    {
        EventKind.MOTION: EventForm(topic="VideoSource/MotionAlarm"),
        EventKind.CELL_MOTION: EventForm(
            topic="RuleEngine/CellMotionDetector/Motion",
            sources=(
                ("VideoSourceConfigurationToken", "source_config_{n}"),
                ("VideoAnalyticsConfigurationToken", "analytics_{n}"),
                ("Rule", "motion_{n}"),
            ),
            state="IsMotion",
        ),
        EventKind.TAMPER: EventForm(topic="VideoSource/GlobalSceneChange/ImagingService"),
        EventKind.SIGNAL_LOST: EventForm(topic="VideoSource/SignalLoss"),
        EventKind.DIGITAL_INPUT: EventForm(
            topic="Device/Trigger/DigitalInput",
            sources=(("InputToken", "input_{n}"),),
            state="LogicalState",
        ),
        EventKind.STORAGE: EventForm(
            topic="Device/HardwareFailure/StorageFailure",
            sources=(("Token", "disk_{n}"),),
            state="Failed",
        ),
    }
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CameraEvent:
    """time_s: the device's clock, since 1970. operation: Initialized or Changed. kind: a bare text
    is a topic of its own that nobody knows."""

    kind: EventKind | str
    source: int
    active: bool
    time_s: float
    operation: str


class Subscription:
    """A PullPoint. lifetime_s: how long it lives after each sign of life. kept_alive: a pull is
    one. gone_after_s: it is gone then, whatever it says."""

    def __init__(
        self,
        lifetime_s: float,
        clock: Callable[[], float],
        *,
        kept_alive: bool = True,
        gone_after_s: float = 0.0,
    ) -> None:
        self.id = secrets.token_hex(6)
        self.kept_alive = kept_alive
        self.gone_s = clock() + gone_after_s if gone_after_s else float("inf")
        self.lifetime_s = lifetime_s
        self.dropped = 0
        self.pulling = False
        self._clock = clock
        self._queue: deque[CameraEvent] = deque()
        self._arrived = asyncio.Event()
        self.ends_s = clock() + lifetime_s

    def now_s(self) -> float:
        return self._clock()

    def renew(self, lifetime_s: float) -> None:
        self.ends_s = self._clock() + lifetime_s

    def put(self, event: CameraEvent) -> None:
        if len(self._queue) >= MAX_QUEUED:
            self._queue.popleft()
            self.dropped += 1
        self._queue.append(event)
        self._arrived.set()

    async def pull(self, limit: int, timeout_s: float) -> list[CameraEvent]:
        """Up to `limit` events; waits for the first, at most timeout_s. Keeps itself alive."""
        self.pulling = True
        if self.kept_alive:
            self.ends_s = max(self.ends_s, self._clock() + timeout_s + self.lifetime_s)
        try:
            async with asyncio.timeout(max(0.0, min(timeout_s, self.gone_s - self._clock()))):
                await self._arrived.wait()
        except TimeoutError:
            return []
        finally:
            self.pulling = False
        events = [self._queue.popleft() for _ in range(min(limit, len(self._queue)))]
        if not self._queue:
            self._arrived.clear()
        return events


class EventSource:
    """The states of one device and its subscriptions. clock: monotonic seconds. created: how many
    subscriptions there ever were; most_alive: at the same time."""

    def __init__(self, sources: int, clock: Callable[[], float]) -> None:
        self.created = 0
        self.most_alive = 0
        self._clock = clock
        self._subscriptions: dict[str, Subscription] = {}
        self._states = {
            (kind, source): False for source in range(1, sources + 1) for kind in EventKind
        }

    @property
    def alive(self) -> list[Subscription]:
        """The subscriptions that have not run out."""
        now_s = self._clock()
        for subscription in tuple(self._subscriptions.values()):
            over = subscription.ends_s <= now_s and not subscription.pulling
            if over or subscription.gone_s <= now_s:
                del self._subscriptions[subscription.id]
        return list(self._subscriptions.values())

    def subscribe(
        self,
        lifetime_s: float,
        time_s: float,
        *,
        kept_alive: bool = True,
        gone_after_s: float = 0.0,
    ) -> Subscription:
        """A new subscription, which begins with the present states."""
        subscription = Subscription(
            lifetime_s, self._clock, kept_alive=kept_alive, gone_after_s=gone_after_s
        )
        self.created += 1
        self.most_alive = max(self.most_alive, len(self.alive) + 1)
        self.repeat_states(subscription, time_s)
        self._subscriptions[subscription.id] = subscription
        return subscription

    def repeat_states(self, subscription: Subscription, time_s: float) -> None:
        """Tell a subscription every present state."""
        for (kind, source), active in self._states.items():
            event = CameraEvent(
                kind=kind, source=source, active=active, time_s=time_s, operation="Initialized"
            )
            subscription.put(event)

    def find(self, subscription_id: str) -> Subscription | None:
        return next((s for s in self.alive if s.id == subscription_id), None)

    def unsubscribe(self, subscription: Subscription) -> None:
        self._subscriptions.pop(subscription.id, None)

    def clear(self) -> None:
        """Forget every subscription, as a device that loses power does."""
        self._subscriptions.clear()

    def change(self, kind: EventKind, source: int, active: bool, time_s: float) -> None:
        """Set a state and tell every subscription. Raises: KeyError for an unknown source."""
        if (kind, source) not in self._states:
            raise KeyError(source)
        self._states[kind, source] = active
        self._tell(
            CameraEvent(kind=kind, source=source, active=active, time_s=time_s, operation="Changed")
        )

    def say(self, topic: str, source: int, active: bool, time_s: float) -> None:
        """Tell every subscription of a topic of its own, which has no state."""
        self._tell(
            CameraEvent(kind=topic, source=source, active=active, time_s=time_s, operation="")
        )

    def _tell(self, event: CameraEvent) -> None:
        for subscription in self.alive:
            subscription.put(event)
