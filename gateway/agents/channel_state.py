"""A channel of a radio system, and what its agent knows of it now."""

import dataclasses
from datetime import datetime

from adapters import events as seam


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """A registered channel as its retained system config gives it. org: slug path."""

    id: str
    address: str
    org: str
    gateway_unit_id: str = ""
    hold_s: float | None = None
    echo_s: float | None = None


@dataclasses.dataclass(slots=True)
class ChannelState:
    """The present of one channel, as on the wire. named: the transmission whose talker was last
    told in a text. quieted: the stream whose emergency a dispatcher ended."""

    channel: Channel
    health: str = "unknown"
    health_reason: str = ""
    talk: seam.FloorTaken | None = None
    talk_since: datetime | None = None
    transmission: str | None = None
    keyed_talker: str = ""
    keyed_alias: str = ""
    keyed_since: datetime | None = None
    last_keyed: str | None = None
    echo_until_s: float = 0.0
    emergency: bool = False
    measured: dict[str, float] = dataclasses.field(default_factory=dict)
    quieted: str = ""
    named: str = ""


def told(talk: seam.FloorTaken) -> tuple[object, ...]:
    """What a channel's state says of a talk; a refresh may know more than the start did."""
    return talk.talker, talk.talker_alias, talk.emergency


def figures(measured: seam.ChannelMeasured) -> dict[str, float]:
    """What is known of it, by name."""
    given = dataclasses.asdict(measured)
    return {name: value for name, value in given.items() if isinstance(value, float | int)}
