"""Where media servers are, and where they find us."""

import dataclasses
import ipaddress
from collections.abc import Iterator
from urllib.parse import urlsplit

from gateway.live.mediaserver.wire import Offer


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class MediaServerSettings:
    """control: the address of each server's control API. whep, hls, rtsp: where people reach
    each, in the same order; none for what the server says itself. feed: where servers read our
    streams; empty for this machine, on any free port.

    Raises: ValueError saying what is wrong.
    """

    control: tuple[str, ...]
    whep: tuple[str, ...] = ()
    hls: tuple[str, ...] = ()
    rtsp: tuple[str, ...] = ()
    feed: str = ""

    def __post_init__(self) -> None:
        for each in self.control:
            _check(each, ("http", "https"), "http://media.example:9997")
        for name in ("whep", "hls", "rtsp"):
            addresses = getattr(self, name)
            schemes = ("rtsp", "rtsps") if name == "rtsp" else ("http", "https")
            for each in addresses:
                _check(each, schemes, f"{schemes[0]}://media.example:8000")
            if addresses and len(addresses) != len(self.control):
                raise ValueError(f"name as many addresses as media servers: {len(self.control)}")
        if self.feed:
            _check(self.feed, ("rtsp",), "rtsp://gateway.example:8654")
            if urlsplit(self.feed).port is None:
                raise ValueError("must name a port, as rtsp://gateway.example:8654 does")

    @property
    def servers(self) -> Iterator[tuple[str, Offer]]:
        """Each control address, and where people reach that server."""
        for number, control in enumerate(self.control):
            told = {
                name: getattr(self, name)[number].rstrip("/")
                for name in ("whep", "hls", "rtsp")
                if getattr(self, name)
            }
            yield control, Offer(**told)

    @property
    def feed_bind(self) -> str:
        """What the feed listens on: loopback unless it is to be reached from elsewhere."""
        host = urlsplit(self.feed).hostname or "127.0.0.1"
        with_address = _address(host)
        if host == "localhost" or (with_address is not None and with_address.is_loopback):
            return host
        return "::" if with_address is not None and with_address.version == 6 else "0.0.0.0"

    @property
    def feed_port(self) -> int:
        return urlsplit(self.feed).port or 0

    def feed_base(self, port: int) -> str:
        """What media servers are told. port: the one that the feed listens on."""
        return self.feed.rstrip("/") or f"rtsp://127.0.0.1:{port}"


def addresses(text: str) -> tuple[str, ...]:
    """One or several, with commas."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _check(text: str, schemes: tuple[str, ...], example: str) -> None:
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018 - a port that is none raises
    except ValueError:
        raise ValueError(f"must look like {example}") from None
    if parts.scheme not in schemes or not parts.hostname or parts.username or parts.query:
        raise ValueError(f"must look like {example}")
