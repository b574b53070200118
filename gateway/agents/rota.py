"""When each point's picture is looked at: once in a period, evenly spread, no device twice at once.

Pure: the clock is passed in, seconds of one monotonic clock.
"""

import dataclasses
import heapq
import zlib
from collections import deque
from collections.abc import Iterable


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A point of a device. age_s: since its latest look, None if there was none."""

    point_id: str
    device_id: str
    age_s: float | None = None


@dataclasses.dataclass(slots=True)
class _Entry:
    point_id: str
    device_id: str
    due_s: float


class Rota:
    """period_s: within which every point has its turn."""

    def __init__(self, period_s: float) -> None:
        self.period_s = period_s
        self._entries: dict[str, _Entry] = {}
        self._queue: list[tuple[float, str]] = []
        self._busy: dict[str, deque[str]] = {}
        self._looking: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def replace(self, turns: Iterable[Turn], now_s: float) -> None:
        """These points there are. New ones and those overdue are spread over as much of a period
        as they are of all points; the others keep their time."""
        wanted = {turn.point_id: turn for turn in turns}
        for point_id in self._entries.keys() - wanted.keys():
            del self._entries[point_id]
        late: list[Turn] = []
        for turn in wanted.values():
            entry = self._entries.get(turn.point_id)
            if entry is not None:
                entry.device_id = turn.device_id
            elif turn.age_s is not None and 0 <= turn.age_s < self.period_s:
                self._plan(turn, now_s + self.period_s - turn.age_s)
            else:
                late.append(turn)
        # Ids of one device follow one another; their checksums do not.
        late.sort(key=lambda turn: zlib.crc32(turn.point_id.encode()))
        step_s = self.period_s / max(1, len(wanted))
        for number, turn in enumerate(late):
            self._plan(turn, now_s + (number + 0.5) * step_s)

    def start(self, now_s: float) -> Turn | None:
        """The next point that is due and whose device is not being looked at; `done` must be
        called for it."""
        while self._queue and self._queue[0][0] <= now_s:
            due_s, point_id = heapq.heappop(self._queue)
            entry = self._entries.get(point_id)
            if entry is None or entry.due_s != due_s or point_id in self._looking:
                continue
            if entry.device_id in self._busy:
                self._busy[entry.device_id].append(point_id)
                continue
            self._busy[entry.device_id] = deque()
            self._looking[point_id] = entry.device_id
            return Turn(point_id=point_id, device_id=entry.device_id)
        return None

    def done(self, point_id: str, now_s: float, *, again_in_s: float | None = None) -> None:
        """A look is over. again_in_s: it could not take place, and is to be tried so much later;
        else its next turn is a period after this one was due, so that the spread is kept."""
        device_id = self._looking.pop(point_id)
        for waiting in self._busy.pop(device_id):
            if waiting in self._entries:
                heapq.heappush(self._queue, (self._entries[waiting].due_s, waiting))
        entry = self._entries.get(point_id)
        if entry is None:
            return
        if again_in_s is not None:
            entry.due_s = now_s + again_in_s
        else:
            missed = max(0.0, (now_s - entry.due_s) // self.period_s)
            entry.due_s += (missed + 1) * self.period_s
        heapq.heappush(self._queue, (entry.due_s, point_id))

    def next_s(self) -> float | None:
        """When the next point is due, None if none ever is."""
        return self._queue[0][0] if self._queue else None

    def late_s(self, now_s: float) -> float:
        """How late the most overdue point is."""
        return max([0.0, *(now_s - entry.due_s for entry in self._entries.values())])

    def _plan(self, turn: Turn, due_s: float) -> None:
        self._entries[turn.point_id] = _Entry(turn.point_id, turn.device_id, due_s)
        heapq.heappush(self._queue, (due_s, turn.point_id))
