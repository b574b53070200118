"""Who talks: reports of a host in, floor events out. Pure; the clock is passed in.

An end names neither the unit nor the side that it is of, so it is paired by mode and slot; where
a radio and the network are both heard there, by what it measured: only the network loses packets,
only a radio has a signal.
"""

import dataclasses
import itertools
from datetime import datetime

from adapters.events import (
    ChannelHealth,
    ChannelMeasured,
    EmergencyRaised,
    Event,
    FloorIdle,
    FloorRefreshed,
    FloorTaken,
    Malformed,
    PrivateTalk,
    TalkRefused,
)
from adapters.mmdvm.wire import (
    VOICE_MODES,
    Action,
    Alias,
    FmState,
    HostState,
    Level,
    Message,
    Report,
    Side,
)

REFRESH_S, EARLY_S = 1.0, 0.1
MEASURE_S = 5.0
BAD_BIT_ERROR_PERCENT = 5.0
EMERGENCY_CSBK = "Call Emergency"
_MODES = VOICE_MODES | {"FM"}
_REASONS = {Action.END: "released", Action.LOST: "lost", Action.TIMEOUT: "timeout"}
_FM_TALKING = frozenset({"kerchunk_rf", "relaying_rf"})
_FM_CUT = "timeout_rf"
_AILING = {"error": "its modem has failed", "lockout": "it is locked out"}

Key = tuple[str, int]
"""(mode, slot)"""


@dataclasses.dataclass(slots=True, kw_only=True)
class _Talk:
    """began_at: by the host's clock, which is clock_offset_s ahead of ours."""

    address: str
    stream: str
    unit: str
    alias: str
    late_entry: bool
    began_at: datetime | None
    heard_s: float
    refreshed_s: float
    measured_s: float
    clock_offset_s: float | None = None
    rssi_dbm: float | None = None
    bit_error_percent: float | None = None


@dataclasses.dataclass(slots=True, kw_only=True)
class _Place:
    """One mode and slot. private, data, network: what is open there that is no talk of ours.
    cut: a talk that was too long goes on, and its end is still to come. known: something has been
    heard there since we came, so that an end without a start means that one was lost. ended_at:
    when the last end was written, by the host's clock."""

    talk: _Talk | None = None
    private: Report | None = None
    data: bool = False
    network: bool = False
    cut: bool = False
    known: bool = False
    ended_at: datetime | None = None


class Talks:
    """The talks of a host. hold_s: one that is not heard of so long is lost. tag: makes streams
    differ from those of an earlier connection. orphans: ends whose start never came.
    """

    def __init__(self, *, hold_s: float, tag: str) -> None:
        self.orphans = 0
        self._hold_s = hold_s
        self._tag = tag
        self._numbers = itertools.count(1)
        self._places: dict[Key, _Place] = {}
        self._bad: set[str] = set()

    def take(self, message: Message, now_s: float, at: datetime) -> list[Event]:
        """What follows from a message."""
        if message.mode not in _MODES:
            return []
        place = self._places.setdefault((message.mode, message.slot), _Place())
        match message:
            case Report():
                return self._reported(place, message, now_s, at)
            case Level():
                return self._level(place, message, now_s, at)
            case Alias():
                return self._alias(place, message, now_s, at)
            case FmState():
                return self._fm(place, message, now_s, at)
        return []

    def expire(self, now_s: float, at: datetime) -> list[Event]:
        """Report as lost what was not heard of for `hold_s`."""
        events: list[Event] = []
        for place in self._places.values():
            if place.talk is not None and place.talk.heard_s + self._hold_s <= now_s:
                place.cut = True  # its end, if it comes yet, is of no orphan
                events += self._end(place, "lost", at)
        return events

    def next_expiry_s(self) -> float | None:
        """When `expire` may have something to do; None while nobody talks."""
        heard = [p.talk.heard_s for p in self._places.values() if p.talk is not None]
        return min(heard) + self._hold_s if heard else None

    # --- digital modes --------------------------------------------------------------------------

    def _reported(self, place: _Place, report: Report, now_s: float, at: datetime) -> list[Event]:
        known, place.known = place.known, True
        match report.action:
            case Action.START | Action.LATE_ENTRY:
                return self._started(place, report, now_s, at)
            case Action.END | Action.LOST | Action.TIMEOUT:
                return self._ended(place, report, at, expected=known)
            case Action.REJECTED if report.side is not Side.NETWORK:
                reason = "refused by the repeater's own lists"
                return [
                    TalkRefused(at=at, unit=report.unit, address=_address(report), reason=reason)
                ]
            case Action.CSBK if report.side is Side.RF and report.description == EMERGENCY_CSBK:
                return [
                    EmergencyRaised(
                        at=at,
                        address=_address(report),
                        unit=report.unit,
                        unit_alias=_alias_of(report),
                    )
                ]
        return []

    def _started(self, place: _Place, report: Report, now_s: float, at: datetime) -> list[Event]:
        if report.side is Side.NETWORK:
            place.network = True
            return []
        if report.is_data:
            place.data = True
            return []
        talk = place.talk
        if talk is not None and talk.began_at is not None and talk.began_at == report.at:
            return []  # told twice
        events = self._end(place, "lost", at) + self._end_private(place, at)
        place.cut = place.data = False
        if not report.group:
            place.private = report
            return [*events, _private(report, at, active=True)]
        return [*events, self._begin(place, _address(report), report, now_s, at)]

    def _ended(self, place: _Place, report: Report, at: datetime, *, expected: bool) -> list[Event]:
        if report.at is not None and report.at == place.ended_at:
            return []  # told twice
        place.ended_at = report.at
        side = self._side_of(place, report)
        if side is Side.NETWORK and place.network:
            place.network = False
            return []
        if place.talk is not None:
            place.cut = report.action is Action.TIMEOUT
            _measure(place.talk, report, at)
            return self._end(place, _REASONS[report.action], at)
        if place.private is not None:
            return self._end_private(place, at)
        if place.data or place.cut:
            place.data = place.cut = False
            return []
        if not expected or (side is None and place.network):
            place.network = False
            return []
        self.orphans += 1
        where = f"{report.mode} slot {report.slot}" if report.slot else report.mode
        return [Malformed(at=at, reason=f"the end of a talk that never began ({where})")]

    @staticmethod
    def _side_of(place: _Place, report: Report) -> Side | None:
        """Which side an end is of; None when it cannot be told."""
        if report.side is not None:
            return report.side
        if report.loss_percent is not None:
            return Side.NETWORK
        if report.rssi_dbm is not None or report.bit_error_percent is not None:
            return Side.RF
        from_radio = place.talk is not None or place.private is not None or place.data
        if report.duration_s is not None:  # NXDN measures nothing of its network
            return Side.NETWORK if place.network else Side.RF
        return Side.RF if from_radio else Side.NETWORK if place.network else None

    def _level(self, place: _Place, level: Level, now_s: float, at: datetime) -> list[Event]:
        """About once a second while a radio is heard: the talk goes on."""
        talk = place.talk
        if talk is None:
            return []
        talk.heard_s = now_s
        if level.rssi_dbm is not None:
            talk.rssi_dbm = level.rssi_dbm
        if level.bit_error_percent is not None:
            talk.bit_error_percent = level.bit_error_percent
        events = self._refresh(talk, now_s, at)
        if now_s >= talk.measured_s + MEASURE_S:
            talk.measured_s = now_s
            events.append(_measured(talk, at))
        return events

    def _alias(self, place: _Place, alias: Alias, now_s: float, at: datetime) -> list[Event]:
        """It comes in pieces, each longer than the one before. With nobody on the air it is the
        network's."""
        talk = place.talk
        if talk is None or not alias.text or alias.text == talk.alias:
            return []
        talk.alias, talk.heard_s, talk.refreshed_s = alias.text, now_s, now_s
        return [self._report(FloorRefreshed, talk, at)]

    # --- analogue -------------------------------------------------------------------------------

    def _fm(self, place: _Place, fm: FmState, now_s: float, at: datetime) -> list[Event]:
        if fm.state in _FM_TALKING:
            if place.talk is not None:
                place.talk.heard_s = now_s
                return self._refresh(place.talk, now_s, at)
            return [self._begin(place, "FM", None, now_s, at)]
        return self._end(place, "timeout" if fm.state == _FM_CUT else "released", at)

    # --- talks ----------------------------------------------------------------------------------

    def _begin(
        self, place: _Place, address: str, report: Report | None, now_s: float, at: datetime
    ) -> Event:
        talk = place.talk = _Talk(
            address=address,
            stream=f"{self._tag}{next(self._numbers)}",
            unit=report.unit if report else "",
            alias=_alias_of(report) if report else "",
            late_entry=report is not None and report.action is Action.LATE_ENTRY,
            began_at=report.at if report else None,
            clock_offset_s=_offset_s(report.at, at) if report else None,
            heard_s=now_s,
            refreshed_s=now_s,
            measured_s=now_s,
        )
        return self._report(FloorTaken, talk, at)

    def _refresh(self, talk: _Talk, now_s: float, at: datetime) -> list[Event]:
        if now_s < talk.refreshed_s + REFRESH_S - EARLY_S:
            return []
        talk.refreshed_s = max(talk.refreshed_s + REFRESH_S, now_s)
        return [self._report(FloorRefreshed, talk, at)]

    def _end(self, place: _Place, reason: str, at: datetime) -> list[Event]:
        talk, place.talk = place.talk, None
        if talk is None:
            return []
        idle = FloorIdle(at=at, address=talk.address, stream=talk.stream, reason=reason)
        known = (talk.rssi_dbm, talk.bit_error_percent, talk.clock_offset_s)
        if all(value is None for value in known):
            return [idle]
        return [idle, _measured(talk, at), *self._judge(talk, at)]

    def _judge(self, talk: _Talk, at: datetime) -> list[Event]:
        """A channel whose last talk was received badly is degraded, until one is received well."""
        errors = talk.bit_error_percent
        if errors is None or (errors > BAD_BIT_ERROR_PERCENT) == (talk.address in self._bad):
            return []
        if errors > BAD_BIT_ERROR_PERCENT:
            self._bad.add(talk.address)
            reason = f"the last talk was received with {errors:.1f} % bit errors"
            return [ChannelHealth(at=at, address=talk.address, health="degraded", reason=reason)]
        self._bad.discard(talk.address)
        return [ChannelHealth(at=at, address=talk.address, health="ok")]

    @staticmethod
    def _end_private(place: _Place, at: datetime) -> list[Event]:
        private, place.private = place.private, None
        return [] if private is None else [_private(private, at, active=False)]

    def _report(self, kind: type[FloorTaken], talk: _Talk, at: datetime) -> FloorTaken:
        return kind(
            at=at,
            address=talk.address,
            stream=talk.stream,
            talker=talk.unit,
            talker_alias=talk.alias,
            late_entry=talk.late_entry,
            hold_s=self._hold_s,
        )


def ailing(state: HostState) -> str | None:
    """What is wrong with the host; empty when nothing is, None when it does not say."""
    return _AILING.get(state.mode, "") if state.mode else None


def _address(report: Report) -> str:
    """``DMR/2/9``, ``P25/10200``, ``D-Star/CQCQCQ``: mode, slot where there is one, group."""
    slot = (str(report.slot),) if report.slot else ()
    return "/".join((report.mode, *slot, report.destination))


def _alias_of(report: Report) -> str:
    """What the host found for the id; where it found nothing it writes the id again."""
    return report.info if report.info != report.unit else ""


def _private(report: Report, at: datetime, *, active: bool) -> PrivateTalk:
    return PrivateTalk(
        at=at,
        unit=report.unit,
        unit_alias=_alias_of(report),
        to=report.destination,
        active=active,
    )


def _offset_s(said: datetime | None, at: datetime) -> float | None:
    return round((said - at).total_seconds(), 1) if said is not None else None


def _measure(talk: _Talk, report: Report, at: datetime) -> None:
    """Its end knows the whole of a talk; the levels in it knew a second each."""
    if report.at is not None:
        talk.clock_offset_s = _offset_s(report.at, at)
    if report.rssi_dbm is not None:
        talk.rssi_dbm = report.rssi_dbm
    if report.bit_error_percent is not None:
        talk.bit_error_percent = report.bit_error_percent


def _measured(talk: _Talk, at: datetime) -> ChannelMeasured:
    return ChannelMeasured(
        at=at,
        address=talk.address,
        rssi_dbm=talk.rssi_dbm,
        bit_error_percent=talk.bit_error_percent,
        clock_offset_s=talk.clock_offset_s,
    )
