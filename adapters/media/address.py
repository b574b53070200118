"""RTSP addresses as people write them: with or without scheme, port, name and password."""

import dataclasses
from urllib.parse import quote, unquote, urlsplit

from adapters.errors import InvalidSettings

DEFAULT_PORTS = {"rtsp": 554, "rtsps": 322}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RtspAddress:
    """url: without name and password. username, password: what the text carried, else empty.
    location: host and port for messages; it holds no path, since paths may hold secrets."""

    url: str
    scheme: str
    host: str
    port: int
    username: str = ""
    password: str = dataclasses.field(default="", repr=False)

    @property
    def location(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def with_credentials(self, username: str, password: str) -> str:
        """The URL for libraries that take credentials in no other way. Never log it."""
        if not username:
            return self.url
        user = f"{quote(username, safe='')}:{quote(password, safe='')}@"
        return self.url.replace("://", f"://{user}", 1)


def parse_address(text: str) -> RtspAddress:
    """Read ``rtsp://[name:password@]host[:port]/path`` or ``host[:port]/path``.

    Raises: InvalidSettings; the message shows neither name nor password.
    """
    text = text.strip()
    if "://" not in text:
        text = f"rtsp://{text}"
    if any(ord(char) <= 0x20 or ord(char) == 0x7F for char in text):
        raise InvalidSettings("an RTSP address holds no blanks or control characters")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise InvalidSettings("this is not an RTSP address; write rtsp://host:port/path") from None
    scheme = parts.scheme.lower()
    if scheme not in DEFAULT_PORTS or not host:
        raise InvalidSettings("this is not an RTSP address; write rtsp://host:port/path")
    authority = parts.netloc.rpartition("@")[2]
    tail = text.split("://", 1)[1][len(parts.netloc) :]
    return RtspAddress(
        url=f"{scheme}://{authority}{tail.partition('#')[0]}",
        scheme=scheme,
        host=host,
        port=port or DEFAULT_PORTS[scheme],
        username=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
    )
