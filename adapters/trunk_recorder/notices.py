"""Emergencies and patches: what holds beyond one talk. Pure."""

from collections import OrderedDict
from datetime import datetime

from adapters.events import ChannelsPatched, EmergencyCleared, EmergencyRaised, Event
from adapters.trunk_recorder.wire import Call

MOST_EMERGENCIES = 256
MOST_PATCHES = 1024

LegKey = tuple[str, str, int, int]
"""A call as one site has it: (instance_id, sys_name, call_num, talkgroup)"""


class Emergencies:
    """Raised once for a unit and channel; cleared by a later call of theirs, heard by the same
    site, that is none. Where another site says otherwise it may just not know."""

    def __init__(self) -> None:
        self._raised: OrderedDict[tuple[str, str], LegKey] = OrderedDict()

    def note(self, address: str, unit: str, key: LegKey, call: Call, at: datetime) -> list[Event]:
        """unit: its address, empty where nobody is named."""
        if not unit or call.emergency is None:
            return []
        raised_by = self._raised.get((address, unit))
        if call.emergency:
            return self._raise(address, unit, key, call, at) if raised_by is None else []
        if raised_by is None or raised_by == key or raised_by[:2] != key[:2]:
            return []
        del self._raised[address, unit]
        return [EmergencyCleared(at=at, address=address, unit=unit)]

    def _raise(self, address: str, unit: str, key: LegKey, call: Call, at: datetime) -> list[Event]:
        self._raised[address, unit] = key
        if len(self._raised) > MOST_EMERGENCIES:
            self._raised.popitem(last=False)
        return [EmergencyRaised(at=at, address=address, unit=unit, unit_alias=call.unit_alias)]


class Patches:
    """Which talkgroups the system has joined by itself."""

    def __init__(self) -> None:
        self._of: OrderedDict[str, frozenset[str]] = OrderedDict()

    def note(self, address: str, system: str, call: Call, at: datetime) -> list[Event]:
        """A call names what its talkgroup is patched to; where it does not, nothing changes."""
        if call.patched is None:
            return []
        others = {f"{system}/{number}" for number in call.patched}
        now = frozenset(others | {address}) if others else frozenset()
        if self._of.get(address, frozenset()) == now:
            return []
        over = {self._of[each] for each in (now or {address}) if each in self._of}
        for each in (member for patch in over for member in patch):
            self._of.pop(each, None)
        for each in now:
            self._of[each] = now
        while len(self._of) > MOST_PATCHES:
            self._of.popitem(last=False)
        ended = sorted(tuple(sorted(patch)) for patch in over)
        changes = [(each, False) for each in ended] + ([(tuple(sorted(now)), True)] if now else [])
        return [ChannelsPatched(at=at, addresses=each, active=on) for each, on in changes]
