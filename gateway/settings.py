"""Settings: environment `HUTONG_*`, else `hutong.toml` in the working directory.

Raises `SettingsError` with one sentence for each thing that is wrong.
"""

import ipaddress
import os
import ssl
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit, urlunsplit

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from gateway.bus.address import parse_broker_url

if TYPE_CHECKING:
    from gateway.live.mediaserver.settings import MediaServerSettings

FILE = "hutong.toml"
PREFIX = "HUTONG_"


class SettingsError(Exception):
    """A setting that cannot work; the message names it and says what to do."""


class Settings(BaseSettings):
    """One attribute for each `HUTONG_*` of the contract."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, toml_file=FILE, extra="forbid", hide_input_in_errors=True
    )

    data_dir: Path = Path("var")
    database_url: SecretStr | None = None
    mqtt_url: SecretStr | None = None
    mqtt_prefix: str = Field(default="hutong/v1", pattern=r"^[a-z0-9-]+(/[a-z0-9-]+)*$")
    http_host: str = "127.0.0.1"
    http_port: int = Field(default=8080, ge=0, le=65535)
    public_url: str = ""
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    trusted_proxies: str = ""
    insecure_http: bool = False
    secret_key: SecretStr | None = None
    media_server_url: str = ""
    webrtc_addresses: str = ""
    media_server_whep_url: str = ""
    media_server_hls_url: str = ""
    media_server_rtsp_url: str = ""
    media_feed_url: str = ""
    hello_interfaces: str = ""
    diagnosis_period_s: float = Field(default=14_400, ge=0, le=31 * 86_400)
    journal_events_days: float = Field(default=180, ge=1, le=36_500)
    journal_calls_days: float = Field(default=730, ge=1, le=36_500)
    log_format: Literal["console", "json"] = "console"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)

    @field_validator("mqtt_url")
    @classmethod
    def _broker_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and value.get_secret_value():
            parse_broker_url(value.get_secret_value())
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _addresses(cls, value: str) -> str:
        for each in _parts(value):
            try:
                ipaddress.ip_network(each)
            except ValueError:
                raise ValueError(
                    f"{each!r} is neither an address nor a network such as 10.0.0.0/24"
                ) from None
        return value

    @field_validator("hello_interfaces")
    @classmethod
    def _own_addresses(cls, value: str) -> str:
        for each in () if value == "none" else _parts(value):
            try:
                ipaddress.IPv4Address(each)
            except ValueError:
                raise ValueError(f"{each!r} is no IPv4 address; write addresses, or none") from None
        return value

    @field_validator("public_url")
    @classmethod
    def _web_address(cls, value: str) -> str:
        parts = urlsplit(value)
        if value and not (parts.scheme in ("http", "https") and parts.hostname):
            raise ValueError("must look like https://hutong.example")
        return value.rstrip("/")

    @property
    def media_servers(self) -> "MediaServerSettings | None":
        """None without any. Raises: ValueError, which `load` has told already."""
        if not self.media_server_url:
            return None
        # With it comes live view as a whole, and commands are quick.
        from gateway.live.mediaserver.settings import MediaServerSettings, addresses

        control = addresses(self.media_server_url)
        if not control:
            return None
        return MediaServerSettings(
            control=control,
            whep=addresses(self.media_server_whep_url),
            hls=addresses(self.media_server_hls_url),
            rtsp=addresses(self.media_server_rtsp_url),
            feed=self.media_feed_url,
        )

    @property
    def hears_hello_on(self) -> tuple[str, ...] | None:
        """Own IPv4 addresses on which devices are heard to announce themselves; empty for all,
        None for none."""
        return None if self.hello_interfaces == "none" else tuple(_parts(self.hello_interfaces))

    @property
    def database(self) -> str:
        """The database's URL; SQLite in the data directory when none is set."""
        if self.database_url is not None and self.database_url.get_secret_value():
            return self.database_url.get_secret_value()
        return f"sqlite:///{self.data_dir.absolute() / 'hutong.db'}"

    @field_validator("webrtc_addresses")
    @classmethod
    def _webrtc_addresses(cls, value: str) -> str:
        for part in _parts(value):
            ipaddress.ip_address(part)
        return value

    @property
    def meets_peers_on(self) -> tuple[str, ...]:
        """This machine's addresses for WebRTC: those that are set, else the one that HTTP has;
        empty for all but loopback."""
        if self.webrtc_addresses:
            return tuple(_parts(self.webrtc_addresses))
        if self.http_host == "localhost":
            return ("127.0.0.1",)
        try:
            address = ipaddress.ip_address(self.http_host)
        except ValueError:
            return ()
        behind = address.is_loopback and bool(self.trusted_proxies)
        return () if behind or address.is_unspecified else (self.http_host,)

    @property
    def loopback_only(self) -> bool:
        try:
            return ipaddress.ip_address(self.http_host).is_loopback
        except ValueError:
            return self.http_host == "localhost"

    @property
    def scheme(self) -> str:
        return "https" if self.tls_certificate else "http"


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def load(**changes: object) -> Settings:
    """Read and check. changes: what the command line says, over everything else."""
    try:
        settings = Settings(**changes)  # type: ignore[arg-type]
    except ValidationError as error:
        raise SettingsError("; ".join(_sentence(fault) for fault in error.errors())) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{FILE} is not valid TOML: {error}") from None
    except OSError as error:
        raise SettingsError(f"{FILE} cannot be read: {error.strerror}") from None
    _check_listening(settings)
    try:
        _ = settings.media_servers
    except ValueError as error:
        raise SettingsError(f"HUTONG_MEDIA_SERVER_URL and what goes with it: {error}") from None
    return settings


def _sentence(fault: Any) -> str:
    """fault: one of pydantic's, which hold where and why."""
    name = "_".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        return f"{FILE} has a setting {name!r} that there is not"
    reason = str(fault["ctx"]["error"]) if fault["type"] == "value_error" else str(fault["msg"])
    if fault["type"] == "string_pattern_mismatch":
        reason = "must be words of a-z, 0-9 and - joined by /"
    reason = reason.replace("Input should be", "must be").partition(", unable")[0]
    setting = f"{PREFIX}{name.upper()}"
    if reason.startswith(setting):
        return reason
    return f"{setting if setting in os.environ else f'{name} in {FILE}'}: {reason}"


def _check_listening(settings: Settings) -> None:
    """Browsers give WebCodecs and secure cookies to nothing less than TLS or loopback."""
    if bool(settings.tls_certificate) != bool(settings.tls_key):
        raise SettingsError("HUTONG_TLS_CERTIFICATE and HUTONG_TLS_KEY are only of use together")
    for path in (settings.tls_certificate, settings.tls_key):
        if path is not None and not path.is_file():
            raise SettingsError(f"{path} does not exist: check the TLS certificate and key")
    if settings.tls_certificate and settings.tls_key:
        _check_certificate(settings.tls_certificate, settings.tls_key)
    protected = settings.tls_certificate or settings.trusted_proxies or settings.insecure_http
    if not settings.loopback_only and not protected:
        raise SettingsError(
            f"HUTONG_HTTP_HOST {settings.http_host} is not loopback: set HUTONG_TLS_CERTIFICATE "
            "and HUTONG_TLS_KEY, or HUTONG_TRUSTED_PROXIES, or (in the clear, for a test) "
            "HUTONG_INSECURE_HTTP=1"
        )


def _check_certificate(certificate: Path, key: Path) -> None:
    def password() -> str:
        raise SettingsError(f"the TLS key {key} has a password: give one without")

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password)
    except OSError as error:  # of which ssl.SSLError is one
        reason = getattr(error, "reason", None) or "they are not in PEM format"
        if not isinstance(error, ssl.SSLError):
            reason = error.strerror
        raise SettingsError(
            f"the TLS certificate {certificate} and key {key} cannot be used: {reason}"
        ) from None


def shown(settings: Settings) -> dict[str, str]:
    """All settings as text by their environment name, secrets hidden."""
    table: dict[str, str] = {}
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            text = _without_password(value.get_secret_value()) if name.endswith("url") else "***"
        else:
            text = "" if value is None else str(value)
        table[f"HUTONG_{name.upper()}"] = text
    return table


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    if "@" not in parts.netloc:
        return url
    user, _, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user.partition(':')[0]}:***@{host}"))
