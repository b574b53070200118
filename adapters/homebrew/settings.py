"""Settings of a Homebrew master, or of a peer of one."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

LARGEST_REPEATER_ID = 0xFFFFFFFF
LARGEST_PORT = 65535
LARGEST_UNIT_ID = 0xFFFCDF
"""Individual addresses of DMR end here; above are gateways and all-unit calls.

Source: ETSI TS 102 361-1, annex A.
"""


class HomebrewSettings(BaseModel):
    """Where repeaters find us and who may sign in; or whose peer we are.

    mode: ``master``, or ``peer`` of somebody else's master. As a peer: host and port are the
    master's, passphrase is what we sign in with, and repeater_id is who we are there; callsign
    and options are told to it, options being what that master understands (``TS1=101,102;…``);
    a ping goes out every ping_interval_s, and three without an answer end the connection. Or
    ``openbridge`` between masters: host and port are ours, far is the other end's ``host:port``,
    repeater_id is our network's id there, and passphrase the key of both.

    host, port: the UDP address to listen on; port 0 takes a free one. passphrase: what every
    repeater signs in with, unless `passphrases` names one for its id. repeaters: the only ids
    that may sign in; None lets in all that know the passphrase. ping_timeout_s: a repeater that
    has been silent so long is gone. hold_s: a talk without frames for so long is lost; keep it
    above the jitter buffer of the repeaters. gateway_radio_id: the source id of what we key on
    nobody's behalf. color_code: used for repeaters that do not tell theirs.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    host: str = "127.0.0.1"
    port: int = Field(default=62031, ge=0, le=65535)
    passphrase: SecretStr
    passphrases: dict[int, SecretStr] = Field(default_factory=dict)
    repeaters: frozenset[int] | None = None
    ping_timeout_s: float = Field(default=15.0, gt=0, le=600)
    hold_s: float = Field(default=1.0, ge=0.12, le=10)
    gateway_radio_id: int = Field(default=16_000_000, ge=1, le=LARGEST_UNIT_ID)
    color_code: int = Field(default=1, ge=0, le=15)
    mode: Literal["master", "peer", "openbridge"] = "master"
    far: str = Field(default="", pattern=r"^$|^[^\s/@]+:[1-9][0-9]{0,4}$")
    repeater_id: int | None = Field(default=None, ge=1, le=LARGEST_REPEATER_ID)
    callsign: str = Field(default="HUTONG", min_length=1, max_length=8)
    options: str = Field(default="", max_length=300)
    ping_interval_s: float = Field(default=5.0, ge=0.05, le=60)

    @model_validator(mode="after")
    def _a_peer_is_somebody(self) -> Self:
        if self.mode == "peer" and (self.repeater_id is None or not self.port):
            raise ValueError("a peer needs repeater_id, and the port of its master")
        if self.mode == "openbridge" and (self.repeater_id is None or not self.far):
            raise ValueError("OpenBridge needs repeater_id, and far")
        if self.far and self.far_address[1] > LARGEST_PORT:
            raise ValueError("far has a port that is none")
        return self

    @property
    def far_address(self) -> tuple[str, int]:
        host, _, port = self.far.rpartition(":")
        return host.strip("[]"), int(port)

    def passphrase_of(self, repeater_id: int) -> bytes:
        """The passphrase that this repeater must know, as it is hashed."""
        secret = self.passphrases.get(repeater_id, self.passphrase)
        return secret.get_secret_value().encode()

    def admits(self, repeater_id: int) -> bool:
        return self.repeaters is None or repeater_id in self.repeaters
