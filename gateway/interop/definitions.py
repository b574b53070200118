"""What the bridge must know: channels, systems and patches, as the registry has them.

Kept in a file too, so that a bridge that starts while the database is away still bridges.
"""

import contextlib
import dataclasses
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import msgspec

from gateway.interop.model import Direction, Member, Rules, Voice


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ChannelDefinition:
    """A registered channel. org: slug path of its owner. The rest are traits of its system."""

    id: str
    name: str
    org: str
    system_id: str
    receive_only: bool = False
    advisory: bool = False
    can_tell: bool = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PatchMember:
    channel: str
    direction: Direction = Direction.BOTH
    priority: int = 0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PatchDefinition:
    """An enabled patch. Durations in seconds. until: off from then on."""

    id: str
    name: str
    org: str
    hang_s: float
    max_talk_s: float
    queue: bool
    voice: Voice
    members: tuple[PatchMember, ...]
    until: datetime | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class UnitDefinition:
    """One person with many addresses: system id → address."""

    alias: str
    priority: int
    addresses: Mapping[str, str]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Definitions:
    channels: tuple[ChannelDefinition, ...] = ()
    patches: tuple[PatchDefinition, ...] = ()
    units: tuple[UnitDefinition, ...] = ()


def rules_of(patch: PatchDefinition, channels: Mapping[str, ChannelDefinition]) -> Rules:
    """The floor's rules of a patch; members whose channel is gone are left out."""
    members = {
        member.channel: Member(
            channel=member.channel,
            direction=Direction(member.direction),
            priority=member.priority,
            receive_only=channels[member.channel].receive_only,
            advisory=channels[member.channel].advisory,
            can_tell=channels[member.channel].can_tell,
        )
        for member in patch.members
        if member.channel in channels
    }
    return Rules(
        members=members,
        hang_s=patch.hang_s,
        max_talk_s=patch.max_talk_s,
        queue=patch.queue,
        voice=Voice(patch.voice),
    )


def rules_alone(channel: ChannelDefinition) -> Rules:
    """An unpatched channel is a patch of one."""
    member = Member(
        channel=channel.id,
        receive_only=channel.receive_only,
        advisory=channel.advisory,
        can_tell=channel.can_tell,
    )
    return Rules(members={channel.id: member}, hang_s=0.0)


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
