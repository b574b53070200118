"""What the bridge must know: channels, systems and patches, as the registry has them.

Kept in a file too, so that a bridge that starts while the database is away still bridges.
"""

import contextlib
import dataclasses
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from gateway.interop.model import Admission, Call, Direction, Member, Rules, Voice
from registry import schedules

SHORTEST_LEASE_S, LONGEST_LEASE_S = 0.5, 10.0
"""No shorter than a few round trips; no longer than an agent takes."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ChannelDefinition:
    """A registered channel. org: slug path of its owner. priority: of its talk. echo_s: how late
    what we key comes back. lease_s: how long a key lives unrenewed. gateway_unit_id: who we are
    there. The rest are traits of its system."""

    id: str
    name: str
    org: str
    system_id: str
    receive_only: bool = False
    advisory: bool = False
    can_tell: bool = False
    identifies_talker: bool = True
    priority: int = 0
    echo_s: float = 0.2
    lease_s: float = 2.0
    gateway_unit_id: str = ""
    voice: tuple[str, ...] = ()

    @property
    def ourselves(self) -> str:
        """The talker that we are, empty where nobody said."""
        return f"{self.system_id}/{self.gateway_unit_id}" if self.gateway_unit_id else ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PatchMember:
    channel: str
    direction: Direction = Direction.BOTH
    priority: int = 0
    muted: bool = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PatchDefinition:
    """An enabled patch. Durations in seconds. until: off from then on. schedule: when it is on, as
    in `registry.schedules`, None for always. allow_units, …: whom it admits, as in `Admission`."""

    id: str
    name: str
    org: str
    hang_s: float
    max_talk_s: float
    queue: bool
    voice: Voice
    members: tuple[PatchMember, ...]
    until: datetime | None = None
    schedule: dict[str, Any] | None = None
    queue_timeout_s: float = 30.0
    revoke_grace_s: float = 0.0
    penalty_s: float = 0.0
    emergency_hold_s: float = 120.0
    encrypted: bool = False
    allow_units: tuple[str, ...] = ()
    deny_units: tuple[str, ...] = ()
    allow_calls: tuple[Call, ...] = ()
    deny_calls: tuple[Call, ...] = ()

    def is_on(self, at: datetime) -> bool:
        if self.until is not None and at >= self.until:
            return False
        return self.schedule is None or schedules.parse(self.schedule).is_on(at)

    def next_change(self, at: datetime) -> datetime | None:
        """When it may go on or off next, None for never."""
        times = [self.until] if self.until is not None and self.until > at else []
        if self.schedule is not None:
            change = schedules.parse(self.schedule).next_change(at)
            times += [change] if change is not None else []
        return min(times, default=None)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class UnitDefinition:
    """One person with many addresses: system id → address, or several; the first is what they
    appear under there."""

    alias: str
    priority: int
    addresses: Mapping[str, str | tuple[str, ...]]
    id: str = ""

    def on(self, system_id: str) -> tuple[str, ...]:
        """Their addresses on a system."""
        found = self.addresses.get(system_id, ())
        return (found,) if isinstance(found, str) else found


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Definitions:
    channels: tuple[ChannelDefinition, ...] = ()
    patches: tuple[PatchDefinition, ...] = ()
    units: tuple[UnitDefinition, ...] = ()


def rules_of(patch: PatchDefinition, channels: Mapping[str, ChannelDefinition]) -> Rules:
    """The floor's rules of a patch; members whose channel is gone are left out."""
    members = {
        member.channel: dataclasses.replace(
            _member(channels[member.channel]),
            direction=Direction(member.direction),
            priority=max(member.priority, channels[member.channel].priority),
            muted=member.muted,
        )
        for member in patch.members
        if member.channel in channels
    }
    return Rules(
        members=members,
        hang_s=patch.hang_s,
        max_talk_s=patch.max_talk_s,
        queue=patch.queue,
        queue_timeout_s=patch.queue_timeout_s,
        revoke_grace_s=patch.revoke_grace_s,
        penalty_s=patch.penalty_s,
        emergency_hold_s=patch.emergency_hold_s,
        bridge_encrypted=patch.encrypted,
        admission=Admission(
            allow_units=frozenset(patch.allow_units),
            deny_units=frozenset(patch.deny_units),
            allow_calls=frozenset(Call(each) for each in patch.allow_calls),
            deny_calls=frozenset(Call(each) for each in patch.deny_calls),
        ),
        voice=Voice(patch.voice),
    )


def _member(channel: ChannelDefinition) -> Member:
    return Member(
        channel=channel.id,
        priority=channel.priority,
        receive_only=channel.receive_only,
        advisory=channel.advisory,
        can_tell=channel.can_tell,
        identifies_talker=channel.identifies_talker,
        echo_s=channel.echo_s,
        lease_s=min(max(channel.lease_s, SHORTEST_LEASE_S), LONGEST_LEASE_S),
        voice=frozenset(channel.voice),
    )


def rules_alone(channel: ChannelDefinition) -> Rules:
    """An unpatched channel is a patch of one."""
    return Rules(members={channel.id: _member(channel)}, hang_s=0.0)


class DefinitionsFile:
    """The copy on disk, replaced as a whole."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def save(self, definitions: Definitions) -> None:
        """Raises: OSError when the disk does not take it; the older copy stays."""
        draft = self._path.with_suffix(".new")
        draft.write_bytes(msgspec.json.encode(definitions))
        os.replace(draft, self._path)

    def load(self) -> Definitions | None:
        """None when there is no readable copy."""
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            return msgspec.json.decode(self._path.read_bytes(), type=Definitions)
        return None
