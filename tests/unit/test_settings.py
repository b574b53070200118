"""Settings: what cannot work is refused in one sentence that names the setting."""

import os
from pathlib import Path

import pytest

from gateway.settings import SettingsError, load, shown


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of this machine's own settings, and a working directory for hutong.toml."""
    for name in [name for name in os.environ if name.startswith("HUTONG_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def refusal(**changes: object) -> str:
    with pytest.raises(SettingsError) as refused:
        load(**changes)
    return str(refused.value)


def test_the_defaults_are_the_contracts() -> None:
    settings = load()
    assert (settings.http_host, settings.http_port) == ("127.0.0.1", 8080)
    assert settings.mqtt_prefix == "hutong/v1"
    assert settings.database == f"sqlite:///{Path('var').absolute() / 'hutong.db'}"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "gateway.example"])
def test_a_host_that_is_not_loopback_needs_tls_or_a_proxy(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUTONG_HTTP_HOST", host)
    sentence = refusal()
    assert "HUTONG_HTTP_HOST" in sentence
    assert "HUTONG_TLS_CERTIFICATE" in sentence
    monkeypatch.setenv("HUTONG_TRUSTED_PROXIES", "127.0.0.1")
    assert load().http_host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_loopback_needs_nothing(host: str) -> None:
    assert load(http_host=host).loopback_only


@pytest.mark.parametrize("given", ["tls_certificate", "tls_key"])
def test_half_a_tls_pair_is_refused(given: str, tmp_path: Path) -> None:
    file = tmp_path / "half.pem"
    file.write_text("")
    sentence = refusal(**{given: file})
    assert "HUTONG_TLS_CERTIFICATE and HUTONG_TLS_KEY" in sentence


def test_a_certificate_that_is_not_there_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "no.pem"
    assert str(missing) in refusal(tls_certificate=missing, tls_key=missing)


@pytest.mark.parametrize("url", ["http://broker", "mqtt://", "mqtt://broker:port", "broker"])
def test_a_broker_url_that_cannot_be_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUTONG_MQTT_URL", url)
    assert "HUTONG_MQTT_URL" in refusal()


@pytest.mark.parametrize("content", ["http_port = ", "[", "\x00"])
def test_a_file_that_is_no_toml_is_named(content: str) -> None:
    Path("hutong.toml").write_text(content)
    assert "hutong.toml" in refusal()


def test_a_setting_that_there_is_not_is_named() -> None:
    Path("hutong.toml").write_text("htp_port = 1\n")
    assert "htp_port" in refusal()


@pytest.mark.parametrize("port", ["-1", "65536", "eighty"])
def test_a_port_that_cannot_be_is_named(port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUTONG_HTTP_PORT", port)
    assert "HUTONG_HTTP_PORT" in refusal()


@pytest.mark.parametrize("prefix", ["Hutong", "a/+/b", "/a", "a/", "a b", "#"])
def test_a_prefix_that_is_no_topic_is_refused(prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUTONG_MQTT_PREFIX", prefix)
    assert "HUTONG_MQTT_PREFIX" in refusal()


def test_the_environment_goes_before_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("hutong.toml").write_text('http_port = 1000\nmqtt_prefix = "x/v1"\n')
    monkeypatch.setenv("HUTONG_HTTP_PORT", "2000")
    settings = load()
    assert (settings.http_port, settings.mqtt_prefix) == (2000, "x/v1")


def test_what_is_shown_holds_no_secret() -> None:
    table = shown(
        load(
            database_url="postgresql://hutong:s3cret@db/hutong",
            mqtt_url="mqtts://hutong:s3cret@broker",
            secret_key="s3cret",
        )
    )
    assert "s3cret" not in str(table)
    assert table["HUTONG_DATABASE_URL"] == "postgresql://hutong:***@db/hutong"
