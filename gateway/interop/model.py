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


class Call(enum.StrEnum):
    """What lists of call types name."""

    VOICE = "voice"
    EMERGENCY = "emergency"
    DISPATCH = "dispatch"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A channel in a patch. priority: 0..254, added as a floor under its talkers' own.

    muted: a dispatcher lets it listen only. receive_only, advisory, can_tell, identifies_talker,
    echo_s: traits of the channel's system, and voice: the codecs it passes both ways. lease_s: how
    long one key lives there, None for the patch's.
    """

    channel: str
    direction: Direction = Direction.BOTH
    priority: int = 0
    muted: bool = False
    receive_only: bool = False
    advisory: bool = False
    can_tell: bool = False
    identifies_talker: bool = True
    echo_s: float = 0.2
    voice: frozenset[str] = frozenset()
    lease_s: float | None = None

    @property
    def may_talk(self) -> bool:
        return self.direction in (Direction.BOTH, Direction.TALK) and not self.muted


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Whose talk may be bridged. allow: empty for everybody; deny goes first. Units by their id
    or by ``{system_id}/{address}``; calls by `Call`."""

    allow_units: frozenset[str] = frozenset()
    deny_units: frozenset[str] = frozenset()
    allow_calls: frozenset[Call] = frozenset()
    deny_calls: frozenset[Call] = frozenset()

    def refuses(self, names: frozenset[str], call: Call) -> bool:
        """names: what the talker is called, empty for a dispatcher, whom only calls concern."""
        if call in self.deny_calls or (self.allow_calls and call not in self.allow_calls):
            return True
        if call is Call.DISPATCH:
            return False
        return bool(names & self.deny_units) or bool(
            self.allow_units and not names & self.allow_units
        )


EVERYBODY = Admission()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a patch was told to be. Durations in seconds.

    queue_timeout_s: the longest wait in the queue. revoke_grace_s: what a talker who is outranked
    still has; an emergency waits for nobody. penalty_s: how long who was cut at max_talk_s a
    second time stays off, doubled each further time; 0 for never. emergency_hold_s: an emergency
    without talk and without a clear is over after it.
    """

    members: Mapping[str, Member]
    hang_s: float = 2.0
    max_talk_s: float = 60.0
    queue: bool = False
    queue_timeout_s: float = 30.0
    revoke_grace_s: float = 0.0
    penalty_s: float = 0.0
    emergency_hold_s: float = 120.0
    admission: Admission = EVERYBODY
    voice: Voice = Voice.SILENCE
    bridge_encrypted: bool = False
    lease_s: float = 2.0

    def lease_of(self, channel: str) -> float:
        """Seconds that one key lives on a member."""
        return self.members[channel].lease_s or self.lease_s

    def passes(self, talker: str | None, channel: str) -> Voice:
        """What passes from a talker's member to another. A dispatcher, None, sends no voice and
        knows it: where voice frames pass between others, they key silence."""
        if self.voice is not Voice.FRAMES:
            return self.voice
        if talker is None:
            return Voice.SILENCE
        one, other = self.members.get(talker), self.members.get(channel)
        shared = one is not None and other is not None and one.voice & other.voice
        return Voice.FRAMES if shared else Voice.EVENTS

    def reaches(self, talker: str) -> bool:
        """Is there anybody in the patch for this member to talk to? Else its talk is shown and
        recorded, and must keep nobody off the floor who would be heard."""
        return self.voice is not Voice.FRAMES or any(
            each != talker and self.keyable(each) and self.passes(talker, each) is Voice.FRAMES
            for each in self.members
        )

    def refuses(self, talk: "Talk") -> str:
        """Why a talk is told that it is not carried, empty where it may be."""
        names = frozenset(name for name in (talk.unit, talk.talker) if name)
        if self.admission.refuses(names, talk.call):
            return "the patch does not admit this talk"
        if talk.channel is None and not any(self.keyable(each) for each in self.members):
            return "nobody here can be keyed"  # and nobody is to believe that they are heard
        return ""

    def keyed_for(self, talk: "Talk", channel: str) -> bool:
        """Is a member keyed while this talk holds the floor? Pair by pair."""
        return self.keyable(channel) and self.passes(talk.channel, channel) is not Voice.EVENTS

    def keyable(self, channel: str) -> bool:
        """May a member be keyed by anybody?"""
        member = self.members[channel]
        return (
            self.voice is not Voice.EVENTS
            and member.direction in (Direction.BOTH, Direction.LISTEN)
            and not member.receive_only
        )


class Standing(enum.StrEnum):
    """Where a talk stands: it holds the floor, waits for it, is kept off it until its stream
    ends, or is only of its own channel (listen-only member, encrypted, nobody shares its codec)."""

    HOLDER = "holder"
    WAITING = "waiting"
    BARRED = "barred"
    LOCAL = "local"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Talk:
    """Somebody who talks now, on a member's channel or, with channel None, at a console.

    pressed_on: the channel that a dispatcher pressed on. unit: id of the talker's unit, empty for
    one that nobody registered. plain_priority: without the emergency. advisory: heard through a
    system that tells late that it is over. decided: they were told where they stand; position:
    their place in the queue when they were last told; queued_at_s: None for who waits in none.
    """

    channel: str | None
    pressed_on: str | None = None
    stream: str
    talker: str
    talker_alias: str = ""
    unit: str = ""
    priority: int = 0
    plain_priority: int = 0
    emergency: bool = False
    encrypted: bool = False
    advisory: bool = False
    standing: Standing = Standing.WAITING
    decided: bool = False
    position: int = 0
    queued_at_s: float | None = None
    order: int = 0
    since_s: float
    heard_s: float
    hold_s: float

    @property
    def rank(self) -> int:
        """Who goes first: any other talk, even the lowest, goes before an advisory one."""
        return self.priority - (EMERGENCY_PRIORITY + 1 if self.advisory else 0)

    @property
    def call(self) -> Call:
        if self.channel is None:
            return Call.DISPATCH
        return Call.EMERGENCY if self.emergency else Call.VOICE


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
class Emergency:
    """Of a unit on a channel; it outlives their talk. heard_s: when they were last heard."""

    channel: str
    talker: str
    talker_alias: str = ""
    since_s: float
    heard_s: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Offence:
    """Who was cut at the talk limit. until_s: they stay off the floor till then."""

    count: int
    last_s: float
    until_s: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Follow:
    """A talk on a member that followed a key of ours, as long as it was."""

    delay_s: float
    length_s: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """The floor of one patch. talks: by channel id, or ``user/{user_id}``; one each.

    holder: key into talks. transmission: what every member is keyed with while it is held;
    unique through tag, which no other floor and no other bridge epoch has. barred: the stream
    last cut on each channel, whose late frames never reopen it. revoke_at_s: when the holder,
    who is outranked, must be off. emergencies: by (channel, talker). quieted: the stream on each
    channel whose emergency was cleared while it goes on. undelivered: members that the holder's
    emergency did not reach. offences: by unit, or talker. carried: the talk that was last granted
    the floor, as it was then. spans: when we last keyed, (from, to). follows, suspended: what the
    breaker saw, by member, and whom it took out. unkeyed_at_s: by member, for echoes.
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
    revoke_at_s: float | None = None
    emergencies: Mapping[tuple[str, str], Emergency] = dataclasses.field(default_factory=dict)
    quieted: Mapping[str, str] = dataclasses.field(default_factory=dict)
    undelivered: frozenset[str] = frozenset()
    offences: Mapping[str, Offence] = dataclasses.field(default_factory=dict)
    carried: Talk | None = None
    spans: tuple[tuple[float, float], ...] = ()
    follows: Mapping[str, tuple[Follow, ...]] = dataclasses.field(default_factory=dict)
    suspended: frozenset[str] = frozenset()
    unkeyed_at_s: Mapping[str, float] = dataclasses.field(default_factory=dict)
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
    unit: str = ""
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
class EmergencyRaised:
    """A system says so, with or without a talk."""

    channel: str
    talker: str
    talker_alias: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class EmergencyCleared:
    """By the system, or by a dispatcher. talker: empty for all on the channel."""

    channel: str
    talker: str = ""
    user: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class MemberResumed:
    """A dispatcher puts a suspended member back."""

    channel: str
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
    | EmergencyRaised
    | EmergencyCleared
    | MemberResumed
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
    """decision: ``granted``, ``denied``, ``queued``, ``revoked``. position: 1 is next.

    grace_s: the floor is still theirs for so long. again: only the position is new. user: the
    dispatcher who decided it.
    """

    decision: str
    talk: Talk
    reason: str = ""
    position: int = 0
    late_entry: bool = False
    grace_s: float = 0.0
    again: bool = False
    user: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class EmergencyChanged:
    """change: ``raised``, ``cleared``, or ``undelivered`` to the member on channel. by: what or
    who did it: ``talk``, ``system``, ``timeout``, or a user."""

    change: str
    channel: str
    talker: str
    talker_alias: str = ""
    by: str = ""
    reason: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Suspended:
    """The breaker took a member out, or, with a user, a dispatcher put it back."""

    channel: str
    reason: str
    user: str = ""


Told = Decided | EmergencyChanged | Suspended
Effect = Key | Unkey | Told
