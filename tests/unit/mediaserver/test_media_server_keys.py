"""Tokens and the keys behind them, read as a stranger reads them: by RFC 7519 and RFC 8037."""

import base64
import hashlib
import json
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gateway.access.secrets import Sealer
from gateway.live.mediaserver import KeyRing
from gateway.live.mediaserver.keys import PERIOD_S

DAY = 20_000
NOON_S = (DAY + 0.5) * PERIOD_S


def derive(purpose: str) -> bytes:
    return hashlib.sha256(purpose.encode()).digest()


class Clock:
    def __init__(self, now_s: float = NOON_S) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


def decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def verified(token: str, jwks: Any) -> dict[str, Any]:
    """The claims. Raises: StopIteration for a key that is not in the set, InvalidSignature."""
    head, claims, signature = token.split(".")
    wanted = json.loads(decoded(head))
    assert (wanted["alg"], wanted["typ"]) == ("EdDSA", "JWT")
    key = next(key for key in jwks["keys"] if key["kid"] == wanted["kid"])
    public = Ed25519PublicKey.from_public_bytes(decoded(key["x"]))
    public.verify(decoded(signature), f"{head}.{claims}".encode())
    said: dict[str, Any] = json.loads(decoded(claims))
    return said


def test_a_reader_may_read_one_path_for_a_moment() -> None:
    ring = KeyRing(derive, wall=Clock())
    claims = verified(ring.reader_token("ticket-7", "path-9", 30.0), ring.jwks())
    assert claims == {
        "iss": "hutong",
        "aud": "hutong-media",
        "sub": "ticket-7",
        "iat": NOON_S,
        "exp": NOON_S + 30,
        "mediamtx_permissions": [{"action": "read", "path": "path-9"}],
    }


def test_the_control_token_reads_nothing() -> None:
    ring = KeyRing(derive, wall=Clock())
    claims = verified(ring.control_token(), ring.jwks())
    assert claims["mediamtx_permissions"] == [{"action": "api"}]
    assert claims["exp"] - claims["iat"] <= 60


def test_nodes_of_one_installation_share_keys_and_others_do_not() -> None:
    one, same = KeyRing(derive, wall=Clock()), KeyRing(derive, wall=Clock())
    other = KeyRing(lambda purpose: derive(f"other {purpose}"), wall=Clock())
    assert one.jwks() == same.jwks()
    token = one.reader_token("t", "p", 30)
    assert verified(token, same.jwks())
    with pytest.raises(StopIteration):
        verified(token, other.jwks())


def test_a_changed_token_is_none() -> None:
    ring = KeyRing(derive, wall=Clock())
    head, _, signature = ring.reader_token("t", "p", 30).split(".")
    _, claims, _ = ring.reader_token("t", "other", 30).split(".")
    with pytest.raises(InvalidSignature):
        verified(f"{head}.{claims}.{signature}", ring.jwks())


def test_keys_are_published_a_day_before_their_use_and_a_day_after() -> None:
    clock = Clock()
    ring = KeyRing(derive, wall=clock)
    published, first = ring.jwks(), ring.reader_token("t", "p", 30)
    assert len(published["keys"]) == 3
    assert len({key["kid"] for key in published["keys"]}) == 3
    clock.now_s += PERIOD_S
    second = ring.reader_token("t", "p", 30)
    assert verified(second, published), "what was published the day before knows it"
    assert verified(first, ring.jwks()), "what was signed the day before is still known"
    clock.now_s += PERIOD_S
    with pytest.raises(StopIteration):
        verified(first, ring.jwks())


def test_the_published_half_is_public() -> None:
    for key in KeyRing(derive, wall=Clock()).jwks()["keys"]:
        assert set(key) == {"kty", "crv", "x", "kid", "use", "alg"}


def test_the_installations_secret_key_is_what_they_come_from() -> None:
    ring = KeyRing(Sealer(b"k" * 32).derive, wall=Clock())
    assert verified(ring.control_token(), KeyRing(Sealer(b"k" * 32).derive, wall=Clock()).jwks())
