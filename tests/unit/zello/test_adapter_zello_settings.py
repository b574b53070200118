"""Settings of a Zello connection."""

import tomllib
from pathlib import Path

import pytest
from pydantic import ValidationError

from adapters.zello import settings as module
from adapters.zello.settings import ZelloSettings


def settings(**given: object) -> ZelloSettings:
    return ZelloSettings.model_validate({"username": "gateway", "password": "planted", **given})


@pytest.mark.parametrize(
    ("given", "endpoint"),
    [
        ({}, "wss://zello.io/ws"),
        ({"network": "shenhe"}, "wss://zellowork.io/ws/shenhe"),
        ({"url": "ws://127.0.0.1:8080/ws"}, "ws://127.0.0.1:8080/ws"),
        ({"url": "wss://ptt.example/ws/", "network": "n"}, "wss://ptt.example/ws/n"),
        ({"url": "wss://ptt.example/ws/n", "network": "n"}, "wss://ptt.example/ws/n"),
    ],
)
def test_endpoints(given: dict[str, object], endpoint: str) -> None:
    assert settings(**given).endpoint == endpoint


@pytest.mark.parametrize(
    "given",
    [{"url": "https://zello.io/ws"}, {"username": ""}, {"network": "a/b"}, {"pasword": "typo"}],
)
def test_what_cannot_work_is_refused(given: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as refused:
        settings(**given)
    assert "planted" not in str(refused.value)


def test_secrets_are_hidden() -> None:
    assert "planted" not in repr(settings(auth_token="planted-token"))


def test_the_sample_works() -> None:
    sample = tomllib.loads((Path(module.__file__).parent / "sample.toml").read_text("utf-8"))
    assert sample["adapter"] == "zello"
    ZelloSettings.model_validate(sample["settings"])
