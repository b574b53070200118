"""What of all that a device says about its sources is news. Pure but for the clock it is given."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from adapters import events as seam

REPEAT_S = 60.0
"""The same again within this time since it was heard last is no news: some cameras say every
second that there is still motion, and never that it is over."""
_REMEMBERED = 1_024

EVENT_NAMES: Mapping[type[seam.SourceCondition], str] = {
    seam.Motion: "point.motion",
    seam.Tamper: "point.tamper",
    seam.SignalLost: "point.signal_lost",
    seam.Alarm: "point.alarm",
}


@dataclasses.dataclass(slots=True)
class _Known:
    """active: as it was heard last, at heard_s; told: as it was told last, None if never."""

    active: bool | None
    heard_s: float
    told: bool | None


class Conditions:
    """Of one device, over all its connections. clock: monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._known: dict[tuple[object, ...], _Known] = {}

    def news(self, event: seam.SourceCondition) -> Mapping[str, Any] | None:
        """The data to publish; None for what is no news.

        How it stands when a connection begins is a state and no occurrence; but where the end of
        something that was told came meanwhile, that is told now.
        """
        known, now_s = self._of(event), self._clock()
        again = known.active == event.active and now_s - known.heard_s < REPEAT_S
        known.active, known.heard_s = event.active, now_s
        if event.initial:
            is_news = known.told is True and event.active is False
        else:
            is_news = event.active is None or not again
        if not is_news:
            return None
        known.told = event.active
        data: dict[str, Any] = {"active": event.active}
        if isinstance(event, seam.Alarm):
            data["kind"] = event.kind
            if event.part:
                data["part"] = event.part
        return data

    def _of(self, event: seam.SourceCondition) -> _Known:
        key: tuple[object, ...] = (type(event), event.address)
        if isinstance(event, seam.Alarm):
            key = (*key, event.kind, event.part)
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= _REMEMBERED:
                self._known.pop(next(iter(self._known)))
            known = self._known[key] = _Known(None, float("-inf"), None)
        return known
