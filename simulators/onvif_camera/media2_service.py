"""The media service of Profile T (ver20/media): where H.265 lives. Source: ONVIF Media2."""

from typing import TYPE_CHECKING

from simulators.onvif_camera import ptz_service
from simulators.onvif_camera.device_service import MEDIA2_CAPABILITIES
from simulators.onvif_camera.profiles import MediaProfile, encoding_of, find_profile, profiles
from simulators.onvif_camera.soap import Element, Fault, text

if TYPE_CHECKING:
    from simulators.onvif_camera.camera import OnvifCamera

_PROTOCOLS = ("RtspUnicast", "RTSP", "RtspsUnicast", "RtspOverHttp")


def get_service_capabilities(camera: "OnvifCamera", request: Element) -> str:
    return (
        f"<tr2:GetServiceCapabilitiesResponse>{MEDIA2_CAPABILITIES}"
        "</tr2:GetServiceCapabilitiesResponse>"
    )


def get_profiles(camera: "OnvifCamera", request: Element) -> str:
    """All profiles, or the one whose token is asked for; configurations only of asked types."""
    token = request.value("Token")
    chosen = [find_profile(camera, token)] if token else profiles(camera)
    wanted = {child.text for child in request if child.name == "Type"}
    items = "".join(_profile(camera, profile, wanted) for profile in chosen)
    return f"<tr2:GetProfilesResponse>{items}</tr2:GetProfilesResponse>"


def _profile(camera: "OnvifCamera", profile: MediaProfile, wanted: set[str]) -> str:
    parts = {
        "VideoSource": _source(camera, profile.source),
        "VideoEncoder": _encoder(camera, profile),
        "PTZ": ptz_service.configuration("tr2:PTZ", profile.source) if camera.spec.ptz else "",
    }
    shown = "".join(part for name, part in parts.items() if {"All", name} & wanted)
    inside = f"<tr2:Configurations>{shown}</tr2:Configurations>" if shown else ""
    return (
        f'<tr2:Profiles token="{profile.token}" fixed="true"><tr2:Name>{profile.kind}</tr2:Name>'
        f"{inside}</tr2:Profiles>"
    )


def _source(camera: "OnvifCamera", source: int) -> str:
    width, height = camera.spec.main_size
    return (
        f'<tr2:VideoSource token="source_config_{source}"><tt:Name>source {source}</tt:Name>'
        f"<tt:UseCount>2</tt:UseCount><tt:SourceToken>source_{source}</tt:SourceToken>"
        f'<tt:Bounds x="0" y="0" width="{width}" height="{height}"/></tr2:VideoSource>'
    )


def _encoder(camera: "OnvifCamera", profile: MediaProfile) -> str:
    clip = camera.rtsp.stream(profile.kind, profile.source).clip.parameters
    return (
        f'<tr2:VideoEncoder token="{profile.encoder_token}" GovLength="{clip.gop_frames}"'
        f' Profile="Main"><tt:Name>{profile.kind}</tt:Name><tt:UseCount>1</tt:UseCount>'
        f"<tt:Encoding>{encoding_of(camera, profile)}</tt:Encoding>"
        f"<tt:Resolution><tt:Width>{clip.width}</tt:Width><tt:Height>{clip.height}</tt:Height>"
        '</tt:Resolution><tt:RateControl ConstantBitRate="true">'
        f"<tt:FrameRateLimit>{clip.fps}</tt:FrameRateLimit>"
        f"<tt:BitrateLimit>{clip.bitrate_bps // 1000}</tt:BitrateLimit></tt:RateControl>"
        "<tt:Quality>4</tt:Quality></tr2:VideoEncoder>"
    )


def get_stream_uri(camera: "OnvifCamera", request: Element) -> str:
    profile = find_profile(camera, request.value("ProfileToken"))
    protocol = request.value("Protocol")
    if protocol not in _PROTOCOLS:
        raise Fault(f"{protocol} is not offered", "ter:InvalidArgVal", "ter:InvalidStreamSetup")
    uri = camera.announced_rtsp_url(profile.kind, profile.source)
    return f"<tr2:GetStreamUriResponse><tr2:Uri>{text(uri)}</tr2:Uri></tr2:GetStreamUriResponse>"


def get_snapshot_uri(camera: "OnvifCamera", request: Element) -> str:
    profile = find_profile(camera, request.value("ProfileToken"))
    uri = f"{camera.base_url}/onvif/snapshot/{profile.token}"
    return (
        f"<tr2:GetSnapshotUriResponse><tr2:Uri>{text(uri)}</tr2:Uri></tr2:GetSnapshotUriResponse>"
    )


def set_synchronization_point(camera: "OnvifCamera", request: Element) -> str:
    profile = find_profile(camera, request.value("ProfileToken"))
    camera.rtsp.request_keyframe(profile.kind, profile.source)
    return "<tr2:SetSynchronizationPointResponse/>"
