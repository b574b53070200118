"""Settings of the fleet and of diagnosis."""

import pytest

from gateway.settings import SettingsError, load


@pytest.mark.parametrize(
    ("text", "heard_on"),
    [
        ("", ()),
        ("none", None),
        ("10.0.0.1, 127.0.0.1", ("10.0.0.1", "127.0.0.1")),
    ],
)
def test_where_announcements_are_heard(text: str, heard_on: tuple[str, ...] | None) -> None:
    assert load(hello_interfaces=text).hears_hello_on == heard_on


@pytest.mark.parametrize("text", ["eth0", "10.0.0.300", "::1"])
def test_an_interface_that_is_no_address_is_refused(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUTONG_HELLO_INTERFACES", text)
    with pytest.raises(SettingsError, match="HUTONG_HELLO_INTERFACES"):
        load()


@pytest.mark.parametrize("period", ["-1", "often", "9999999"])
def test_a_period_that_cannot_be_is_refused(period: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUTONG_DIAGNOSIS_PERIOD_S", period)
    with pytest.raises(SettingsError, match="HUTONG_DIAGNOSIS_PERIOD_S"):
        load()
