"""Settings of a Zello connection."""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

CONSUMER_URL = "wss://zello.io/ws"
WORK_URL = "wss://zellowork.io/ws"


class ZelloSettings(BaseModel):
    """Which server, and as whom.

    url: ``wss://host/ws…``; when empty, Zello Work's where `network` is given and consumer
    Zello's otherwise. network: the name of a Zello Work network, appended to the url's path
    where that does not end with it. username, password: of the gateway's account. auth_token:
    a JWT of the developer key, which consumer Zello needs and Zello Work does not.
    platform_name: what the server's alarm service knows us as; keep "Gateway" in it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    url: str = ""
    network: str = Field(default="", pattern=r"^[A-Za-z0-9._-]*$")
    username: str = Field(min_length=1)
    password: SecretStr
    auth_token: SecretStr = SecretStr("")
    platform_name: str = "Gateway"

    @model_validator(mode="after")
    def _is_a_websocket(self) -> Self:
        if not self.endpoint.startswith(("ws://", "wss://")):
            raise ValueError("url must begin with wss:// (or ws:// on a closed network)")
        return self

    @property
    def endpoint(self) -> str:
        """The URL to connect to."""
        url = self.url or (WORK_URL if self.network else CONSUMER_URL)
        if self.network and url.rstrip("/").rsplit("/", 1)[-1] != self.network:
            return f"{url.rstrip('/')}/{self.network}"
        return url
