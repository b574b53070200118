"""ONVIF documents to messages and back. No I/O: `soap` has the envelopes, `client` the sockets."""

import dataclasses
import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from adapters.errors import ProtocolViolation
from adapters.events import Identity, Inventory, MovePtz, Profile, Source
from adapters.onvif import wsdl
from adapters.onvif.soap import Call

_CODECS = {"H264": "h264", "H265": "h265", "HEVC": "h265", "JPEG": "jpeg", "MPEG4": "mpeg4"}
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
    ptz: bool
    audio: bool


# --- reading replies --------------------------------------------------------------------------


def _clock(reply: Any) -> datetime | None:
    """The device's UTC time; None where it tells none, or one that does not exist."""
    stated = reply.find(".//{*}UTCDateTime")
    if stated is None:
        return None

    def number(path: str) -> int:
        return int(stated.findtext(path) or "")

    try:
        return datetime(
            number("{*}Date/{*}Year"), number("{*}Date/{*}Month"), number("{*}Date/{*}Day"),
            number("{*}Time/{*}Hour"), number("{*}Time/{*}Minute"), number("{*}Time/{*}Second"),
            tzinfo=UTC,
        )  # fmt: skip
    except (ValueError, OverflowError):
        return None


def _services(reply: Any) -> dict[str, str]:
    names = wsdl.namespaces()
    found: dict[str, str] = {}
    for service in reply.iterchildren("{*}Service"):
        name, address = names.get(_text(service, "Namespace")), _text(service, "XAddr")
        if name and address:
            found.setdefault(name, address)
    return found


def _capabilities(reply: Any) -> dict[str, str]:
    names = {"Device": "devicemgmt", "Media": "media", "PTZ": "ptz", "Events": "events",
             "Imaging": "imaging", "Analytics": "analytics"}  # fmt: skip
    found: dict[str, str] = {}
    for stated, name in names.items():
        part = reply[stated] if reply else None
        if part and part["XAddr"]:
            found[name] = part["XAddr"].strip()
    return found


def _identity(reply: Any) -> Identity:
    def text(field: str) -> str:
        return (reply[field] or "").strip()

    return Identity(
        manufacturer=text("Manufacturer"),
        model=text("Model"),
        serial=text("SerialNumber"),
        firmware=text("FirmwareVersion"),
    )


def _video_sources(reply: Any) -> tuple[str, ...]:
    tokens = (source.get("token") for source in reply.iterchildren("{*}VideoSources"))
    return tuple(token for token in tokens if token)


def _profiles(reply: Any) -> tuple[MediaProfile, ...]:
    profiles = (_profile(entry) for entry in reply.iterchildren("{*}Profiles"))
    return tuple(profile for profile in profiles if profile and profile.source)


def _profile(entry: Any) -> MediaProfile | None:
    source = entry.find("{*}VideoSourceConfiguration")
    encoder = entry.find("{*}VideoEncoderConfiguration")
    if not entry.get("token") or source is None or encoder is None:
        return None
    encoding = _text(encoder, "Encoding")
    return MediaProfile(
        token=entry.get("token"),
        source=_text(source, "SourceToken"),
        source_name=_text(source, "Name"),
        codec=_CODECS.get(encoding.upper(), encoding.lower()),
        width=int(_number(encoder, "Resolution/{*}Width")),
        height=int(_number(encoder, "Resolution/{*}Height")),
        fps=_number(encoder, "RateControl/{*}FrameRateLimit"),
        ptz=entry.find("{*}PTZConfiguration") is not None,
        audio=entry.find("{*}AudioEncoderConfiguration") is not None,
    )


def _text(element: Any, path: str) -> str:
    return (element.findtext(f"{{*}}{path}") or "").strip()


def _number(element: Any, path: str) -> float:
    """A size or rate; 0 where there is none, or nonsense."""
    try:
        number = float(_text(element, path) or 0)
    except ValueError:
        return 0.0
    return number if 0 <= number < 1e9 else 0.0


def _uri(reply: Any) -> str:
    uri = (reply["Uri"] or "").strip() if reply else ""
    if not uri:
        raise ProtocolViolation("it gave no address where one was asked for")
    return uri


def _nothing(reply: Any) -> None:
    """The answer itself is all there is."""


# --- the calls --------------------------------------------------------------------------------

GET_CLOCK = Call(service="devicemgmt", operation="GetSystemDateAndTime", read=_clock, lean=True)
GET_SERVICES = Call(
    service="devicemgmt",
    operation="GetServices",
    parameters={"IncludeCapability": False},
    read=_services,
    lean=True,
)
GET_CAPABILITIES = Call(
    service="devicemgmt",
    operation="GetCapabilities",
    parameters={"Category": ["All"]},
    read=_capabilities,
)
GET_IDENTITY = Call(service="devicemgmt", operation="GetDeviceInformation", read=_identity)
GET_VIDEO_SOURCES = Call(
    service="media", operation="GetVideoSources", read=_video_sources, lean=True
)
GET_PROFILES = Call(service="media", operation="GetProfiles", read=_profiles, lean=True)


def get_stream_uri(profile_token: str, transport: str) -> Call[str]:
    """transport: ``tcp`` or ``udp``; which URI is given rarely depends on it."""
    protocol = "RTSP" if transport == "tcp" else "UDP"
    setup = {"Stream": "RTP-Unicast", "Transport": {"Protocol": protocol}}
    return Call(
        service="media",
        operation="GetStreamUri",
        parameters={"StreamSetup": setup, "ProfileToken": profile_token},
        read=_uri,
    )


def get_snapshot_uri(profile_token: str) -> Call[str]:
    return Call(
        service="media",
        operation="GetSnapshotUri",
        parameters={"ProfileToken": profile_token},
        read=_uri,
    )


def continuous_move(profile_token: str, move: MovePtz) -> Call[None]:
    """The device's own timeout is a second longer than ours: it ends a move that we cannot.

    Axes that do not move are left out: a camera that only zooms refuses the others.
    """
    velocity: dict[str, dict[str, float]] = {}
    if move.pan or move.tilt:
        velocity["PanTilt"] = {"x": move.pan, "y": move.tilt}
    if move.zoom:
        velocity["Zoom"] = {"x": move.zoom}
    return Call(
        service="ptz",
        operation="ContinuousMove",
        parameters={
            "ProfileToken": profile_token,
            "Velocity": velocity,
            # Whole seconds: some firmware refuses a fraction.
            "Timeout": timedelta(seconds=math.ceil(move.duration_ms / 1_000) + 1),
        },
        read=_nothing,
    )


def stop_move(profile_token: str) -> Call[None]:
    return Call(
        service="ptz",
        operation="Stop",
        parameters={"ProfileToken": profile_token, "PanTilt": True, "Zoom": True},
        read=_nothing,
    )


# --- what it comes to -------------------------------------------------------------------------


def reached_address(announced: str, reached: str) -> str:
    """An address that the device announced, brought back to how we reached it.

    Behind a NAT, or with a wrong setting, a device announces a host that is not there or, worse,
    is somebody else: credentials go only to the host we were given. Host, port and scheme of an
    HTTP address are replaced; of an RTSP address the host, for its port is another service's.
    User names inside an address are dropped.

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
    netloc = f"{host}:{port}" if port else str(host)
    return urlunsplit((parts.scheme, netloc, parts.path, parts.query, ""))


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
) -> Inventory:
    """Sources in the device's own order; those that only profiles name come last."""
    order = tuple(dict.fromkeys((*video_sources, *(profile.source for profile in profiles))))
    sources = tuple(
        _source(address, number, services, profiles) for number, address in enumerate(order, 1)
    )
    return Inventory(identity=identity, sources=sources, clock_offset_s=clock_offset_s)


def _source(
    address: str, number: int, services: Mapping[str, str], profiles: tuple[MediaProfile, ...]
) -> Source:
    own = [profile for profile in profiles if profile.source == address]
    capabilities = {
        "ptz": "ptz" in services and any(profile.ptz for profile in own),
        "events": "events" in services,
        "audio": any(profile.audio for profile in own),
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
            )
            for name, profile in zip(
                ("main", "sub"), chosen_profiles(profiles, address), strict=False
            )
        ),
        capabilities=frozenset(name for name, there in capabilities.items() if there),
    )
