"""Session descriptions, addresses, and the answers to challenges."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import InvalidSettings, ProtocolViolation
from adapters.media.address import parse_address
from adapters.media.digest import Credentials, parse_challenges
from adapters.media.sdp import control_url, parse_sdp


@pytest.mark.parametrize(
    ("base", "control", "url"),
    [
        ("rtsp://h/a", "trackID=1", "rtsp://h/a/trackID=1"),
        ("rtsp://h/a/", "trackID=1", "rtsp://h/a/trackID=1"),
        ("rtsp://h/a/", "/trackID=1", "rtsp://h/a/trackID=1"),
        ("rtsp://h/a?x=1&y=2", "trackID=1", "rtsp://h/a?x=1&y=2/trackID=1"),
        ("rtsp://h/a", "?ctype=video", "rtsp://h/a?ctype=video"),
        ("rtsp://h/a", "*", "rtsp://h/a"),
        ("rtsp://h/a", "", "rtsp://h/a"),
        ("rtsp://h/a", "RTSP://h/b/track1", "RTSP://h/b/track1"),
    ],
)
def test_control_addresses(base: str, control: str, url: str) -> None:
    assert control_url(base, control) == url


@given(data=st.binary(max_size=400))
def test_any_description_is_read_or_refused(data: bytes) -> None:
    for prefix in (
        b"",
        b"m=video 0 RTP/AVP 96\r\na=rtpmap:96 ",
        b"m=video 0 RTP/AVP 96\na=fmtp:96 ",
    ):
        try:
            description = parse_sdp(prefix + data)
        except ProtocolViolation:
            continue
        assert description.media


def test_a_description_without_tracks_is_refused() -> None:
    with pytest.raises(ProtocolViolation):
        parse_sdp(b"v=0\r\ns=nothing\r\n")


@pytest.mark.parametrize(
    ("text", "url", "location", "username", "password"),
    [
        ("rtsp://cam/live", "rtsp://cam/live", "cam:554", "", ""),
        ("cam:8554/live", "rtsp://cam:8554/live", "cam:8554", "", ""),
        ("10.0.0.1", "rtsp://10.0.0.1", "10.0.0.1:554", "", ""),
        ("rtsp://u:p%40ss@cam/x?y=1#z", "rtsp://cam/x?y=1", "cam:554", "u", "p@ss"),
        ("rtsp://u:p@ss@cam/x", "rtsp://cam/x", "cam:554", "u", "p@ss"),
        ("RTSPS://[::1]/x", "rtsps://[::1]/x", "[::1]:322", "", ""),
    ],
)
def test_addresses(text: str, url: str, location: str, username: str, password: str) -> None:
    address = parse_address(text)
    assert (address.url, address.location) == (url, location)
    assert (address.username, address.password) == (username, password)
    assert "p@ss" not in repr(address)


@pytest.mark.parametrize(
    "text", ["", "http://cam/x", "rtsp://", "rtsp://cam:99999/", "rtsp://cam/a b", "rtsp://[::1/x"]
)
def test_bad_addresses_are_refused_without_showing_them(text: str) -> None:
    with pytest.raises(InvalidSettings):
        parse_address(text)


def test_credentials_for_a_library_are_quoted() -> None:
    address = parse_address("rtsp://cam/x")
    assert address.with_credentials("a b", "p@:/") == "rtsp://a%20b:p%40%3A%2F@cam/x"
    assert address.with_credentials("", "") == "rtsp://cam/x"


# The example of RFC 7616, section 3.9.1.
RFC_7616 = (
    'realm="http-auth@example.org", qop="auth, auth-int", algorithm={algorithm}, '
    'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", '
    'opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
)


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_digest_of_the_standard(algorithm: str, response: str) -> None:
    credentials = Credentials(
        "Mufasa", "Circle of Life", lambda: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
    )
    assert credentials.authorization("GET", "/dir/index.html") is None
    assert not credentials.take([f"Digest {RFC_7616.format(algorithm=algorithm)}"])
    header = credentials.authorization("GET", "/dir/index.html") or ""
    assert f'response="{response}"' in header
    assert "nc=00000001" in header
    assert "nc=00000002" in (credentials.authorization("GET", "/dir/index.html") or "")


def test_digest_without_qop() -> None:
    credentials = Credentials("u", "p")
    credentials.take(['Digest realm="r", nonce="n"'])

    def md5(text: str) -> str:
        return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()

    expected = md5(f"{md5('u:r:p')}:n:{md5('DESCRIBE:rtsp://h/')}")
    header = credentials.authorization("DESCRIBE", "rtsp://h/") or ""
    assert f'response="{expected}"' in header
    assert "qop" not in header


def test_the_strongest_challenge_is_taken() -> None:
    credentials = Credentials("u", "p")
    offers = ['Basic realm="r"', 'Digest realm="r", nonce="n", algorithm=MD5']
    credentials.take(offers)
    assert (credentials.authorization("OPTIONS", "*") or "").startswith("Digest ")
    credentials.take([*offers, 'Digest realm="r", nonce="n", algorithm="SHA-256"'])
    assert "algorithm=SHA-256" in (credentials.authorization("OPTIONS", "*") or "")
    credentials.take(offers[:1])
    assert credentials.authorization("OPTIONS", "*") == "Basic dTpw"


def test_several_challenges_in_one_header() -> None:
    header = 'Digest realm="a, b", nonce="x==", stale=TRUE, Basic realm="c", Negotiate'
    assert [(item.scheme, dict(item.parameters)) for item in parse_challenges([header])] == [
        ("digest", {"realm": "a, b", "nonce": "x==", "stale": "TRUE"}),
        ("basic", {"realm": "c"}),
        ("negotiate", {}),
    ]
    assert Credentials("u", "p").take([header])


@pytest.mark.parametrize("header", ["Negotiate", "", 'Digest realm="r", nonce="n", algorithm=MD4'])
def test_an_unknown_challenge_is_refused(header: str) -> None:
    with pytest.raises(ProtocolViolation):
        Credentials("u", "p").take([header])


@given(header=st.text(max_size=200))
def test_any_challenge_is_read(header: str) -> None:
    for challenge in parse_challenges([header, f"Digest {header}", f'Digest nonce="{header}']):
        assert challenge.scheme == challenge.scheme.lower()
