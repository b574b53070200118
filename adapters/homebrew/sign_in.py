"""Who is signed in: the master's side of RPTL, RPTK, RPTC, RPTPING and RPTCL. Pure."""

import dataclasses
import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

from adapters.homebrew import wire
from adapters.homebrew.options import Wanted, wanted
from adapters.homebrew.settings import HomebrewSettings

Peer = tuple[str | int, ...]
"""A socket address as asyncio gives it: host, port, and more for IPv6."""

CHALLENGE_LIFE_S = 30.0
CHALLENGES = 256


@dataclasses.dataclass(slots=True, kw_only=True)
class Repeater:
    """A repeater that knows the passphrase. configured: it has also said what it is. wanted: the
    talkgroups that it takes, by timeslot."""

    repeater_id: int
    peer: Peer
    digest: bytes
    heard_s: float
    color_code: int
    callsign: str = ""
    options: str = ""
    wanted: Wanted = dataclasses.field(default_factory=dict)
    configured: bool = False

    def takes(self, slot: int, talkgroup: int) -> bool:
        """Whether a group call goes to this repeater."""
        return slot not in self.wanted or talkgroup in self.wanted[slot]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SignedIn:
    repeater: Repeater


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SignedOff:
    repeater: Repeater
    reason: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SignInRefused:
    """reason: one clause for a person; it names the repeater and never a secret."""

    repeater_id: int
    reason: str


class Stations(Protocol):
    """Who is signed in now: what we transmit goes to each. nobody: why there is none."""

    signed_in: tuple[Repeater, ...]
    nobody: str


Notice = SignedIn | SignedOff | SignInRefused


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """datagram: for the sender. notices: what changed."""

    datagram: bytes | None = None
    notices: tuple[Notice, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Challenge:
    salt: bytes
    expires_s: float


class Roster:
    """The repeaters of one system.

    salt: gives 4 random bytes. A repeater's sign-in is replaced only by one who knows its
    passphrase, so a stranger's RPTL under its id takes nothing from it.
    """

    def __init__(self, settings: HomebrewSettings, salt: Callable[[], bytes]) -> None:
        self._settings = settings
        self._salt = salt
        self._challenges: OrderedDict[tuple[int, Peer], _Challenge] = OrderedDict()
        self._repeaters: dict[int, Repeater] = {}
        self.signed_in: tuple[Repeater, ...] = ()
        self.nobody = "no repeater is signed in"

    def find(self, repeater_id: int, peer: Peer) -> Repeater | None:
        """The signed-in repeater of that id, if it is the one that speaks from that address."""
        repeater = self._repeaters.get(repeater_id)
        if repeater is None or repeater.peer != peer or not repeater.configured:
            return None
        return repeater

    def find_by_peer(self, peer: Peer) -> Repeater | None:
        return next((each for each in self.signed_in if each.peer == peer), None)

    def receive(self, message: wire.FromRepeater, peer: Peer, now_s: float) -> Reply:
        """Take a message about signing in; anything else gets no reply."""
        match message:
            case wire.Login():
                return self._challenge(message.repeater_id, peer, now_s)
            case wire.Authentication():
                return self._authenticate(message, peer, now_s)
            case wire.Configuration():
                return self._configure(message, peer, now_s)
            case wire.Ping():
                return self._ping(message.repeater_id, peer, now_s)
            case wire.Options():
                return self._options(message, peer, now_s)
            case wire.Closing():
                return self._close(message.repeater_id, peer)
        return Reply()

    def expire(self, now_s: float) -> tuple[Notice, ...]:
        """Sign off who has been silent for `ping_timeout_s`."""
        deadline_s = now_s - self._settings.ping_timeout_s
        silent = [each for each in self._repeaters.values() if each.heard_s <= deadline_s]
        reason = f"nothing heard for {self._settings.ping_timeout_s:g} s"
        return tuple(notice for each in silent for notice in self._remove(each, reason))

    def next_expiry_s(self) -> float | None:
        """When `expire` may have something to do; None while there is nobody."""
        heard = [each.heard_s for each in self._repeaters.values()]
        return min(heard) + self._settings.ping_timeout_s if heard else None

    def _challenge(self, repeater_id: int, peer: Peer, now_s: float) -> Reply:
        if not self._settings.admits(repeater_id):
            return self._refuse(repeater_id, "is not in the list of repeaters that may sign in")
        key = (repeater_id, peer)
        known = self._challenges.pop(key, None)
        # A repeated RPTL gets its first salt again: the answer to the first may be on its way.
        salt = known.salt if known and known.expires_s > now_s else self._salt()
        self._challenges[key] = _Challenge(salt=salt, expires_s=now_s + CHALLENGE_LIFE_S)
        while len(self._challenges) > CHALLENGES:
            self._challenges.popitem(last=False)
        return Reply(datagram=wire.encode_challenge(salt))

    def _authenticate(self, message: wire.Authentication, peer: Peer, now_s: float) -> Reply:
        repeater_id = message.repeater_id
        challenge = self._challenges.pop((repeater_id, peer), None)
        if challenge is None or challenge.expires_s <= now_s:
            return self._repeated(message, peer, now_s)
        passphrase = self._settings.passphrase_of(repeater_id)
        expected = hashlib.sha256(challenge.salt + passphrase).digest()
        if not hmac.compare_digest(expected, message.digest):
            return self._refuse(repeater_id, "sent a wrong passphrase")
        earlier = self._repeaters.get(repeater_id)
        notices = self._remove(earlier, "signs in anew") if earlier else ()
        self._repeaters[repeater_id] = Repeater(
            repeater_id=repeater_id,
            peer=peer,
            digest=message.digest,
            heard_s=now_s,
            color_code=self._settings.color_code,
        )
        return Reply(datagram=wire.encode_ack(repeater_id), notices=notices)

    def _repeated(self, message: wire.Authentication, peer: Peer, now_s: float) -> Reply:
        """An RPTK without a challenge: fine if it repeats the one that was accepted."""
        repeater = self._repeaters.get(message.repeater_id)
        if (
            repeater is None
            or repeater.peer != peer
            or not hmac.compare_digest(repeater.digest, message.digest)
        ):
            return Reply(datagram=wire.encode_nak(message.repeater_id))
        repeater.heard_s = now_s
        return Reply(datagram=wire.encode_ack(message.repeater_id))

    def _configure(self, message: wire.Configuration, peer: Peer, now_s: float) -> Reply:
        repeater = self._repeaters.get(message.repeater_id)
        if repeater is None or repeater.peer != peer:
            return Reply(datagram=wire.encode_nak(message.repeater_id))
        repeater.heard_s = now_s
        repeater.callsign = message.callsign
        if message.color_code is not None:
            repeater.color_code = message.color_code
        ack = wire.encode_ack(message.repeater_id)
        if repeater.configured:
            return Reply(datagram=ack)
        repeater.configured = True
        self._list()
        return Reply(datagram=ack, notices=(SignedIn(repeater=repeater),))

    def _ping(self, repeater_id: int, peer: Peer, now_s: float) -> Reply:
        repeater = self.find(repeater_id, peer)
        if repeater is None:
            return Reply(datagram=wire.encode_nak(repeater_id))
        repeater.heard_s = now_s
        return Reply(datagram=wire.encode_pong(repeater_id))

    def _options(self, message: wire.Options, peer: Peer, now_s: float) -> Reply:
        repeater = self._repeaters.get(message.repeater_id)
        if repeater is None or repeater.peer != peer:
            return Reply(datagram=wire.encode_nak(message.repeater_id))
        repeater.heard_s = now_s
        repeater.options = message.text
        repeater.wanted = wanted(message.text)
        return Reply(datagram=wire.encode_ack(message.repeater_id))

    def _close(self, repeater_id: int, peer: Peer) -> Reply:
        repeater = self._repeaters.get(repeater_id)
        if repeater is None or repeater.peer != peer:
            return Reply(datagram=wire.encode_nak(repeater_id))
        # Masters in the field answer a sign-off with MSTNAK.
        return Reply(
            datagram=wire.encode_nak(repeater_id), notices=self._remove(repeater, "signed off")
        )

    def _refuse(self, repeater_id: int, why: str) -> Reply:
        notice = SignInRefused(repeater_id=repeater_id, reason=f"repeater {repeater_id} {why}")
        return Reply(datagram=wire.encode_nak(repeater_id), notices=(notice,))

    def _remove(self, repeater: Repeater, reason: str) -> tuple[Notice, ...]:
        del self._repeaters[repeater.repeater_id]
        self._list()
        return (SignedOff(repeater=repeater, reason=reason),) if repeater.configured else ()

    def _list(self) -> None:
        self.signed_in = tuple(each for each in self._repeaters.values() if each.configured)
