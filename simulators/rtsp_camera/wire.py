"""RTSP 1.0 messages, the server's side; pure. Source: RFC 2326."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import unquote, urlsplit

MAX_HEAD_BYTES: Final = 16_384
MAX_BODY_BYTES: Final = 65_536

_REASONS: Final = {
    200: "OK",
    302: "Moved Temporarily",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Stream Not Found",
    453: "Not Enough Bandwidth",
    403: "Forbidden",
    454: "Session Not Found",
    457: "Invalid Range",
    459: "Aggregate Operation Not Allowed",
    500: "Internal Server Error",
    455: "Method Not Valid In This State",
    461: "Unsupported Transport",
    501: "Not Implemented",
    503: "Service Unavailable",
    551: "Option Not Supported",
}
_REQUEST_LINE: Final = re.compile(r"([A-Z_]{3,20}) (\S+) RTSP/1\.\d")
_TRANSPORT_PAIR: Final = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?")


class MalformedRequest(ValueError):
    """The bytes are no RTSP request; the connection cannot go on."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request. Header names are in lower case."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def path(self) -> str:
        """The decoded path of the URL, without a slash at the end."""
        if self.url == "*":
            return "*"
        return unquote(urlsplit(self.url).path).rstrip("/")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Interleaved:
    """A binary packet between requests on the same connection."""

    channel: int
    payload: bytes


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Transport:
    """What a client asks for in SETUP: a pair of UDP ports or of interleaved channels."""

    tcp: bool
    pair: tuple[int, int]


def next_message(buffer: bytes | bytearray) -> tuple[Request | Interleaved | None, int]:
    """Take the first message off a buffer: (message, bytes used); None when incomplete.

    Blank lines before a request are skipped, as RFC 2326 asks.
    Raises: MalformedRequest.
    """
    start = 0
    while buffer[start : start + 2] == b"\r\n":
        start += 2
    if start < len(buffer) and buffer[start] == 0x24:
        if len(buffer) < start + 4:
            return None, start
        end = start + 4 + int.from_bytes(buffer[start + 2 : start + 4])
        if len(buffer) < end:
            return None, start
        payload = bytes(buffer[start + 4 : end])
        return Interleaved(channel=buffer[start + 1], payload=payload), end
    end = buffer.find(b"\r\n\r\n", start)
    if end < 0:
        if len(buffer) - start > MAX_HEAD_BYTES:
            raise MalformedRequest("head too long")
        return None, start
    return _request(buffer, start, end)


def _request(buffer: bytes | bytearray, start: int, end: int) -> tuple[Request | None, int]:
    try:
        first, *lines = bytes(buffer[start:end]).decode("utf-8").split("\r\n")
    except UnicodeDecodeError:
        raise MalformedRequest("head is not text") from None
    match = _REQUEST_LINE.fullmatch(first)
    if match is None:
        raise MalformedRequest("no RTSP request line")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise MalformedRequest("header without a colon")
        headers[name.strip().lower()] = value.strip()
    length = headers.get("content-length", "0")
    if not re.fullmatch(r"[0-9]{1,7}", length) or int(length) > MAX_BODY_BYTES:
        raise MalformedRequest("bad Content-Length")
    used = end + 4 + int(length)
    if len(buffer) < used:
        return None, start
    try:
        urlsplit(match[2])
    except ValueError:
        raise MalformedRequest("bad URL") from None
    body = bytes(buffer[end + 4 : used])
    return Request(method=match[1], url=match[2], headers=headers, body=body), used


def parse_transport(header: str) -> Transport | None:
    """The first transport of a Transport header that this server offers, or None."""
    for offer in header.split(","):
        protocol, *options = (part.strip() for part in offer.split(";"))
        if "multicast" in options:
            continue
        values = dict(option.partition("=")[::2] for option in options)
        if protocol.upper() == "RTP/AVP/TCP":
            pair = _pair(values.get("interleaved", "0-1"))
            if pair and max(pair) < 256:
                return Transport(tcp=True, pair=pair)
        elif protocol.upper() in ("RTP/AVP", "RTP/AVP/UDP"):
            pair = _pair(values.get("client_port", ""))
            if pair and min(pair) > 0:
                return Transport(tcp=False, pair=pair)
    return None


def _pair(text: str) -> tuple[int, int] | None:
    match = _TRANSPORT_PAIR.fullmatch(text)
    if match is None:
        return None
    first = int(match[1])
    second = int(match[2]) if match[2] else first + 1
    return (first, second) if max(first, second) < 65_536 else None


def format_response(
    status: int, cseq: str, headers: Sequence[tuple[str, str]] = (), body: bytes = b""
) -> bytes:
    """A response; Content-Length is added when there is a body."""
    lines = [f"RTSP/1.0 {status} {_REASONS[status]}", f"CSeq: {cseq}"]
    lines += [f"{name}: {value}" for name, value in headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body
