"""Which credentials a device gets, and how often: the rules, against devices that only refuse."""

from collections.abc import Sequence
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from adapters.errors import AuthenticationFailed
from adapters.events import Secret
from adapters.onvif.access import Access, Way

DIGEST = 'Digest realm="r", nonce="n1", qop="auth"'
OTHER_NONCE = 'Digest realm="r", nonce="n2", qop="auth"'
STALE = 'Digest realm="r", nonce="n3", qop="auth", stale=true'
BASIC = 'Basic realm="r"'
CHALLENGES = st.lists(st.sampled_from([DIGEST, OTHER_NONCE, STALE, BASIC, "Junk", ""]), max_size=3)


def way_in(username: str = "admin", *, allow_basic: bool = False) -> Access:
    return Access(username, Secret("secret"), allow_basic=allow_basic)


def test_nothing_is_said_before_it_was_asked_for() -> None:
    access = way_in()
    assert access.way is Way.NONE
    assert access.authorization("POST", "/x") is None


@pytest.mark.parametrize(
    ("challenges", "way"),
    [
        ([DIGEST], Way.HTTP),
        ([BASIC, DIGEST], Way.HTTP),
        ([], Way.TOKEN),
        (["Junk"], Way.TOKEN),
        (['Digest realm="r"'], Way.TOKEN),
    ],
)
def test_what_the_device_asks_for_is_what_it_gets(challenges: Sequence[str], way: Way) -> None:
    access = way_in()
    assert access.refused(challenges)
    assert access.way is way
    header = access.authorization("POST", "/x")
    assert (header is not None and header.startswith("Digest ")) is (way is Way.HTTP)


def test_the_other_way_is_tried_once_and_then_no_more() -> None:
    access = way_in()
    assert access.refused([DIGEST])
    assert access.refused([DIGEST])
    assert access.way is Way.TOKEN
    assert not access.refused([DIGEST])
    with pytest.raises(AuthenticationFailed, match="not tried again"):
        access.check()


def test_a_token_that_is_refused_with_a_challenge_gives_way_to_digest() -> None:
    """Newer Hikvision firmware (agsh/onvif#294)."""
    access = way_in()
    assert access.refused([])
    assert access.authorization("POST", "/x") is None
    assert access.refused([DIGEST])
    assert access.way is Way.HTTP
    access.accepted()
    assert access.settled


def test_a_nonce_that_went_stale_is_no_refusal_but_only_once_in_a_row() -> None:
    access = way_in()
    access.refused([DIGEST])
    access.accepted()
    for _ in range(3):
        assert access.refused([STALE])
        access.accepted()
    access.check()
    assert access.refused([STALE])
    assert access.refused([STALE])
    assert not access.refused([STALE])


def test_a_password_that_was_right_is_tried_twice_when_it_is_no_longer() -> None:
    access = way_in()
    access.refused([DIGEST])
    access.accepted()
    assert access.refused([OTHER_NONCE])
    assert not access.refused([OTHER_NONCE])


def test_basic_needs_leave() -> None:
    with pytest.raises(AuthenticationFailed, match="in clear"):
        way_in().refused([BASIC])
    access = way_in(allow_basic=True)
    assert access.refused([BASIC])
    header = access.authorization("POST", "/x")
    assert header is not None
    assert header.startswith("Basic ")


def test_basic_stands_back_behind_digest_even_with_leave() -> None:
    access = way_in(allow_basic=True)
    access.refused([BASIC, DIGEST])
    header = access.authorization("POST", "/x")
    assert header is not None
    assert header.startswith("Digest ")


def test_nobody_has_nothing_to_say() -> None:
    assert not way_in("").refused([DIGEST])


@pytest.mark.parametrize("url", ["http://10.0.0.1:80/a?b=c", "http://10.0.0.1/a?b=c"])
def test_a_digest_names_the_target_without_host_or_port(url: str) -> None:
    """``:80`` in it breaks the digest of some cameras (node-onvif#14)."""
    access = way_in()
    access.refused([DIGEST])
    header = access.authorization("POST", URL(url, encoded=True).raw_path_qs)
    assert header is not None
    assert 'uri="/a?b=c"' in header
    assert urlsplit(url).hostname not in (None, header)


@given(st.lists(CHALLENGES, min_size=1, max_size=12))
def test_whatever_a_device_answers_it_hears_a_password_three_times_at_most(
    answers: list[list[str]],
) -> None:
    """Twice; and once more where it said that only the nonce was old."""
    access, said = way_in(), 0
    for challenges in answers:
        try:
            access.check()
            said += access.way is not Way.NONE
            again = access.refused(challenges)
        except AuthenticationFailed:
            break
        if not again:
            break
    stale = any("stale" in each for challenges in answers for each in challenges)
    assert said <= 2 + stale
