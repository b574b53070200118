"""The Zello Channel API: WebSocket messages ↔ typed messages. Pure.

Source: zelloptt/zello-channel-api, API.md at 1159599. Commands and events are JSON objects in
text messages; audio is in binary messages of big-endian fields.
"""

import base64
import dataclasses
import json
import math
import struct
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

AUDIO = 0x01
IMAGE = 0x02
PACKET_MS = 60
TEXT_LIMIT_BYTES = 30 * 1024

_HEADER = struct.Struct(">BII")
_CODEC_HEADER = struct.Struct("<HBB")
_LARGEST_ID = 0xFFFFFFFF

OPUS_SILENCE = bytes.fromhex("5801f25e7236921f05fa478d692c8f200afbfb2b20")
"""60 ms of silence in Opus: SILK only, wide band, mono, one frame; what libopus settles on when
it is given nothing but zeros, so it can be repeated for ever."""


class MalformedMessageError(ValueError):
    """A message is not of the API. where: a JSON path (``$.stream_id``) or a byte offset."""

    def __init__(self, reason: str, where: str) -> None:
        super().__init__(f"{reason} (at {where})")
        self.reason = reason
        self.where = where


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """The answer to the command with that sequence number. error: empty on success."""

    seq: int
    error: str = ""
    refresh_token: str = ""
    stream_id: int | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ChannelStatus:
    """on_channel_status. error_type: ``configuration`` when this account cannot connect to it."""

    channel: str
    online: bool
    users_online: int = 0
    texting_supported: bool = True
    locations_supported: bool = True
    error: str = ""
    error_type: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StreamStarted:
    """on_stream_start. private_to: the one account that hears it, empty for all."""

    stream_id: int
    channel: str
    sender: str
    private_to: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StreamStopped:
    """on_stream_stop; also of streams of our own that the server ended."""

    stream_id: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TextReceived:
    """on_text_message."""

    channel: str
    sender: str
    text: str
    private_to: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LocationReceived:
    """on_location. place: the street address, which the API's table calls ``formatted_address`` and
    its example ``rgl``. accuracy_m: 0 where it is not said."""

    channel: str
    sender: str
    longitude_deg: float
    latitude_deg: float
    accuracy_m: float = 0.0
    place: str = ""
    private_to: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ServerError:
    """on_error, or an error that answers no command."""

    error: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class OtherEvent:
    """An event that is of no use here: images, transcriptions, and new ones."""

    command: str


ServerMessage = (
    Response
    | ChannelStatus
    | StreamStarted
    | StreamStopped
    | TextReceived
    | LocationReceived
    | ServerError
    | OtherEvent
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AudioPacket:
    """A packet of a stream. packet_id: counts from the server's side, 0 from ours."""

    stream_id: int
    packet_id: int
    opus: bytes


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ImagePacket:
    """A picture of an on_image. kind: 1 the picture, 2 its thumbnail."""

    message_id: int
    kind: int
    data: bytes


# --- from the server --------------------------------------------------------------------------


def decode_text(text: str) -> ServerMessage:
    """Read a text message. Unknown fields and events are no error.

    Raises: MalformedMessageError.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        place = f"character {error.pos}" if isinstance(error, json.JSONDecodeError) else "$"
        raise MalformedMessageError("not JSON", place) from None
    if not isinstance(document, dict):
        raise MalformedMessageError("not a JSON object", "$")
    if "command" not in document:
        return _decode_answer(document)
    return _decode_event(_text(document, "command", required=True), document)


def _decode_answer(document: dict[str, Any]) -> Response | ServerError:
    if "seq" not in document:
        if "error" in document:
            return ServerError(error=_text(document, "error"))
        raise MalformedMessageError("neither an event nor an answer", "$")
    error = _text(document, "error")
    if not error and document.get("success") is not True:
        error = "no success, without a reason"
    return Response(
        seq=_integer(document, "seq"),
        error=error,
        refresh_token=_text(document, "refresh_token"),
        stream_id=_integer(document, "stream_id") if "stream_id" in document else None,
    )


def _decode_event(command: str, document: dict[str, Any]) -> ServerMessage:
    match command:
        case "on_stream_start":
            return StreamStarted(
                stream_id=_integer(document, "stream_id"),
                channel=_text(document, "channel", required=True),
                sender=_text(document, "from", required=True),
                private_to=_recipient(document),
            )
        case "on_stream_stop":
            return StreamStopped(stream_id=_integer(document, "stream_id"))
        case "on_channel_status":
            return ChannelStatus(
                channel=_text(document, "channel", required=True),
                online=_text(document, "status", required=True) == "online",
                users_online=_integer(document, "users_online", default=0),
                texting_supported=document.get("texting_supported") is not False,
                locations_supported=document.get("locations_supported") is not False,
                error=_text(document, "error"),
                error_type=_text(document, "error_type"),
            )
        case "on_text_message":
            return TextReceived(
                channel=_text(document, "channel", required=True),
                sender=_text(document, "from", required=True),
                text=_text(document, "text", required=True),
                private_to=_recipient(document),
            )
        case "on_location":
            return LocationReceived(
                channel=_text(document, "channel", required=True),
                sender=_text(document, "from", required=True),
                longitude_deg=_number(document, "longitude", 180.0),
                latitude_deg=_number(document, "latitude", 90.0),
                accuracy_m=_number(document, "accuracy", math.inf, default=0.0),
                place=_text(document, "formatted_address") or _text(document, "rgl"),
                private_to=_recipient(document),
            )
        case "on_error":
            return ServerError(error=_text(document, "error", required=True))
    return OtherEvent(command=command)


def decode_binary(data: bytes) -> AudioPacket | ImagePacket:
    """Read a binary message. Raises: MalformedMessageError."""
    if len(data) < _HEADER.size:
        reason = f"a binary message of {len(data)} bytes; it has {_HEADER.size} or more"
        raise MalformedMessageError(reason, f"byte {len(data)}")
    kind, first, second = _HEADER.unpack_from(data)
    if kind == AUDIO:
        return AudioPacket(stream_id=first, packet_id=second, opus=data[_HEADER.size :])
    if kind == IMAGE:
        return ImagePacket(message_id=first, kind=second, data=data[_HEADER.size :])
    raise MalformedMessageError(f"binary messages of type {kind} are not known", "byte 0")


def _text(document: dict[str, Any], name: str, *, required: bool = False) -> str:
    value = document.get(name)
    if isinstance(value, str):
        return value
    if value is None and not required:
        return ""
    raise MalformedMessageError("a text is missing" if value is None else "not a text", f"$.{name}")


def _integer(document: dict[str, Any], name: str, *, default: int | None = None) -> int:
    value = document.get(name, default)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST_ID:
        return value
    raise MalformedMessageError("not a whole number of 32 bits", f"$.{name}")


def _number(
    document: dict[str, Any], name: str, most: float, *, default: float | None = None
) -> float:
    value = document.get(name, default)
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= most:
        return float(value)
    raise MalformedMessageError("not a number that it can be", f"$.{name}")


def _recipient(document: dict[str, Any]) -> str:
    """``for`` is absent or false when all on the channel are meant."""
    value = document.get("for")
    return value if isinstance(value, str) else ""


def token_ends(auth_token: str) -> datetime | None:
    """When an auth token (a JWT) runs out; None for one that does not say, or is none."""
    try:
        claims = auth_token.split(".")[1]
        padded = claims + "=" * (-len(claims) % 4)
        return datetime.fromtimestamp(json.loads(base64.urlsafe_b64decode(padded))["exp"], UTC)
    except (LookupError, ValueError, TypeError, OverflowError, OSError, RecursionError):
        return None


# --- to the server ----------------------------------------------------------------------------


def encode_codec_header(sample_rate_hz: int, frames_per_packet: int, frame_ms: int) -> str:
    """The base64 that tells how a stream is coded; the rate is little-endian."""
    packed = _CODEC_HEADER.pack(sample_rate_hz, frames_per_packet, frame_ms)
    return base64.b64encode(packed).decode()


def encode_logon(
    *,
    seq: int,
    channels: Sequence[str],
    username: str,
    password: str,
    auth_token: str = "",
    refresh_token: str = "",
    platform_name: str = "",
) -> str:
    """The first command of a connection. Empty fields are left out."""
    optional = {
        "auth_token": auth_token,
        "refresh_token": refresh_token,
        "platform_name": platform_name,
    }
    return _command(
        "logon",
        seq,
        channels=list(channels),
        username=username,
        password=password,
        **{name: value for name, value in optional.items() if value},
    )


def encode_start_stream(*, seq: int, channel: str) -> str:
    """Ask for a stream of Opus at 16 kHz, one frame of 60 ms in each packet."""
    return _command(
        "start_stream",
        seq,
        channel=channel,
        type="audio",
        codec="opus",
        codec_header=encode_codec_header(16000, 1, PACKET_MS),
        packet_duration=PACKET_MS,
    )


def encode_stop_stream(*, seq: int, channel: str, stream_id: int) -> str:
    return _command("stop_stream", seq, stream_id=stream_id, channel=channel)


def encode_text_message(*, seq: int, channel: str, text: str) -> str:
    return _command("send_text_message", seq, channel=channel, text=text)


def encode_location(
    *,
    seq: int,
    channel: str,
    longitude_deg: float,
    latitude_deg: float,
    accuracy_m: float = 0.0,
    place: str = "",
) -> str:
    return _command(
        "send_location",
        seq,
        channel=channel,
        latitude=latitude_deg,
        longitude=longitude_deg,
        accuracy=accuracy_m,
        **({"formatted_address": place} if place else {}),
    )


def encode_audio(stream_id: int, opus: bytes) -> bytes:
    """A packet of a stream of ours; its packet id is ignored by the server and is 0."""
    return _HEADER.pack(AUDIO, stream_id, 0) + opus


def _command(command: str, seq: int, **fields: object) -> str:
    return json.dumps({"command": command, "seq": seq, **fields}, ensure_ascii=False)
