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
from typing import Final, Literal

from simulators.onvif_camera.soap import UsernameToken
from simulators.rtsp_camera.authentication import basic_valid, parse_authorization

Algorithm = Literal["MD5", "SHA-256"]

REALM: Final = "camera"
_NONCE_LIFE_S: Final = 300
_REMEMBERED_NONCES: Final = 64


def token_digest(nonce: bytes, created: str, password: str) -> str:
    """The PasswordDigest of a UsernameToken, in base64."""
    digest = hashlib.sha1(nonce + created.encode() + password.encode(), usedforsecurity=False)
    return base64.b64encode(digest.digest()).decode()


class Guard:
    """Checks the credentials of one device; remembers the latest nonces against replay.

    wrong: wrong passwords since it was made.
    """

    def __init__(self, username: str, password: str) -> None:
        self.wrong = 0
        self._in_a_row = 0
        self._username = username
        self._password = password
        self._seen: deque[tuple[str, str]] = deque(maxlen=_REMEMBERED_NONCES)
        self._key = secrets.token_bytes(16)
        self._latest = (0, "")  # when, and the nonce of that second

    def locked(self, after: int) -> bool:
        """Whether so many wrong passwords in a row were given; 0 is never."""
        return bool(after) and self._in_a_row >= after

    def unlock(self) -> None:
        self._in_a_row = 0

    def _judged(self, right: bool) -> bool:
        self.wrong += not right
        self._in_a_row = 0 if right else self._in_a_row + 1
        return right

    def accepts_token(self, token: UsernameToken, *, now_s: float, window_s: float) -> bool:
        """Whether a UsernameToken is right, fresh and new. now_s: the device's clock."""
        try:
            nonce = base64.b64decode(token.nonce, validate=True)
            created = datetime.datetime.fromisoformat(token.created)
        except (binascii.Error, ValueError):
            return False
        if not token.digest or not nonce or token.username != self._username:
            return self._judged(False)
        created = created if created.tzinfo else created.replace(tzinfo=datetime.UTC)
        if abs(created.timestamp() - now_s) > window_s:
            return self._judged(False)
        wanted = token_digest(nonce, token.created, self._password)
        if not hmac.compare_digest(wanted.encode(), token.password.encode()):
            return self._judged(False)
        if (token.nonce, token.created) in self._seen:
            return False
        self._seen.append((token.nonce, token.created))
        return self._judged(True)

    def accepts_digest(
        self, header: str, *, method: str, target: str, now_s: float, algorithm: Algorithm = "MD5"
    ) -> bool:
        """Whether an Authorization header is right. target: of the HTTP request."""
        given = parse_authorization(header)
        if given is None or given.scheme != "digest":
            return False
        parameters = given.parameters
        if parameters.get("uri") != target or not self._fresh(parameters, now_s):
            return False
        if parameters.get("algorithm", "MD5").upper() != algorithm:
            return self._judged(False)
        named = (parameters.get("username"), parameters.get("realm"))
        wanted = self._response(parameters, method, algorithm).encode()
        right = hmac.compare_digest(wanted, parameters.get("response", "").encode())
        return self._judged(right and named == (self._username, REALM))

    def _response(self, parameters: Mapping[str, str], method: str, algorithm: Algorithm) -> str:
        def digest(*parts: str) -> str:
            text = ":".join(parts).encode()
            if algorithm == "SHA-256":
                return hashlib.sha256(text).hexdigest()
            return hashlib.md5(text, usedforsecurity=False).hexdigest()

        secret = digest(self._username, REALM, self._password)
        request = digest(method, parameters.get("uri", ""))
        nonce, qop = parameters.get("nonce", ""), parameters.get("qop", "")
        if not qop:
            return digest(secret, nonce, request)
        count, cnonce = parameters.get("nc", ""), parameters.get("cnonce", "")
        return digest(secret, nonce, count, cnonce, qop, request)

    def accepts_basic(self, header: str) -> bool:
        """Whether an Authorization header holds the password in clear."""
        given = parse_authorization(header)
        if given is None or given.scheme != "basic":
            return False
        return self._judged(basic_valid(given, username=self._username, password=self._password))

    def challenge(
        self, header: str, *, now_s: float, algorithm: Algorithm = "MD5", qop: bool = True
    ) -> str:
        """A WWW-Authenticate header; says stale when only the nonce of the last try was old."""
        given = parse_authorization(header)
        stale = given is not None and not self._fresh(given.parameters, now_s)
        return (
            f'Digest realm="{REALM}", nonce="{self._nonce(int(now_s))}"'
            # RFC 2069 knew no other algorithm, and firmware of its time names none
            + (f', algorithm={algorithm}, qop="auth"' if qop else "")
            + (', stale="true"' if stale else "")
        )

    def _nonce(self, time_s: int) -> str:
        if time_s == self._latest[0]:
            return self._latest[1]
        mark = f"{time_s:x}"
        nonce = self._signed(mark)
        self._latest = (time_s, nonce)
        return nonce

    def _signed(self, mark: str) -> str:
        return f"{mark}-{hmac.digest(self._key, mark.encode(), 'sha256').hex()[:24]}"

    def _fresh(self, parameters: Mapping[str, str], now_s: float) -> bool:
        nonce = parameters.get("nonce", "")
        mark = nonce.partition("-")[0]
        try:
            time_s = int(mark, 16)
        except ValueError:
            return False
        known = self._latest[1] if time_s == self._latest[0] else self._signed(mark)
        return nonce == known and abs(now_s - time_s) <= _NONCE_LIFE_S
