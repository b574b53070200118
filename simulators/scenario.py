"""A district of simulators from one YAML file: what may stand in it, and what is wrong with it.

The schema is described in simulators/README.md.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from simulators.homebrew_repeater import Station
from simulators.onvif_camera import CameraSpec
from simulators.onvif_camera.personas import merged
from simulators.rtsp_camera import RtspCameraSpec
from simulators.trunk_recorder import Site

Location = tuple[str | int, ...]
Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(ge=0)]
DmrId = Annotated[int, Field(ge=1, le=0xFFFFFF)]


class BadScenario(Exception):
    """A file that cannot be used; problems: one line each, with where and what."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _with_identity(given: Any) -> Any:
    """A camera needs no serial number of its own in a file, and may be a persona."""
    if not isinstance(given, dict):
        return given
    given = merged(given)
    name = given.get("name", "")
    return {
        "serial": f"SIM-{name}",
        "manufacturer": "Hutong",
        "model": "Simulated camera",
        "firmware": "1.0",
        **given,
    }


class Discovery(_Part):
    """WS-Discovery; port 0 takes a free one."""

    port: Port = 3702
    interfaces: tuple[str, ...] = ("127.0.0.1",)


class Cameras(_Part):
    """clip_cache: a directory that keeps encoded clips. discovery: none if left out."""

    clip_cache: Path | None = None
    discovery: Discovery | None = None
    onvif: tuple[Annotated[CameraSpec, BeforeValidator(_with_identity)], ...] = ()
    rtsp: tuple[RtspCameraSpec, ...] = ()


class RadioPart(_Part):
    id: DmrId
    alias: str = ""
    talkgroups: tuple[DmrId, ...] | None = None


class RepeaterPart(_Part):
    """As `Repeater`; radios are those that are on it."""

    id: Annotated[int, Field(ge=1, le=0xFFFFFFFF)]
    passphrase: str
    callsign: str = "HT0001"
    station: Station = Station()
    options: str = ""
    ping_interval_s: Annotated[float, Field(gt=0)] = 5.0
    max_missed_pings: Annotated[int, Field(ge=1)] = 3
    loss: Annotated[float, Field(ge=0, le=1)] = 0.0
    seed: int | None = None
    radios: tuple[RadioPart, ...] = ()


class Master(_Part):
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 62031


class Homebrew(_Part):
    master: Master = Master()
    repeaters: tuple[RepeaterPart, ...] = ()


class PhonePart(_Part):
    """channels: those it is on, all if left out."""

    name: Annotated[str, Field(min_length=1)]
    channels: tuple[str, ...] | None = None


class ZelloPart(_Part):
    """As `ZelloServer`."""

    host: str = "127.0.0.1"
    port: Port = 0
    accounts: dict[str, str] = {}
    channels: tuple[str, ...] = ()
    phones: tuple[PhonePart, ...] = ()
    require_token: bool = False
    ping_s: Annotated[float, Field(gt=0)] = 30.0
    ready_delay_s: Seconds = 0.0


class FeedBroker(_Part):
    """The broker that recorders and hosts publish to; the gateway's own, or any other."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 1883
    username: str = ""
    password: str = ""


class UnitPart(_Part):
    """A radio that a feed tells of. site: of a trunk-recorder, its first one if left out."""

    id: DmrId
    alias: str = ""
    site: str | None = None


class FeedPart(_Part):
    """name: what the timeline calls it by."""

    name: Annotated[str, Field(min_length=1)]
    units: tuple[UnitPart, ...] = ()


class RecorderPart(FeedPart):
    """As `TrunkRecorder`; name is its instance_id."""

    name: Annotated[str, Field(min_length=1)] = "east-antenna"
    topic: str = "feeds"
    unit_topic: str = "units"
    message_topic: str = "messages"
    sites: Annotated[tuple[Site, ...], Field(min_length=1)] = (
        Site(sys_num=0, sys_name="p25trunk"),
    )
    typing: Literal["numbers", "strings"] = "numbers"


class HostPart(FeedPart):
    """As `MmdvmHost`; name is that of its topics."""

    name: Annotated[str, Field(min_length=1)] = "mmdvm"
    dialect: Literal["ids", "src"] = "ids"
    client_id: str | None = None


class Feeds(_Part):
    """What is published on a broker rather than said on a wire of its own."""

    broker: FeedBroker = FeedBroker()
    trunk_recorders: tuple[RecorderPart, ...] = ()
    mmdvm_hosts: tuple[HostPart, ...] = ()


class Control(_Part):
    """Where the control API listens; loopback only."""

    host: Literal["127.0.0.1", "::1"] = "127.0.0.1"
    port: Port = 0


class PeakPart(_Part):
    """From at_s on, for for_s, so many presses a second more."""

    at_s: Seconds
    for_s: Annotated[float, Field(gt=0)]
    presses_s: Annotated[float, Field(gt=0, le=1000)]


class Traffic(_Part):
    """Everybody presses at random: radios on one of their talkgroups, or of these, phones on one of
    their channels. presses_s: presses a second of all together; talk_s: mean length."""

    presses_s: Annotated[float, Field(ge=0, le=1000)] = 0.0
    talk_s: Annotated[float, Field(gt=0)] = 10.0
    talkgroups: tuple[DmrId, ...] = ()
    peaks: tuple[PeakPart, ...] = ()
    seed: int | None = None


Action = Literal[
    "press",
    "release",
    "talk",
    "vanish",
    "text",
    "power_on",
    "power_off",
    "event",
    "unplug",
    "plug",
    "loss",
    "reorder",
    "end_stream",
    "drop_connections",
    "silence",
    "drop_feed",
    "lose_ends",
    "duplicate",
    "delay",
    "clock",
]

# What each action needs: the fields of one of the sets.
_NEEDS: dict[str, tuple[frozenset[str], ...]] = {
    "press": (
        frozenset({"radio", "talkgroup"}),
        frozenset({"phone", "channel"}),
        frozenset({"feed", "unit", "talkgroup"}),
    ),
    "release": (frozenset({"radio"}), frozenset({"phone"}), frozenset({"feed", "unit"})),
    "talk": (
        frozenset({"radio", "talkgroup", "seconds"}),
        frozenset({"phone", "channel", "seconds"}),
        frozenset({"feed", "unit", "talkgroup", "seconds"}),
    ),
    "vanish": (frozenset({"radio"}),),
    "text": (frozenset({"phone", "channel", "text"}),),
    "power_on": (frozenset({"camera"}),),
    "power_off": (frozenset({"camera"}),),
    "event": (frozenset({"camera", "kind", "active"}),),
    "unplug": (frozenset({"repeater"}),),
    "plug": (frozenset({"repeater"}),),
    "loss": (frozenset({"repeater", "ratio"}), frozenset({"feed", "ratio"})),
    "reorder": (frozenset({"repeater", "ratio"}),),
    "end_stream": (frozenset({"channel"}),),
    "drop_connections": (frozenset(),),
    "silence": (frozenset({"feed", "active"}),),
    "drop_feed": (frozenset({"feed"}),),
    "lose_ends": (frozenset({"feed", "active"}), frozenset({"channel", "active"})),
    "duplicate": (frozenset({"feed", "active"}), frozenset({"repeater", "ratio"})),
    "delay": (
        frozenset({"feed", "seconds"}),
        frozenset({"repeater", "seconds"}),
        frozenset({"channel", "seconds"}),
    ),
    "clock": (frozenset({"feed", "offset_s"}),),
}
_ALWAYS = frozenset({"at_s", "every_s", "action"})
_BY_RADIO = frozenset({"press", "talk"})


class Step(_Part):
    """One action: first at at_s after the start, then each every_s, if that is given."""

    action: Action
    at_s: Seconds = 0.0
    every_s: Annotated[float, Field(gt=0)] | None = None
    radio: int | None = None
    talkgroup: DmrId | None = None
    slot: Literal[1, 2] = 1
    emergency: bool = False
    phone: str | None = None
    channel: str | None = None
    seconds: Seconds | None = None
    text: str | None = None
    camera: str | None = None
    active: bool | None = None
    kind: Literal["motion", "tamper", "signal_lost"] | None = None
    repeater: int | None = None
    ratio: Annotated[float, Field(ge=0, le=1)] | None = None
    feed: str | None = None
    unit: int | None = None
    offset_s: float | None = None

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> Self:
        given = self.model_fields_set - _ALWAYS
        if self.action in _BY_RADIO and (self.radio is not None or self.feed is not None):
            given -= {"slot", "emergency"}
        if given not in _NEEDS[self.action]:
            wanted = " or ".join(
                ", ".join(sorted(fields)) or "nothing" for fields in _NEEDS[self.action]
            )
            raise ValueError(f"{self.action} takes {wanted}; here are {', '.join(sorted(given))}")
        return self


class Scenario(_Part):
    """A whole file. zello: one server or a list of them."""

    cameras: Cameras = Cameras()
    homebrew: Homebrew = Homebrew()
    zello: tuple[ZelloPart, ...] = ()
    feeds: Feeds = Feeds()
    timeline: tuple[Step, ...] = ()
    traffic: Traffic | None = None
    control: Control = Control()

    @model_validator(mode="before")
    @classmethod
    def _one_zello_or_many(cls, given: Any) -> Any:
        if isinstance(given, dict) and isinstance(given.get("zello"), dict):
            return given | {"zello": [given["zello"]]}
        return given


def load(path: Path) -> Scenario:
    """Read a scenario file.

    Raises: BadScenario with a line for each problem: file, line, column, what.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise BadScenario([f"{path}: {reason}"]) from None
    return parse(text, str(path))


def parse(text: str, name: str = "scenario") -> Scenario:
    """Read a scenario from YAML text; name stands in front of each problem.

    Raises: BadScenario.
    """
    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        problems = [] if root is None else list(_repeated_keys(root))
        data = {} if root is None else loader.construct_document(root)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise BadScenario([f"{name}{where}: {error.problem}"]) from None
    except yaml.YAMLError as error:
        raise BadScenario([f"{name}: {error}"]) from None
    finally:
        loader.dispose()
    place = _Places(root, name)
    try:
        scenario = Scenario.model_validate(data)
    except ValidationError as error:
        problems += [(tuple(one["loc"]), _plain(one["msg"])) for one in error.errors()]
    else:
        problems += _disagreements(scenario)
    if problems:
        raise BadScenario([f"{place.of(where)}{what}" for where, what in problems])
    return scenario


@dataclasses.dataclass(frozen=True, slots=True)
class _Places:
    """Finds where in the text a part of the data stands."""

    root: yaml.Node | None
    name: str

    def of(self, location: Location) -> str:
        """``file:line:column: path: ``, of the nearest part that is there."""
        node, mark, path = self.root, None, ""
        for step in location:
            found = _inside(node, step)
            if isinstance(step, int):
                path += f"[{step}]"
            elif found is not None or step == location[-1]:
                path += f".{step}" if path else step
            if found is not None:
                node, mark = found
        if mark is None and node is not None:
            mark = node.start_mark
        where = f":{mark.line + 1}:{mark.column + 1}" if mark is not None else ""
        return f"{self.name}{where}: " + (f"{path}: " if path else "")


def _inside(node: yaml.Node | None, step: str | int) -> tuple[yaml.Node, yaml.Mark] | None:
    """A child and where it is named. One server stands where a list of them may."""
    if isinstance(node, yaml.MappingNode):
        if step == 0:
            return node, node.start_mark
        for key, value in node.value:
            if key.value == str(step):
                return value, key.start_mark
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return node.value[step], node.value[step].start_mark
    return None


def _repeated_keys(node: yaml.Node, location: Location = ()) -> Iterator[tuple[Location, str]]:
    """YAML forbids a key twice; the parser takes the last without a word."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen and key.value != "<<":
                yield (*location, key.value), "stands here twice"
            seen.add(key.value)
            yield from _repeated_keys(value, (*location, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _repeated_keys(value, (*location, index))


def _plain(message: str) -> str:
    """pydantic's sentence as ours."""
    text = message.removeprefix("Value error, ")
    return text[:1].lower() + text[1:]


def _disagreements(scenario: Scenario) -> list[tuple[Location, str]]:
    """Names used twice, and steps that name what is not there."""
    names: dict[str, list[str]] = {
        "onvif": [spec.name for spec in scenario.cameras.onvif],
        "rtsp": [spec.name for spec in scenario.cameras.rtsp],
    }
    cameras = [
        (("cameras", kind, index, "name"), name)
        for kind, listed in names.items()
        for index, name in enumerate(listed)
    ]
    repeaters = [
        (("homebrew", "repeaters", index, "id"), part.id)
        for index, part in enumerate(scenario.homebrew.repeaters)
    ]
    radios = [
        (("homebrew", "repeaters", index, "radios", number, "id"), radio.id)
        for index, part in enumerate(scenario.homebrew.repeaters)
        for number, radio in enumerate(part.radios)
    ]
    phones = [
        (("zello", index, "phones", number, "name"), phone.name)
        for index, part in enumerate(scenario.zello)
        for number, phone in enumerate(part.phones)
    ]
    feeds = [
        *(
            (("feeds", "trunk_recorders", index, "name"), part.name)
            for index, part in enumerate(scenario.feeds.trunk_recorders)
        ),
        *(
            (("feeds", "mmdvm_hosts", index, "name"), part.name)
            for index, part in enumerate(scenario.feeds.mmdvm_hosts)
        ),
    ]
    named_parts = (cameras, repeaters, radios, phones, feeds)
    return [
        *(problem for named in named_parts for problem in _twice(named)),
        *_units_off_their_sites(scenario),
        *_units_off_their_feeds(scenario),
        *_phones_off_their_channels(scenario),
        *_phones_pressed_off_their_channels(scenario),
        *_unknown(scenario, "camera", (name for _, name in cameras)),
        *_unknown(scenario, "repeater", (number for _, number in repeaters)),
        *_unknown(scenario, "radio", (number for _, number in radios)),
        *_unknown(scenario, "phone", (name for _, name in phones)),
        *_unknown(scenario, "feed", (name for _, name in feeds)),
        *_unknown(scenario, "channel", (name for part in scenario.zello for name in part.channels)),
    ]


def _twice(named: Sequence[tuple[Location, str | int]]) -> Iterator[tuple[Location, str]]:
    seen: set[str | int] = set()
    for location, name in named:
        if name in seen:
            yield location, f"{name} is used twice"
        seen.add(name)


def _phones_off_their_channels(scenario: Scenario) -> Iterator[tuple[Location, str]]:
    for index, part in enumerate(scenario.zello):
        for number, phone in enumerate(part.phones):
            for channel in phone.channels or ():
                if channel not in part.channels:
                    where = ("zello", index, "phones", number, "channels")
                    yield where, f"there is no channel {channel!r}"


def _phones_pressed_off_their_channels(scenario: Scenario) -> Iterator[tuple[Location, str]]:
    on = {
        phone.name: part.channels if phone.channels is None else phone.channels
        for part in scenario.zello
        for phone in part.phones
    }
    for index, step in enumerate(scenario.timeline):
        if step.phone in on and step.channel is not None and step.channel not in on[step.phone]:
            yield ("timeline", index, "channel"), f"{step.phone} is not on {step.channel!r}"


def _units_off_their_sites(scenario: Scenario) -> Iterator[tuple[Location, str]]:
    for index, part in enumerate(scenario.feeds.trunk_recorders):
        there = {site.sys_name for site in part.sites}
        for number, unit in enumerate(part.units):
            if unit.site is not None and unit.site not in there:
                where = ("feeds", "trunk_recorders", index, "units", number, "site")
                yield where, f"there is no site {unit.site!r}"
    for index, host in enumerate(scenario.feeds.mmdvm_hosts):
        for number, unit in enumerate(host.units):
            if unit.site is not None:
                where = ("feeds", "mmdvm_hosts", index, "units", number, "site")
                yield where, "a host has no sites"


def _units_off_their_feeds(scenario: Scenario) -> Iterator[tuple[Location, str]]:
    feeds: tuple[FeedPart, ...] = (
        *scenario.feeds.trunk_recorders,
        *scenario.feeds.mmdvm_hosts,
    )
    on = {part.name: {unit.id for unit in part.units} for part in feeds}
    for index, step in enumerate(scenario.timeline):
        if step.unit is not None and step.feed in on and step.unit not in on[step.feed]:
            yield ("timeline", index, "unit"), f"{step.feed} has no unit {step.unit}"


def _unknown(
    scenario: Scenario, field: str, known: Iterable[str | int]
) -> Iterator[tuple[Location, str]]:
    there = set(known)
    for index, step in enumerate(scenario.timeline):
        name = getattr(step, field)
        if name is not None and name not in there:
            yield ("timeline", index, field), f"there is no {field} {name!r}"
