"""Settings: environment `HUTONG_*`, else `hutong.toml` in the working directory.

Raises `SettingsError` with one sentence for each thing that is wrong.
"""

import ipaddress
import tomllib
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from gateway.bus.link import parse_broker_url


class SettingsError(Exception):
    """A setting that cannot work; the message names it and says what to do."""


class Settings(BaseSettings):
    """One attribute for each `HUTONG_*` of the contract."""

    model_config = SettingsConfigDict(
        env_prefix="HUTONG_", toml_file="hutong.toml", extra="forbid", hide_input_in_errors=True
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

    @property
    def database(self) -> str:
        """The database's URL; SQLite in the data directory when none is set."""
        if self.database_url is not None and self.database_url.get_secret_value():
            return self.database_url.get_secret_value()
        return f"sqlite:///{self.data_dir.absolute() / 'hutong.db'}"

    @property
    def loopback_only(self) -> bool:
        try:
            return ipaddress.ip_address(self.http_host).is_loopback
        except ValueError:
            return self.http_host == "localhost"

    @property
    def scheme(self) -> str:
        return "https" if self.tls_certificate else "http"


def load(**changes: object) -> Settings:
    """Read and check. changes: what the command line says, over everything else."""
    try:
        settings = Settings(**changes)  # type: ignore[arg-type]
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"hutong.toml cannot be read: {error}") from None
    except ValidationError as error:
        raise SettingsError("; ".join(_sentences(error))) from None
    _check_listening(settings)
    return settings


def _sentences(error: ValidationError) -> list[str]:
    return [
        f"HUTONG_{'_'.join(str(part) for part in fault['loc']).upper()}: {fault['msg']}"
        for fault in error.errors()
    ]


def _check_listening(settings: Settings) -> None:
    """Browsers give WebCodecs and secure cookies to nothing less than TLS or loopback."""
    if bool(settings.tls_certificate) != bool(settings.tls_key):
        raise SettingsError("HUTONG_TLS_CERTIFICATE and HUTONG_TLS_KEY are only of use together")
    for path in (settings.tls_certificate, settings.tls_key):
        if path is not None and not path.is_file():
            raise SettingsError(f"{path} does not exist: check the TLS certificate and key")
    protected = settings.tls_certificate or settings.trusted_proxies or settings.insecure_http
    if not settings.loopback_only and not protected:
        raise SettingsError(
            f"HUTONG_HTTP_HOST {settings.http_host} is not loopback: set HUTONG_TLS_CERTIFICATE "
            "and HUTONG_TLS_KEY, or HUTONG_TRUSTED_PROXIES, or (in the clear, for a test) "
            "HUTONG_INSECURE_HTTP=1"
        )


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
