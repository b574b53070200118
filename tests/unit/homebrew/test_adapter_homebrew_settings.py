"""Settings of a Homebrew master."""

import tomllib
from pathlib import Path

import pytest
from pydantic import ValidationError

from adapters.homebrew import settings as module
from adapters.homebrew.settings import HomebrewSettings


def settings(**given: object) -> HomebrewSettings:
    return HomebrewSettings.model_validate({"passphrase": "planted", **given})


def test_defaults_and_exceptions() -> None:
    chosen = settings(passphrases={"310001": "its own"}, repeaters=[310001])
    assert (chosen.host, chosen.port) == ("127.0.0.1", 62031)
    assert chosen.passphrase_of(310001) == b"its own"
    assert chosen.passphrase_of(310002) == b"planted"
    assert chosen.admits(310001)
    assert not chosen.admits(310002)
    assert settings().admits(310002)


@pytest.mark.parametrize(
    "given",
    [
        {"port": 70000},
        {"passphrase": None},
        {"hold_s": 0},
        {"ping_timeout_s": -1},
        {"gateway_radio_id": 0},
        {"gateway_radio_id": 0xFFFFFF},
        {"color_code": 16},
        {"passphrases": {"site": "planted"}},
        {"no_such": 1},
    ],
)
def test_what_cannot_work_is_refused_without_a_secret(given: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as refused:
        settings(**given)
    assert "planted" not in str(refused.value)


def test_secrets_are_hidden() -> None:
    shown = repr(settings(passphrases={1: "planted-too"}))
    assert "planted" not in shown


def test_the_sample_works() -> None:
    sample = tomllib.loads((Path(module.__file__).parent / "sample.toml").read_text("utf-8"))
    assert sample["adapter"] == "homebrew"
    HomebrewSettings.model_validate(sample["settings"])
