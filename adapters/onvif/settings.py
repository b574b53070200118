"""What an ONVIF device is configured with."""

import re
from typing import Annotated, Any, Literal, Self
from urllib.parse import SplitResult, urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    model_validator,
)

from adapters.events import Secret
from adapters.onvif import tls

_BLANK_OR_CONTROL = re.compile(r"[\s\x00-\x1f]")

DEVICE_SERVICE_PATH = "/onvif/device_service"


def _plain(value: Any) -> Any:
    return value.reveal() if isinstance(value, Secret) else value


def _fingerprint(value: Any) -> Any:
    return tls.normalised(value) if isinstance(value, str) else value


class OnvifSettings(BaseModel):
    """endpoint: a host, ``host:port`` or the URL of the device service.

    port: TCP port of the device service where the endpoint names none. timeout_s: for each call.
    check_interval_s: between two looks at a device that is online. transport: how RTSP streams
    are asked for. rtsp_port: of its streams as we reach them, where a NAT changes that; 0 for the
    one the device announces. allow_basic: whether the password may be sent in clear where the
    device takes nothing better and speaks no TLS. certificate_sha256: the only certificate that
    is trusted. trust: what becomes of a certificate that no authority vouches for: ``first`` pins
    the one seen when the device is registered or refreshed, ``given`` refuses it, and says its
    fingerprint.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    endpoint: str = Field(
        title="Address", description="host, host:port or http://host/path", max_length=500
    )
    # No colon: HTTP digest could not carry it. No control characters: XML could not.
    username: str = Field(
        default="", title="User name", max_length=200, pattern=r"^[^:\x00-\x1f\x7f]*$"
    )
    password: Annotated[SecretStr, BeforeValidator(_plain)] = Field(
        default=SecretStr(""), title="Password", max_length=200
    )
    port: int = Field(
        default=80, title="Port", description="Where the address names none", ge=1, le=65_535
    )
    timeout_s: float = Field(
        default=5.0, title="Time-out", description="Seconds for each call", gt=0, le=120
    )
    check_interval_s: float = Field(
        default=10.0,
        title="Check interval",
        description="Seconds between two looks at it",
        gt=0,
        le=3_600,
    )
    transport: Literal["tcp", "udp"] = Field(
        default="tcp", title="Transport", description="Of the RTSP streams"
    )
    rtsp_port: int = Field(
        default=0,
        title="RTSP port",
        description="As we reach it, where a NAT changes it; 0: as announced",
        ge=0,
        le=65_535,
    )
    allow_basic: bool = Field(
        default=False,
        title="Allow Basic",
        description="The password may be sent in clear where the device takes nothing better",
    )
    certificate_sha256: Annotated[str, BeforeValidator(_fingerprint)] = Field(
        default="",
        title="Certificate",
        description="SHA-256 fingerprint of the only certificate that is trusted",
    )
    trust: Literal["first", "given"] = Field(
        default="first",
        title="Trust",
        description="Of a self-signed certificate: the first one seen, or only the one given",
    )

    _url: str = PrivateAttr(default="")

    @model_validator(mode="after")
    def _usable(self) -> Self:
        self._url = device_url(self.endpoint, self.port)
        return self

    @property
    def url(self) -> str:
        """The address of the device service."""
        return self._url

    @property
    def secret(self) -> Secret:
        return Secret(self.password.get_secret_value())


def device_url(endpoint: str, port: int = 80) -> str:
    """The device service of a host, ``host:port`` or URL.

    Raises: ValueError when it is none of them, or carries a user name or password: those have
    fields of their own, and an endpoint is shown and logged.
    """
    endpoint = endpoint.strip()
    try:
        parts = urlsplit(endpoint if "://" in endpoint else f"http://{endpoint}")
        given_port = parts.port
    except ValueError:
        raise ValueError("the endpoint is not a host, host:port or URL") from None
    if parts.username is not None or parts.password is not None:
        raise ValueError("the endpoint must not hold a user name or password; they have own fields")
    if parts.scheme not in ("http", "https") or not parts.hostname or _odd(parts):
        raise ValueError("the endpoint is not a host, host:port or http(s) URL")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    default_port = 443 if parts.scheme == "https" else 80
    shown = given_port or (port if parts.scheme == "http" else default_port)
    netloc = host if shown == default_port else f"{host}:{shown}"
    path = parts.path if parts.path not in ("", "/") else DEVICE_SERVICE_PATH
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.scheme}://{netloc}{path}{query}"


def _odd(parts: SplitResult) -> bool:
    return _BLANK_OR_CONTROL.search(parts.geturl()) is not None
