"""A test of a patch: each member is keyed for a moment, one after the other.

How long does a key take, does it come back on its own channel, does it come out on another one?
A real talk ends the test at once: people go before tests. Who is not known is told from an echo by
how long they talk.
"""

import asyncio
import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from gateway.bus.messages import CloudEvent

ANSWERED_WITHIN_S = 1.5
KEYED_FOR_S = 0.4
LISTEN_FOR_S = 2.0
"""Servers and repeaters send back what they got within it; recorders' feeds are seconds late."""
LONGEST_LISTEN_S = 12.0
MARGIN_S = 1.0
MOST_STREAMS = 1000
LEASE_S = 1.5
MEMBER_TAKES_S = ANSWERED_WITHIN_S + KEYED_FOR_S + LONGEST_LISTEN_S
"""At most."""


def listening_s(echoes_s: Iterable[float]) -> float:
    """How long to listen after each key. echoes_s: how late each member may say what it heard."""
    longest_s = max(echoes_s, default=0.0) + MARGIN_S
    return min(max(longest_s, LISTEN_FOR_S), LONGEST_LISTEN_S)


@dataclasses.dataclass(slots=True)
class _Finding:
    channel: str
    outcome: str = "no answer"
    reason: str = ""
    delay_ms: float | None = None
    echo_s: float | None = None
    loops_to: dict[str, float] = dataclasses.field(default_factory=dict)

    def note(self, channel: str, after_s: float) -> None:
        """Something began on a channel."""
        if channel != self.channel:
            self.loops_to.setdefault(channel, after_s)
        elif self.echo_s is None:
            self.echo_s = after_s

    def forget(self, channel: str) -> None:
        """What began there was no echo."""
        if channel == self.channel:
            self.echo_s = None
        self.loops_to.pop(channel, None)

    def report(self) -> dict[str, Any]:
        return {
            "channel": self.channel,
            "outcome": self.outcome,
            "reason": self.reason,
            "delay_ms": self.delay_ms,
            "echo_s": self.echo_s,
            "loops_to": [
                {"channel": channel, "delay_s": delay_s}
                for channel, delay_s in self.loops_to.items()
            ],
        }


@dataclasses.dataclass(frozen=True, slots=True)
class _Heard:
    """A stream that may be an echo: when it began, and of whose key."""

    at_s: float
    finding: _Finding


class PatchTest:
    """key, unkey: command a channel with a transmission. done: called once with the report.
    listen_s: how long it listens after each key."""

    def __init__(
        self,
        channels: Sequence[str],
        tag: str,
        *,
        listen_s: float,
        key: Callable[[str, str], None],
        unkey: Callable[[str, str], None],
        done: Callable[[list[dict[str, Any]]], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._left = list(channels)
        self._tag = tag
        self._listen_s = listen_s
        self._streams: dict[tuple[str, str], _Heard] = {}
        self._key, self._unkey, self._done = key, unkey, done
        self._found: list[_Finding] = []
        self._now: _Finding | None = None
        self._keyed_at_s = 0.0
        self._is_keyed = False
        self._timer: asyncio.TimerHandle | None = None

    @property
    def _transmission(self) -> str:
        return f"test-{self._tag}-{len(self._found)}"

    def begin(self) -> None:
        self._next()

    def hears(self, event: CloudEvent) -> bool:
        """Does this event belong to the test? Then it is nobody's talk."""
        now, data = self._now, event.data
        if now is None:
            return False
        after_s = round(self._loop.time() - self._keyed_at_s, 3)
        if event.type == "command.result" and data.get("transmission") == self._transmission:
            self._answered(now, data, after_s)
            return True
        if event.type not in ("floor.taken", "floor.refreshed"):
            return False
        if data.get("caused_by") == self._transmission:
            now.note(now.channel, after_s)
            return True
        if data.get("emergency") is True:
            return False
        return self._may_be_an_echo(now, event.subject, str(data.get("stream") or ""), after_s)

    def _may_be_an_echo(self, now: _Finding, channel: str, stream: str, after_s: float) -> bool:
        """An echo is about as long as our key. What goes on is somebody who talks."""
        known = self._streams.get((channel, stream))
        if known is None:
            if len(self._streams) < MOST_STREAMS:
                self._streams[channel, stream] = _Heard(self._loop.time(), now)
                now.note(channel, after_s)
            return True
        if self._loop.time() < known.at_s + KEYED_FOR_S + self._listen_s:
            return True
        for heard in [h for (c, _), h in self._streams.items() if c == channel]:
            heard.finding.forget(channel)
        self.stop("somebody talks")
        return False

    def stop(self, reason: str) -> None:
        """Somebody needs the channels."""
        if self._now is not None and self._now.outcome in ("no answer", "done"):
            self._now.outcome, self._now.reason = "stopped", reason
        self._left.clear()
        self._member_over()

    def _next(self) -> None:
        if not self._left:
            self._now = None
            self._done([finding.report() for finding in self._found])
            return
        self._now = _Finding(channel=self._left.pop(0))
        self._found.append(self._now)
        self._keyed_at_s, self._is_keyed = self._loop.time(), True
        self._key(self._now.channel, self._transmission)
        self._after(ANSWERED_WITHIN_S, self._release)

    def _answered(self, now: _Finding, data: Any, after_s: float) -> None:
        if now.delay_ms is not None or not self._is_keyed:
            return  # the answer to the release
        now.outcome, now.reason = str(data.get("outcome")), str(data.get("reason") or "")
        now.delay_ms = round(after_s * 1000, 1)
        self._after(KEYED_FOR_S if now.outcome == "done" else 0.0, self._release)

    def _release(self) -> None:
        self._let_go()
        was_keyed = self._now is not None and self._now.outcome == "done"
        self._after(self._listen_s if was_keyed else 0.0, self._member_over)

    def _let_go(self) -> None:
        if self._is_keyed and self._now is not None:
            self._is_keyed = False
            self._unkey(self._now.channel, self._transmission)

    def _member_over(self) -> None:
        self._let_go()
        if self._timer is not None:
            self._timer.cancel()
        self._next()

    def _after(self, delay_s: float, call: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(delay_s, call)
