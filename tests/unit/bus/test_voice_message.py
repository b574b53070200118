"""Voice on the bus: every frame comes back as it went, and bad bytes say what is wrong."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.events import AMBE_DMR, VoiceFlag, VoiceFrame
from gateway.bus.link import publish_packet
from gateway.bus.voice import (
    MOST_PAYLOAD_BYTES,
    UnreadableVoice,
    VoiceRoute,
    decode_voice,
    encode_voice,
    readdressed,
    voice_route,
)

names = st.text(string.ascii_letters + string.digits + "-+/汉", min_size=1, max_size=60)
frames = st.builds(
    VoiceFrame,
    transmission=names,
    sequence=st.integers(0, 2**32 - 1),
    media_time_us=st.integers(0, 2**64 - 1),
    codec=names,
    duration_ms=st.integers(0, 65_535),
    flags=st.integers(0, 255),
    payload=st.binary(max_size=100),
)
FRAME = VoiceFrame(
    transmission="7f3a01",
    sequence=3,
    media_time_us=180_000,
    codec=AMBE_DMR,
    duration_ms=60,
    flags=VoiceFlag.FIRST,
    payload=bytes(range(27)),
)


@given(frames)
def test_a_frame_comes_back_as_it_went(frame: VoiceFrame) -> None:
    assert decode_voice(encode_voice(frame)) == frame


def test_the_bytes_are_what_the_documents_say() -> None:
    assert encode_voice(FRAME, 70_000) == (
        bytes.fromhex("02 01 003c 00000003 000000000002bf20 0000000000011170 06 06")
        + b"ambe+2"
        + b"7f3a01"
        + bytes(range(27))
    )


@given(frames, names)
def test_the_bridge_changes_the_transmission_and_nothing_else(
    frame: VoiceFrame, transmission: str
) -> None:
    message = encode_voice(frame, 7)
    readdressed_message = readdressed(message, voice_route(message), transmission)
    assert voice_route(readdressed_message).uptime_ms == 7
    passed_on = decode_voice(readdressed_message)
    assert passed_on.transmission == transmission
    assert (passed_on.sequence, passed_on.media_time_us) == (frame.sequence, frame.media_time_us)
    assert (passed_on.codec, passed_on.duration_ms) == (frame.codec, frame.duration_ms)
    assert (passed_on.flags, passed_on.payload) == (frame.flags, frame.payload)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_frame_or_a_clear_error(message: bytes) -> None:
    try:
        frame = decode_voice(message)
    except UnreadableVoice as error:
        assert str(error)
    else:
        assert encode_voice(frame, voice_route(message).uptime_ms) == message


@given(frames, st.data())
def test_a_frame_cut_short_within_its_head_is_an_error(
    frame: VoiceFrame, data: st.DataObject
) -> None:
    message = encode_voice(frame)
    head = len(message) - len(frame.payload)
    with pytest.raises(UnreadableVoice):
        voice_route(message[: data.draw(st.integers(0, head - 1))])


def test_another_version_and_no_text_and_too_much_are_named() -> None:
    message = bytearray(encode_voice(FRAME))
    message[0] = 1
    with pytest.raises(UnreadableVoice, match="version 1"):
        decode_voice(bytes(message))
    message[0], message[26] = 2, 0xFF
    with pytest.raises(UnreadableVoice, match="UTF-8"):
        decode_voice(bytes(message))
    with pytest.raises(UnreadableVoice, match="more than 4096"):
        decode_voice(encode_voice(FRAME) + bytes(MOST_PAYLOAD_BYTES))


@pytest.mark.parametrize(
    "wrong",
    [
        {"codec": ""},
        {"transmission": ""},
        {"transmission": "x" * 256},
        {"sequence": -1},
        {"media_time_us": 2**64},
        {"duration_ms": 65_536},
        {"payload": bytes(MOST_PAYLOAD_BYTES + 1)},
    ],
)
def test_what_has_no_place_in_a_message_is_refused(wrong: dict[str, object]) -> None:
    fields = {name: getattr(FRAME, name) for name in FRAME.__dataclass_fields__}
    with pytest.raises(UnreadableVoice):
        encode_voice(VoiceFrame(**{**fields, **wrong}))


def test_no_transmission_is_too_long_to_change_to_unnoticed() -> None:
    message = encode_voice(FRAME)
    route = voice_route(message)
    assert route == VoiceRoute("7f3a01", AMBE_DMR, VoiceFlag.FIRST, 60, 0, 32, 38)
    with pytest.raises(UnreadableVoice):
        readdressed(message, route, "汉" * 90)


@given(names, st.binary(max_size=300))
def test_a_message_is_the_packet_that_mqtt_asks_for(topic: str, payload: bytes) -> None:
    packet = publish_packet(topic, payload)
    length, used = 0, 0
    for used, byte in enumerate(packet[1:5], start=1):
        length |= (byte & 0x7F) << 7 * (used - 1)
        if byte < 0x80:
            break
    body = packet[1 + used :]
    assert packet[0] == 0x30
    assert len(body) == length
    name_length = int.from_bytes(body[:2], "big")
    assert (body[2 : 2 + name_length].decode(), body[2 + name_length :]) == (topic, payload)


def test_a_topic_that_mqtt_cannot_carry_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        publish_packet("x" * 65_536, b"")
