"""Signing in with somebody else's master: the peer's side of RPTL, RPTK, RPTC, RPTPING. Pure."""

import dataclasses
import enum
import hashlib

from adapters.errors import (
    AdapterError,
    AuthenticationFailed,
    ProtocolViolation,
    TimedOut,
    Unreachable,
)
from adapters.homebrew import wire
from adapters.homebrew.settings import HomebrewSettings
from adapters.homebrew.sign_in import Peer, Repeater
from adapters.homebrew.wire import FromMaster, Word

REPLY_S = 2.0
ATTEMPTS = 3
MISSES = 3


class Stage(enum.Enum):
    """What we have said last and wait to have acknowledged."""

    LOGIN = "RPTL"
    PASSPHRASE = "RPTK"
    CONFIGURATION = "RPTC"
    OPTIONS = "RPTO"
    SIGNED_IN = "RPTPING"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """datagram: to be sent. failure: what ends the connection. signed_in: just now."""

    datagram: bytes | None = None
    failure: AdapterError | None = None
    signed_in: bool = False


class Uplink:
    """One connection to a master. `signed_in` holds ourselves, once we are.

    device: what errors name.
    """

    def __init__(self, settings: HomebrewSettings, master: Peer, device: str) -> None:
        assert settings.repeater_id is not None
        self.id = settings.repeater_id
        self.signed_in: tuple[Repeater, ...] = ()
        self.nobody = "not signed in with the master"
        self._settings = settings
        self._master = master
        self._device = device
        self._stage = Stage.LOGIN
        self._said = wire.encode_login(self.id)
        self._tries = 0
        self._pings_unanswered = 0
        self._due_s = 0.0

    def start(self, now_s: float) -> Step:
        return self._say(Stage.LOGIN, wire.encode_login(self.id), now_s)

    def due_s(self) -> float:
        """When `tick` is to be called next."""
        return self._due_s

    def tick(self, now_s: float) -> Step:
        """Say again what was not answered, or ping."""
        if now_s < self._due_s:
            return Step()
        if self._stage is Stage.SIGNED_IN:
            return self._ping(now_s)
        if self._tries >= ATTEMPTS:
            text = f"the master does not answer {self._stage.value}; see that it runs"
            return Step(failure=TimedOut(text, device=self._device))
        return self._say(self._stage, self._said, now_s)

    def receive(self, message: FromMaster, now_s: float) -> Step:
        match message.word:
            case Word.ACK:
                return self._acknowledged(message.body, now_s)
            case Word.NAK:
                return Step(failure=self._refused())
            case Word.CLOSING:
                text = "the master closes the connection; it may be starting anew"
                return Step(failure=Unreachable(text, device=self._device))
            case Word.PONG:
                self._pings_unanswered = 0
        return Step()

    def _acknowledged(self, body: bytes, now_s: float) -> Step:
        match self._stage:
            case Stage.LOGIN:
                passphrase = self._settings.passphrase.get_secret_value().encode()
                digest = hashlib.sha256(body + passphrase).digest()
                said = wire.encode_authentication(self.id, digest)
                return self._say(Stage.PASSPHRASE, said, now_s)
            case Stage.SIGNED_IN:
                return Step()  # what was said twice is acknowledged twice
            case _ if body != self.id.to_bytes(4, "big"):
                return Step()  # the challenge again: our first RPTL was slow
            case Stage.PASSPHRASE:
                said = wire.encode_configuration(
                    self.id,
                    callsign=self._settings.callsign,
                    color_code=self._settings.color_code,
                    description="gateway",
                )
                return self._say(Stage.CONFIGURATION, said, now_s)
            case Stage.CONFIGURATION if self._settings.options:
                said = wire.encode_options(self.id, self._settings.options)
                return self._say(Stage.OPTIONS, said, now_s)
        return self._done(now_s)

    def _done(self, now_s: float) -> Step:
        self._stage = Stage.SIGNED_IN
        self._due_s = now_s + self._settings.ping_interval_s
        self.signed_in = (
            Repeater(
                repeater_id=self.id,
                peer=self._master,
                digest=b"",
                heard_s=now_s,
                color_code=self._settings.color_code,
                configured=True,
            ),
        )
        return Step(signed_in=True)

    def _ping(self, now_s: float) -> Step:
        if self._pings_unanswered >= MISSES:
            text = f"the master has not answered {MISSES} pings"
            return Step(failure=Unreachable(text, device=self._device))
        self._pings_unanswered += 1
        self._due_s = now_s + self._settings.ping_interval_s
        return Step(datagram=wire.encode_ping(self.id))

    def _say(self, stage: Stage, datagram: bytes, now_s: float) -> Step:
        self._tries = self._tries + 1 if stage is self._stage else 1
        self._stage, self._said = stage, datagram
        self._due_s = now_s + REPLY_S
        return Step(datagram=datagram)

    def _refused(self) -> AdapterError:
        match self._stage:
            case Stage.LOGIN:
                text = f"the master does not let repeater {self.id} in; have it entered there"
                return AuthenticationFailed(text, device=self._device)
            case Stage.PASSPHRASE:
                text = f"the master refuses the passphrase of repeater {self.id}; correct it"
                return AuthenticationFailed(text, device=self._device)
            case Stage.CONFIGURATION | Stage.OPTIONS:
                text = f"the master refuses what we say of ourselves ({self._stage.value})"
                return ProtocolViolation(text, device=self._device)
        text = "the master does not know us any more; it may have started anew"
        return Unreachable(text, device=self._device)
