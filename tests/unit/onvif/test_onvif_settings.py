"""Settings of an ONVIF device."""

import tomllib
from pathlib import Path

import pytest
from pydantic import ValidationError

from adapters import catalog
from adapters.events import Secret
from adapters.onvif import settings as module
from adapters.onvif.settings import OnvifSettings


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("192.168.1.64", "http://192.168.1.64/onvif/device_service"),
        (" camera.example ", "http://camera.example/onvif/device_service"),
        ("192.168.1.64:8080", "http://192.168.1.64:8080/onvif/device_service"),
        ("192.168.1.64:80", "http://192.168.1.64/onvif/device_service"),
        ("http://192.168.1.64/", "http://192.168.1.64/onvif/device_service"),
        ("http://10.0.0.1:8000/onvif/svc?a=b", "http://10.0.0.1:8000/onvif/svc?a=b"),
        ("https://10.0.0.1", "https://10.0.0.1/onvif/device_service"),
        ("https://10.0.0.1:8443/x", "https://10.0.0.1:8443/x"),
        ("[fd00::9]:81", "http://[fd00::9]:81/onvif/device_service"),
    ],
)
def test_an_endpoint_is_a_host_or_an_address(endpoint: str, url: str) -> None:
    assert OnvifSettings(endpoint=endpoint).url == url


def test_a_port_of_its_own_counts_where_the_endpoint_names_none() -> None:
    assert OnvifSettings(endpoint="10.0.0.1", port=8000).url.startswith("http://10.0.0.1:8000/")
    assert OnvifSettings(endpoint="10.0.0.1:81", port=8000).url.startswith("http://10.0.0.1:81/")
    assert OnvifSettings(endpoint="https://10.0.0.1", port=8000).url.startswith("https://10.0.0.1/")


@pytest.mark.parametrize(
    "endpoint",
    ["", "ftp://10.0.0.1", "10.0.0.1:99999", "http://", "a b", "rtsp://10.0.0.1", "http://[::1"],
)
def test_anything_else_is_refused(endpoint: str) -> None:
    with pytest.raises(ValidationError):
        OnvifSettings(endpoint=endpoint)


@pytest.mark.parametrize("username", ["ad:min", "admin\n", "\x00"])
def test_a_user_name_that_no_request_can_carry_is_refused(username: str) -> None:
    with pytest.raises(ValidationError):
        OnvifSettings(endpoint="10.0.0.1", username=username)


def test_a_password_in_the_endpoint_is_refused_and_not_repeated() -> None:
    with pytest.raises(ValidationError, match="own fields") as raised:
        OnvifSettings(endpoint="http://admin:planted-password@10.0.0.1/")
    assert "planted-password" not in str(raised.value)


@pytest.mark.parametrize("password", ["planted-password", Secret("planted-password")])
def test_a_password_may_be_text_or_secret_and_is_never_shown(password: object) -> None:
    settings = OnvifSettings.model_validate({"endpoint": "10.0.0.1", "password": password})
    assert settings.secret.reveal() == "planted-password"
    assert "planted" not in f"{settings!r} {settings} {settings.model_dump_json()}"


def test_the_sample_is_valid_and_the_kind_is_in_the_catalog() -> None:
    sample = tomllib.loads((Path(module.__file__).parent / "sample.toml").read_text("utf-8"))
    kind = catalog.load(sample.pop("adapter"))
    assert kind.Settings is OnvifSettings
    settings = sample.pop("settings")
    assert OnvifSettings.model_validate(sample | settings).endpoint == "192.168.1.64"
    assert OnvifSettings.model_json_schema()["required"] == ["endpoint"]
