"""What crosses the seam between an adapter and the gateway: events out, commands in.

Frozen dataclasses only. `address` is always the device's own word for one of its parts: a video
source token, a talkgroup as ``"{slot}/{talkgroup}"``, a PTT channel name, a unit id. Ids of ours
never cross the seam, except `transmission`, which a command carries and an event gives back.
"""

import dataclasses
import enum
from collections.abc import Mapping
from datetime import datetime

EMERGENCY_PRIORITY = 255


class Secret:
    """A string that never shows itself: `repr` and `str` are masked; `reveal()` gives the text."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "Secret('***')" if self._text else "Secret('')"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __bool__(self) -> bool:
        return bool(self._text)


NO_SECRET = Secret("")


# --- voice ------------------------------------------------------------------------------------

AMBE_DMR = "ambe+2"
"""`VoiceFrame.codec` of DMR: 27 bytes are the 216 bits of one voice burst in the order of the air,
that is three AMBE+2 frames of 72 bits with their error correction; 60 ms."""

DRAIN_MS = 360
"""What `UnkeyChannel.drain` may add to a transmission at most."""


class VoiceFlag(enum.IntFlag):
    """first, last: of the talk as it could be heard. A last one that only says so has no payload
    and lasts 0 ms. lost: nothing could be heard, and the payload is empty; a gap in the sequence
    says the same. encrypted: only who has the key can make sense of the payload."""

    FIRST = 1
    LAST = 2
    LOST = 4
    ENCRYPTED = 8


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class VoiceFrame:
    """A piece of talk.

    transmission: the `stream` of a talk that was heard, or the transmission of a `KeyChannel`.
    sequence: from 0, one for each piece of the talk, those that were lost too. media_time_us: from
    the start of the talk to that of this piece. codec: such as `AMBE_DMR`; payload is in it.
    flags: bits of `VoiceFlag`. A frame with `LAST` may be missing: the end of the talk says it too.
    """

    transmission: str
    sequence: int
    media_time_us: int
    codec: str
    duration_ms: int
    flags: int
    payload: bytes


# --- what a device is -------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who a device says it is. Unknown fields are empty."""

    manufacturer: str = ""
    model: str = ""
    serial: str = ""
    firmware: str = ""
    endpoint_reference: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One encoding of a video source.

    name: ``main`` (the largest picture) or ``sub``. token: the device's own name for it.
    codec: ``h264``, ``h265``, ``jpeg``. width, height: pixels, 0 if unknown. fps, bit_rate_bps: 0
    if unknown.
    """

    name: str
    token: str
    codec: str
    width: int = 0
    height: int = 0
    fps: float = 0.0
    bit_rate_bps: int = 0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A video source of a device. channel_number: 1-based, in the device's own order.

    longitude_deg, latitude_deg: WGS-84, where the device knows its place.
    """

    address: str
    name: str
    channel_number: int
    profiles: tuple[Profile, ...]
    capabilities: frozenset[str] = frozenset()
    longitude_deg: float | None = None
    latitude_deg: float | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """What `probe` found. clock_offset_s: device clock minus ours, None if it has no clock.

    notes: sentences for a person about what is odd, such as addresses that were rewritten.
    settings: what the device is to be kept with from here on, such as the fingerprint of the
    certificate that it showed; nothing secret.
    """

    identity: Identity
    sources: tuple[Source, ...]
    clock_offset_s: float | None = None
    notes: tuple[str, ...] = ()
    settings: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Where `discover` looks. interfaces: IPv4 addresses of our own to multicast from, empty for
    all that are up; subnets: CIDR blocks to probe by unicast; port: of the discovery protocol,
    0 for its standard one; timeout_s: how long answers are awaited."""

    interfaces: tuple[str, ...] = ()
    subnets: tuple[str, ...] = ()
    port: int = 0
    timeout_s: float = 2.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A device that answered a discovery. endpoint: what to register it with. answered_from: the
    address that its answer came from, which may be another one than it announces."""

    endpoint: str
    endpoint_reference: str = ""
    name: str = ""
    hardware: str = ""
    location: str = ""
    answered_from: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An encoded picture. content_type: ``image/jpeg``."""

    data: bytes
    content_type: str
    at: datetime


# --- events -----------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Base of all events. at: when it happened, by this machine's clock, with a zone."""

    at: datetime


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Online(Event):
    """The device or system answers, and is whom we meant. Also ends an earlier failure."""

    identity: Identity | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Malformed(Event):
    """Something arrived that is not of the protocol: counted, and the next good one is read."""

    reason: str
    peer: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SourceEvent(Event):
    """Something about one video source."""

    address: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SourceStatus(SourceEvent):
    """status: ``online``, ``offline``, ``fault``."""

    status: str
    reason: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SourceCondition(SourceEvent):
    """Something about a source that begins and ends.

    active: it is so from now on, or no longer; None for what has no duration. initial: the device
    was asked how it stands, nothing happened just now.
    """

    active: bool | None
    initial: bool = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Motion(SourceCondition):
    pass


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Tamper(SourceCondition):
    pass


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SignalLost(SourceCondition):
    """The source gives no picture; while it is active the source is in fault."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Alarm(SourceCondition):
    """kind: ``digital_input``, ``storage``, ``clock``, ``intrusion`` … part: which input, disk or
    rule, by the device's own name. An empty address is the device as a whole."""

    kind: str
    part: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Unrecognised(Event):
    """The device reports something that the adapter does not know: worth a case of its own.

    kind: what the device calls it. sample: the message as a file of tests/cases would hold it,
    with no word in it that could name a person or a plate.
    """

    kind: str
    sample: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SystemEvent(Event):
    """Something about a radio system as a whole."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class UnitRegistered(SystemEvent):
    unit: str
    alias: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class UnitDeregistered(SystemEvent):
    unit: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class UnitLocation(SystemEvent):
    """Where a unit is: by its own receiver (WGS-84), or by the site that it is registered at.
    place: street address, where the system says it."""

    unit: str
    unit_alias: str = ""
    longitude_deg: float | None = None
    latitude_deg: float | None = None
    site: str = ""
    place: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PrivateTalk(SystemEvent):
    """One unit calls another: shown and recorded, never bridged. active: it begins, or ends."""

    unit: str
    unit_alias: str = ""
    to: str
    active: bool


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TalkRefused(SystemEvent):
    """The system itself let a unit wait or refused it. unit, address: empty where it does not
    say who asked for which channel."""

    unit: str = ""
    address: str = ""
    queued: bool = False
    reason: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ChannelsPatched(SystemEvent):
    """The system itself joins these channels, or no longer."""

    addresses: tuple[str, ...]
    active: bool


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ChannelEvent(Event):
    """Something on one channel (talkgroup or PTT group)."""

    address: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ChannelHealth(ChannelEvent):
    """health: ``ok``, ``degraded``, ``down``. reason: one clause for a person, empty when ok."""

    health: str
    reason: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ChannelMeasured(ChannelEvent):
    """How a channel is received; None is not known. Sent seldom: at the end of a talk, or every
    few seconds of one.

    lag_s: how late its ends are told. rssi_dbm, noise_dbm: of the receiver. bit_error_percent,
    loss_percent: of the last talk. clock_offset_s: the reporting system's clock minus ours.
    stations: at how many repeaters it goes out now.
    """

    lag_s: float | None = None
    rssi_dbm: float | None = None
    noise_dbm: float | None = None
    bit_error_percent: float | None = None
    loss_percent: float | None = None
    clock_offset_s: float | None = None
    stations: int | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FloorTaken(ChannelEvent):
    """A unit talks on the channel.

    stream: the system's own id of this talk. talker: unit address, empty if the system has none.
    priority: 0 lowest .. 255 emergency. hold_s: the talk is over when not refreshed within it,
    at least three times the refresh interval. caused_by: the transmission of ours that this is
    the echo of, else None; such a talk is never bridged.
    """

    stream: str
    talker: str
    talker_alias: str = ""
    priority: int = 0
    emergency: bool = False
    encrypted: bool = False
    late_entry: bool = False
    hold_s: float
    caused_by: str | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FloorRefreshed(FloorTaken):
    """The talk goes on. Sent at most once a second; carries all of its start for late readers."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FloorIdle(ChannelEvent):
    """The talk is over. reason: ``released``, ``timeout``, ``lost``, ``system``."""

    stream: str
    reason: str = "released"
    caused_by: str | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class VoiceHeard(ChannelEvent):
    """A piece of the talk that a `FloorTaken` of this address began: after that one, and before
    its `FloorIdle`. The transmission of the frame is that event's `stream`. Sent for channels
    that are registered and for talks that are not the echo of ours; never kept for later. Each
    number is told once at most, and may come after a later one. A talk that is taken anew, after
    `FloorIdle` and under the same stream, counts from 0 again."""

    frame: VoiceFrame


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class EmergencyRaised(ChannelEvent):
    unit: str
    unit_alias: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class EmergencyCleared(ChannelEvent):
    unit: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class UnitAffiliated(ChannelEvent):
    unit: str
    alias: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TextMessage(ChannelEvent):
    unit: str
    unit_alias: str = ""
    text: str


# --- commands ---------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """Base of all commands. address: the channel or source that it is for."""

    address: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class KeyChannel(Command):
    """Begin to transmit on a channel; until `UnkeyChannel` with the same transmission.

    Leases are not the adapter's: the agent unkeys when one runs out. Repeated with the same
    transmission it is `done` and changes nothing. talker_source: the address, on this system, of
    the account or unit that should appear as the talker, empty for the gateway's own.
    """

    transmission: str
    talker_alias: str = ""
    talker_source: str = ""
    priority: int = 0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class UnkeyChannel(Command):
    """End our transmission. One that is not there is `done`.

    drain: voice that was given to `send_voice` is sent first, `DRAIN_MS` at most; the command is
    `done` at once all the same. For the regular end of a talk only. Whatever else wants the
    channel meanwhile cuts it short: a key, a radio, the same command without `drain`.
    """

    transmission: str
    drain: bool = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SendText(Command):
    text: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SendLocation(Command):
    """Show a place to those on a channel. longitude_deg, latitude_deg: WGS-84. accuracy_m: 0 if
    unknown. place: street address, empty if unknown."""

    longitude_deg: float
    latitude_deg: float
    accuracy_m: float = 0.0
    place: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class MovePtz(Command):
    """Continuous movement. pan, tilt, zoom: -1..1 of full speed; stops after duration_ms."""

    pan: float = 0.0
    tilt: float = 0.0
    zoom: float = 0.0
    duration_ms: int = 500


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ShiftPtz(Command):
    """Movement by a way. pan, tilt, zoom: -1..1 of the whole range."""

    pan: float = 0.0
    tilt: float = 0.0
    zoom: float = 0.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PlacePtz(Command):
    """Movement to a place. pan, tilt: -1..1 from one end to the other, 0 the middle; zoom: 0 wide
    .. 1 near. None leaves an axis as it is; pan and tilt go together."""

    pan: float | None = None
    tilt: float | None = None
    zoom: float | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ListPresets(Command):
    """The outcome has the names."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class GoToPreset(Command):
    name: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SetPreset(Command):
    """Keep where it points now under a name; one of that name is replaced."""

    name: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RemovePreset(Command):
    name: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FindPreset(Command):
    """The outcome has the names of the presets at which it stands: none while it moves, or stands
    elsewhere. A device that does not tell where it points does not support this."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SetClock(Command):
    """Set the device's clock to this machine's time. An empty address: the device as a whole."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RequestKeyframe(Command):
    """Have a stream of the source go on with a keyframe, for who has just begun to watch it.
    profile: ``main`` or ``sub``."""

    profile: str = "main"


class Result(enum.StrEnum):
    DONE = "done"
    BUSY = "busy"
    REFUSED = "refused"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a command. reason: for a person, empty when done. presets: the names that
    were asked for. missing: what the command names is not there."""

    result: Result
    reason: str = ""
    presets: tuple[str, ...] = ()
    missing: bool = False


DONE = Outcome(result=Result.DONE)


# --- media ------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RtspSource:
    """Where a stream can be had by RTSP. url has no credentials.

    transport: ``tcp`` or ``udp``, which is tried first. certificate_sha256: for rtsps, the only
    certificate that is trusted, in hexadecimal; empty for what the machine trusts. allow_basic:
    whether the password may be shown to the wire where nothing better than Basic is offered and
    the connection is not encrypted.
    """

    url: str
    username: str = ""
    password: Secret = NO_SECRET
    transport: str = "tcp"
    certificate_sha256: str = ""
    allow_basic: bool = False
