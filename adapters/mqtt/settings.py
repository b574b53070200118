"""Which broker a feed is on, and as whom it is read."""

from pathlib import Path
from typing import Self
from urllib.parse import SplitResult, urlsplit

from pydantic import BaseModel, ConfigDict, SecretStr, field_validator, model_validator

from adapters.mqtt.reader import Broker

_PORTS = {"mqtt": 1883, "mqtts": 8883}


class BrokerSettings(BaseModel):
    """Base of the settings of such a kind.

    broker: ``mqtt://host:1883``, or ``mqtts://host:8883`` for TLS. username, password: empty for
    a broker that asks for none. ca_file: whom the broker's certificate must be of, where it is
    not of an authority that this machine trusts.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    broker: str
    username: str = ""
    password: SecretStr = SecretStr("")
    ca_file: Path | None = None

    @field_validator("broker")
    @classmethod
    def _is_a_broker(cls, text: str) -> str:
        parts = _parts(text)
        if parts.scheme not in _PORTS or not parts.hostname:
            raise ValueError("must look like mqtt://host:1883 or mqtts://host:8883")
        if parts.username or parts.password:
            raise ValueError("must not hold a name or a password: those have fields of their own")
        if parts.path.strip("/") or parts.query or parts.fragment:
            raise ValueError("must end after the port")
        return text

    @model_validator(mode="after")
    def _has_a_name_for_its_password(self) -> Self:
        if self.password.get_secret_value() and not self.username:
            raise ValueError("a password needs a username")
        return self

    @property
    def address(self) -> Broker:
        parts = _parts(self.broker)
        assert parts.hostname is not None
        return Broker(
            host=parts.hostname,
            port=parts.port or _PORTS[parts.scheme],
            username=self.username,
            password=self.password.get_secret_value(),
            tls=parts.scheme == "mqtts",
            ca_file=str(self.ca_file) if self.ca_file else None,
        )


def topic_level(text: str) -> str:
    """A topic of a plugin's configuration, without slashes at its ends.

    Raises: ValueError for wildcards and characters that no topic has.
    """
    topic = text.strip("/")
    if any(sign in topic for sign in "+#\x00") or not topic.isprintable():
        raise ValueError("must be a plain topic, without + and #")
    return topic


def _parts(text: str) -> SplitResult:
    parts = urlsplit(text)
    try:
        _ = parts.port
    except ValueError:
        raise ValueError("has a port that is not a number") from None
    return parts
