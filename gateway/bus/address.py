"""Where a broker is."""

import dataclasses
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from gateway.bus.errors import BrokerAway


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BrokerAddress:
    """Where a broker is. No password ever shows in repr.

    voice: names and passwords for voice alone, by role (``agent``, ``bridge``), where the broker
    gives voice rights of its own; without them voice has the same name as everything else.
    """

    host: str
    port: int
    username: str | None = None
    password: str | None = dataclasses.field(default=None, repr=False)
    tls: bool = False
    voice: Mapping[str, tuple[str, str]] = dataclasses.field(default_factory=dict, repr=False)

    @property
    def shown(self) -> str:
        return f"{'mqtts' if self.tls else 'mqtt'}://{self.host}:{self.port}"

    def for_voice(self, role: str) -> "BrokerAddress":
        """How the voice of a role connects."""
        if role not in self.voice:
            return self
        username, password = self.voice[role]
        return dataclasses.replace(self, username=username, password=password, voice={})

    def away(self, reason: object) -> BrokerAway:
        return BrokerAway(
            f"the broker at {self.shown} does not answer ({reason}): "
            "check HUTONG_MQTT_URL and that the broker runs"
        )


def parse_broker_url(url: str) -> BrokerAddress:
    """``mqtt://user:password@host:1883`` or ``mqtts://host:8883``. Raises: ValueError."""
    parts = urlsplit(url)
    if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
        raise ValueError("HUTONG_MQTT_URL must look like mqtt://host:1883 or mqtts://host:8883")
    tls = parts.scheme == "mqtts"
    try:
        port = parts.port
    except ValueError:
        raise ValueError("HUTONG_MQTT_URL has a port that is not a number") from None
    return BrokerAddress(
        host=parts.hostname,
        port=port or (8883 if tls else 1883),
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        tls=tls,
    )
