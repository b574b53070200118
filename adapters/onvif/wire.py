"""ONVIF documents to messages and back. No I/O: `soap` has the envelopes, `client` the sockets."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit
from xml.sax.saxutils import escape

from lxml import etree

from adapters.errors import ProtocolViolation
from adapters.events import Identity, Inventory, Profile, Source
from adapters.onvif.soap import Call

T = TypeVar("T")
_NAMES = {
    "http://www.onvif.org/ver10/device/wsdl": "devicemgmt",
    "http://www.onvif.org/ver10/media/wsdl": "media",
    "http://www.onvif.org/ver20/media/wsdl": "media2",
    "http://www.onvif.org/ver20/ptz/wsdl": "ptz",
    "http://www.onvif.org/ver20/imaging/wsdl": "imaging",
    "http://www.onvif.org/ver10/events/wsdl": "events",
    "http://www.onvif.org/ver10/deviceio/wsdl": "deviceio",
    "http://www.onvif.org/ver20/analytics/wsdl": "analytics",
}
"""Namespaces of services, in lower case, to the short names that onvif-zeep gives them too."""
_CAPABILITIES = {"Device": "devicemgmt", "Media": "media", "PTZ": "ptz", "Events": "events",
                 "Imaging": "imaging", "Analytics": "analytics",
                 "DeviceIO": "deviceio"}  # fmt: skip
_CODECS = {"H264": "h264", "H265": "h265", "HEVC": "h265", "JPEG": "jpeg", "MPEG4": "mpeg4",
           "MPV4-ES": "mpeg4"}  # fmt: skip
_LIVE_CODECS = ("h264", "h265")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class MediaProfile:
    """A media profile as the device describes it; token is its own name for it."""

    token: str
    source: str
    source_name: str
    codec: str
    width: int
    height: int
    fps: float
    bit_rate_bps: int
    ptz: bool
    audio: bool


# --- reading replies --------------------------------------------------------------------------


def _clock(reply: Any) -> datetime | None:
    """The device's UTC time; None where it tells none, or one that does not exist."""
    stated = next(reply.iter("{*}UTCDateTime"), None)
    if stated is None:
        return None
    date, time = _part(stated, "Date"), _part(stated, "Time")
    try:
        year, month, day = (int(_text(date, name)) for name in ("Year", "Month", "Day"))
        hour, minute, second = (int(_text(time, name)) for name in ("Hour", "Minute", "Second"))
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def _services(reply: Any) -> dict[str, str]:
    found: dict[str, str] = {}
    for service in reply.iterchildren("{*}Service"):
        name = _NAMES.get(_text(service, "Namespace").rstrip("/").lower())
        address = _text(service, "XAddr")
        if name and address:
            found.setdefault(name, address)
    return found


def _capabilities(reply: Any) -> dict[str, str]:
    """Older devices list DeviceIO and others inside an Extension, at whatever depth."""
    found: dict[str, str] = {}
    for part in reply.iter("{*}*"):
        name = _CAPABILITIES.get(etree.QName(part).localname)
        address = _text(part, "XAddr")
        if name and address:
            found.setdefault(name, address)
    return found


def _identity(reply: Any) -> Identity:
    return Identity(
        manufacturer=_text(reply, "Manufacturer"),
        model=_text(reply, "Model"),
        serial=_text(reply, "SerialNumber"),
        firmware=_text(reply, "FirmwareVersion"),
    )


def _endpoint_reference(reply: Any) -> str:
    stated = _text(reply, "GUID")
    return stated if not stated or ":" in stated else f"urn:uuid:{stated}"


def _video_sources(reply: Any) -> tuple[str, ...]:
    tokens = (source.get("token") for source in reply.iterchildren("{*}VideoSources"))
    return tuple(token for token in tokens if token)


def _profiles(reply: Any) -> tuple[MediaProfile, ...]:
    profiles = (_profile(entry) for entry in reply.iterchildren("{*}Profiles"))
    return tuple(profile for profile in profiles if profile and profile.source)


def _profile(entry: Any) -> MediaProfile | None:
    """A profile of Media1, or of Media2, which has other names and an element around them."""
    inside = _part(entry, "Configurations")
    suffix = "Configuration" if inside is None else ""
    source, encoder, ptz, audio = (
        _part(entry if inside is None else inside, f"{name}{suffix}")
        for name in ("VideoSource", "VideoEncoder", "PTZ", "AudioEncoder")
    )
    if not entry.get("token") or source is None or encoder is None:
        return None
    encoding = _text(encoder, "Encoding")
    size, rate = _part(encoder, "Resolution"), _part(encoder, "RateControl")
    return MediaProfile(
        token=entry.get("token"),
        source=_text(source, "SourceToken"),
        source_name=_text(source, "Name"),
        codec=_CODECS.get(encoding.upper(), encoding.lower()),
        width=int(_number(size, "Width")),
        height=int(_number(size, "Height")),
        fps=_number(rate, "FrameRateLimit"),
        bit_rate_bps=int(_number(rate, "BitrateLimit") * 1_000),
        ptz=ptz is not None,
        audio=audio is not None,
    )


def _part(element: Any, name: str) -> Any:
    """The first child of a local name; None where there is none, or no element."""
    return None if element is None else next(element.iterchildren(f"{{*}}{name}"), None)


def _text(element: Any, name: str) -> str:
    part = _part(element, name)
    return "" if part is None else (part.text or "").strip()


def _number(element: Any, name: str) -> float:
    """A size or rate; 0 where there is none, or nonsense."""
    try:
        number = float(_text(element, name) or 0)
    except ValueError:
        return 0.0
    return number if 0 <= number < 1e9 else 0.0


def _uri(reply: Any) -> str:
    for element in reply.iter("{*}Uri"):
        if uri := (element.text or "").strip():
            return str(uri)
    raise ProtocolViolation("it gave no address where one was asked for")


def _nothing(reply: Any) -> None:
    """The answer itself is all there is."""


# --- the calls --------------------------------------------------------------------------------

_TDS = "http://www.onvif.org/ver10/device/wsdl"
_TRT = "http://www.onvif.org/ver10/media/wsdl"
_TR2 = "http://www.onvif.org/ver20/media/wsdl"
_TT = "http://www.onvif.org/ver10/schema"


def _call(
    service: str, namespace: str, operation: str, read: Callable[[Any], T], inside: str = ""
) -> Call[T]:
    """A call by template. inside: its parameters, the namespaces ``m`` (its own) and ``t``."""
    return Call(
        service=service,
        operation=operation,
        read=read,
        lean=True,
        action=f"{namespace}/{operation}",
        body=f'<m:{operation} xmlns:m="{namespace}" xmlns:t="{_TT}">{inside}</m:{operation}>',
    )


GET_CLOCK = _call("devicemgmt", _TDS, "GetSystemDateAndTime", _clock)
GET_SERVICES = _call(
    "devicemgmt",
    _TDS,
    "GetServices",
    _services,
    "<m:IncludeCapability>false</m:IncludeCapability>",
)
GET_CAPABILITIES = Call(
    service="devicemgmt",
    operation="GetCapabilities",
    parameters={"Category": ["All"]},
    read=_capabilities,
    lean=True,
)
GET_IDENTITY = _call("devicemgmt", _TDS, "GetDeviceInformation", _identity)
GET_ENDPOINT_REFERENCE = _call("devicemgmt", _TDS, "GetEndpointReference", _endpoint_reference)
GET_VIDEO_SOURCES = _call("media", _TRT, "GetVideoSources", _video_sources)
GET_PROFILES = _call("media", _TRT, "GetProfiles", _profiles)
GET_PROFILES_2 = _call("media2", _TR2, "GetProfiles", _profiles, "<m:Type>All</m:Type>")


def get_stream_uri(profile_token: str, transport: str) -> Call[str]:
    """transport: ``tcp`` or ``udp``; which URI is given rarely depends on it."""
    protocol = "RTSP" if transport == "tcp" else "UDP"
    setup = {"Stream": "RTP-Unicast", "Transport": {"Protocol": protocol}}
    return Call(
        service="media",
        operation="GetStreamUri",
        parameters={"StreamSetup": setup, "ProfileToken": profile_token},
        read=_uri,
        lean=True,
    )


def get_stream_uri_2(profile_token: str, transport: str) -> Call[str]:
    """As `get_stream_uri`, of Media2."""
    protocol = "RTSP" if transport == "tcp" else "RtspUnicast"
    inside = f"<m:Protocol>{protocol}</m:Protocol>{_profile_token(profile_token)}"
    return _call("media2", _TR2, "GetStreamUri", _uri, inside)


def get_snapshot_uri(profile_token: str) -> Call[str]:
    return Call(
        service="media",
        operation="GetSnapshotUri",
        parameters={"ProfileToken": profile_token},
        read=_uri,
        lean=True,
    )


def get_snapshot_uri_2(profile_token: str) -> Call[str]:
    return _call("media2", _TR2, "GetSnapshotUri", _uri, _profile_token(profile_token))


def synchronize(profile_token: str) -> Call[None]:
    """Have a stream go on with a keyframe."""
    inside = _profile_token(profile_token)
    return _call("media", _TRT, "SetSynchronizationPoint", _nothing, inside)


def synchronize_2(profile_token: str) -> Call[None]:
    """As `synchronize`, of Media2."""
    inside = _profile_token(profile_token)
    return _call("media2", _TR2, "SetSynchronizationPoint", _nothing, inside)


def _profile_token(token: str) -> str:
    return f"<m:ProfileToken>{escape(token)}</m:ProfileToken>"


# --- what it comes to -------------------------------------------------------------------------


def reached_address(announced: str, reached: str, rtsp_port: int = 0) -> str:
    """An address that the device announced, brought back to how we reached it.

    Behind a NAT, or with a wrong setting, a device announces a host that is not there or, worse,
    is somebody else: credentials go only to the host we were given. Host, port and scheme of an
    HTTP address are replaced; of an RTSP address the host, for its port is another service's,
    and the port by rtsp_port where that is given. User names inside an address are dropped.

    Raises: ProtocolViolation when it is no address at all.
    """
    base = urlsplit(reached)
    try:
        parts = urlsplit(announced)
        port = parts.port
    except ValueError:
        raise ProtocolViolation(f"it announced {announced[:200]!r}, which is no address") from None
    if parts.scheme in ("http", "https") or (not parts.scheme and announced.startswith("/")):
        return urlunsplit((base.scheme, base.netloc, parts.path, parts.query, ""))
    if parts.scheme not in ("rtsp", "rtsps") or not parts.hostname:
        raise ProtocolViolation(f"it announced {announced[:200]!r}, which is no address")
    host = f"[{base.hostname}]" if ":" in (base.hostname or "") else base.hostname
    port = rtsp_port or port
    netloc = f"{host}:{port}" if port else str(host)
    return urlunsplit((parts.scheme, netloc, parts.path, parts.query, ""))


def rewritten(announced: Iterable[str], reached: str) -> tuple[str, ...]:
    """A sentence for each host and port that was announced but is not how we reach the device."""
    used = _origin(reached)
    others = {_origin(address) for address in announced if "://" in address} - {used}
    return tuple(
        f"it announces {other[:200]}, which is not how it is reached: {used} is used instead"
        for other in sorted(others)
    )


def _origin(address: str) -> str:
    """Scheme, host and port, without what may stand before the host."""
    scheme, _, rest = address.partition("://")
    netloc = rest.partition("/")[0].partition("?")[0].rpartition("@")[2].lower()
    usual = {"http": ":80", "https": ":443", "rtsp": ":554"}.get(scheme.lower(), "")
    return f"{scheme.lower()}://{netloc.removesuffix(usual) if usual else netloc}"


def chosen_profiles(profiles: tuple[MediaProfile, ...], source: str) -> tuple[MediaProfile, ...]:
    """Main and sub of a source, in this order: the largest picture, then the next.

    H.264 and H.265 come before everything else: a JPEG profile is sub only where it is alone.
    """
    own = [profile for profile in profiles if profile.source == source]
    own.sort(
        key=lambda profile: (
            profile.codec in _LIVE_CODECS,
            profile.width * profile.height,
            profile.fps,
        ),
        reverse=True,
    )
    return tuple(own[:2])


def inventory(
    *,
    identity: Identity,
    clock_offset_s: float | None,
    services: Mapping[str, str],
    video_sources: tuple[str, ...],
    profiles: tuple[MediaProfile, ...],
    notes: tuple[str, ...] = (),
    settings: Mapping[str, str] = MappingProxyType({}),
) -> Inventory:
    """Sources in the device's own order; those that only profiles name come last."""
    order = tuple(dict.fromkeys((*video_sources, *(profile.source for profile in profiles))))
    sources = tuple(
        _source(address, number, services, profiles) for number, address in enumerate(order, 1)
    )
    return Inventory(
        identity=identity,
        sources=sources,
        clock_offset_s=clock_offset_s,
        notes=notes,
        settings=settings,
    )


def _source(
    address: str, number: int, services: Mapping[str, str], profiles: tuple[MediaProfile, ...]
) -> Source:
    own = [profile for profile in profiles if profile.source == address]
    capabilities = {
        "ptz": "ptz" in services and any(profile.ptz for profile in own),
        "events": "events" in services,
        "audio": any(profile.audio for profile in own),
        "imaging": "imaging" in services,
        "io": "deviceio" in services,
    }
    return Source(
        address=address,
        name=next((profile.source_name for profile in own if profile.source_name), address),
        channel_number=number,
        profiles=tuple(
            Profile(
                name=name,
                token=profile.token,
                codec=profile.codec,
                width=profile.width,
                height=profile.height,
                fps=profile.fps,
                bit_rate_bps=profile.bit_rate_bps,
            )
            for name, profile in zip(
                ("main", "sub"), chosen_profiles(profiles, address), strict=False
            )
        ),
        capabilities=frozenset(name for name, there in capabilities.items() if there),
    )
