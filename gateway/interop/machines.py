"""What the bridge keeps of each floor and of each agent, and what it counts."""

import asyncio
import dataclasses
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from gateway.interop import model
from gateway.interop.definitions import PatchDefinition
from gateway.interop.patch_test import PatchTest
from gateway.interop.showing import voice_between


@dataclasses.dataclass(slots=True)
class Machine:
    """One floor: of a patch, or of a channel alone."""

    id: str
    org: str
    patch: PatchDefinition | None
    floor: model.Floor
    sequence: int = 0
    shown: dict[str, Any] | None = None
    since: datetime | None = None
    timer: asyncio.TimerHandle | None = None
    test: PatchTest | None = None
    _voices: tuple[model.Rules, Mapping[str, str]] | None = None

    @property
    def patch_id(self) -> str | None:
        """None for a channel alone."""
        return self.patch.id if self.patch else None

    def voices(self) -> Mapping[str, str]:
        """How far voice passes between each member and the others; looked at anew only when the
        rules are new."""
        rules = self.floor.rules
        if self._voices is None or self._voices[0] is not rules:
            self._voices = (rules, voice_between(rules))
        return self._voices[1]


@dataclasses.dataclass(slots=True)
class AgentOf:
    """Who speaks for a channel, as its retained state says. org: the topic that says so."""

    org: str
    node: str
    epoch: str
    health: str
    sequence: int = 0


@dataclasses.dataclass(slots=True)
class BridgeCounters:
    events: int = 0
    repeats: int = 0
    foreign: int = 0
    commands: int = 0
    decisions: int = 0
    unreadable: int = 0
    echoes: int = 0
