"""Session descriptions (RFC 8866) as RTSP servers give them, and their control addresses."""

import dataclasses
from collections.abc import Mapping

from adapters.errors import ProtocolViolation

# Payload types whose codec needs no rtpmap (RFC 3551).
_STATIC = {0: ("PCMU", 8000), 8: ("PCMA", 8000), 26: ("JPEG", 90_000), 32: ("MPV", 90_000)}
_MAX_MEDIA = 64


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """One track. kind: ``video``, ``audio``, ``application``. codec: encoding name in capitals.
    control: as announced, empty if absent. fmtp: names in lower case. fps: 0 if not announced.
    channels: of audio. lines: all attributes as announced, names in lower case."""

    kind: str
    payload_type: int
    codec: str
    clock_rate_hz: int
    control: str
    fmtp: Mapping[str, str]
    fps: float
    direction: str
    channels: int = 1
    lines: tuple[tuple[str, str], ...] = ()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SessionDescription:
    """name: what the server calls the session. control: of the session as a whole."""

    name: str
    control: str
    media: tuple[Media, ...]


@dataclasses.dataclass(slots=True)
class _Section:
    kind: str = ""
    payload_type: int = -1
    lines: list[tuple[str, str]] = dataclasses.field(default_factory=list)


def parse_sdp(data: bytes) -> SessionDescription:
    """Read a session description; lines that make no sense are passed over, as players do.

    Raises: ProtocolViolation when it describes no track at all.
    """
    name, session = "", _Section()
    sections: list[_Section] = []
    for line in data.decode("utf-8", "replace").splitlines():
        key, found, value = line.strip().partition("=")
        if not found or len(key) != 1:
            continue
        if key == "s":
            name = value.strip()
        elif key == "m" and len(sections) < _MAX_MEDIA:
            sections.append(_media_line(value))
        elif key == "a":
            attribute, _, content = value.partition(":")
            section = sections[-1] if sections else session
            section.lines.append((attribute.strip().lower(), content.strip()))
    if not sections:
        raise ProtocolViolation("the session description names no track")
    return SessionDescription(
        name=name,
        control=dict(session.lines).get("control", ""),
        media=tuple(_media(section) for section in sections),
    )


def _media_line(value: str) -> _Section:
    words = value.split()
    first = words[3] if len(words) > 3 else ""
    payload_type = int(first) if first.isascii() and first.isdigit() and len(first) < 4 else -1
    return _Section(kind=words[0].lower() if words else "", payload_type=payload_type)


def _media(section: _Section) -> Media:
    codec, rate_hz = _STATIC.get(section.payload_type, ("", 0))
    channels = 1
    fmtp: dict[str, str] = {}
    for attribute, content in section.lines:
        head, _, rest = content.partition(" ")
        if attribute == "rtpmap" and _is_for(head, section):
            parts = rest.strip().split("/")
            codec = parts[0].strip().upper()
            rate_hz = _number(parts[1]) if len(parts) > 1 else 0
            channels = (_number(parts[2]) if len(parts) > 2 else 0) or 1
        elif attribute == "fmtp" and _is_for(head, section):
            fmtp.update(_parameters(rest))
    attributes = dict(section.lines)
    directions = {"sendrecv", "sendonly", "recvonly", "inactive"} & attributes.keys()
    return Media(
        kind=section.kind,
        payload_type=section.payload_type,
        codec=codec,
        clock_rate_hz=rate_hz,
        control=attributes.get("control", ""),
        fmtp=fmtp,
        fps=_frame_rate(attributes),
        direction=next(iter(directions), ""),
        channels=channels,
        lines=tuple(section.lines),
    )


def _is_for(payload_type: str, section: _Section) -> bool:
    return payload_type.strip() == str(section.payload_type)


def _number(text: str) -> int:
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 8 else 0


def _parameters(text: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in text.split(";"))
    return {name.strip().lower(): value.strip() for name, _, value in pairs if name.strip()}


def _frame_rate(attributes: Mapping[str, str]) -> float:
    for name in ("framerate", "x-framerate"):
        try:
            fps = float(attributes.get(name, ""))
        except ValueError:
            continue
        if 0 < fps <= 240:
            return fps
    return 0.0


def control_url(base: str, control: str) -> str:
    """The address to SETUP or PLAY: absolute as given, ``*`` and none the base, else joined.

    Joined by putting one slash between, query or not, since that is what servers expect rather
    than RFC 3986 (most announce a base without its closing slash).
    """
    if control in ("", "*"):
        return base
    if control.lower().startswith(("rtsp://", "rtsps://")):
        return control
    if control.startswith("?"):
        return base + control
    return base.rstrip("/") + "/" + control.lstrip("/")
