"""Settings of a trunk-recorder feed."""

from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from adapters.mqtt.settings import BrokerSettings, topic_level

Topic = Annotated[str, AfterValidator(topic_level)]


class TrunkRecorderSettings(BrokerSettings):
    """Which broker, and which topics of it; these are the ones in the plugin's own configuration.

    topic: its ``topic``. unit_topic, message_topic: the same, empty where the plugin has none;
    without unit_topic no registrations and affiliations are told, without message_topic no
    refusals. systems: who a trunked system is, by ``{instance}:{short name}``, while the feed does
    not say: a recorder says it when it starts, and a broker that loses its retained messages has
    forgotten it. hold_s: a talk that is not heard of so long is over; the plugin tells of it each
    second. silent_s: after so long without a word a recorder is away.
    """

    topic: Topic
    unit_topic: Topic = ""
    message_topic: Topic = ""
    systems: dict[str, Annotated[str, Field(pattern=r"^[0-9A-F]+-[0-9A-F]+$")]] = Field(
        default_factory=dict
    )
    hold_s: float = Field(default=5.0, ge=3.0, le=30.0, allow_inf_nan=False)
    silent_s: float = Field(default=15.0, ge=5.0, le=600.0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _has_a_topic(self) -> Self:
        if not self.topic:
            raise ValueError("topic must not be empty")
        return self

    @property
    def patterns(self) -> list[str]:
        """What to subscribe to. Recordings (`audio`) are left where they are."""
        status = ("calls_active", "call_start", "call_end", "systems", "system", "rates")
        patterns = [f"{self.topic}/{name}" for name in (*status, "recorders", "config")]
        if self.unit_topic:
            patterns.append(f"{self.unit_topic}/+/+")
        if self.message_topic:
            patterns.append(f"{self.message_topic}/+/messages")
        return patterns
