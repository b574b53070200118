"""The streams that others send: messages in, floor events out. Pure; the clock is passed in."""

import dataclasses
from collections import OrderedDict
from collections.abc import Iterable
from datetime import datetime

from adapters.events import Event, FloorIdle, FloorRefreshed, FloorTaken

REFRESH_S = 1.0
STREAMS = 256


@dataclasses.dataclass(slots=True, kw_only=True)
class _Stream:
    """told: its beginning was reported and its end was not."""

    stream_id: int
    address: str
    sender: str
    caused_by: str | None
    heard_s: float
    refreshed_s: float
    told: bool = True
    late_entry: bool = False


class IncomingStreams:
    """The streams on all channels of a connection. hold_s: one without packets so long is lost.

    A lost stream is remembered until its stop: when packets come again it is a late entry.
    """

    def __init__(self, hold_s: float) -> None:
        self._hold_s = hold_s
        self._streams: OrderedDict[int, _Stream] = OrderedDict()
        self.unknown_packets = 0

    def started(
        self,
        *,
        stream_id: int,
        address: str,
        sender: str,
        caused_by: str | None,
        now_s: float,
        at: datetime,
    ) -> list[Event]:
        """caused_by: our transmission, when the sender is our own account."""
        events = self.stopped(stream_id, "lost", at)  # an id that is used again has ended before
        stream = _Stream(
            stream_id=stream_id,
            address=address,
            sender=sender,
            caused_by=caused_by,
            heard_s=now_s,
            refreshed_s=now_s,
        )
        self._streams[stream_id] = stream
        if len(self._streams) > STREAMS:
            oldest = next(iter(self._streams))
            events += self.stopped(oldest, "lost", at)
        return [*events, self._floor(FloorTaken, stream, at)]

    def packet(self, stream_id: int, now_s: float, at: datetime) -> list[Event]:
        stream = self._streams.get(stream_id)
        if stream is None:
            self.unknown_packets += 1
            return []
        stream.heard_s = now_s
        if not stream.told:
            stream.told = stream.late_entry = True
            stream.refreshed_s = now_s
            return [self._floor(FloorTaken, stream, at)]
        if now_s - stream.refreshed_s < REFRESH_S:
            return []
        stream.refreshed_s = now_s
        return [self._floor(FloorRefreshed, stream, at)]

    def stopped(self, stream_id: int, reason: str, at: datetime) -> list[Event]:
        """The stream is over. reason: ``released`` or ``lost``."""
        stream = self._streams.pop(stream_id, None)
        return [_idle(stream, reason, at)] if stream is not None and stream.told else []

    def channel_lost(self, address: str, at: datetime) -> list[Event]:
        gone = [each.stream_id for each in self._streams.values() if each.address == address]
        return self._lost(gone, at)

    def all_lost(self, at: datetime) -> list[Event]:
        return self._lost(list(self._streams), at)

    def expire(self, now_s: float, at: datetime) -> list[Event]:
        """Report as lost what has had no packets for `hold_s`."""
        events: list[Event] = []
        for stream in self._streams.values():
            if stream.told and stream.heard_s + self._hold_s <= now_s:
                stream.told = False
                events.append(_idle(stream, "lost", at))
        return events

    def next_expiry_s(self) -> float | None:
        """When `expire` may have something to do; None while nobody talks."""
        heard = [stream.heard_s for stream in self._streams.values() if stream.told]
        return min(heard) + self._hold_s if heard else None

    def _lost(self, stream_ids: Iterable[int], at: datetime) -> list[Event]:
        return [event for each in stream_ids for event in self.stopped(each, "lost", at)]

    def _floor(self, kind: type[FloorTaken], stream: _Stream, at: datetime) -> FloorTaken:
        return kind(
            at=at,
            address=stream.address,
            stream=str(stream.stream_id),
            talker=stream.sender,
            late_entry=stream.late_entry,
            hold_s=self._hold_s,
            caused_by=stream.caused_by,
        )


def _idle(stream: _Stream, reason: str, at: datetime) -> FloorIdle:
    return FloorIdle(
        at=at,
        address=stream.address,
        stream=str(stream.stream_id),
        reason=reason,
        caused_by=stream.caused_by,
    )
