"""RTSP 1.0 messages (RFC 2326) and the packets that are interleaved with them. No I/O."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from adapters.errors import InvalidSettings, ProtocolViolation

MAX_HEAD_BYTES = 64 * 1024
MAX_BODY_BYTES = 1024 * 1024
MAX_JUNK_BYTES = 256 * 1024
_RTP_BEGINNINGS = frozenset(bytes([first]) for first in range(0x80, 0xC0))  # version 2
_DOLLAR = 0x24


class Interleaved(NamedTuple):
    """A packet within the connection. channel: as agreed in SETUP."""

    channel: int
    payload: bytes


class Response(NamedTuple):
    """headers: names in lower case; every header may come more than once."""

    status: int
    reason: str
    headers: Mapping[str, tuple[str, ...]]
    body: bytes

    def header(self, name: str) -> str:
        """The first header of a name, empty if there is none."""
        return next(iter(self.headers.get(name, ())), "")

    @property
    def cseq(self) -> int:
        text = self.header("cseq").strip()
        return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1


class ServerRequest(NamedTuple):
    """What a server asks of us unbidden, such as OPTIONS or ANNOUNCE."""

    method: str
    headers: Mapping[str, tuple[str, ...]]


Message = Interleaved | Response | ServerRequest
Handlers = Mapping[int, Callable[[bytes], None]]
"""Who takes the packets of each channel."""


def request(method: str, url: str, cseq: int, headers: Mapping[str, str]) -> bytes:
    """A request without body. Raises: InvalidSettings for an address that would break the line."""
    if any(ord(char) <= 0x20 or ord(char) == 0x7F for char in url):
        raise InvalidSettings("the address holds a blank or a control character")
    lines = [f"{method} {url} RTSP/1.0", f"CSeq: {cseq}", "User-Agent: Hutong"]
    # What a server announced, or a person typed, ends no line of ours.
    lines += [f"{name}: {' '.join(value.splitlines())}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def reply(cseq: str, status: str = "200 OK") -> bytes:
    """An answer to a server's own request."""
    return f"RTSP/1.0 {status}\r\nCSeq: {cseq}\r\n\r\n".encode("latin-1", "replace")


class WireReader:
    """Cuts what a server sends into messages.

    What is neither a packet nor a message is passed over and counted in `junk_bytes`, since some
    cameras let stray bytes in when they are busy. packets: how many there were; with handlers,
    of their channels.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._junk = 0
        self.junk_bytes = 0
        self.packets = 0

    def feed(self, data: bytes, handlers: Handlers | None = None) -> list[Message]:
        """The messages that this piece completes.

        handlers: with them packets go to the handler of their channel instead, or nowhere: there
        are thousands a second.
        Raises: ProtocolViolation when the peer does not speak RTSP.
        """
        buffer = self._rest + data if self._rest else data
        messages: list[Message] = []
        before = self.packets
        at, end = 0, len(buffer)
        while at < end:
            if buffer[at] == _DOLLAR:
                if end - at < 4:
                    break
                stop = at + 4 + (buffer[at + 2] << 8 | buffer[at + 3])
                if stop > end:
                    break
                if handlers is None:
                    self.packets += 1
                    messages.append(Interleaved(buffer[at + 1], buffer[at + 4 : stop]))
                else:
                    handler = handlers.get(buffer[at + 1])
                    if handler is not None:
                        handler(buffer[at + 4 : stop])
                    # Junk has dollars too: only what is of RTP's version is a sign of life.
                    if handler is not None and buffer[at + 4 : at + 5] in _RTP_BEGINNINGS:
                        self.packets += 1
                    else:
                        self._pass_over(stop - at)
            else:
                stop = self._text(buffer, at, messages)
                if stop < 0:
                    break
            at = stop
        if self.packets != before:
            self._junk = 0
        self._rest = buffer[at:] if at else buffer
        return messages

    def _text(self, buffer: bytes, at: int, messages: list[Message]) -> int:
        """The end of the text message (or junk) at this place; -1 when it is not complete."""
        if not _may_begin_message(buffer, at):
            return self._skip_junk(buffer, at)
        head_end = buffer.find(b"\r\n\r\n", at, at + MAX_HEAD_BYTES)
        if head_end < 0:
            if len(buffer) - at >= MAX_HEAD_BYTES:
                raise ProtocolViolation(f"an RTSP message head of more than {MAX_HEAD_BYTES} bytes")
            return -1
        start, headers = _head(buffer[at:head_end])
        length = _content_length(headers)
        stop = head_end + 4 + length
        if stop > len(buffer):
            return -1
        messages.append(_message(start, headers, buffer[head_end + 4 : stop]))
        self._junk = 0
        return stop

    def _skip_junk(self, buffer: bytes, at: int) -> int:
        places = (buffer.find(mark, at + 1) for mark in (b"$", b"RTSP/"))
        stop = min((place for place in places if place > 0), default=len(buffer))
        self._pass_over(stop - at)
        return stop

    def _pass_over(self, size: int) -> None:
        self._junk += size
        self.junk_bytes += size
        if self._junk > MAX_JUNK_BYTES:
            raise ProtocolViolation("the peer does not speak RTSP")


_METHODS = (b"OPTIONS ", b"ANNOUNCE ", b"GET_PARAMETER ", b"SET_PARAMETER ", b"REDIRECT ")
_BEGINNINGS = (b"RTSP/", *_METHODS)


def _may_begin_message(buffer: bytes, at: int) -> bool:
    piece = buffer[at : at + 16]
    return any(piece.startswith(word) or word.startswith(piece) for word in _BEGINNINGS)


def _head(data: bytes) -> tuple[str, dict[str, tuple[str, ...]]]:
    start, *lines = data.decode("utf-8", "replace").split("\r\n")
    headers: dict[str, tuple[str, ...]] = {}
    for line in lines:
        name, found, value = line.partition(":")
        if found:
            key = name.strip().lower()
            headers[key] = (*headers.get(key, ()), value.strip())
    return start, headers


def _content_length(headers: Mapping[str, tuple[str, ...]]) -> int:
    text = next(iter(headers.get("content-length", ())), "0")
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise ProtocolViolation("an RTSP message whose length is not a number")
    if int(text) > MAX_BODY_BYTES:
        raise ProtocolViolation(f"an RTSP message of {int(text)} bytes is not believable")
    return int(text)


def _message(start: str, headers: Mapping[str, tuple[str, ...]], body: bytes) -> Message:
    words = start.split(" ", 2)
    if not start.startswith("RTSP/"):
        return ServerRequest(words[0], headers)
    status = words[1] if len(words) > 1 else ""
    if not (status.isascii() and status.isdigit() and len(status) == 3):
        raise ProtocolViolation("an RTSP answer without a status")
    return Response(int(status), words[2] if len(words) > 2 else "", headers, body)


class Session(NamedTuple):
    """timeout_s: without a sign of life for so long the server ends the session."""

    id: str
    timeout_s: int


def parse_session(header: str) -> Session:
    """The Session header; a timeout that is missing or absurd counts as the standard's 60 s."""
    name, *options = header.split(";")
    timeout_s = 0
    for option in options:
        key, _, value = option.strip().partition("=")
        value = value.strip()
        if key.strip().lower() == "timeout" and value.isascii() and value.isdigit():
            timeout_s = int(value[:6])
    return Session(name.strip(), timeout_s if 1 <= timeout_s <= 3600 else 60)


class Transport(NamedTuple):
    """What a server agreed to in SETUP. tcp: None where it does not say. channels: of RTP and
    RTCP within the connection; server_ports: of RTP and RTCP over UDP; source: where it sends
    from. Each is None or empty where it does not say, or says nonsense."""

    tcp: bool | None
    channels: tuple[int, int] | None
    server_ports: tuple[int, int] | None
    source: str


def parse_transport(header: str) -> Transport:
    """The first transport of a Transport header."""
    protocol, *options = header.partition(",")[0].split(";")
    values = {
        name.strip().lower(): value.strip()
        for name, _, value in (option.partition("=") for option in options)
    }
    words = protocol.strip().upper().split("/")
    channels = _pair(values.get("interleaved", ""), 255)
    tcp = "TCP" in words or channels is not None if header.strip() else None
    return Transport(
        tcp, channels, _pair(values.get("server_port", ""), 65_535), values.get("source", "")
    )


def _pair(text: str, most: int) -> tuple[int, int] | None:
    first, found, second = text.partition("-")
    numbers = []
    for part in (first, second) if found else (first,):
        part = part.strip()
        if not (part.isascii() and part.isdigit() and len(part) < 6):
            return None
        numbers.append(int(part))
    low, high = numbers[0], numbers[1] if found else numbers[0] + 1
    return (low, high) if low <= most and high <= most else None
