"""MediaMTX's control API, version 3: what we ask, and what its answers mean. No I/O.

Source: the API description that MediaMTX publishes with each version (``api/openapi.yaml``).
"""

import dataclasses
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from gateway.live.mediaserver.errors import Away, Unsafe

KINDS: Mapping[str, str] = {
    "webrtcsessions": "whep",
    "hlssessions": "hls",
    "rtspsessions": "rtsp",
    "rtspssessions": "rtsp",
    "rtmpconns": "rtmp",
    "rtmpsconns": "rtmp",
    "srtconns": "srt",
    "moqsessions": "moq",
}
"""Every list of readers there is, and how the record of viewing names its transport. A protocol
that is turned off has no list."""

PAGE_SIZE = 500
FIRST_PICTURE_S = 10
IDLE_S = 5


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """A session on a media server. kind: the list that has it. ticket_id: the `sub` of its token,
    empty before it has shown one. created_s: seconds since 1970, by the server's clock."""

    kind: str
    id: str
    ticket_id: str
    path: str
    created_s: float

    @property
    def transport(self) -> str:
        return KINDS[self.kind]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """Where readers of a media server go, by transport: base addresses, empty where it is off."""

    whep: str = ""
    hls: str = ""
    rtsp: str = ""


def path_pattern(owner: str) -> str:
    """The name of one configuration for all paths that begin so: MediaMTX takes what begins with
    ``~`` as a regular expression, and makes each path that fits when somebody asks for it."""
    return f"~^{owner}(.+)$"


def path_configuration(feed: str) -> dict[str, Any]:
    """Paths that are read from below `feed` while somebody watches them."""
    return {
        "source": f"{feed}/$G1",
        "sourceOnDemand": True,
        "sourceOnDemandStartTimeout": f"{FIRST_PICTURE_S}s",
        "sourceOnDemandCloseAfter": f"{IDLE_S}s",
        "rtspTransport": "tcp",
        "record": False,
        "overridePublisher": False,
    }


def parse_readers(kind: str, document: Any) -> tuple[list[Reader], int]:
    """Of one page of a list, and how many pages there are. Who publishes is none of ours.

    Raises: Away for what is no such list.
    """
    try:
        readers = [
            Reader(
                kind=kind,
                id=str(item["id"]),
                ticket_id=str(item.get("user") or ""),
                path=str(item.get("path") or ""),
                created_s=_seconds(str(item["created"])),
            )
            for item in document["items"]
            if item.get("state") != "publish"
        ]
        return readers, int(document["pageCount"])
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise Away(f"its list of {kind} cannot be read") from None


def parse_names(document: Any) -> tuple[list[str], int]:
    """The names of one page of paths, and how many pages there are. Raises: Away."""
    try:
        return [str(item["name"]) for item in document["items"]], int(document["pageCount"])
    except (KeyError, TypeError, ValueError, OverflowError):
        raise Away("its list of paths cannot be read") from None


def _seconds(text: str) -> float:
    """RFC 3339 with up to nine digits of fraction, of which Python 3.11 reads six."""
    head, dot, rest = text.partition(".")
    digits = len(rest) - len(rest.lstrip("0123456789"))
    if dot:
        text = f"{head}.{rest[:digits][:6]:<06}{rest[digits:]}"
    return datetime.fromisoformat(text).timestamp()


def check_safe(configuration: Mapping[str, Any], audience: str) -> None:
    """Raises: Unsafe for a server on which more than our tokens opens something."""
    if configuration.get("authMethod") != "jwt":
        raise Unsafe("its authMethod must be jwt, so that it opens nothing without our tokens")
    if configuration.get("authJWTExclude"):
        raise Unsafe("its authJWTExclude must be empty: what it names is open to everybody")
    if configuration.get("authJWTAudience") != audience:
        raise Unsafe(f"its authJWTAudience must be {audience}, so that it takes no other tokens")
    if configuration.get("hlsCDNSecret"):
        raise Unsafe("its hlsCDNSecret must be empty: who has it reads every path")


def unneeded(configuration: Mapping[str, Any]) -> list[str]:
    """What it serves beyond what we hand out, and could be turned off."""
    return [name for name in ("rtmp", "srt", "moq", "playback") if configuration.get(name)]


def offer(configuration: Mapping[str, Any], control_url: str) -> Offer:
    """What it says of itself, on the host where its control API is."""
    host = urlsplit(control_url).hostname or ""
    host = f"[{host}]" if ":" in host else host
    encrypted = str(configuration.get("rtspEncryption", "no"))

    def base(scheme: str, address: Any) -> str:
        return f"{scheme}://{host}:{str(address).rpartition(':')[2]}"

    def web(name: str) -> str:
        scheme = "https" if configuration.get(f"{name}Encryption") else "http"
        on = configuration.get(name)
        return base(scheme, configuration.get(f"{name}Address")) if on else ""

    rtsp = ""
    if configuration.get("rtsp"):
        scheme = "rtsp" if encrypted == "no" else "rtsps"
        rtsp = base(scheme, configuration.get(f"{scheme}Address"))
    return Offer(whep=web("webrtc"), hls=web("hls"), rtsp=rtsp)
