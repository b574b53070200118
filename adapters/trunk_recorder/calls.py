"""Who talks: calls of a feed in, floor events out. Pure; the clock is passed in.

A call of trunk-recorder outlives what a person means by a talk: it stays for seconds, and the
next who talks is often put into it. So a talk here is one unit on one talkgroup: from its grant
until the next unit's, until the recorder falls idle, until the call leaves the list of active
ones, or until its `end`, whichever comes first. Several sites, or several recorders, that hear it
are legs of one talk.
"""

import dataclasses
import itertools
from collections import OrderedDict
from collections.abc import Iterable
from datetime import datetime

from adapters.events import (
    EMERGENCY_PRIORITY,
    ChannelMeasured,
    Event,
    FloorIdle,
    FloorRefreshed,
    FloorTaken,
)
from adapters.trunk_recorder import wire
from adapters.trunk_recorder.identity import Identities, Site
from adapters.trunk_recorder.notices import Emergencies, LegKey, Patches
from adapters.trunk_recorder.wire import CallState

REFRESH_S, EARLY_S = 1.0, 0.1
"""The list of active calls comes each second, a little early or late."""
STALE_LISTS = 5
"""Lists in a row that may seem older than the one before, until the clock must have been set."""
GRANT_S = 2.0
"""Between a grant and the first voice that the recorder hears."""
SITE_LAG_S = 2.0
"""How late another site may still tell of the talker before."""
START_TOLERANCE_S = 10
"""By how much the start of one call may differ from message to message."""
MOST_LEGS = 4096
MOST_INSTANCES = 64
MOST_CONCLUDED = 1024

_TALKING = frozenset({CallState.RECORDING, CallState.ACTIVE})
_FOLLOWED = frozenset({CallState.MONITORING, CallState.RECORDING, CallState.ACTIVE})


@dataclasses.dataclass(slots=True, kw_only=True)
class _Leg:
    """A call as one site has it. granted_ts_s: by the recorder's clock. informed: its recorder
    tells whether somebody talks; None until it was listed. voiced: it did since the grant."""

    site: Site
    unit: int
    start_time_s: int
    heard_s: float
    granted_s: float
    granted_ts_s: int
    informed: bool | None = None
    voiced: bool = False
    active: bool = True


@dataclasses.dataclass(slots=True, kw_only=True)
class _Talk:
    """also: the patched channels on which it was reported too. site: who told of the talker."""

    stream: str
    site: Site
    unit: int
    alias: str
    encrypted: bool
    emergency: bool
    late_entry: bool
    previous: int
    since_s: float
    heard_s: float
    refreshed_s: float
    also: list[str]


@dataclasses.dataclass(slots=True, kw_only=True)
class _Channel:
    """system: the name of the radio system, which units belong to."""

    address: str
    system: str
    legs: dict[LegKey, _Leg] = dataclasses.field(default_factory=dict)
    talk: _Talk | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class _Moment:
    """When a document came. ts_s: by the clock of who sent it."""

    now_s: float
    at: datetime
    ts_s: int


class Calls:
    """The talks of a feed. hold_s: one that is not heard of so long is lost. tag: makes streams
    differ from those of an earlier connection.

    late: messages about calls that were over, counted and not believed.
    """

    def __init__(self, identities: Identities, *, hold_s: float, tag: str) -> None:
        self.late = 0
        self._identities = identities
        self._hold_s = hold_s
        self._tag = tag
        self._numbers = itertools.count(1)
        self._channels: dict[str, _Channel] = {}
        self._of_leg: OrderedDict[LegKey, _Channel] = OrderedDict()
        self._concluded: OrderedDict[LegKey, int] = OrderedDict()
        self._also: dict[str, _Channel] = {}
        self._lists: OrderedDict[str, tuple[int, int]] = OrderedDict()
        self._emergencies = Emergencies()
        self._patches = Patches()

    # --- what is heard --------------------------------------------------------------------------

    def granted(self, document: wire.Granted, now_s: float, at: datetime) -> list[Event]:
        """Somebody was given the channel. Repeated for the same unit it changes nothing."""
        call, moment = document.call, _Moment(now_s, at, document.timestamp_s)
        key = _key(document.instance_id, call)
        over_s = self._concluded.get(key)
        if over_s is not None and abs(call.start_time_s - over_s) <= START_TOLERANCE_S:
            self.late += 1
            return []
        known = self._of_leg.get(key)
        if known is not None and 0 < moment.ts_s < known.legs[key].granted_ts_s:
            self.late += 1
            return []
        channel = self._channel_of(document.instance_id, call, now_s)
        if channel is None:
            return []
        leg, is_new, changed = self._leg(channel, key, call, moment)
        events = self._patches.note(channel.address, channel.system, call, at)
        if is_new or changed:
            leg.active, leg.voiced, leg.informed = True, False, None
            leg.granted_s, leg.granted_ts_s = now_s, moment.ts_s
            events += self._talker(channel, leg, call, moment, late_entry=False)
        return events + self._details(channel, key, call, moment)

    def active(self, document: wire.CallsActive, now_s: float, at: datetime) -> list[Event]:
        """All calls of an instance: what is listed goes on as its state says, the rest is over."""
        moment = _Moment(now_s, at, document.timestamp_s)
        if self._is_stale(document):
            return []
        events: list[Event] = []
        listed: set[LegKey] = set()
        touched: dict[str, _Channel] = {}
        for call in document.calls:
            key = _key(document.instance_id, call)
            channel = self._channel_of(document.instance_id, call, now_s)
            if channel is None or key in listed:
                continue
            listed.add(key)
            touched[channel.address] = channel
            events += self._patches.note(channel.address, channel.system, call, at)
            events += self._listed(channel, key, call, moment)
        for key, leg in self._missing(document, listed):
            channel = self._of_leg[key]
            self._conclude(channel, key, leg.start_time_s)
            touched[channel.address] = channel
        for channel in touched.values():
            events += self._settle(channel, moment)
            if channel.talk is not None and channel.talk.heard_s == now_s:
                events += self._refresh(channel, moment)
        return events

    def _is_stale(self, document: wire.CallsActive) -> bool:
        """Held up on its way, or told twice: what came after it is truer."""
        newest_s, in_a_row = self._lists.get(document.instance_id, (0, 0))
        if 0 < document.timestamp_s < newest_s and in_a_row < STALE_LISTS:
            self._lists[document.instance_id] = (newest_s, in_a_row + 1)
            self.late += 1
            return True
        if 0 < document.timestamp_s < newest_s:
            self._set_back(document.instance_id, document.timestamp_s)
        self._lists[document.instance_id] = (document.timestamp_s, 0)
        if len(self._lists) > MOST_INSTANCES:
            self._lists.popitem(last=False)
        return False

    def _set_back(self, instance_id: str, ts_s: int) -> None:
        for key, channel in self._of_leg.items():
            if key[0] == instance_id:
                leg = channel.legs[key]
                leg.granted_ts_s = min(leg.granted_ts_s, ts_s)

    def transmitted(self, document: wire.Transmitted, now_s: float, at: datetime) -> list[Event]:
        """A unit's `end`: its call is over, if nothing has said so before."""
        call = document.call
        key = _key(document.instance_id, call)
        if key in self._concluded:
            return []
        channel = self._of_leg.get(key)
        if channel is None:
            key, channel = self._nearest(key, call)
        if channel is None:
            return []
        leg = channel.legs[key]
        if call.start_time_s and call.start_time_s < leg.start_time_s - START_TOLERANCE_S:
            self.late += 1  # of a call with the same number, before the recorder started anew
            return []
        self._conclude(channel, key, leg.start_time_s)
        return self._settle(channel, _Moment(now_s, at, document.timestamp_s))

    def concluded(
        self, document: wire.Concluded, now_s: float, at: datetime, wall_s: float
    ) -> list[Event]:
        """`call_end` comes seconds late and ends nothing; it tells how late, and how it was heard.

        wall_s: our own clock, seconds since 1970.
        """
        call = document.call
        name = self._identities.name((document.instance_id, call.sys_name), now_s)
        if name is None:
            return []
        sent_s = document.timestamp_s
        lag_s = sent_s - call.stop_time_s if sent_s and call.stop_time_s else None
        return [
            ChannelMeasured(
                at=at,
                address=f"{name}/{call.talkgroup}",
                lag_s=float(lag_s) if lag_s is not None and 0 <= lag_s < 3600 else None,
                rssi_dbm=document.signal_dbm,
                noise_dbm=document.noise_dbm,
                clock_offset_s=round(sent_s - wall_s, 1) if sent_s else None,
            )
        ]

    # --- time, and what is gone -----------------------------------------------------------------

    def expire(self, now_s: float, at: datetime) -> list[Event]:
        """Report as lost what was not heard of for `hold_s`."""
        events: list[Event] = []
        for channel in list(self._channels.values()):
            if channel.talk is not None and channel.talk.heard_s + self._hold_s <= now_s:
                self._drop_legs(channel, list(channel.legs))
                events += self._end(channel, "lost", at)
                self._tidy(channel)
        return events

    def next_expiry_s(self) -> float | None:
        """When `expire` may have something to do; None while nobody talks."""
        heard = [c.talk.heard_s for c in self._channels.values() if c.talk is not None]
        return min(heard) + self._hold_s if heard else None

    def instance_lost(self, instance_id: str, at: datetime) -> list[Event]:
        """A recorder is silent: what it alone told of is over."""
        events: list[Event] = []
        for channel in list(self._channels.values()):
            self._drop_legs(channel, [key for key in channel.legs if key[0] == instance_id])
            if channel.talk is not None and not channel.legs:
                events += self._end(channel, "lost", at)
            self._tidy(channel)
        return events

    # --- legs -----------------------------------------------------------------------------------

    def _channel_of(self, instance_id: str, call: wire.Call, now_s: float) -> _Channel | None:
        name = self._identities.name((instance_id, call.sys_name), now_s)
        if name is None:
            return None
        address = f"{name}/{call.talkgroup}"
        return self._channels.setdefault(address, _Channel(address=address, system=name))

    def _leg(
        self, channel: _Channel, key: LegKey, call: wire.Call, moment: _Moment
    ) -> tuple[_Leg, bool, bool]:
        """(the leg, it is new, its unit is another than before)"""
        if (elsewhere := self._of_leg.get(key)) is not None and elsewhere is not channel:
            self._drop_legs(elsewhere, [key])  # its system has said who it is meanwhile
        leg = channel.legs.get(key)
        if leg is None:
            leg = channel.legs[key] = _Leg(
                site=(key[0], key[1]),
                unit=call.unit,
                start_time_s=call.start_time_s,
                heard_s=moment.now_s,
                granted_s=moment.now_s,
                granted_ts_s=moment.ts_s,
            )
            self._of_leg[key] = channel
            if len(self._of_leg) > MOST_LEGS:
                oldest, its = next(iter(self._of_leg.items()))
                self._drop_legs(its, [oldest])
            return leg, True, False
        changed = bool(call.unit) and call.unit != leg.unit
        leg.heard_s = moment.now_s
        leg.unit = call.unit or leg.unit
        return leg, False, changed

    def _listed(
        self, channel: _Channel, key: LegKey, call: wire.Call, moment: _Moment
    ) -> list[Event]:
        talking = _talking(call)
        if key in self._concluded:
            if talking is not True:
                return []
            del self._concluded[key]
        leg, is_new, changed = self._leg(channel, key, call, moment)
        resumed = not leg.active and talking is True
        if is_new or changed:
            leg.granted_s, leg.voiced = moment.now_s, False
        leg.informed = talking is not None
        leg.voiced = leg.voiced or talking is True
        if talking is False:
            settling = not leg.voiced and moment.now_s < leg.granted_s + GRANT_S
            leg.active = leg.active and settling and not is_new
        else:
            leg.active = call.call_state is None or call.call_state in _FOLLOWED
        events: list[Event] = []
        if leg.active and (is_new or changed or resumed):
            events = self._talker(channel, leg, call, moment, late_entry=not changed)
        if leg.active and channel.talk is not None:
            channel.talk.heard_s = moment.now_s
        return events + self._details(channel, key, call, moment)

    def _missing(
        self, document: wire.CallsActive, listed: set[LegKey]
    ) -> list[tuple[LegKey, _Leg]]:
        """Legs of this instance that it lists no more; not those granted after it wrote this."""
        return [
            (key, channel.legs[key])
            for key, channel in self._of_leg.items()
            if key[0] == document.instance_id
            and key not in listed
            and not 0 < document.timestamp_s < channel.legs[key].granted_ts_s
        ]

    def _nearest(self, key: LegKey, call: wire.Call) -> tuple[LegKey, _Channel | None]:
        """The call of another number that must be meant: same site, talkgroup and unit, and a
        start that fits."""
        for other, channel in self._of_leg.items():
            leg = channel.legs[other]
            fits = abs(leg.start_time_s - call.start_time_s) <= START_TOLERANCE_S
            if other[:2] == key[:2] and other[3] == key[3] and leg.unit == call.unit and fits:
                return other, channel
        return key, None

    def _conclude(self, channel: _Channel, key: LegKey, start_time_s: int) -> None:
        self._drop_legs(channel, [key])
        self._concluded[key] = start_time_s
        self._concluded.move_to_end(key)
        if len(self._concluded) > MOST_CONCLUDED:
            self._concluded.popitem(last=False)

    def _drop_legs(self, channel: _Channel, keys: Iterable[LegKey]) -> None:
        for key in keys:
            del channel.legs[key]
            del self._of_leg[key]

    def _tidy(self, channel: _Channel) -> None:
        if not channel.legs and channel.talk is None:
            self._channels.pop(channel.address, None)

    # --- talks ----------------------------------------------------------------------------------

    def _talker(
        self, channel: _Channel, leg: _Leg, call: wire.Call, moment: _Moment, *, late_entry: bool
    ) -> list[Event]:
        """A leg tells of a talker: of a new one, or of the one that is known from another leg."""
        talk = channel.talk
        if talk is None:
            return self._begin(channel, leg, call, moment, late_entry=late_entry, previous=0)
        talk.heard_s = moment.now_s
        if call.unit in (0, talk.unit):
            return []
        if talk.unit == 0:
            talk.unit, talk.alias, talk.site = call.unit, call.unit_alias, leg.site
            talk.refreshed_s = moment.now_s
            return self._report(FloorRefreshed, channel, talk, moment)
        lags = call.unit == talk.previous and moment.now_s < talk.since_s + SITE_LAG_S
        if leg.site != talk.site and lags:
            return []
        events = self._end(channel, "released", moment.at)
        return events + self._begin(
            channel, leg, call, moment, late_entry=False, previous=talk.unit
        )

    def _begin(
        self,
        channel: _Channel,
        leg: _Leg,
        call: wire.Call,
        moment: _Moment,
        *,
        late_entry: bool,
        previous: int,
    ) -> list[Event]:
        events = self._own_talk_goes_first(channel.address, moment.at)
        talk = channel.talk = _Talk(
            stream=f"{call.sys_name}-{call.call_num}-{self._tag}{next(self._numbers)}",
            site=leg.site,
            unit=call.unit,
            alias=call.unit_alias,
            encrypted=call.is_encrypted,
            emergency=bool(call.emergency),
            late_entry=late_entry,
            previous=previous,
            since_s=moment.now_s,
            heard_s=moment.now_s,
            refreshed_s=moment.now_s,
            also=[],
        )
        for number in call.patched or ():
            address = f"{channel.system}/{number}"
            other = self._channels.get(address)
            if address not in self._also and (other is None or other.talk is None):
                self._also[address] = channel
                talk.also.append(address)
        return events + self._report(FloorTaken, channel, talk, moment)

    def _own_talk_goes_first(self, address: str, at: datetime) -> list[Event]:
        """A channel that was heard through a patch has a talk of its own now."""
        through = self._also.pop(address, None)
        if through is None or through.talk is None:
            return []
        through.talk.also.remove(address)
        return [FloorIdle(at=at, address=address, stream=through.talk.stream, reason="released")]

    def _details(
        self, channel: _Channel, key: LegKey, call: wire.Call, moment: _Moment
    ) -> list[Event]:
        """What a message knows more of the talk: alias, encryption, emergency."""
        unit = unit_address(channel.system, call.unit)
        events = self._emergencies.note(channel.address, unit, key, call, moment.at)
        talk = channel.talk
        leg = channel.legs.get(key)
        if talk is None or leg is None or not leg.active or call.unit not in (0, talk.unit):
            return events
        before = (talk.alias, talk.encrypted, talk.emergency)
        talk.alias = talk.alias or call.unit_alias
        talk.encrypted = talk.encrypted or call.is_encrypted
        talk.emergency = talk.emergency or bool(call.emergency)
        if before != (talk.alias, talk.encrypted, talk.emergency):
            talk.refreshed_s = moment.now_s
            events += self._report(FloorRefreshed, channel, talk, moment)
        return events

    def _refresh(self, channel: _Channel, moment: _Moment) -> list[Event]:
        """The talk goes on: told once a second."""
        talk = channel.talk
        if talk is None or moment.now_s < talk.refreshed_s + REFRESH_S - EARLY_S:
            return []
        talk.refreshed_s = max(talk.refreshed_s + REFRESH_S, moment.now_s)
        return self._report(FloorRefreshed, channel, talk, moment)

    def _settle(self, channel: _Channel, moment: _Moment) -> list[Event]:
        """Is anybody still talking, by the legs that can tell?"""
        oldest_s = moment.now_s - self._hold_s
        heard = [leg for leg in channel.legs.values() if leg.heard_s > oldest_s]
        telling = [leg for leg in heard if leg.informed is not False]
        events: list[Event] = []
        if channel.talk is not None and not any(leg.active for leg in telling or heard):
            events = self._end(channel, "released", moment.at)
        self._tidy(channel)
        return events

    def _end(self, channel: _Channel, reason: str, at: datetime) -> list[Event]:
        """Patched channels first, or each would be taken for the next talker of the one before."""
        talk, channel.talk = channel.talk, None
        if talk is None:
            return []
        for address in talk.also:
            del self._also[address]
        return [
            FloorIdle(at=at, address=address, stream=talk.stream, reason=reason)
            for address in (*reversed(talk.also), channel.address)
        ]

    def _report(
        self, kind: type[FloorTaken], channel: _Channel, talk: _Talk, moment: _Moment
    ) -> list[Event]:
        return [
            kind(
                at=moment.at,
                address=address,
                stream=talk.stream,
                talker=unit_address(channel.system, talk.unit),
                talker_alias=talk.alias,
                priority=EMERGENCY_PRIORITY if talk.emergency else 0,
                emergency=talk.emergency,
                encrypted=talk.encrypted,
                late_entry=talk.late_entry,
                hold_s=self._hold_s,
            )
            for address in (channel.address, *talk.also)
        ]


def unit_address(system: str, unit: int) -> str:
    """A unit of a radio system; numbers are of one system only. Empty where nobody is named."""
    return f"{system}/{unit}" if unit else ""


def _key(instance_id: str, call: wire.Call) -> LegKey:
    return instance_id, call.sys_name, call.call_num, call.talkgroup


def _talking(call: wire.Call) -> bool | None:
    """By the states of a listed call; None where it has no recorder that could tell."""
    if call.call_state is not None and call.call_state not in _FOLLOWED:
        return False
    return None if call.recorder is None else call.recorder in _TALKING
