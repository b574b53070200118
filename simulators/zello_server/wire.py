"""Zello Channel API messages as the server reads and writes them. No I/O.

Source: zelloptt/zello-channel-api API.md and auth/README.md.
"""

import base64
import binascii
import dataclasses
import enum
import json
import struct
from collections.abc import Mapping
from typing import Any

Message = dict[str, Any]

MAX_TEXT_BYTES = 30 * 1024
MAX_CHANNELS = 100
AUDIO = 0x01
_AUDIO_HEAD = struct.Struct(">BII")
MIN_PACKET_MS, MAX_PACKET_MS = 2.5, 60.0
RSA_2048_SIGNATURE_BYTES = 256


class ErrorText(enum.StrEnum):
    """What the server says is wrong; the texts are the API's."""

    UNKNOWN_COMMAND = "unknown command"
    INTERNAL = "internal server error"
    INVALID_JSON = "invalid json"
    INVALID_REQUEST = "invalid request"
    NOT_AUTHORIZED = "not authorized"
    NOT_LOGGED_IN = "not logged in"
    NOT_ENOUGH_PARAMS = "not enough params"
    CLOSED = "server closed connection"
    NOT_READY = "channel is not ready"
    LISTEN_ONLY = "listen only connection"
    START_FAILED = "failed to start stream"
    STOP_FAILED = "failed to stop stream"
    SEND_FAILED = "failed to send data"
    INVALID_AUDIO = "invalid audio packet"
    TOO_MANY_CHANNELS = "channels limit exceeded"


class Refused(Exception):
    """A command that is answered with an error; the message is its text."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Logon:
    """channels: from `channels`, or the older single `channel`."""

    username: str
    password: str
    auth_token: str
    refresh_token: str
    channels: tuple[str, ...]
    listen_only: bool
    platform_name: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Audio:
    """What a stream is coded in; passed on to listeners as it came. for_user: empty for all."""

    codec_header: str
    packet_ms: float
    for_user: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """address: of the street, empty if it is not known."""

    longitude_deg: float
    latitude_deg: float
    accuracy_m: float = 0.0
    address: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AudioPacket:
    """packet: its number, counted by the server; zero from a client."""

    stream: int
    packet: int
    data: bytes

    def encode(self) -> bytes:
        return _AUDIO_HEAD.pack(AUDIO, self.stream, self.packet) + self.data


def read_command(text: str) -> Message:
    """The JSON object of a text message.

    Raises: Refused.
    """
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        raise Refused(ErrorText.INVALID_JSON) from None
    if not isinstance(message, dict) or not isinstance(message.get("command"), str):
        raise Refused(ErrorText.INVALID_REQUEST)
    return message


def sequence_of(message: Message) -> int | None:
    """The number that an answer must carry, None if no answer is wanted."""
    number = message.get("seq")
    return number if isinstance(number, int) and not isinstance(number, bool) else None


def read_logon(message: Message) -> Logon:
    """Raises: Refused."""
    channels = message.get("channels")
    if channels is None:
        channels = [_text(message, "channel")] if "channel" in message else []
    if not isinstance(channels, list) or not all(
        isinstance(name, str) and name for name in channels
    ):
        raise Refused(ErrorText.INVALID_REQUEST)
    if not channels:
        raise Refused(ErrorText.NOT_ENOUGH_PARAMS)
    if len(channels) > MAX_CHANNELS:
        raise Refused(ErrorText.TOO_MANY_CHANNELS)
    return Logon(
        username=_text(message, "username"),
        password=_text(message, "password"),
        auth_token=_text(message, "auth_token"),
        refresh_token=_text(message, "refresh_token"),
        channels=tuple(dict.fromkeys(channels)),
        listen_only=message.get("listen_only") is True,
        platform_name=_text(message, "platform_name"),
    )


def read_audio(message: Message) -> Audio:
    """What `start_stream` says of its audio.

    Raises: Refused.
    """
    if not {"type", "codec", "codec_header", "packet_duration"} <= message.keys():
        raise Refused(ErrorText.NOT_ENOUGH_PARAMS)
    header = _text(message, "codec_header")
    duration = message["packet_duration"]
    if message["type"] != "audio" or message["codec"] != "opus" or not _is_codec_header(header):
        raise Refused(ErrorText.INVALID_REQUEST)
    if isinstance(duration, bool) or not isinstance(duration, int | float):
        raise Refused(ErrorText.INVALID_REQUEST)
    if not MIN_PACKET_MS <= duration <= MAX_PACKET_MS:
        raise Refused(ErrorText.INVALID_REQUEST)
    return Audio(codec_header=header, packet_ms=duration, for_user=_text(message, "for"))


def read_text(message: Message) -> tuple[str, str]:
    """The text of `send_text_message` and the user it is for, empty for all.

    Raises: Refused.
    """
    text = _text(message, "text")
    if not text:
        raise Refused(ErrorText.NOT_ENOUGH_PARAMS)
    if len(text.encode()) > MAX_TEXT_BYTES:
        raise Refused(ErrorText.INVALID_REQUEST)
    return text, _text(message, "for")


def read_location(message: Message) -> tuple[Location, str]:
    """What `send_location` says, and the user it is for, empty for all.

    Raises: Refused.
    """
    if not {"latitude", "longitude"} <= message.keys():
        raise Refused(ErrorText.NOT_ENOUGH_PARAMS)
    location = Location(
        longitude_deg=_number(message, "longitude", 180.0),
        latitude_deg=_number(message, "latitude", 90.0),
        accuracy_m=_number(message, "accuracy", 1e9),
        address=_text(message, "formatted_address"),
    )
    return location, _text(message, "for")


def read_packet(data: bytes) -> AudioPacket:
    """Raises: Refused."""
    if len(data) <= _AUDIO_HEAD.size or data[0] != AUDIO:
        raise Refused(ErrorText.INVALID_AUDIO)
    _, stream, packet = _AUDIO_HEAD.unpack_from(data)
    return AudioPacket(stream=stream, packet=packet, data=data[_AUDIO_HEAD.size :])


def check_token(token: str, now_s: float) -> None:
    """Refuse what cannot be a token of the API: a JWT with RS256, `iss`, and `exp` to come.

    now_s: seconds since 1970. The signature is only measured (at least RSA 2048): the simulator
    knows no issuer's key. Raises: Refused.
    """
    parts = token.split(".")
    try:
        if len(parts) != 3:
            raise ValueError
        head, claims = (json.loads(_unpadded(part)) for part in parts[:2])
        signature = _unpadded(parts[2])
    except (ValueError, RecursionError):
        raise Refused(ErrorText.NOT_AUTHORIZED) from None
    if not isinstance(head, dict) or not isinstance(claims, dict):
        raise Refused(ErrorText.NOT_AUTHORIZED)
    expires = claims.get("exp")
    if (
        head.get("alg") != "RS256"
        or not isinstance(claims.get("iss"), str)
        or isinstance(expires, bool)
        or not isinstance(expires, int | float)
        or expires <= now_s
        or len(signature) < RSA_2048_SIGNATURE_BYTES
    ):
        raise Refused(ErrorText.NOT_AUTHORIZED)


def channel_status(
    channel: str,
    *,
    online: bool,
    users: int,
    texting: bool = True,
    locations: bool = True,
    error: str = "",
) -> Message:
    """on_channel_status; `full_duplex` is undocumented but sent. error: why it is offline."""
    message: Message = {
        "command": "on_channel_status",
        "channel": channel,
        "status": "online" if online else "offline",
        "users_online": users,
        "images_supported": False,
        "texting_supported": online and texting,
        "locations_supported": online and locations,
        "full_duplex": False,
    }
    if error:
        message |= {"error": error, "error_type": "unknown"}
    return message


def stream_start(stream: int, channel: str, sender: str, audio: Audio) -> Message:
    message: Message = {
        "command": "on_stream_start",
        "type": "audio",
        "codec": "opus",
        "codec_header": audio.codec_header,
        "packet_duration": audio.packet_ms,
        "stream_id": stream,
        "channel": channel,
        "from": sender,
    }
    if audio.for_user:
        message["for"] = audio.for_user
    return message


def stream_stop(stream: int) -> Message:
    return {"command": "on_stream_stop", "stream_id": stream}


def text_message(number: int, channel: str, sender: str, text: str, for_user: str) -> Message:
    return {
        "command": "on_text_message",
        "channel": channel,
        "from": sender,
        "for": for_user or False,
        "message_id": number,
        "text": text,
    }


def location_message(
    number: int, channel: str, sender: str, location: Location, for_user: str
) -> Message:
    """As the API's example has it: the address is ``rgl`` there."""
    message: Message = {
        "command": "on_location",
        "channel": channel,
        "from": sender,
        "for": for_user or False,
        "message_id": number,
        "latitude": location.latitude_deg,
        "longitude": location.longitude_deg,
        "accuracy": location.accuracy_m,
    }
    if location.address:
        message["rgl"] = location.address
    return message


def error(text: str) -> Message:
    return {"command": "on_error", "error": text}


def _text(message: Mapping[str, Any], name: str) -> str:
    value = message.get(name, "")
    if value is None or value is False:
        return ""
    if not isinstance(value, str):
        raise Refused(ErrorText.INVALID_REQUEST)
    return value


def _number(message: Mapping[str, Any], name: str, most: float) -> float:
    value = message.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= most:
        raise Refused(ErrorText.INVALID_REQUEST)
    return float(value)


def _is_codec_header(text: str) -> bool:
    """Four bytes: rate in Hz (little-endian), 1 or 2 frames per packet, frame length in ms."""
    try:
        header = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    return len(header) == 4 and header[2] in (1, 2) and header[3] > 0


def _unpadded(part: str) -> bytes:
    return base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
