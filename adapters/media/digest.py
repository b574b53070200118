"""Authentication of RTSP and HTTP clients: Digest (RFC 7616, 2617, 2069) and Basic (RFC 7617)."""

import base64
import dataclasses
import hashlib
import re
import secrets
from collections.abc import Callable, Iterable, Mapping

from adapters.errors import AuthenticationFailed, ProtocolViolation

_SCHEME = re.compile(r"\s*,?\s*([A-Za-z][\w-]*)(?:\s+|$)(?!=)")
_PARAMETER = re.compile(r'\s*,?\s*([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*))')
_HASHES: Mapping[str, Callable[[bytes], str]] = {
    "MD5": lambda data: hashlib.md5(data, usedforsecurity=False).hexdigest(),
    "SHA-256": lambda data: hashlib.sha256(data).hexdigest(),
    "SHA-512-256": lambda data: hashlib.new("sha512_256", data).hexdigest(),
}
_STRENGTHS = {"MD5": 2, "SHA-256": 3, "SHA-512-256": 4}
_MAX_HEADER = 8192

MAX_TRIES = 2
"""How often a password may be refused before we stop: cameras lock an account after three."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """One way in that a server offers. scheme and parameter names in lower case."""

    scheme: str
    parameters: Mapping[str, str]


def parse_challenges(headers: Iterable[str]) -> list[Challenge]:
    """All challenges of some WWW-Authenticate headers; each may hold several."""
    challenges = []
    for header in headers:
        text, at = header[:_MAX_HEADER], 0
        while match := _SCHEME.match(text, at):
            at, parameters = match.end(), {}
            while parameter := _PARAMETER.match(text, at):
                name, quoted, plain = parameter.groups()
                parameters[name.lower()] = (
                    re.sub(r"\\(.)", r"\1", quoted) if quoted else plain or ""
                )
                at = parameter.end()
            challenges.append(Challenge(scheme=match[1].lower(), parameters=parameters))
    return challenges


def _hash_name(challenge: Challenge) -> str:
    name = challenge.parameters.get("algorithm", "").strip().upper() or "MD5"
    return name.removesuffix("-SESS")


def _strength(challenge: Challenge) -> int:
    """0 for what we cannot answer. Basic comes last: it shows the password to the wire."""
    if challenge.scheme == "basic":
        return 1
    if challenge.scheme != "digest" or not challenge.parameters.get("nonce"):
        return 0
    return _STRENGTHS.get(_hash_name(challenge), 0)


class Credentials:
    """Answers the challenges of one server, request by request.

    basic: whether Basic may be answered, which shows the password to whoever listens.
    random_text: gives the client nonce; injected for tests.
    """

    def __init__(
        self,
        username: str,
        password: str,
        random_text: Callable[[], str] = lambda: secrets.token_hex(8),
        *,
        basic: bool = True,
    ) -> None:
        self._username = username
        self._password = password
        self._random_text = random_text
        self._basic = basic
        self._challenge: Challenge | None = None
        self._count = 0
        self._refused: list[int] = []
        self._accepted = False

    @property
    def known(self) -> bool:
        return bool(self._username)

    @property
    def answered(self) -> bool:
        """Whether a challenge has been taken on, so that requests carry an answer."""
        return self._challenge is not None

    def accept(self) -> None:
        """The server took our answer."""
        if self._challenge is not None:
            self._accepted = True
            self._refused.clear()

    def take(self, headers: Iterable[str], *, refused: bool = False) -> bool:
        """Take on the strongest challenge; True when it merely renews a nonce that went stale.

        refused: the request that brought these headers carried our answer. A password is then
        said again only for a nonce that went stale, or in a weaker kind of Digest where one is
        offered, and `MAX_TRIES` times at most.
        Raises: ProtocolViolation when none of them can be answered; AuthenticationFailed when the
        password was refused, or only Basic is offered and may not be used.
        """
        offered = sorted(parse_challenges(headers), key=_strength, reverse=True)
        if not offered or not _strength(offered[0]):
            schemes = ", ".join(sorted({item.scheme for item in offered})) or "nothing"
            raise ProtocolViolation(f"it asks for a sign-in that is not known here: {schemes}")
        chosen = offered[0]
        stale = chosen.parameters.get("stale", "").lower() == "true"
        if refused:
            chosen = self._next_try(offered, renewed=stale or self._accepted)
        if chosen.scheme == "basic" and not self._basic:
            raise AuthenticationFailed(
                "it offers no sign-in but Basic, which shows the password to the network; allow"
                " that in its settings, or use rtsps"
            )
        self._challenge = chosen
        self._count = 0
        return stale

    def _next_try(self, offered: list[Challenge], *, renewed: bool) -> Challenge:
        assert self._challenge is not None
        self._refused.append(_strength(self._challenge))
        self._accepted = False
        if len(self._refused) < MAX_TRIES:
            if renewed:
                return offered[0]
            for challenge in offered:
                # Never from Digest to Basic: a liar could ask for just that.
                if 1 < _strength(challenge) < self._refused[-1]:
                    return challenge
        raise AuthenticationFailed("it refused the name or password")

    def authorization(self, method: str, uri: str) -> str | None:
        """The Authorization header for a request; None before a challenge was taken on."""
        challenge = self._challenge
        if challenge is None:
            return None
        if challenge.scheme == "basic":
            pair = f"{self._username}:{self._password}".encode()
            return "Basic " + base64.b64encode(pair).decode()
        return self._digest(challenge, method, uri)

    def _digest(self, challenge: Challenge, method: str, uri: str) -> str:
        given = challenge.parameters
        realm, nonce = given.get("realm", ""), given["nonce"]
        algorithm = given.get("algorithm", "").strip()

        def digest(*parts: str) -> str:
            return _HASHES[_hash_name(challenge)](":".join(parts).encode())

        self._count += 1
        count, client_nonce = f"{self._count:08x}", self._random_text()
        secret = digest(self._username, realm, self._password)
        if algorithm.upper().endswith("-SESS"):
            secret = digest(secret, nonce, client_nonce)
        fields = {"username": self._username, "realm": realm, "nonce": nonce, "uri": uri}
        offers = {offer.strip().lower() for offer in given.get("qop", "").split(",")}
        plain = [f"algorithm={algorithm}"] if algorithm else []
        quality = next((name for name in ("auth", "auth-int") if name in offers), "")
        if quality:
            # The integrity of a body that is empty, as those of our requests are.
            body = (digest(""),) if quality == "auth-int" else ()
            request = digest(method, uri, *body)
            fields["response"] = digest(secret, nonce, count, client_nonce, quality, request)
            plain += [f"qop={quality}", f"nc={count}"]
            fields["cnonce"] = client_nonce
        else:
            fields["response"] = digest(secret, nonce, digest(method, uri))
            if algorithm.upper().endswith("-SESS"):
                fields["cnonce"] = client_nonce
        if "opaque" in given:
            fields["opaque"] = given["opaque"]
        quoted = [f'{name}="{_quote(value)}"' for name, value in fields.items()]
        return "Digest " + ", ".join(quoted + plain)


def _quote(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
