"""Which topic of a device means what: the one table of it. Pure.

Sources: ONVIF Core, Imaging, Analytics and Device IO specifications (topics), the events that
Home Assistant's users have seen (names and data items of the wild).
"""

import dataclasses
import enum
from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final

from adapters.events import Alarm, Motion, SignalLost, SourceCondition, Tamper


class Means(enum.Enum):
    """What a topic is to us. NOTHING: known, and not reported on purpose."""

    MOTION = "motion"
    TAMPER = "tamper"
    SIGNAL_LOST = "signal_lost"
    ALARM = "alarm"
    NOTHING = "nothing"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """means: what it is. item: the data item that holds whether it is so; empty for any that does,
    or for what has no duration. kind: of an alarm. whole_device: it names no video source."""

    means: Means
    item: str = ""
    kind: str = ""
    whole_device: bool = False


def _alarm(kind: str, item: str = "", *, whole_device: bool = False) -> Topic:
    return Topic(means=Means.ALARM, item=item, kind=kind, whole_device=whole_device)


def _device(kind: str, item: str) -> Topic:
    return _alarm(kind, item, whole_device=True)


_MOTION = Topic(means=Means.MOTION)
_TAMPER = Topic(means=Means.TAMPER)
_NOTHING = Topic(means=Means.NOTHING)

TOPICS: Final[Mapping[str, Topic]] = MappingProxyType(
    {
        # movement
        "VideoSource/MotionAlarm": _MOTION,
        "RuleEngine/CellMotionDetector/Motion": Topic(means=Means.MOTION, item="IsMotion"),
        "RuleEngine/MotionRegionDetector/Motion": _MOTION,
        "VideoAnalytics/Motion": _MOTION,
        "VideoAnalytics/MotionDetection": _MOTION,
        "CameraApplicationPlatform/VMD/*": Topic(means=Means.MOTION, item="active"),  # Axis
        # somebody at the camera
        "RuleEngine/TamperDetector/Tamper": Topic(means=Means.TAMPER, item="IsTamper"),
        "VideoSource/GlobalSceneChange/*": _TAMPER,
        "VideoSource/Tampering": _TAMPER,  # Axis
        # no picture
        "VideoSource/SignalLoss": Topic(means=Means.SIGNAL_LOST),
        # inputs, rules and hardware
        "Device/Trigger/DigitalInput": _device("digital_input", "LogicalState"),
        "RuleEngine/FieldDetector/ObjectsInside": _alarm("intrusion", "IsInside"),
        "RuleEngine/LineDetector/Crossed": _alarm("line_crossed"),
        "VideoSource/ImageTooBlurry/*": _alarm("picture_blurred"),
        "VideoSource/ImageTooDark/*": _alarm("picture_dark"),
        "VideoSource/ImageTooBright/*": _alarm("picture_bright"),
        "AudioAnalytics/Audio/DetectedSound": _alarm("sound"),
        "Device/HardwareFailure/StorageFailure": _device("storage", "Failed"),
        "Device/HardwareFailure/FanFailure": _device("fan", "Failed"),
        "Device/HardwareFailure/PowerSupplyFailure": _device("power_supply", "Failed"),
        "Device/HardwareFailure/TemperatureCritical": _device("temperature", "Critical"),
        # who or what is seen is nobody's business here: Hutong identifies nobody
        "RuleEngine/MyRuleDetector/*": _NOTHING,
        "RuleEngine/CountAggregation/*": _NOTHING,
        "RuleEngine/Recognition/*": _NOTHING,
        # the device's own housekeeping
        "Device/Trigger/Relay": _NOTHING,
        "Device/OperationMode/*": _NOTHING,
        "Monitoring/*": _NOTHING,
        "RecordingConfig/*": _NOTHING,
        "RecordingHistory/*": _NOTHING,
        "Media/*": _NOTHING,
        "Configuration/*": _NOTHING,
        "PTZController/*": _NOTHING,
        "UserAlarm/*": _NOTHING,
    }
)
"""By the path of the topic without prefixes: which prefix, and of which namespace, firmware does
not agree on. A ``*`` at the end is anything below."""

_SOURCE_ITEMS: Final = (
    "VideoSourceToken", "VideoSource", "Source", "VideoSourceConfigurationToken",
    "VideoSourceConfiguration", "ProfileToken", "Channel",
)  # fmt: skip
_TRUE: Final = frozenset({"true", "1", "active", "on"})
_FALSE: Final = frozenset({"false", "0", "inactive", "off"})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """One message as the device sent it.

    topic: its path without prefixes. at: by this machine's clock. operation: ``Initialized``,
    ``Changed``, ``Deleted``, empty for what has no state. source, data: items by name.
    """

    topic: str
    operation: str
    source: Mapping[str, str]
    data: Mapping[str, str]


def topic_path(expression: str) -> str:
    """A topic expression without prefixes, blanks, and what a dialect puts around it."""
    first = expression.strip().partition("|")[0].removesuffix("//.").removesuffix("/.")
    parts = (part.strip().rpartition(":")[2] for part in first.split("/"))
    return "/".join(part for part in parts if part)


def known(path: str) -> Topic | None:
    """What is known of a topic, itself or something above it; None for nothing."""
    found = TOPICS.get(path)
    while found is None and path:
        path = path.rpartition("/")[0]
        found = TOPICS.get(f"{path}/*")
    return found


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """How a device calls its video sources. sources: their tokens; aliases: tokens of their
    configurations and profiles, to the source's."""

    sources: tuple[str, ...]
    aliases: Mapping[str, str]

    def address(self, notification: Notification) -> str | None:
        """The source a message is about; None where it cannot be told. The only source there is
        need not be named."""
        for item in _SOURCE_ITEMS:
            named = notification.source.get(item, "")
            if named in self.sources:
                return named
            if named in self.aliases:
                return self.aliases[named]
            if item == "Channel" and named.isdecimal() and len(named) < 6:
                place = int(named) - 1
                return self.sources[place] if 0 <= place < len(self.sources) else None
        return self.sources[0] if len(self.sources) == 1 else None


def condition(
    notification: Notification, topic: Topic, places: Places, at: datetime
) -> SourceCondition | None:
    """The event that a message is; None where it has none: a state that was deleted, a source
    that cannot be told, or a topic that means nothing to us."""
    if topic.means is Means.NOTHING or notification.operation == "Deleted":
        return None
    address = "" if topic.whole_device else places.address(notification)
    if address is None:
        return None
    active = _active(notification, topic.item)
    initial = notification.operation == "Initialized"
    if active is None and (initial or topic.item):
        return None
    match topic.means:
        case Means.MOTION:
            return Motion(at=at, address=address, active=active, initial=initial)
        case Means.TAMPER:
            return Tamper(at=at, address=address, active=active, initial=initial)
        case Means.SIGNAL_LOST:
            return SignalLost(at=at, address=address, active=active, initial=initial)
    return Alarm(
        at=at,
        address=address,
        active=active,
        initial=initial,
        kind=topic.kind,
        part=_part(notification),
    )


def _active(notification: Notification, item: str) -> bool | None:
    """Whether it is so. Where the item of the table is missing, the first that says yes or no:
    firmware knows State, state, IsMotion and more of its own."""
    wanted = [notification.data[item]] if item in notification.data else notification.data.values()
    for value in wanted:
        if value.strip().lower() in _TRUE:
            return True
        if value.strip().lower() in _FALSE:
            return False
    return None


def _part(notification: Notification) -> str:
    """Which input, disk or rule it is."""
    for item, value in notification.source.items():
        if item == "Rule" or (item not in _SOURCE_ITEMS and "Analytics" not in item):
            return value[:100]
    return ""
