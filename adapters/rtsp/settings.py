"""What a plain RTSP camera is configured with."""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)

from adapters.errors import InvalidSettings
from adapters.events import RtspSource, Secret
from adapters.media.address import parse_address
from adapters.media.dial import parse_fingerprint
from adapters.media.limits import RtspLimits


def _plain(value: Any) -> Any:
    return value.reveal() if isinstance(value, Secret) else value


class RtspSettings(BaseModel):
    """endpoint: the main stream; sub_endpoint: a smaller one of the same picture, if there is one.

    A name and password within an address are moved into `username` and `password`, so that no
    address that is stored or shown carries them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    endpoint: str = Field(
        title="Address", description="rtsp://host:port/path, or host:port/path", max_length=2048
    )
    username: str = Field("", title="User name", max_length=256)
    password: Annotated[SecretStr, BeforeValidator(_plain)] = Field(
        SecretStr(""), title="Password", max_length=256
    )
    sub_endpoint: str = Field(
        "", title="Address of the sub stream", description="Empty if there is none", max_length=2048
    )
    transport: Literal["tcp", "udp"] = Field(
        "tcp", title="Transport", description="What is tried first; the other follows by itself"
    )
    certificate_sha256: str = Field(
        "",
        title="Certificate",
        description="SHA-256 of the one certificate to trust with rtsps, in hexadecimal; empty for"
        " what this machine trusts",
        max_length=128,
    )
    allow_basic: bool = Field(
        False,
        title="Allow Basic",
        description="Show the password to the network where the camera knows no better way",
    )
    timeout_s: float = Field(
        5.0,
        title="Time-out",
        description="Seconds for connecting, and for each answer",
        gt=0,
        le=60,
    )
    check_interval_s: float = Field(
        15.0, title="Check interval", description="Seconds between two checks", ge=0.05, le=3600
    )

    @model_validator(mode="before")
    @classmethod
    def _move_credentials(cls, values: object) -> object:
        if not isinstance(values, dict) or not isinstance(values.get("endpoint"), str):
            return values
        try:
            address = parse_address(values["endpoint"])
        except InvalidSettings as error:
            raise ValueError(error.message) from None
        moved = {**values, "endpoint": address.url}
        if address.username and not values.get("username"):
            moved |= {"username": address.username, "password": address.password}
        return moved

    @field_validator("sub_endpoint")
    @classmethod
    def _readable(cls, value: str) -> str:
        if not value:
            return value
        try:
            return parse_address(value).url
        except InvalidSettings as error:
            raise ValueError(error.message) from None

    @field_validator("certificate_sha256")
    @classmethod
    def _fingerprint(cls, value: str) -> str:
        try:
            return parse_fingerprint(value)
        except InvalidSettings as error:
            raise ValueError(error.message) from None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.password.get_secret_value() and not self.username:
            raise ValueError("a password needs a user name")
        return self

    @property
    def limits(self) -> RtspLimits:
        """How long the camera may take."""
        return RtspLimits(connect_s=self.timeout_s, request_s=self.timeout_s)

    def source(self, profile: str) -> RtspSource:
        """Where a profile can be had; ``sub`` gives main where there is no sub stream."""
        url = self.sub_endpoint if profile == "sub" and self.sub_endpoint else self.endpoint
        return RtspSource(
            url=url,
            username=self.username,
            password=Secret(self.password.get_secret_value()),
            transport=self.transport,
            certificate_sha256=self.certificate_sha256,
            allow_basic=self.allow_basic,
        )
