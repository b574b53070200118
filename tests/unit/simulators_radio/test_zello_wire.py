"""Zello Channel API messages, without a socket."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.zello_server import wire
from simulators.zello_server.wire import Refused

START: dict[str, Any] = {
    "command": "start_stream",
    "type": "audio",
    "codec": "opus",
    "codec_header": "gD4BPA==",
    "packet_duration": 20,
}
NOW_S = 1_700_000_000.0


def token(head: Any = None, claims: Any = None, signature: bytes = bytes(256)) -> str:
    parts = (
        json.dumps({"alg": "RS256", "typ": "JWT"} if head is None else head).encode(),
        json.dumps({"iss": "Wlc6", "exp": NOW_S + 60} if claims is None else claims).encode(),
        signature,
    )
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("{", "invalid json"),
        ("[1]", "invalid request"),
        ('{"seq": 1}', "invalid request"),
        ("[" * 100_000, "invalid json"),
    ],
)
def test_commands_that_are_none(text: str, answer: str) -> None:
    with pytest.raises(Refused) as refused:
        wire.read_command(text)
    assert refused.value.text == answer


@pytest.mark.parametrize(
    ("more", "answer"),
    [
        ({"type": "video"}, "invalid request"),
        ({"codec": "speex"}, "invalid request"),
        ({"codec_header": "gD4BPA"}, "invalid request"),
        ({"codec_header": "gD4DPA=="}, "invalid request"),
        ({"packet_duration": 2}, "invalid request"),
        ({"packet_duration": 61}, "invalid request"),
        ({"packet_duration": True}, "invalid request"),
        ({"packet_duration": "20"}, "invalid request"),
        ({"for": 5}, "invalid request"),
    ],
)
def test_streams_that_cannot_be(more: dict[str, Any], answer: str) -> None:
    with pytest.raises(Refused) as refused:
        wire.read_audio(START | more)
    assert refused.value.text == answer


def test_stream_with_something_missing() -> None:
    for name in ("type", "codec", "codec_header", "packet_duration"):
        with pytest.raises(Refused, match="not enough params"):
            wire.read_audio({key: value for key, value in START.items() if key != name})
    assert wire.read_audio(START | {"for": "jim"}) == wire.Audio(
        codec_header="gD4BPA==", packet_ms=20, for_user="jim"
    )


def test_logon_takes_one_channel_or_many() -> None:
    assert wire.read_logon({"channel": "a"}).channels == ("a",)
    assert wire.read_logon({"channels": ["a", "b", "a"]}).channels == ("a", "b")
    with pytest.raises(Refused, match="not enough params"):
        wire.read_logon({"username": "x"})
    with pytest.raises(Refused, match="channels limit exceeded"):
        wire.read_logon({"channels": [str(n) for n in range(101)]})
    with pytest.raises(Refused, match="invalid request"):
        wire.read_logon({"channels": [1]})


def test_audio_packet_is_in_network_order() -> None:
    packet = wire.AudioPacket(stream=22695, packet=3, data=b"opus")
    assert packet.encode() == b"\x01\x00\x00\x58\xa7\x00\x00\x00\x03opus"
    assert wire.read_packet(packet.encode()) == packet
    for bad in (b"", b"\x01", b"\x01" + bytes(8), b"\x02" + bytes(20)):
        with pytest.raises(Refused, match="invalid audio packet"):
            wire.read_packet(bad)


def test_tokens() -> None:
    wire.check_token(token(), NOW_S)
    for bad in (
        "",
        "a.b",
        "a.b.c",
        token(head={"alg": "none"}),
        token(head={"alg": "HS256"}),
        token(claims={"iss": "x"}),
        token(claims={"exp": NOW_S + 60}),
        token(claims={"iss": "x", "exp": NOW_S - 1}),
        token(claims=[1]),
        token(signature=b"short"),
    ):
        with pytest.raises(Refused, match="not authorized"):
            wire.check_token(bad, NOW_S)


def test_text_has_a_limit() -> None:
    assert wire.read_text({"text": "x" * wire.MAX_TEXT_BYTES})[1] == ""
    with pytest.raises(Refused, match="invalid request"):
        wire.read_text({"text": "字" * 10_241})
    with pytest.raises(Refused, match="not enough params"):
        wire.read_text({"text": ""})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
NAMES = ("channels", "channel", "username", "type", "codec", "codec_header", "packet_duration")


@given(message=st.dictionaries(st.sampled_from((*NAMES, "text", "for", "seq")), json_values))
def test_any_message_is_read_or_refused(message: dict[str, Any]) -> None:
    answers: set[str] = set()
    for read in (wire.read_logon, wire.read_audio, wire.read_text, wire.sequence_of):
        try:
            read(message)
        except Refused as refused:
            answers.add(refused.text)
    assert answers <= set(wire.ErrorText)


@given(text=st.text(), data=st.binary(max_size=40))
def test_any_text_or_bytes_are_read_or_refused(text: str, data: bytes) -> None:
    for read in (
        lambda: wire.read_command(text),
        lambda: wire.check_token(text, NOW_S),
        lambda: wire.read_packet(data),
    ):
        try:
            read()
        except Refused:
            continue
