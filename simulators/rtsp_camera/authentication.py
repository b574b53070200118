"""HTTP and RTSP authentication, the server's side: Digest (MD5, SHA-256) and Basic.

Source: RFC 7616 and 2617 (and RFC 2069 where a client sends no qop), RFC 2326 section 14.
"""

import base64
import binascii
import dataclasses
import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Final

_PARAMETER: Final = re.compile(r'([A-Za-z0-9_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,]*))')


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Authorization:
    """A parsed Authorization header. For Basic, parameters has username and password."""

    scheme: str
    parameters: Mapping[str, str]


def parse_authorization(header: str) -> Authorization | None:
    """Parse an Authorization header; None when it is neither Basic nor Digest."""
    scheme, _, rest = header.strip().partition(" ")
    if scheme.lower() == "digest":
        found = {m[1].lower(): m[2] or m[3] or "" for m in _PARAMETER.finditer(rest)}
        return Authorization(scheme="digest", parameters=found)
    if scheme.lower() == "basic":
        try:
            text = base64.b64decode(rest.strip(), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError, ValueError):
            return None
        username, _, password = text.partition(":")
        parameters = {"username": username, "password": password}
        return Authorization(scheme="basic", parameters=parameters)
    return None


def digest_challenge(
    realm: str, nonce: str, *, stale: bool = False, qop: bool = False, algorithm: str = '"MD5"'
) -> str:
    """The value of a WWW-Authenticate header for Digest. algorithm: as it stands there."""
    return (
        f'Digest realm="{realm}", nonce="{nonce}", algorithm={algorithm}'
        + (', qop="auth"' if qop else "")
        + (', stale="true"' if stale else "")
    )


def digest_response(
    parameters: Mapping[str, str], *, method: str, username: str, password: str, realm: str
) -> str:
    """The response a client that knows the password would have sent with these parameters."""
    digest = _sha256 if parameters.get("algorithm", "").upper() == "SHA-256" else _md5
    ha1 = digest(f"{username}:{realm}:{password}")
    ha2 = digest(f"{method}:{parameters.get('uri', '')}")
    nonce = parameters.get("nonce", "")
    qop = parameters.get("qop", "")
    if not qop:
        return digest(f"{ha1}:{nonce}:{ha2}")
    count, cnonce = parameters.get("nc", ""), parameters.get("cnonce", "")
    return digest(f"{ha1}:{nonce}:{count}:{cnonce}:{qop}:{ha2}")


def digest_valid(
    authorization: Authorization, *, method: str, username: str, password: str, realm: str
) -> bool:
    """Whether this user's password made a Digest authorization. The nonce is not judged."""
    given = authorization.parameters
    if given.get("username") != username or given.get("realm") != realm:
        return False
    wanted = digest_response(
        given, method=method, username=username, password=password, realm=realm
    )
    return hmac.compare_digest(wanted.encode(), given.get("response", "").encode())


def basic_valid(authorization: Authorization, *, username: str, password: str) -> bool:
    given = authorization.parameters
    return given["username"] == username and given["password"] == password


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
