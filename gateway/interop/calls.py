"""Calls out of events: who talked, where, how long, carried by whom, and why it ended. Pure.

What the air did and what the bridge decided come from different writers, so in no certain order:
either may be first, and whatever comes late changes the record that is there.
"""

import collections
import dataclasses
import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from gateway.bus.messages import CloudEvent
from registry.journal import Call

MOST_OPEN = 20_000
MOST_ENDED = 2_000
"""A talk may be over before what the bridge decided of it is heard."""
SILENT_AFTER_S = 60.0
"""A call of which nothing is heard for so long is over; its end was lost."""
_SPACE = uuid.UUID("6f1f3b0c-6d0a-4d53-9a53-5f0f1f4b1c55")
_RANK = ("local", "denied", "queued", "bridged", "revoked")


@dataclasses.dataclass(slots=True)
class _Open:
    call: Call
    heard_s: float


def _key(channel: str, stream: str, epoch: str) -> str:
    return str(uuid.uuid5(_SPACE, f"{channel}\n{stream}\n{epoch}"))


class CallBook:
    """Takes events in order of arrival; what changed is to be stored. now_s: monotonic."""

    def __init__(self) -> None:
        self._open: collections.OrderedDict[tuple[str, str], _Open] = collections.OrderedDict()
        self._ended_lately: collections.OrderedDict[tuple[str, str], _Open] = (
            collections.OrderedDict()
        )
        self._transmissions: collections.OrderedDict[str, tuple[str, str]] = (
            collections.OrderedDict()
        )
        self._carried: collections.OrderedDict[str, list[str]] = collections.OrderedDict()
        self._decided: collections.OrderedDict[tuple[str, str], dict[str, Any]] = (
            collections.OrderedDict()
        )

    def __len__(self) -> int:
        return len(self._open)

    def take(self, event: CloudEvent, at: datetime, now_s: float) -> list[Call]:
        """The calls that an event began, changed or ended. at: the event's own time."""
        data = event.data
        if data.get("caused_by"):
            return []  # ours, come back
        place = (event.subject, str(data.get("stream") or ""))
        match event.type:
            case "floor.taken" | "floor.refreshed":
                return self._talks(event, place, at, now_s)
            case "floor.idle":
                return self._ended(place, at, str(data.get("reason") or "released"))
            case "floor.granted" | "floor.denied" | "floor.queued" | "floor.revoked":
                return self._was_decided(event, place, at, now_s)
            case "floor.released":
                return self._ended(place, at, str(data.get("reason") or "released"))
            case "command.result" if data.get("outcome") == "done":
                return self._was_carried(event.subject, str(data.get("transmission") or ""))
            case _:
                return []

    def close_silent(self, at: datetime, now_s: float) -> list[Call]:
        """Calls whose end never came."""
        silent = [p for p, o in self._open.items() if now_s - o.heard_s >= SILENT_AFTER_S]
        return [call for place in silent for call in self._ended(place, at, "its end was lost")]

    def _talks(
        self, event: CloudEvent, place: tuple[str, str], at: datetime, now_s: float
    ) -> list[Call]:
        known = self._open.get(place)
        if known is not None:
            known.heard_s = now_s
            emergency = known.call.emergency or event.data.get("emergency") is True
            if emergency == known.call.emergency:
                return []
            return [self._change(known, emergency=True)]
        closed = [
            call
            for other in [p for p in self._open if p[0] == place[0] and not _is_press(p)]
            for call in self._ended(other, at, "another talk began")
        ]
        return [*closed, *self._begin(event, place, at, now_s)]

    def _begin(
        self, event: CloudEvent, place: tuple[str, str], at: datetime, now_s: float
    ) -> list[Call]:
        data, closed = event.data, []
        if len(self._open) >= MOST_OPEN:
            closed = self._ended(next(iter(self._open)), at, "too many at once")
        opened = _Open(
            call=Call(
                key=_key(*place, event.epoch),
                channel_id=event.subject,
                organization_id="",
                patch_id="",
                talker=str(data.get("talker") or "")[:300],
                talker_alias=str(data.get("talker_alias") or "")[:200],
                emergency=data.get("emergency") is True,
                encrypted=data.get("encrypted") is True,
                started_at=at,
                ended_at=None,
                duration_s=None,
                outcome="local",
                end_reason="",
                bridged_to=(),
            ),
            heard_s=now_s,
        )
        self._open[place] = opened
        decided = self._decided.pop(place, None)
        if decided is not None:
            self._apply(opened, place, decided)
        return [*closed, opened.call]

    def _was_decided(
        self, event: CloudEvent, place: tuple[str, str], at: datetime, now_s: float
    ) -> list[Call]:
        opened = self._find(place)
        decided = {**event.data, "decision": event.type.removeprefix("floor.")}
        if opened is None and not _is_press(place):
            _remember(self._decided, place, decided)
            return []
        begun: list[Call] = []
        if opened is None:
            if event.type != "floor.granted":
                return []
            begun = self._begin(event, place, at, now_s)
            opened = self._open[place]
        return [*begun[:-1], self._apply(opened, place, decided)]

    def _apply(self, opened: _Open, place: tuple[str, str], decided: Mapping[str, Any]) -> Call:
        decision = str(decided["decision"])
        outcome = "bridged" if decision == "granted" else decision
        transmission = str(decided.get("transmission") or "")
        carried: list[str] = []
        if transmission:
            _remember(self._transmissions, transmission, place)
            carried = self._carried.pop(transmission, [])
        if _RANK.index(outcome) < _RANK.index(opened.call.outcome):
            outcome = opened.call.outcome
        return self._change(
            opened,
            outcome=outcome,
            patch_id=str(decided.get("patch") or opened.call.patch_id)[:64],
            talker_alias=opened.call.talker_alias or str(decided.get("talker_alias") or "")[:200],
            bridged_to=_joined(opened.call.bridged_to, carried),
        )

    def _was_carried(self, channel: str, transmission: str) -> list[Call]:
        place = self._transmissions.get(transmission)
        if place is None:
            if transmission and not transmission.startswith("test-"):
                known = self._carried.get(transmission, [])
                _remember(self._carried, transmission, [*known, channel][-200:])
            return []
        opened = self._find(place)
        if opened is None or channel in opened.call.bridged_to:
            return []
        return [self._change(opened, bridged_to=_joined(opened.call.bridged_to, [channel]))]

    def _find(self, place: tuple[str, str]) -> _Open | None:
        return self._open.get(place) or self._ended_lately.get(place)

    def _change(self, opened: _Open, **fields: Any) -> Call:
        opened.call = dataclasses.replace(opened.call, **fields)
        return opened.call

    def _ended(self, place: tuple[str, str], at: datetime, reason: str) -> list[Call]:
        self._decided.pop(place, None)
        opened = self._open.pop(place, None)
        if opened is None:
            return []
        _remember(self._ended_lately, place, opened, MOST_ENDED)
        lasted_s = max((at - opened.call.started_at).total_seconds(), 0.0)
        return [
            self._change(
                opened, ended_at=at, duration_s=round(lasted_s, 3), end_reason=reason[:200]
            )
        ]


def _is_press(place: tuple[str, str]) -> bool:
    return place[1].startswith("press-")


def _joined(known: tuple[str, ...], more: list[str]) -> tuple[str, ...]:
    return (*known, *(each for each in dict.fromkeys(more) if each not in known))


def _remember(
    store: collections.OrderedDict[Any, Any], key: Any, value: Any, most: int = MOST_OPEN
) -> None:
    """Keep the latest; what never found its talk is forgotten in time."""
    store[key] = value
    store.move_to_end(key)
    if len(store) > most:
        store.popitem(last=False)
