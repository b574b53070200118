"""The keys behind the tokens of media servers: derived, so that nodes share them unasked.

A key signs for one day. The set names the days before and after too, so that a server which
keeps the set for an hour knows every key long before its first use, whatever its clock says.
Source: RFC 7517 (JWK), RFC 7519 (JWT), RFC 8037 (Ed25519 in both), RFC 7638 (thumbprints).
"""

import base64
import hashlib
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PERIOD_S = 86_400
ISSUER = "hutong"
AUDIENCE = "hutong-media"
CONTROL = "hutong-control"
PERMISSIONS = "mediamtx_permissions"
CONTROL_LIFETIME_S = 30.0


class KeyRing:
    """derive: 32 secret bytes for a purpose, the same on every node of an installation.
    wall: seconds since 1970."""

    def __init__(
        self, derive: Callable[[str], bytes], *, wall: Callable[[], float] = time.time
    ) -> None:
        self._derive = derive
        self._wall = wall
        self._keys: dict[int, Ed25519PrivateKey] = {}

    def jwks(self) -> dict[str, Any]:
        """The public keys of yesterday, today and tomorrow, as a JWK set."""
        return {"keys": [_jwk(self._key(day)) for day in self._days()]}

    @property
    def day(self) -> int:
        """Changes whenever the set does."""
        return int(self._wall() // PERIOD_S)

    def reader_token(self, ticket_id: str, path: str, lifetime_s: float) -> str:
        """Lets whoever has it read one path, for as long as it lives."""
        return self._sign(ticket_id, [{"action": "read", "path": path}], lifetime_s)

    def control_token(self) -> str:
        """Lets us use the control API; made for each request."""
        return self._sign(CONTROL, [{"action": "api"}], CONTROL_LIFETIME_S)

    def _sign(self, subject: str, allowed: list[dict[str, str]], lifetime_s: float) -> str:
        now_s = self._wall()
        key = self._key(self.day)
        head = {"alg": "EdDSA", "typ": "JWT", "kid": _jwk(key)["kid"]}
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": subject,
            "iat": int(now_s),
            "exp": int(now_s + lifetime_s),
            PERMISSIONS: allowed,
        }
        text = f"{_part(head)}.{_part(claims)}"
        return f"{text}.{_base64(key.sign(text.encode()))}"

    def _days(self) -> range:
        return range(self.day - 1, self.day + 2)

    def _key(self, day: int) -> Ed25519PrivateKey:
        if day not in self._keys:
            seed = self._derive(f"media server tokens of day {day}")
            self._keys = {d: key for d, key in self._keys.items() if d in self._days()}
            self._keys[day] = Ed25519PrivateKey.from_private_bytes(seed)
        return self._keys[day]


def _jwk(key: Ed25519PrivateKey) -> dict[str, str]:
    needed = {"crv": "Ed25519", "kty": "OKP", "x": _base64(key.public_key().public_bytes_raw())}
    digest = hashlib.sha256(json.dumps(needed, separators=(",", ":"), sort_keys=True).encode())
    return {**needed, "alg": "EdDSA", "use": "sig", "kid": _base64(digest.digest())}


def _part(document: Mapping[str, Any]) -> str:
    return _base64(json.dumps(document, separators=(",", ":")).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
