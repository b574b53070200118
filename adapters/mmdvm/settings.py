"""Settings of an MMDVMHost's feed."""

from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from adapters.mqtt.settings import BrokerSettings, topic_level


class MmdvmSettings(BrokerSettings):
    """Which broker, and which host on it.

    name: as in the host's own configuration (``[MQTT] Name``); its topic is ``{name}/json``.
    hold_s: a talk of which nothing is heard so long is over; the host tells of its signal about
    once a second. silent_s: after so long without a word the host is away; 0 where it may be
    silent for as long as nobody talks, which is how it is made.
    """

    name: Annotated[str, AfterValidator(topic_level)] = "mmdvm"
    hold_s: float = Field(default=5.0, ge=3.0, le=30.0, allow_inf_nan=False)
    silent_s: float = Field(default=0.0, ge=0.0, le=86_400.0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _has_a_name(self) -> Self:
        if not self.name:
            raise ValueError("name must not be empty")
        return self

    @property
    def topic(self) -> str:
        return f"{self.name}/json"
