"""Who may call a simulated ONVIF device: WS-UsernameToken and HTTP Digest.

Source: ONVIF Core specification, access control; WS-Security UsernameToken profile 1.0.
"""

import base64
import binascii
import datetime
import hashlib
import hmac
import secrets
from collections import deque
from collections.abc import Mapping
from typing import Final

from simulators.onvif_camera.soap import UsernameToken
from simulators.rtsp_camera.authentication import (
    digest_challenge,
    digest_valid,
    parse_authorization,
)

REALM: Final = "camera"
_NONCE_LIFE_S: Final = 300
_REMEMBERED_NONCES: Final = 64


def token_digest(nonce: bytes, created: str, password: str) -> str:
    """The PasswordDigest of a UsernameToken, in base64."""
    digest = hashlib.sha1(nonce + created.encode() + password.encode(), usedforsecurity=False)
    return base64.b64encode(digest.digest()).decode()


class Guard:
    """Checks the credentials of one device; remembers the latest nonces against replay."""

    def __init__(self, username: str, password: str) -> None:
        self._username = username
        self._password = password
        self._seen: deque[tuple[str, str]] = deque(maxlen=_REMEMBERED_NONCES)
        self._key = secrets.token_bytes(16)

    def accepts_token(self, token: UsernameToken, *, now_s: float, window_s: float) -> bool:
        """Whether a UsernameToken is right, fresh and new. now_s: the device's clock."""
        try:
            nonce = base64.b64decode(token.nonce, validate=True)
            created = datetime.datetime.fromisoformat(token.created)
        except (binascii.Error, ValueError):
            return False
        if not token.digest or not nonce or token.username != self._username:
            return False
        created = created if created.tzinfo else created.replace(tzinfo=datetime.UTC)
        if abs(created.timestamp() - now_s) > window_s:
            return False
        wanted = token_digest(nonce, token.created, self._password)
        if not hmac.compare_digest(wanted.encode(), token.password.encode()):
            return False
        if (token.nonce, token.created) in self._seen:
            return False
        self._seen.append((token.nonce, token.created))
        return True

    def accepts_digest(self, header: str, *, method: str, target: str, now_s: float) -> bool:
        """Whether an Authorization header is right. target: of the HTTP request."""
        given = parse_authorization(header)
        if given is None or given.scheme != "digest":
            return False
        if given.parameters.get("uri") != target or not self._fresh(given.parameters, now_s):
            return False
        return digest_valid(
            given, method=method, username=self._username, password=self._password, realm=REALM
        )

    def challenge(self, header: str, *, now_s: float) -> str:
        """A WWW-Authenticate header; says stale when only the nonce of the last try was old."""
        given = parse_authorization(header)
        stale = given is not None and not self._fresh(given.parameters, now_s)
        return digest_challenge(REALM, self._nonce(int(now_s)), stale=stale, qop=True)

    def _nonce(self, time_s: int) -> str:
        mark = f"{time_s:x}"
        return f"{mark}-{hmac.digest(self._key, mark.encode(), 'sha256').hex()[:24]}"

    def _fresh(self, parameters: Mapping[str, str], now_s: float) -> bool:
        nonce = parameters.get("nonce", "")
        mark = nonce.partition("-")[0]
        try:
            time_s = int(mark, 16)
        except ValueError:
            return False
        return nonce == self._nonce(time_s) and abs(now_s - time_s) <= _NONCE_LIFE_S
