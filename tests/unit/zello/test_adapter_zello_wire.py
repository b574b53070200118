"""The Zello Channel API: what is read, what is refused and where, what is written."""

import base64
import json
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adapters.zello import wire


def read(**document: Any) -> wire.ServerMessage:
    return wire.decode_text(json.dumps(document))


def test_answers() -> None:
    assert read(seq=1, success=True, refresh_token="r") == wire.Response(seq=1, refresh_token="r")
    assert read(seq=2, success=True, stream_id=22695) == wire.Response(seq=2, stream_id=22695)
    assert read(seq=3, error="not authorized") == wire.Response(seq=3, error="not authorized")
    assert read(error="invalid json") == wire.ServerError(error="invalid json")
    answer = read(seq=4)
    assert isinstance(answer, wire.Response)
    assert answer.error, "no success is none"


def test_events() -> None:
    assert read(
        command="on_stream_start",
        type="audio",
        codec="opus",
        codec_header="gD4BPA==",
        packet_duration=20,
        stream_id=22695,
        channel="test",
        **{"from": "alex", "for": "jim"},
    ) == wire.StreamStarted(stream_id=22695, channel="test", sender="alex", private_to="jim")
    assert read(command="on_stream_stop", stream_id=1) == wire.StreamStopped(stream_id=1)
    assert read(
        command="on_channel_status",
        channel="test",
        status="online",
        users_online=2,
        images_supported=True,
        texting_supported=False,
    ) == wire.ChannelStatus(channel="test", online=True, users_online=2, texting_supported=False)
    assert read(
        command="on_channel_status",
        channel="x",
        status="offline",
        error="no",
        error_type="configuration",
    ) == wire.ChannelStatus(channel="x", online=False, error="no", error_type="configuration")
    assert read(
        command="on_text_message",
        channel="test",
        message_id=1,
        text="你好",
        **{"from": "alex", "for": False},
    ) == wire.TextReceived(channel="test", sender="alex", text="你好")
    assert read(command="on_error", error="server closed connection") == wire.ServerError(
        error="server closed connection"
    )
    where = {"latitude": 1.5, "longitude": -2, "formatted_address": "Elm St", "accuracy": 3}
    assert read(
        command="on_location", channel="test", **where, **{"from": "alex", "for": "jim"}
    ) == (
        wire.LocationReceived(
            channel="test",
            sender="alex",
            longitude_deg=-2.0,
            latitude_deg=1.5,
            accuracy_m=3.0,
            place="Elm St",
            private_to="jim",
        )
    )
    assert read(command="on_image", channel="test") == wire.OtherEvent(command="on_image")


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("", "character 0"),
        ('{"command"', "character 10"),
        ("[" * 100_000, "$"),
        ("[]", "$"),
        ("{}", "$"),
        ('{"command": 7}', "$.command"),
        ('{"command": null}', "$.command"),
        ('{"seq": "1", "success": true}', "$.seq"),
        ('{"seq": true, "success": true}', "$.seq"),
        ('{"seq": 1, "error": 5}', "$.error"),
        ('{"command": "on_stream_stop"}', "$.stream_id"),
        ('{"command": "on_stream_stop", "stream_id": 4294967296}', "$.stream_id"),
        ('{"command": "on_stream_stop", "stream_id": 1.5}', "$.stream_id"),
        ('{"command": "on_stream_start", "stream_id": 1, "channel": "c"}', "$.from"),
        ('{"command": "on_channel_status", "channel": "c"}', "$.status"),
        ('{"command": "on_text_message", "channel": "c", "from": "a"}', "$.text"),
        ('{"command": "on_location", "channel": "c", "from": "a", "longitude": 1}', "$.latitude"),
        (
            '{"command": "on_location", "channel": "c", "from": "a", "longitude": 181}',
            "$.longitude",
        ),
    ],
)
def test_what_is_wrong_is_located(text: str, where: str) -> None:
    with pytest.raises(wire.MalformedMessageError) as refused:
        wire.decode_text(text)
    assert refused.value.where == where


def test_binary_messages() -> None:
    assert wire.decode_binary(bytes.fromhex("01 000058a7 00000003 5800")) == wire.AudioPacket(
        stream_id=22695, packet_id=3, opus=b"\x58\x00"
    )
    assert wire.decode_binary(bytes.fromhex("02 000058a7 00000002 ffd8")) == wire.ImagePacket(
        message_id=22695, kind=2, data=b"\xff\xd8"
    )


@pytest.mark.parametrize(
    ("data", "where"), [(b"", "byte 0"), (b"\x01" * 8, "byte 8"), (b"\x03" + bytes(8), "byte 0")]
)
def test_binary_messages_that_are_none(data: bytes, where: str) -> None:
    with pytest.raises(wire.MalformedMessageError) as refused:
        wire.decode_binary(data)
    assert refused.value.where == where


def test_commands_have_the_fields_of_the_api() -> None:
    assert wire.encode_codec_header(16000, 1, 60) == "gD4BPA=="
    start = json.loads(wire.encode_start_stream(seq=2, channel="Baker Street 221B"))
    assert start == {
        "command": "start_stream",
        "seq": 2,
        "channel": "Baker Street 221B",
        "type": "audio",
        "codec": "opus",
        "codec_header": "gD4BPA==",
        "packet_duration": 60,
    }
    assert json.loads(wire.encode_stop_stream(seq=3, channel="c", stream_id=22695)) == {
        "command": "stop_stream",
        "seq": 3,
        "channel": "c",
        "stream_id": 22695,
    }
    assert json.loads(wire.encode_text_message(seq=4, channel="警务", text="你好")) == {
        "command": "send_text_message",
        "seq": 4,
        "channel": "警务",
        "text": "你好",
    }
    assert wire.encode_audio(22695, b"\x58") == bytes.fromhex("01 000058a7 00000000 58")


def test_a_logon_leaves_out_what_it_has_not() -> None:
    bare = json.loads(
        wire.encode_logon(seq=1, channels=["a", "b"], username="gateway", password="p")
    )
    assert bare == {
        "command": "logon",
        "seq": 1,
        "channels": ["a", "b"],
        "username": "gateway",
        "password": "p",
    }
    full = json.loads(
        wire.encode_logon(
            seq=1,
            channels=["a"],
            username="g",
            password="p",
            auth_token="jwt",
            refresh_token="r",
            platform_name="Gateway",
        )
    )
    assert (full["auth_token"], full["refresh_token"]) == ("jwt", "r")
    assert full["platform_name"] == "Gateway"


def test_the_silence_is_opus_of_60_ms_and_silent() -> None:
    header = base64.b64decode(wire.encode_codec_header(16000, 1, wire.PACKET_MS))
    assert header == bytes((0x80, 0x3E, 1, 60))
    decoder: Any = av.CodecContext.create("libopus", "r")
    decoder.sample_rate, decoder.layout = 48000, "mono"
    decoder.open()
    for _ in range(10):
        (frame,) = decoder.decode(av.Packet(wire.OPUS_SILENCE))
        assert frame.samples == 48000 * wire.PACKET_MS // 1000
        assert np.abs(frame.to_ndarray().astype(np.int32)).max() <= 1


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
commands = st.sampled_from(
    (
        "on_stream_start",
        "on_stream_stop",
        "on_channel_status",
        "on_text_message",
        "on_location",
        "on_error",
    )
)
fields = st.dictionaries(
    st.sampled_from(
        (
            "seq",
            "success",
            "error",
            "stream_id",
            "channel",
            "from",
            "for",
            "status",
            "text",
            "users_online",
            "error_type",
            "refresh_token",
            "texting_supported",
            "longitude",
            "latitude",
            "accuracy",
            "formatted_address",
            "rgl",
        )
    ),
    json_values | st.sampled_from((1, True, "online", "a")),
)


@given(
    st.text()
    | json_values.map(json.dumps)
    | fields.map(json.dumps)
    | st.builds(lambda command, rest: json.dumps({"command": command, **rest}), commands, fields)
)
@example("1" * 5000)
@example('{"command": "on_stream_stop", "stream_id": NaN}')
def test_any_text_gives_a_message_or_a_located_error(text: str) -> None:
    try:
        wire.decode_text(text)
    except wire.MalformedMessageError as error:
        assert error.where.startswith(("$", "character"))


@given(st.binary(max_size=40))
def test_any_bytes_give_a_packet_or_a_located_error(data: bytes) -> None:
    try:
        packet = wire.decode_binary(data)
    except wire.MalformedMessageError as error:
        assert error.where.startswith("byte")
    else:
        if isinstance(packet, wire.AudioPacket) and packet.packet_id == 0:
            assert wire.encode_audio(packet.stream_id, packet.opus) == data


@given(st.text() | st.from_regex(r"[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*", fullmatch=True))
@example("e30.bnVsbA.x")
@example("e30.eyJleHAiOjFlMzA5fQ.x")
@example("e30.eyJleHAiOiIxIn0.x")
def test_any_auth_token_has_an_end_or_none(token: str) -> None:
    ends = wire.token_ends(token)
    assert ends is None or ends.tzinfo is not None
