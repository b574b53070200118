"""The topic tree of the contract, as text in one place. Pure."""

import dataclasses
import re

_LEVEL = re.compile(r"[a-z0-9-]+")


class InvalidTopic(ValueError):
    """A part cannot stand in a topic: levels hold ``[a-z0-9-]`` only."""


def _checked(*parts: str) -> str:
    for part in parts:
        for level in part.split("/"):
            if not _LEVEL.fullmatch(level):
                raise InvalidTopic(f"{level!r} cannot be a topic level: use a-z, 0-9 and '-'")
    return "/".join(parts)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class OrgTopic:
    """``{prefix}/org/{family}/{kind}/{org}/{id}``.

    family: ``points``, ``channels``, ``patches``, ``systems``. kind: ``event``, ``state``,
    ``decision``, ``command``, ``request``. org: slug path. id: of the object.
    """

    family: str
    kind: str
    org: str
    id: str


@dataclasses.dataclass(frozen=True, slots=True)
class Topics:
    """Builds and reads topics below one prefix, such as ``hutong/v1``."""

    prefix: str = "hutong/v1"

    def org(self, family: str, kind: str, org: str, object_id: str) -> str:
        return f"{self.prefix}/org/{_checked(family, kind, org, object_id)}"

    def org_all(self, family: str, kind: str) -> str:
        return f"{self.prefix}/org/{family}/{kind}/#"

    def status(self, node: str) -> str:
        return f"{self.prefix}/status/{_checked(node)}"

    def status_all(self) -> str:
        return f"{self.prefix}/status/+"

    def bridge_lease(self) -> str:
        return f"{self.prefix}/bridge/lease"

    def system_config(self, system_id: str) -> str:
        return f"{self.prefix}/systems/{_checked(system_id)}/config"

    def system_config_all(self) -> str:
        return f"{self.prefix}/systems/+/config"

    def system_backlog(self, system_id: str) -> str:
        return f"{self.prefix}/systems/{_checked(system_id)}/backlog"

    def system_backlog_all(self) -> str:
        return f"{self.prefix}/systems/+/backlog"

    def system_acknowledged(self, system_id: str) -> str:
        return f"{self.prefix}/systems/{_checked(system_id)}/acknowledged"

    def voice_in(self, channel_id: str) -> str:
        """What is heard on a channel, written by its agent."""
        return f"{self.prefix}/voice/{_checked(channel_id)}/in"

    def voice_in_all(self) -> str:
        return f"{self.prefix}/voice/+/in"

    def voice_out(self, channel_id: str) -> str:
        """What is to be sent on a channel, written by the bridge."""
        return f"{self.prefix}/voice/{_checked(channel_id)}/out"

    def parse_voice_in(self, topic: str) -> str | None:
        """The channel id of a topic of what is heard, or None."""
        head, tail = f"{self.prefix}/voice/", "/in"
        if topic.startswith(head) and topic.endswith(tail):
            return topic[len(head) : -len(tail)]
        return None

    def parse_org(self, topic: str) -> OrgTopic | None:
        """The parts of a topic below ``org/``, or None when it is something else."""
        head = f"{self.prefix}/org/"
        if not topic.startswith(head):
            return None
        levels = topic[len(head) :].split("/")
        if len(levels) < 4:
            return None
        return OrgTopic(family=levels[0], kind=levels[1], org="/".join(levels[2:-1]), id=levels[-1])

    def parse_status(self, topic: str) -> str | None:
        """The node of a status topic, or None."""
        head = f"{self.prefix}/status/"
        return topic[len(head) :] if topic.startswith(head) else None

    def parse_system_config(self, topic: str) -> str | None:
        """The system id of a config topic, or None."""
        head, tail = f"{self.prefix}/systems/", "/config"
        if topic.startswith(head) and topic.endswith(tail):
            return topic[len(head) : -len(tail)]
        return None


def matches(pattern: str, topic: str) -> bool:
    """Does an MQTT topic filter (``+``, trailing ``#``) match a topic?"""
    want, have = pattern.split("/"), topic.split("/")
    for index, level in enumerate(want):
        if level == "#":
            return True
        if index >= len(have) or level not in ("+", have[index]):
            return False
    return len(want) == len(have)


def overlap(one: str, other: str) -> bool:
    """Could one topic match both filters? A client must not hold two such subscriptions."""
    a, b = one.split("/"), other.split("/")
    for left, right in zip(a, b, strict=False):
        if "#" in (left, right):
            return True
        if left != right and "+" not in (left, right):
            return False
    return len(a) == len(b) or "#" in (a[-1], b[-1])
