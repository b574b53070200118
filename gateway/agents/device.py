"""The device agent: keeps one camera or recorder under watch and speaks for its points.

Its retained state and events go to the bus; status changes go to the registry in batches.
"""

import asyncio
import dataclasses
import uuid
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from adapters import events as seam
from adapters.base import Adapter
from adapters.errors import AdapterError, Busy, NotSupported
from gateway.agents.conditions import EVENT_NAMES, Conditions
from gateway.agents.fleet import Fleet
from gateway.agents.steadiness import Steadiness
from gateway.agents.supervisor import DEVICE_ATTEMPT_LIMIT_S, Failure, Supervised
from gateway.agents.unrecognised import UnrecognisedLog
from gateway.bus.client import Bus
from gateway.bus.messages import CloudEvent, encode_event, rfc3339

STREAM_FAULT_S = 300.0
NO_SIGNAL = "its device has no video signal from it"
FLAPS = "it comes and goes: lost again and again within minutes"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BoundPoint:
    """A point that one of the device's sources is bound to. org: slug path of its owner."""

    id: str
    org: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StatusChange:
    """What the registry is told. device_id always; point_id None for the device itself."""

    device_id: str
    point_id: str | None
    status: str
    since: datetime
    reason: str
    identity: seam.Identity | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class _Seen:
    """The status of one source, and since when it is that."""

    status: str
    reason: str
    since: datetime


class DeviceAgent:
    """One device. points: by source address. report: takes status changes, returns at once.
    endpoint: its host or URL, by which the fleet knows its siblings."""

    def __init__(
        self,
        bus: Bus,
        *,
        device_id: str,
        make: Callable[[], Adapter],
        points: Mapping[str, BoundPoint],
        fleet: Fleet,
        report: Callable[[StatusChange], None],
        endpoint: str = "",
        unrecognised: Callable[[seam.Identity | None, seam.Unrecognised], None] | None = None,
    ) -> None:
        self.device_id = device_id
        self.points = points
        self._bus = bus
        self._fleet = fleet
        self._endpoint = endpoint
        self._report = report
        self._device: tuple[str, str] | None = None
        self._sources: dict[str, _Seen] = {}
        self._identity: seam.Identity | None = None
        self._refused: AdapterError | None = None
        self._unrecognised = unrecognised or UnrecognisedLog().note
        self._conditions = Conditions(asyncio.get_running_loop().time)
        self._faults: dict[str, seam.SourceStatus] = {}
        self._no_signal: set[str] = set()
        self._no_stream: dict[str, tuple[str, asyncio.TimerHandle]] = {}
        self._supervised = Supervised(
            device_id,
            make,
            budget=fleet.budget,
            on_event=self._on_event,
            on_failure=self._on_failure,
            steadiness=Steadiness(),
            on_flapping=self._on_flapping,
            attempt_limit_s=DEVICE_ATTEMPT_LIMIT_S,
        )

    @property
    def adapter(self) -> Adapter | None:
        """The adapter while the device is online."""
        return self._supervised.adapter

    @property
    def refused(self) -> AdapterError | None:
        """Why it is not tried again until something changes; None while it is, or is online."""
        return self._refused

    async def run(self) -> None:
        try:
            with self._fleet.member(self._supervised, self._endpoint):
                await self._supervised.run()
        finally:
            self._forget_streams()

    def nudge(self) -> None:
        self._supervised.nudge()

    def retire(self, kept: set[tuple[str, str]]) -> None:
        """Clear the retained state of points that are no longer ours, or not there."""
        for point in self.points.values():
            if (point.id, point.org) not in kept:
                self._bus.clear_state(self._state_topic(point))

    def rebind(self, points: Mapping[str, BoundPoint]) -> None:
        """Points moved, came or went: the new topic is set first, then the old one cleared."""
        before, self.points = self.points, points
        for address, point in points.items():
            if before.get(address) != point and self._device is not None:
                seen = self._sources.get(address) or _Seen(*self._device, datetime.now(UTC))
                self._sources[address] = seen
                self._tell(point, seen)
        kept = {(point.id, point.org) for point in points.values()}
        for point in before.values():
            if (point.id, point.org) not in kept:
                self._bus.clear_state(self._state_topic(point))

    def stream_seen(self, point_id: str, error: AdapterError | None) -> bool:
        """The stream of a point opened, or did not; whether the point is one of this device.

        While the device answers, a stream that does not open is a fault of that source, until it
        opens, or nobody has tried for `STREAM_FAULT_S`. A device with no session left has none.
        """
        address = next((a for a, point in self.points.items() if point.id == point_id), None)
        if address is None:
            return False
        if known := self._no_stream.pop(address, None):
            known[1].cancel()
        if error is not None and not isinstance(error, Busy | NotSupported):
            loop = asyncio.get_running_loop()
            over = loop.call_later(STREAM_FAULT_S, self.stream_seen, point_id, None)
            self._no_stream[address] = (f"its stream does not open: {error.message}", over)
        self._show_source(address)
        return True

    def _forget_streams(self) -> None:
        for _, over in self._no_stream.values():
            over.cancel()
        self._no_stream.clear()

    def _on_event(self, event: seam.Event) -> None:
        match event:
            case seam.Online():
                self._identity = event.identity or self._identity
                self._refused = None
                self._faults.clear()
                self._no_signal.clear()
                self._forget_streams()
                self._show_all("online", "", event.identity)
            case seam.SourceStatus():
                self._on_source_status(event)
            case seam.SourceCondition():
                self._on_condition(event)
            case seam.Unrecognised():
                self._unrecognised(self._identity, event)

    def _on_source_status(self, event: seam.SourceStatus) -> None:
        if event.status == "online":
            self._faults.pop(event.address, None)
        else:
            self._faults[event.address] = event
        self._show_source(event.address)

    def _on_condition(self, event: seam.SourceCondition) -> None:
        if isinstance(event, seam.SignalLost) and event.active is not None:
            (self._no_signal.add if event.active else self._no_signal.discard)(event.address)
            self._show_source(event.address)
        data = self._conditions.news(event)
        if data is None:
            return
        for point in self._concerned(event.address):
            self._publish(point, EVENT_NAMES[type(event)], event.at, data)

    def _concerned(self, address: str) -> list[BoundPoint]:
        """The point of a source. Of the device as a whole, one point of each organisation that
        has any there: everybody is told, and nobody sixteen times."""
        if address:
            return [self.points[address]] if address in self.points else []
        return list({point.org: point for point in reversed(tuple(self.points.values()))}.values())

    def _show_source(self, address: str) -> None:
        """What is wrong with a source counts while its device is there."""
        if self._device is None or self._device[0] != "online":
            return
        fault = self._faults.get(address)
        if fault is not None:
            self._show(address, fault.status, fault.reason)
        elif address in self._no_signal:
            self._show(address, "fault", NO_SIGNAL)
        elif address in self._no_stream:
            self._show(address, "fault", self._no_stream[address][0])
        else:
            self._show(address, "online", "")

    def _on_failure(self, failure: Failure) -> None:
        """Who sees a point may read why it is away, but not where its device is."""
        self._refused = None if failure.error.retryable else failure.error
        if failure.flapping and failure.error.retryable:
            self._show_all("fault", FLAPS, None, device_reason=f"{FLAPS}; {failure.error}")
            return
        status = "offline" if failure.error.retryable else "fault"
        self._show_all(status, failure.error.message, None, device_reason=str(failure.error))

    def _on_flapping(self, begins: bool) -> None:
        """One event for each point when it begins, and one when it is over."""
        data = {"kind": "flapping", "active": begins, "reason": FLAPS if begins else ""}
        for point in self.points.values():
            self._publish(point, "point.alarm", datetime.now(UTC), data)

    def _show_all(
        self, status: str, reason: str, identity: seam.Identity | None, device_reason: str = ""
    ) -> None:
        if self._device != (status, reason) or identity is not None:
            now = datetime.now(UTC)
            self._device = (status, reason)
            self._report(
                StatusChange(
                    device_id=self.device_id,
                    point_id=None,
                    status=status,
                    since=now,
                    reason=device_reason or reason,
                    identity=identity,
                )
            )
        for address in self._sources.keys() | self.points.keys():
            if status == "online":
                self._show_source(address)
            else:
                self._show(address, status, reason)

    def _show(self, address: str, status: str, reason: str) -> None:
        """A source that no point is bound to yet is remembered, for when one is."""
        known = self._sources.get(address)
        if known is not None and (known.status, known.reason) == (status, reason):
            return
        same = known is not None and known.status == status
        seen = _Seen(status, reason, known.since if known and same else datetime.now(UTC))
        self._sources[address] = seen
        if (point := self.points.get(address)) is not None:
            self._tell(point, seen)

    def _tell(self, point: BoundPoint, seen: _Seen) -> None:
        self._bus.set_state(
            self._state_topic(point),
            {
                "node": self._bus.node,
                "epoch": self._bus.epoch,
                "sequence": self._bus.next_sequence(self.device_id),
                "status": seen.status,
                "since": rfc3339(seen.since),
                "reason": seen.reason,
            },
        )
        self._report(
            StatusChange(
                device_id=self.device_id,
                point_id=point.id,
                status=seen.status,
                since=seen.since,
                reason=seen.reason,
            )
        )

    def announce(self, point_id: str, name: str, data: Mapping[str, Any]) -> None:
        """Publish an event of one of its points that the gateway itself found; nothing where the
        point is not one of its own any more."""
        for point in self.points.values():
            if point.id == point_id:
                self._publish(point, name, datetime.now(UTC), data)

    def _publish(self, point: BoundPoint, name: str, at: datetime, data: Mapping[str, Any]) -> None:
        cloud = CloudEvent(
            id=uuid.uuid4().hex,
            source=f"hutong/{self._bus.node}/{self.device_id}",
            type=name,
            subject=point.id,
            time=rfc3339(at),
            epoch=self._bus.epoch,
            sequence=self._bus.next_sequence(self.device_id),
            uptime_ms=self._bus.uptime_ms(),
            data=data,
        )
        topic = self._bus.topics.org("points", "event", point.org, point.id)
        self._bus.publish(topic, encode_event(cloud))

    def _state_topic(self, point: BoundPoint) -> str:
        return self._bus.topics.org("points", "state", point.org, point.id)


class StatusWriter:
    """Collects status changes and hands them on in batches; keeps the latest for each subject
    while the registry is away."""

    def __init__(self, every_s: float = 0.3, retry_s: float = 2.0) -> None:
        self._every_s = every_s
        self._retry_s = retry_s
        self._waiting: dict[tuple[str, str | None], StatusChange] = {}
        self._some = asyncio.Event()

    def report(self, change: StatusChange) -> None:
        self._put(change)
        self._some.set()

    def _put(self, change: StatusChange) -> None:
        """The latest counts, but who the device is was said only once."""
        key = (change.device_id, change.point_id)
        before = self._waiting.get(key)
        if before is not None and change.identity is None:
            change = dataclasses.replace(change, identity=before.identity)
        self._waiting[key] = change

    async def batches(self, store: Callable[[list[StatusChange]], Awaitable[bool]]) -> None:
        """Call `await store(batch)` for ever; a batch that it does not take (False) is put back,
        and what came meanwhile over it."""
        while True:
            await self._some.wait()
            await asyncio.sleep(self._every_s)
            self._some.clear()
            batch, self._waiting = self._waiting, {}
            if not await store(list(batch.values())):
                newer, self._waiting = self._waiting, batch
                for change in newer.values():
                    self._put(change)
                self._some.set()
                await asyncio.sleep(self._retry_s)
