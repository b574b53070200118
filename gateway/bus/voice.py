"""Voice on the bus: one frame is one binary message. Pure.

version (1 byte) · flags (1) · duration in ms (2) · sequence (4) · media time in µs (8) · uptime in
ms (8) · length of the codec's name (1) · length of the transmission (1) · codec · transmission ·
payload. Numbers are big-endian, texts UTF-8. The uptime is what the monotonic clock of the talker's
agent showed when the frame left it, as in its events, 0 for not said: by it a bridge knows what is
too late. JSON would be three times as long and as slow, seventeen times a second.
"""

import dataclasses
import struct

from adapters.events import VoiceFrame

VERSION = 2
MOST_PAYLOAD_BYTES = 4096
_HEAD = struct.Struct(">BBHIQQBB")
_TRANSMISSION_LENGTH_AT = _HEAD.size - 1


class UnreadableVoice(ValueError):
    """Bytes that are no voice frame, or a frame that has no bytes; the message says why."""


@dataclasses.dataclass(frozen=True, slots=True)
class VoiceRoute:
    """What the bridge must know of a frame to pass it on; payload_at: where the payload begins."""

    transmission: str
    codec: str
    flags: int
    duration_ms: int
    uptime_ms: int
    transmission_at: int
    payload_at: int


def encode_voice(frame: VoiceFrame, uptime_ms: int = 0) -> bytes:
    """uptime_ms: of the agent that it leaves. Raises: UnreadableVoice for what has no place in a
    message."""
    codec, transmission = frame.codec.encode(), frame.transmission.encode()
    if not codec or not transmission:
        raise UnreadableVoice("a voice frame without codec or transmission")
    if len(frame.payload) > MOST_PAYLOAD_BYTES:
        raise UnreadableVoice(f"a payload of {len(frame.payload)} bytes, {MOST_PAYLOAD_BYTES} fit")
    try:
        head = _HEAD.pack(
            VERSION,
            frame.flags,
            frame.duration_ms,
            frame.sequence,
            frame.media_time_us,
            uptime_ms,
            len(codec),
            len(transmission),
        )
    except struct.error as error:
        raise UnreadableVoice(f"a number of a voice frame does not fit: {error}") from None
    return b"".join((head, codec, transmission, frame.payload))


def decode_voice(message: bytes) -> VoiceFrame:
    """Unknown flags are kept. Raises: UnreadableVoice."""
    route = voice_route(message)
    _, _, duration_ms, sequence, media_time_us, _, _, _ = _HEAD.unpack_from(message)
    return VoiceFrame(
        transmission=route.transmission,
        sequence=sequence,
        media_time_us=media_time_us,
        codec=route.codec,
        duration_ms=duration_ms,
        flags=route.flags,
        payload=message[route.payload_at :],
    )


def voice_route(message: bytes) -> VoiceRoute:
    """Read no more than it takes to pass a frame on. Raises: UnreadableVoice."""
    if len(message) < _HEAD.size:
        raise UnreadableVoice(f"{len(message)} bytes are no voice frame, the least is {_HEAD.size}")
    version, flags, duration_ms, _, _, uptime_ms, codec_length, length = _HEAD.unpack_from(message)
    if version != VERSION:
        raise UnreadableVoice(f"voice of version {version}, this gateway reads {VERSION}")
    transmission_at = _HEAD.size + codec_length
    payload_at = transmission_at + length
    if not codec_length or not length or len(message) < payload_at:
        raise UnreadableVoice("a voice frame without the whole of its codec and transmission")
    if len(message) - payload_at > MOST_PAYLOAD_BYTES:
        raise UnreadableVoice(f"a payload of more than {MOST_PAYLOAD_BYTES} bytes")
    try:
        codec = message[_HEAD.size : transmission_at].decode()
        transmission = message[transmission_at:payload_at].decode()
    except UnicodeDecodeError:
        raise UnreadableVoice("a codec or transmission that is not UTF-8") from None
    return VoiceRoute(
        transmission, codec, flags, duration_ms, uptime_ms, transmission_at, payload_at
    )


def readdressed(message: bytes, route: VoiceRoute, transmission: str) -> bytes:
    """The same frame in another transmission. Raises: UnreadableVoice for one that is too long."""
    name = transmission.encode()
    if not 0 < len(name) < 256:
        raise UnreadableVoice(f"a transmission of {len(name)} bytes")
    return b"".join(
        (
            message[:_TRANSMISSION_LENGTH_AT],
            bytes((len(name),)),
            message[_HEAD.size : route.transmission_at],
            name,
            message[route.payload_at :],
        )
    )
