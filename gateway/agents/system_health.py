"""How a radio system and its agent are: the retained state of the system, and its alarms.

What an agent at a site loses, nobody at the gateway would see otherwise: its log is far away.
"""

import asyncio
import contextlib
import dataclasses
import heapq
import os
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import structlog

from adapters import events as seam
from gateway.agents.habit import Habit
from gateway.agents.outbox import Outbox
from gateway.bus.client import Bus
from gateway.bus.messages import encode, rfc3339

log = structlog.get_logger("health")

LOOK_EVERY_S = 1.0
SAY_EVERY_S = 10.0
LOSING_FOR_S = 600.0
"""An episode of losing occurrences is over when none was lost for so long."""
WAITS_LONG_S = 600.0
KEEP_EVERY_S = 900.0
MOST_UNREGISTERED = 200
"""Addresses that a state names, those with the most events; the agent itself counts more."""

SILENT = "silent"
LOSING = "outbox_losing"
NOT_WRITTEN = "outbox_not_written"
WAITING = "outbox_waiting"

_NOT_HEARD = (seam.ChannelHealth, seam.Malformed, seam.Online)
"""What an adapter says of itself proves nothing of the air."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Alarm:
    reason: str
    since: datetime


def _now() -> datetime:
    return datetime.now(UTC)


class SystemHealth:
    """Of one system. say: publishes an event of the system, kept like any occurrence.

    habit_file: where what is usual for the system is kept between lives; None for nowhere.
    unregistered: how much was heard on addresses that nobody registered.
    """

    def __init__(
        self,
        bus: Bus,
        *,
        system_id: str,
        org: str,
        outbox: Outbox | None,
        say: Callable[[str, dict[str, Any]], None],
        habit_file: Path | None = None,
        wall_s: Callable[[], float] = time.time,
        unregistered: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        self.topic = bus.topics.org("systems", "state", org, system_id)
        self._bus, self._system_id, self._outbox, self._say = bus, system_id, outbox, say
        self._file, self._wall_s = habit_file, wall_s
        self._unregistered = unregistered
        self._now_s = asyncio.get_running_loop().time
        self._habit = _load(habit_file)
        self._state, self._reason, self._since = "unknown", "", _now()
        self._last_heard: datetime | None = None
        self._alarms: dict[str, _Alarm] = {}
        self._lost, self._lost_s = 0, float("-inf")
        self._said: dict[str, Any] = {}
        self._said_s = float("-inf")
        self._kept_s = self._now_s()

    # --- what the agent tells -------------------------------------------------------------------

    def online(self) -> None:
        self._become("online", "")
        self._habit.began(self._now_s(), self._hour())

    def offline(self, reason: str) -> None:
        self._become("offline", reason)

    def heard(self, event: seam.Event) -> None:
        """Something came from the air."""
        if isinstance(event, _NOT_HEARD):
            return
        self._last_heard = _now()
        self._habit.heard(self._now_s(), self._hour())
        if SILENT in self._alarms:
            self.look()

    async def run(self) -> None:
        """Until cancelled."""
        self._habit.began(self._now_s(), self._hour())
        try:
            while True:
                self.look()
                await asyncio.sleep(LOOK_EVERY_S)
        finally:
            self._keep()

    def look(self) -> None:
        """See what is wrong, and say what is new of it."""
        found = dict(self._troubles())
        for kind in [*self._alarms]:
            if kind not in found:
                self._alarm(kind, active=False, reason=self._alarms.pop(kind).reason)
        for kind, reason in found.items():
            known = self._alarms.get(kind)
            since = known.since if known else _now()
            self._alarms[kind] = _Alarm(reason=reason, since=since)
            if known is None:
                self._alarm(kind, active=True, reason=reason)
        self._tell()
        if self._now_s() - self._kept_s > KEEP_EVERY_S:
            self._keep()

    # --- what is wrong --------------------------------------------------------------------------

    def _troubles(self) -> list[tuple[str, str]]:
        found = []
        now_s = self._now_s()
        limit_s, silent_s = self._habit.limit_s(self._hour()), self._habit.silent_s(now_s)
        if limit_s is not None and silent_s > limit_s:
            minutes = f"{limit_s / 60:.0f} min"
            found.append((SILENT, f"nothing was heard for more than {minutes}, twice the usual"))
        if self._outbox is not None:
            found += self._outbox_troubles(self._outbox, now_s)
        return found

    def _outbox_troubles(self, outbox: Outbox, now_s: float) -> list[tuple[str, str]]:
        found = []
        if outbox.counters.lost > self._lost:
            self._lost, self._lost_s = outbox.counters.lost, now_s
        if now_s - self._lost_s < LOSING_FOR_S:
            found.append((LOSING, f"occurrences were lost: {outbox.lost_why}"))
        if outbox.fault:
            reason = f"{outbox.fault}: what waits is lost if the agent ends"
            found.append((NOT_WRITTEN, reason))
        if self._bus.connected.is_set() and outbox.oldest_s() > WAITS_LONG_S:
            found.append((WAITING, "the broker is there, and no journal stores what waits"))
        return found

    def _alarm(self, kind: str, *, active: bool, reason: str) -> None:
        told = log.warning if active else log.info
        told("system alarm", system=self._system_id, kind=kind, active=active, reason=reason)
        self._say("system.alarm", {"kind": kind, "active": active, "reason": reason})

    # --- what is said ---------------------------------------------------------------------------

    def _become(self, state: str, reason: str) -> None:
        if state != self._state:
            self._since = _now()
        self._state, self._reason = state, reason
        self._tell()

    def _tell(self) -> None:
        """What matters at once, figures every 10 s, and nothing twice."""
        said = self._shown()
        figures = said.keys() - {"state", "reason", "since", "alarms"}
        matters = {name: value for name, value in said.items() if name not in figures}
        new = any(self._said.get(name) != value for name, value in matters.items())
        if new or (said != self._said and self._now_s() - self._said_s >= SAY_EVERY_S):
            self._said, self._said_s = said, self._now_s()
            self._bus.set_state(self.topic, self._signed(said))

    def hand_over(self) -> None:
        """An agent elsewhere says this state from here on."""
        self._bus.publish_retained(self.topic, encode(self._signed(self._shown())))
        self._bus.disown(self.topic)

    def _signed(self, said: dict[str, Any]) -> dict[str, Any]:
        return {
            "node": self._bus.node,
            "epoch": self._bus.epoch,
            "sequence": self._bus.next_sequence(self.topic),
            **said,
        }

    def _shown(self) -> dict[str, Any]:
        outbox = self._outbox
        return {
            "state": self._state,
            "reason": self._reason,
            "since": rfc3339(self._since),
            "last_heard": rfc3339(self._last_heard) if self._last_heard else None,
            "alarms": [
                {"kind": kind, "reason": each.reason, "since": rfc3339(each.since)}
                for kind, each in self._alarms.items()
            ],
            "outbox": None
            if outbox is None
            else {
                "waiting": outbox.waiting,
                "oldest_s": int(outbox.oldest_s()),
                "lost": outbox.counters.lost,
                "late": outbox.counters.late,
                "fault": outbox.fault,
            },
            "unregistered": [
                {"address": address, "events": events}
                for address, events in heapq.nlargest(
                    MOST_UNREGISTERED, self._unregistered.items(), key=lambda each: each[1]
                )
            ],
        }

    # --- habit ----------------------------------------------------------------------------------

    def _hour(self) -> int:
        return int(self._wall_s() // 3600)

    def _keep(self) -> None:
        self._kept_s = self._now_s()
        if self._file is None:
            return
        draft = self._file.with_suffix(".new")
        with contextlib.suppress(OSError):  # it is learned anew
            draft.write_text(self._habit.dump())
            os.replace(draft, self._file)


def _load(file: Path | None) -> Habit:
    if file is not None:
        with contextlib.suppress(OSError, ValueError):
            return Habit.loaded(file.read_text())
    return Habit()
