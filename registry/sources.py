"""Video sources of devices, and which point each one belongs to. Pure: no SQL here."""

import dataclasses
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

_USUAL_PORTS = {"http": 80, "https": 443, "rtsp": 554, "rtsps": 322}
_POINT_CODE = re.compile(r"[0-9]{20}")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One encoding. name: ``main``, ``sub``. width, height: pixels, 0 unknown. fps, bit_rate_bps:
    0 unknown. token: the device's own name for it."""

    name: str
    codec: str
    width: int = 0
    height: int = 0
    fps: float = 0.0
    token: str = ""
    bit_rate_bps: int = 0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FoundSource:
    """A source as a probe found it. channel_number: 1-based. code: its 20-digit code where the
    device knows one; a name that is nothing but 20 digits counts as one too."""

    address: str
    name: str = ""
    channel_number: int = 1
    profiles: tuple[Profile, ...] = ()
    capabilities: tuple[str, ...] = ()
    longitude_deg: float | None = None
    latitude_deg: float | None = None
    code: str | None = None

    @property
    def point_code(self) -> str | None:
        if self.code:
            return self.code
        name = self.name.strip()
        return name if _POINT_CODE.fullmatch(name) else None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A point without a source that could belong to a device."""

    point_id: str
    code: str | None
    host: str | None
    channel_number: int | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Matching:
    """What each source, by its address, belongs to.

    bound: a point id. ambiguous: the ids of all points that could be meant. fresh: no point."""

    bound: Mapping[str, str]
    ambiguous: Mapping[str, tuple[str, ...]]
    fresh: tuple[str, ...]


def match(sources: Iterable[FoundSource], host: str, candidates: Sequence[Candidate]) -> Matching:
    """Which point without a source each source of the device at host belongs to.

    The point with the source's own code; else the one with the device's host and the source's
    channel number, unless that one has another code. Two points for a source, or two sources for
    a point, are ambiguous and bind nothing.
    """
    choices = {source.address: _choices(source, host, candidates) for source in sources}
    wanted = Counter(ids[0] for ids in choices.values() if len(ids) == 1)
    bound = {
        address: ids[0] for address, ids in choices.items() if len(ids) == 1 and wanted[ids[0]] == 1
    }
    return Matching(
        bound=bound,
        ambiguous={
            address: ids for address, ids in choices.items() if ids and address not in bound
        },
        fresh=tuple(address for address, ids in choices.items() if not ids),
    )


def _choices(source: FoundSource, host: str, candidates: Sequence[Candidate]) -> tuple[str, ...]:
    code = source.point_code
    if code:
        same_code = tuple(each.point_id for each in candidates if each.code == code)
        if same_code:
            return same_code
    return tuple(
        each.point_id
        for each in candidates
        if each.host == host
        and each.channel_number == source.channel_number
        and (code is None or each.code is None)
    )


def place_of(endpoint: str) -> tuple[str, int]:
    """Host and port of an endpoint; the usual port of its scheme, or of HTTP, where it names none.

    Two endpoints of one place are one device, however they are written.
    """
    text = endpoint.strip()
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        port = parts.port or _USUAL_PORTS.get(parts.scheme, 80)
    except ValueError:
        port = 0
    return host_of(endpoint), port


def host_of(endpoint: str) -> str:
    """The host of an endpoint, which is a host, ``host:port`` or a URL; lower case."""
    text = endpoint.strip()
    try:
        host = urlsplit(text if "://" in text else f"//{text}").hostname
    except ValueError:
        host = None
    return (host or text).lower()


def storable(text: str, most: int) -> str:
    """A text of a device's own, cut to what every database can hold."""
    return text.replace("\x00", "").strip()[:most]


def profiles_to_json(profiles: Iterable[Profile]) -> list[dict[str, Any]]:
    return [
        {
            "name": storable(each.name, 200),
            "codec": storable(each.codec, 200),
            "width": each.width,
            "height": each.height,
            "fps": each.fps,
            "token": storable(each.token, 200),
            "bit_rate_bps": each.bit_rate_bps,
        }
        for each in profiles
    ]


def profiles_from_json(documents: Iterable[Mapping[str, Any]]) -> tuple[Profile, ...]:
    return tuple(Profile(**each) for each in documents)


def source_to_json(source: FoundSource) -> dict[str, Any]:
    """As kept in a device's row; positions and codes are the points' own."""
    return {
        "address": source.address,
        "name": storable(source.name, 200),
        "channel_number": source.channel_number,
        "profiles": profiles_to_json(source.profiles),
        "capabilities": list(source.capabilities),
    }


def source_from_json(document: Mapping[str, Any]) -> FoundSource:
    return FoundSource(
        address=document["address"],
        name=document["name"],
        channel_number=document["channel_number"],
        profiles=profiles_from_json(document["profiles"]),
        capabilities=tuple(document["capabilities"]),
    )
