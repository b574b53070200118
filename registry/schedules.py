"""When a patch is on: daily times in a stated time zone, over midnight where they must be. Pure.

A document is ``{"timezone": "Asia/Shanghai", "from": "18:00", "to": "06:00", "days": [1, 5]}``:
on from `from` to the next `to`, on the days (1 Monday .. 7 Sunday) on which that begins; all days
where none are named. The same time twice is a whole day.
"""

import dataclasses
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")
_FIELDS = frozenset({"timezone", "from", "to", "days"})
LOOK_AHEAD = timedelta(days=370)
"""Two schedules are compared over a year: summer times and weekdays have all come by then."""


class InvalidSchedule(ValueError):
    """What is wrong, in words. field: where."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    zone: ZoneInfo
    begins: time
    ends: time
    days: frozenset[int]

    def spans(self, since: datetime, until: datetime) -> Iterator[tuple[datetime, datetime]]:
        """When it is on, (from, to) in UTC, oldest first: all that touch [since, until)."""
        day = since.astimezone(self.zone).date() - timedelta(days=1)
        last = until.astimezone(self.zone).date()
        while day <= last:
            if day.isoweekday() in self.days:
                begins, ends = self._on(day)
                if begins < until and ends > since:
                    yield begins, ends
            day += timedelta(days=1)

    def _on(self, day: date) -> tuple[datetime, datetime]:
        over = self.ends <= self.begins
        ends_on = day + timedelta(days=1) if over else day
        begins = datetime.combine(day, self.begins, self.zone)
        ends = datetime.combine(ends_on, self.ends, self.zone)
        return begins.astimezone(UTC), ends.astimezone(UTC)

    def is_on(self, at: datetime) -> bool:
        return any(
            begins <= at < ends for begins, ends in self.spans(at, at + timedelta(seconds=1))
        )

    def next_change(self, at: datetime) -> datetime | None:
        """When it goes on or off next, within the coming fortnight; None where it never does."""
        found = self.spans(at, at + timedelta(days=15))
        return min((each for span in found for each in span if each > at), default=None)


def parse(document: Mapping[str, Any]) -> Schedule:
    """Raises: InvalidSchedule naming the field."""
    unknown = sorted(set(document) - _FIELDS)
    if unknown:
        raise InvalidSchedule(unknown[0], "is no part of a schedule")
    days = document.get("days", list(range(1, 8)))
    if not isinstance(days, list) or not days or not all(_is_day(each) for each in days):
        raise InvalidSchedule("days", "must be a list of 1 (Monday) to 7 (Sunday)")
    return Schedule(
        zone=_zone(document.get("timezone")),
        begins=_time(document, "from"),
        ends=_time(document, "to"),
        days=frozenset(days),
    )


def _is_day(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 7


def _zone(name: object) -> ZoneInfo:
    if not isinstance(name, str) or not name:
        raise InvalidSchedule("timezone", "must be named, such as Asia/Shanghai")
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidSchedule("timezone", f"there is no time zone {name!r}") from None


def _time(document: Mapping[str, Any], field: str) -> time:
    found = _TIME.fullmatch(str(document.get(field, "")))
    if found is None:
        raise InvalidSchedule(field, "must be a time of day such as 18:00")
    return time(int(found[1]), int(found[2]))


def overlap(
    one: Schedule | None,
    other: Schedule | None,
    *,
    since: datetime,
    until: datetime | None = None,
) -> bool:
    """Are both on at the same time, from since until then, within a year? None is always on."""
    last = min(until or since + LOOK_AHEAD, since + LOOK_AHEAD)
    if last <= since:
        return False
    if one is None or other is None:
        schedule = one or other
        return schedule is None or next(schedule.spans(since, last), None) is not None
    left, right = list(one.spans(since, last)), list(other.spans(since, last))
    i = j = 0
    while i < len(left) and j < len(right):
        begins = max(left[i][0], right[j][0], since)
        if begins < min(left[i][1], right[j][1], last):
            return True
        if left[i][1] <= right[j][1]:
            i += 1
        else:
            j += 1
    return False
