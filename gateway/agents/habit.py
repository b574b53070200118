"""How long a radio system is usually silent, hour by hour of the week. Pure.

A patrol channel is silent all night and a control channel never is, so no one limit fits both:
what is beyond the habit is measured by what was heard of this system before.
"""

import json
from typing import Self

HOURS = 168
LEAST_S = 900.0
"""No silence shorter than this is ever told."""
FACTOR = 2.0
KNOWN_HOURS = 24
FADES = 0.5
"""What part of an hour's longest silence is still believed a week later."""


class Habit:
    """Times are seconds of a monotonic clock; hour counts the hours since 1970, by the wall."""

    def __init__(self) -> None:
        self._longest: dict[int, tuple[float, int]] = {}
        self._last: tuple[float, int] | None = None
        self._learns = False

    def heard(self, now_s: float, hour: int) -> None:
        """It spoke, so that the silence before it was a usual one."""
        if self._last is not None and self._learns:
            gap_s = now_s - self._last[0]
            for each in _hours(self._last[1], hour):
                self._note(each, gap_s)
        self._last, self._learns = (now_s, hour), True

    def began(self, now_s: float, hour: int) -> None:
        """We began to listen, or can listen again: the silence until it speaks is none of its
        habit, and counts from here."""
        self._last, self._learns = (now_s, hour), False

    def silent_s(self, now_s: float) -> float:
        return now_s - self._last[0] if self._last is not None else 0.0

    def limit_s(self, hour: int) -> float | None:
        """How long the silence under way may be; None while too little is known."""
        if self._last is None or len(self._longest) < KNOWN_HOURS:
            return None
        spanned = [
            self._longest[each % HOURS][0]
            for each in _hours(self._last[1], hour)
            if each % HOURS in self._longest
        ]
        usual_s = max(spanned or [gap_s for gap_s, _ in self._longest.values()])
        return max(LEAST_S, FACTOR * usual_s)

    def _note(self, hour: int, gap_s: float) -> None:
        week, place = divmod(hour, HOURS)
        known_s, known_week = self._longest.get(place, (0.0, week))
        if known_week != week:
            known_s *= FADES
        self._longest[place] = (max(gap_s, known_s), week)

    def dump(self) -> str:
        """What is learned, for a later life."""
        return json.dumps({str(hour): list(found) for hour, found in self._longest.items()})

    @classmethod
    def loaded(cls, text: str) -> Self:
        """Raises: ValueError for what `dump` did not write."""
        habit = cls()
        try:
            for hour, (gap_s, week) in json.loads(text).items():
                if not 0 <= int(hour) < HOURS or not 0 <= float(gap_s) < float("inf"):
                    raise ValueError("no hour of the week, or no length")
                habit._longest[int(hour)] = (float(gap_s), int(week))
        except (TypeError, AttributeError) as error:
            raise ValueError("not a habit") from error
        return habit


def _hours(first: int, last: int) -> range:
    """A week at most; one hour where the wall clock went back."""
    return range(max(min(first, last), last - HOURS + 1), last + 1)
