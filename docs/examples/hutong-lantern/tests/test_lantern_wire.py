"""What the documents of a recorder may be, and what they may not."""

import tomllib
from importlib.resources import files
from typing import Any

import pytest
from hutong_lantern import wire
from hutong_lantern.settings import LanternSettings

STREAM = {"quality": "hd", "codec": "h264", "url": "rtsp://192.0.2.1:554/1/hd"}


@pytest.mark.parametrize(
    "document",
    [b"", b"\xff\x00", b"[]", b"{}", b'{"next": "soon", "events": []}', b"[" * 100_000],
)
def test_what_is_no_batch_is_told(document: bytes) -> None:
    with pytest.raises(wire.MalformedDocument, match=r"\w"):
        wire.read(wire.Batch, document)


@pytest.mark.parametrize("document", [None, 7, "motion", {}, {"kind": "", "state": "begin"}])
def test_what_is_no_event_is_told(document: Any) -> None:
    with pytest.raises(wire.MalformedDocument):
        wire.read_event(document)


@pytest.mark.parametrize("url", ["http://192.0.2.1/", "rtsp://user:word@192.0.2.1/", "rtsp://", ""])
def test_a_stream_is_at_an_rtsp_address_without_a_password(url: str) -> None:
    wire.Stream.model_validate(STREAM)
    with pytest.raises(ValueError, match="url"):
        wire.Stream.model_validate(STREAM | {"url": url})


def test_the_token_is_not_shown() -> None:
    assert "abc" not in repr(wire.read(wire.Session, b'{"token": "abc"}'))


@pytest.mark.parametrize(
    ("given", "endpoint"),
    [
        ("cam", "http://cam:8000"),
        ("https://cam:1/", "https://cam:1"),
        ("[::1]:9", "http://[::1]:9"),
    ],
)
def test_an_address_is_completed(given: str, endpoint: str) -> None:
    assert LanternSettings(endpoint=given).endpoint == endpoint


@pytest.mark.parametrize("given", ["", "ftp://cam", "http://admin:word@cam"])
def test_an_address_that_is_none_is_refused_and_not_repeated(given: str) -> None:
    with pytest.raises(ValueError, match="endpoint") as raised:
        LanternSettings(endpoint=given)
    assert "word@" not in str(raised.value)


def test_the_sample_is_valid() -> None:
    sample = (files("hutong_lantern") / "sample.toml").read_text("utf-8")
    assert LanternSettings.model_validate(tomllib.loads(sample)).poll_s == 20
