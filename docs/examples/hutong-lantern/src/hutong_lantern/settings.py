"""What a Lantern recorder is configured with."""

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator
from yarl import URL


class LanternSettings(BaseModel):
    """endpoint: where its API is, by HTTP or HTTPS; the port is 8000 where none is named."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    endpoint: str = Field(
        title="Address", description="http://host:port, or host:port", max_length=300
    )
    username: str = Field("", title="User name", max_length=64)
    password: SecretStr = Field(SecretStr(""), title="Password", max_length=64)
    timeout_s: float = Field(
        5.0,
        title="Time-out",
        description="Seconds for connecting, and for each answer",
        gt=0,
        le=60,
    )
    poll_s: float = Field(
        20.0,
        title="Poll",
        description="Seconds that it may hold a question for events back",
        ge=0.05,
        le=300,
    )

    @field_validator("endpoint")
    @classmethod
    def _readable(cls, value: str) -> str:
        text = value.strip()
        url = URL(text if "://" in text else f"http://{text}")
        if url.scheme not in ("http", "https") or not url.host:
            raise ValueError("the address is http://host:port, https://host:port or host:port")
        if url.user or url.password:
            raise ValueError("user name and password have fields of their own")
        port = url.explicit_port or 8000
        return str(URL.build(scheme=url.scheme, host=url.host, port=port))

    @property
    def url(self) -> URL:
        return URL(self.endpoint)
