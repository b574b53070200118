"""A feed by hand: what a plugin says, when, and what comes of it.

PYTEST_DONT_REWRITE: test modules import this before pytest does, and it asserts nothing.
"""

import json
from typing import Any

from adapters.events import ChannelHealth, Event, FloorIdle, FloorTaken
from adapters.mqtt.reader import Message
from adapters.trunk_recorder.feed import Feed
from adapters.trunk_recorder.settings import TrunkRecorderSettings

START = 1_686_700_982
SYSTEM = "BEE00-1AE"


def call(unit: int = 804329, talkgroup: int = 301, **fields: Any) -> dict[str, Any]:
    """An entry of `calls_active`, recorded and talking unless fields say otherwise."""
    return {
        "sys_num": 2,
        "sys_name": "p25trunk",
        "call_num": 51869,
        "talkgroup": talkgroup,
        "unit": unit,
        "unit_alpha_tag": "",
        "talkgroup_patches": "",
        "call_state": 1,
        "mon_state": 0,
        "rec_state": 1,
        "encrypted": False,
        "emergency": False,
        "start_time": START,
        **fields,
    }


class Air:
    """A feed with a clock of its own. events: all of it; `new` gives those since last asked."""

    def __init__(self, *channels: str, identified: bool = True, **settings: Any) -> None:
        self.events: list[Event] = []
        self.now_s = 100.0
        self._asked = 0
        given = {"broker": "mqtt://127.0.0.1", "topic": "feeds", "unit_topic": "units", **settings}
        self.feed = Feed(
            TrunkRecorderSettings.model_validate(given),
            channels,
            self.events.append,
            now_s=self.now_s,
            tag="t",
        )
        if identified:
            self.systems()

    def say(
        self,
        kind: str,
        name: str,
        body: Any,
        *,
        instance: str = "east",
        ts: int | None = None,
        retained: bool = False,
    ) -> None:
        document = {
            "type": kind,
            name: body,
            "timestamp": START + int(self.now_s - 100) if ts is None else ts,
            "instance_id": instance,
        }
        self.raw(json.dumps(document).encode(), retained=retained)

    def raw(self, payload: bytes, *, retained: bool = False) -> None:
        self.feed.receive(Message("feeds/x", payload, retained), self.now_s)

    def systems(self, *bodies: dict[str, Any], instance: str = "east") -> None:
        default = {"sys_name": "p25trunk", "type": "p25", "sysid": "1AE", "wacn": "BEE00"}
        self.say("systems", "systems", list(bodies or (default,)), instance=instance, retained=True)

    def grant(self, unit: int = 804329, *, instance: str = "east", **fields: Any) -> None:
        """A unit's `call`, which knows neither state nor emergency."""
        body = call(unit, **fields)
        for name in ("call_state", "mon_state", "rec_state", "emergency"):
            del body[name]
        self.say("call", "call", body, instance=instance)

    def active(self, *calls: dict[str, Any], instance: str = "east", **said: Any) -> None:
        self.say("calls_active", "calls", list(calls) or None, instance=instance, **said)

    def after(self, seconds: float) -> None:
        self.now_s += seconds

    def tick(self) -> Exception | None:
        return self.feed.tick(self.now_s)

    def new(self) -> list[Event]:
        fresh, self._asked = self.events[self._asked :], len(self.events)
        return fresh

    def floor(self) -> list[tuple[str, str]]:
        """New floor events in short: (what, the unit's number or why it ended)."""
        short = []
        for event in self.new():
            if isinstance(event, FloorTaken):
                short.append((type(event).__name__, event.talker.rpartition("/")[2]))
            elif isinstance(event, FloorIdle):
                short.append(("FloorIdle", event.reason))
        return short

    def health(self) -> list[tuple[str, str, str]]:
        return [(e.address, e.health, e.reason) for e in self.new() if isinstance(e, ChannelHealth)]

    def taken(self) -> list[FloorTaken]:
        return [e for e in self.events if type(e) is FloorTaken]
