"""Settings of a trunk-recorder feed."""

import tomllib
from pathlib import Path

import pytest
from pydantic import ValidationError

from adapters.trunk_recorder import settings as module
from adapters.trunk_recorder.settings import TrunkRecorderSettings


def settings(**given: object) -> TrunkRecorderSettings:
    fields = {"broker": "mqtt://10.8.0.12", "topic": "feeds", **given}
    return TrunkRecorderSettings.model_validate(fields)


def test_the_sample_works() -> None:
    sample = tomllib.loads((Path(module.__file__).parent / "sample.toml").read_text("utf-8"))
    assert sample["adapter"] == "trunk_recorder"
    TrunkRecorderSettings.model_validate(sample["settings"])


def test_what_is_subscribed_is_what_is_read() -> None:
    assert "feeds/audio" not in settings().patterns
    assert not any(pattern.startswith("units") for pattern in settings().patterns)
    wide = settings(topic="/feeds/", unit_topic="units/", message_topic="m").patterns
    assert {"feeds/calls_active", "units/+/+", "m/+/messages"} <= set(wide)


@pytest.mark.parametrize(
    "given",
    [
        {"topic": ""},
        {"topic": "feeds/#"},
        {"unit_topic": "+/units"},
        {"hold_s": 1},
        {"systems": {"east:p25trunk": "1AE"}},
        {"silent_s": "nan"},
        {"tpoic": "typo"},
        {"broker": "http://10.8.0.12"},
        {"broker": "mqtt://user:planted@10.8.0.12"},
        {"broker": "mqtt://10.8.0.12:a"},
        {"broker": "mqtt://10.8.0.12:1883/topic"},
        {"password": "planted"},
    ],
)
def test_what_cannot_work_is_refused(given: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as refused:
        settings(**given)
    assert "planted" not in str(refused.value)


def test_secrets_are_hidden() -> None:
    given = settings(username="hutong", password="planted-password")
    assert "planted" not in repr(given) + repr(given.address)
    assert given.address.password == "planted-password"


@pytest.mark.parametrize(
    ("broker", "port", "tls"),
    [
        ("mqtt://h", 1883, False),
        ("mqtts://h", 8883, True),
        ("mqtt://h:1999/", 1999, False),
    ],
)
def test_where_the_broker_is(broker: str, port: int, tls: bool) -> None:
    address = settings(broker=broker).address
    assert (address.host, address.port, address.tls) == ("h", port, tls)
