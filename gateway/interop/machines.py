"""What the bridge keeps of each floor and of each agent, and what it counts."""

import asyncio
import dataclasses
from datetime import datetime
from typing import Any

from gateway.interop import model
from gateway.interop.definitions import PatchDefinition
from gateway.interop.patch_test import PatchTest


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
