"""The words of floor control: rules of a patch, what happens to it, what follows. Pure.

Terms of 3GPP TS 24.380. Times are seconds of one monotonic clock of the bridge.
"""

import dataclasses
import enum
from collections.abc import Mapping

EMERGENCY_PRIORITY = 255


class Direction(enum.StrEnum):
    """What a member takes part in: both ways, only into the patch, only out of it."""

    BOTH = "both"
    TALK = "talk"
    LISTEN = "listen"


class Voice(enum.StrEnum):
    """What passes where: voice frames, keyed silence, or only what is shown and recorded."""

    FRAMES = "frames"
    SILENCE = "silence"
    EVENTS = "events"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A channel in a patch. priority: 0..254, added as a floor under its talkers' own.

    receive_only, can_tell: traits of the channel's system.
    """

    channel: str
    direction: Direction = Direction.BOTH
    priority: int = 0
    receive_only: bool = False
    can_tell: bool = False

    @property
    def may_talk(self) -> bool:
        return self.direction in (Direction.BOTH, Direction.TALK)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a patch was told to be. Durations in seconds."""

    members: Mapping[str, Member]
    hang_s: float = 2.0
    max_talk_s: float = 60.0
    queue: bool = False
    voice: Voice = Voice.SILENCE
    bridge_encrypted: bool = False
    lease_s: float = 2.0

    def keyable(self, channel: str) -> bool:
        member = self.members[channel]
        return (
            self.voice is not Voice.EVENTS
            and member.direction in (Direction.BOTH, Direction.LISTEN)
            and not member.receive_only
        )


class Standing(enum.StrEnum):
    """Where a talk stands: it holds the floor, waits for it, is kept off it until its stream
    ends, or is only of its own channel (listen-only member, encrypted)."""

    HOLDER = "holder"
    WAITING = "waiting"
    BARRED = "barred"
    LOCAL = "local"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Talk:
    """Somebody who talks now, on a member's channel or, with channel None, at a console.

    pressed_on: the channel that a dispatcher pressed on.
    """

    channel: str | None
    pressed_on: str | None = None
    stream: str
    talker: str
    talker_alias: str = ""
    priority: int = 0
    emergency: bool = False
    encrypted: bool = False
    standing: Standing = Standing.WAITING
    decided: bool = False
    order: int = 0
    since_s: float
    heard_s: float
    hold_s: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Keyed:
    """A member that we key."""

    renew_at_s: float
    confirmed: bool = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Missed:
    """A member that should be keyed and is not. retry_at_s: None until something changes."""

    reason: str
    retry_at_s: float | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """The floor of one patch. talks: by channel id, or ``user/{user_id}``; one each.

    holder: key into talks. transmission: what every member is keyed with while it is held;
    unique through tag, which no other floor and no other bridge epoch has. barred: the stream
    last cut on each channel, whose late frames never reopen it.
    """

    tag: str
    rules: Rules
    present: frozenset[str] = frozenset()
    talks: Mapping[str, Talk] = dataclasses.field(default_factory=dict)
    holder: str | None = None
    transmission: str = ""
    granted_at_s: float = 0.0
    keyed: Mapping[str, Keyed] = dataclasses.field(default_factory=dict)
    missed: Mapping[str, Missed] = dataclasses.field(default_factory=dict)
    hang_until_s: float = 0.0
    last_priority: int = 0
    barred: Mapping[str, str] = dataclasses.field(default_factory=dict)
    count: int = 0

    @property
    def talk(self) -> Talk | None:
        """The talk that holds the floor."""
        return self.talks[self.holder] if self.holder is not None else None


# --- what happens -------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TalkHeard:
    """`floor.taken` or `floor.refreshed` of a member's channel."""

    channel: str
    stream: str
    talker: str
    talker_alias: str = ""
    priority: int = 0
    emergency: bool = False
    encrypted: bool = False
    hold_s: float = 3.0
    caused_by: str | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TalkEnded:
    """`floor.idle` of a member's channel."""

    channel: str
    stream: str
    reason: str = "released"
    caused_by: str | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class KeyAnswered:
    """`command.result` of a key: outcome ``done``, ``busy`` or ``refused``."""

    channel: str
    transmission: str
    outcome: str
    reason: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class MemberPresent:
    """A member's agent came or went."""

    channel: str
    present: bool


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Pressed:
    """A dispatcher holds the key at a console; repeated while held. channel: pressed on."""

    user: str
    channel: str | None = None
    alias: str
    priority: int = 0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    user: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Cleared:
    """A dispatcher clears the floor; who talks is barred until the talk ends."""

    user: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RulesChanged:
    rules: Rules


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """Time went on."""


Input = (
    TalkHeard
    | TalkEnded
    | KeyAnswered
    | MemberPresent
    | Pressed
    | Released
    | Cleared
    | RulesChanged
    | Tick
)


# --- what follows -------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """Key a channel for one lease; repeated with the same transmission to renew it."""

    channel: str
    transmission: str
    talk: Talk
    renewal: bool = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Unkey:
    channel: str
    transmission: str
    reason: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """decision: ``granted``, ``denied``, ``queued``, ``revoked``. position: 1 is next."""

    decision: str
    talk: Talk
    reason: str = ""
    position: int = 0
    late_entry: bool = False


Effect = Key | Unkey | Decided
