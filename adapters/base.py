"""The seam: what an adapter is to the gateway. Standard library only.

This is version 1 (`SEAM_VERSION`), in which the public names of `adapters.base`, `adapters.events`
and `adapters.errors` are frozen: an adapter that keeps the contract of `adapters.testing` today
keeps it as long as the version stays. Without a new version there may come

- a capability, an event, a command, or an error below one of those there are;
- a field with a default in any dataclass of the seam (all are given by keyword);
- a method of `Adapter` that is not abstract, whose default says "cannot" or does nothing;
- a value of a text that is open by its description, such as `Alarm.kind`;
- a check of the contract for what the descriptions here promise already.

So an adapter answers a command that it does not know with `NotSupported`, and who reads events
passes over those that it does not know. Everything else asks for a new version: a name that goes,
another type, default, order, unit or meaning, a field without a default, a method that must be
written, an error whose `retryable` turns. `adapters.media` is for the kinds that come with the
gateway; of it, only what its `__all__` names is meant for others.
"""

import abc
import dataclasses
import enum
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, ClassVar

from adapters.errors import NotSupported
from adapters.events import (
    Command,
    Event,
    Found,
    Image,
    Inventory,
    Outcome,
    RtspSource,
    Scope,
    VoiceFrame,
)

SEAM_VERSION = 1
"""The version of the seam that this gateway has; see above for what it promises."""

Emit = Callable[[Event], None]
"""Takes an event and returns at once; called from the event loop that runs the adapter."""


class Capability(enum.StrEnum):
    """What an adapter can do beyond `run`. What it does not declare raises `NotSupported`."""

    DISCOVER = "discover"
    PROBE = "probe"
    MEDIA = "media"
    SNAPSHOT = "snapshot"
    PTZ = "ptz"
    KEY = "key"
    TEXT = "text"
    LOCATION = "location"
    VOICE = "voice"


class Granting(enum.StrEnum):
    """Who grants the floor of a system: it does by itself, or it asks (or can be asked)."""

    LOCAL = "local"
    ASKS = "asks"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RadioTraits:
    """What a radio system can and cannot do; the bridge decides by it.

    granting: who grants. can_revoke: a talk of its own can be ended from outside. can_tell: a
    unit can be told why. identifies_talker: starts name the unit. carries_alias: our own starts
    show who talks; without it a text that names them goes before. receive_only: it cannot be
    keyed. advisory: it is told late that a talk is over, so any other member takes the floor from
    it. resource: what one talk occupies (``channel``, ``timeslot``). hold_s: how long a talk
    lives unrefreshed. lease_s: how long a key of ours lives unrenewed, 0.5 to 10. echo_s: how late
    our own key may come back. voice: the codecs that pass both ways, as `VoiceHeard` and by
    `send_voice`; none where only events pass.
    """

    granting: Granting = Granting.LOCAL
    can_revoke: bool = False
    can_tell: bool = False
    identifies_talker: bool = True
    carries_alias: bool = True
    receive_only: bool = False
    advisory: bool = False
    resource: str = "channel"
    hold_s: float = 3.0
    echo_s: float = 0.2
    lease_s: float = 2.0
    voice: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AccessUnit:
    """One coded picture or audio frame of a track.

    data: video in Annex-B-free form, each NAL unit preceded by its length in 4 bytes; audio as
    the codec's frame. pts_us: presentation time since the stream began.
    """

    track: int
    pts_us: int
    keyframe: bool
    data: bytes
    discontinuity: bool = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TrackFormat:
    """The format of a track from here on; the next access unit of that track is a keyframe.

    kind: ``video`` or ``audio``. codec: an RFC 6381 string such as ``avc1.42c01e``,
    ``hvc1.1.6.L93.B0``, ``pcma``, ``pcmu``, ``mp4a.40.2``. description: avcC, hvcC or
    AudioSpecificConfig bytes, empty where the codec has none.
    """

    track: int
    kind: str
    codec: str
    description: bytes
    width: int = 0
    height: int = 0
    sample_rate_hz: int = 0
    channels: int = 0


MediaItem = TrackFormat | AccessUnit
"""A stream is a sequence of these; every track begins with its `TrackFormat`."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PacketSource:
    """A stream that the adapter itself delivers: `async with source.open() as items`."""

    open: Callable[[], AbstractAsyncContextManager[AsyncIterator[MediaItem]]]


MediaSource = RtspSource | PacketSource
"""Describes a stream; it does not connect."""


class Adapter(abc.ABC):
    """One device or system. Subclass, say what you can do, and write `run`.

    settings: an instance of `Settings`. channels: for radio and PTT, the addresses of the
    channels that are registered; traffic on others is reported too. seam_version: what the class
    was written for; another than `SEAM_VERSION` is not loaded.
    """

    seam_version: ClassVar[int] = 1
    capabilities: ClassVar[frozenset[Capability]] = frozenset()
    traits: ClassVar[RadioTraits | None] = None
    Settings: ClassVar[type[Any]]

    def __init__(self, settings: Any, channels: Sequence[str] = ()) -> None:
        self.settings = settings
        self.channels = tuple(channels)

    def take_over(self, before: "Adapter") -> None:
        """Take over what the adapter that ran before this one left at the device, such as a
        subscription; called before `run`, when that one has ended."""
        return

    @abc.abstractmethod
    async def run(self, emit: Emit) -> None:
        """Connect, emit `Online`, report until cancelled.

        Never retries and never returns: the supervisor starts it again. Cancelling it leaves no
        task, socket, thread or transmission behind.
        Raises: AdapterError; its class says whether a retry can help.
        """

    @classmethod
    def discover(cls, scope: Scope) -> AsyncIterator[Found]:
        """Look for devices of this kind in scope, each endpoint once."""
        raise NotSupported("this kind of device cannot be discovered")

    @classmethod
    def announcements(cls, scope: Scope) -> AsyncIterator[Found]:
        """Devices of this kind that say by themselves that they have come, each time they do, for
        ever. scope: on which interfaces to listen; nothing is sent."""
        raise NotSupported("this kind of device announces nothing")

    async def probe(self) -> Inventory:
        """One shot: connect, ask who it is and what sources it has, disconnect."""
        raise NotSupported("this kind of device cannot be probed")

    async def execute(self, command: Command) -> Outcome:
        """Carry out a command. `busy` and `refused` are outcomes, a broken link is an error."""
        raise NotSupported("this kind of device takes no commands")

    async def snapshot(self, address: str) -> Image:
        """One picture of a source, from the device's own snapshot service."""
        raise NotSupported("this kind of device gives no snapshots")

    async def open_media(self, address: str, profile: str) -> MediaSource:
        """Where the stream of a source and profile (``main``, ``sub``) can be had."""
        raise NotSupported("this kind of device gives no media")

    async def send_voice(self, frames: AsyncIterator[VoiceFrame]) -> None:
        """Send voice in a transmission that `KeyChannel` was `done` for, in place of silence.

        frames: all carry that transmission, in a codec of `RadioTraits.voice`; others are passed
        over. They come as they are heard, so late, lost, twice or out of order: the adapter
        puts them in order and keeps the time. Returns when they end, or, from the first of them
        on, when the transmission does; that is not an error, nor is a transmission that is not
        there. Neither ending nor cancelling this unkeys.
        """
        raise NotSupported("this kind of system takes no voice")
