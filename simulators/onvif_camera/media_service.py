"""The media service (ver10/media). Source: ONVIF Media specification."""

from typing import TYPE_CHECKING

from simulators.onvif_camera import ptz_service
from simulators.onvif_camera.device_service import MEDIA_CAPABILITIES
from simulators.onvif_camera.profiles import MediaProfile, encoding_of, find_profile, profiles
from simulators.onvif_camera.soap import Element, Fault, text

if TYPE_CHECKING:
    from simulators.onvif_camera.camera import OnvifCamera


def get_service_capabilities(camera: "OnvifCamera", request: Element) -> str:
    return (
        f"<trt:GetServiceCapabilitiesResponse>{MEDIA_CAPABILITIES}"
        "</trt:GetServiceCapabilitiesResponse>"
    )


def get_video_sources(camera: "OnvifCamera", request: Element) -> str:
    width, height = camera.spec.main_size
    items = "".join(
        f'<trt:VideoSources token="source_{n}"><tt:Framerate>{camera.spec.fps}</tt:Framerate>'
        f"<tt:Resolution><tt:Width>{width}</tt:Width><tt:Height>{height}</tt:Height>"
        "</tt:Resolution></trt:VideoSources>"
        for n in range(1, camera.spec.sources + 1)
    )
    return f"<trt:GetVideoSourcesResponse>{items}</trt:GetVideoSourcesResponse>"


def get_profiles(camera: "OnvifCamera", request: Element) -> str:
    items = "".join(_profile("trt:Profiles", camera, profile) for profile in _listed(camera))
    return f"<trt:GetProfilesResponse>{items}</trt:GetProfilesResponse>"


def _listed(camera: "OnvifCamera") -> list[MediaProfile]:
    """Media1 has no word for H.265: its profiles show in Media2 alone."""
    return [each for each in profiles(camera) if encoding_of(camera, each) != "H265"]


def get_profile(camera: "OnvifCamera", request: Element) -> str:
    profile = find_profile(camera, request.value("ProfileToken"))
    item = _profile("trt:Profile", camera, profile)
    return f"<trt:GetProfileResponse>{item}</trt:GetProfileResponse>"


def get_stream_uri(camera: "OnvifCamera", request: Element) -> str:
    profile = find_profile(camera, request.value("ProfileToken"))
    stream = request.value("StreamSetup", "Stream")
    protocol = request.value("StreamSetup", "Transport", "Protocol")
    if stream not in ("RTP-Unicast", "") or protocol not in ("UDP", "TCP", "RTSP", ""):
        raise Fault(
            f"{stream} over {protocol} is not offered",
            "ter:InvalidArgVal",
            "ter:InvalidStreamSetup",
        )
    uri = _media_uri(camera.announced_rtsp_url(profile.kind, profile.source))
    return f"<trt:GetStreamUriResponse>{uri}</trt:GetStreamUriResponse>"


def get_snapshot_uri(camera: "OnvifCamera", request: Element) -> str:
    profile = find_profile(camera, request.value("ProfileToken"))
    uri = _media_uri(f"{camera.base_url}/onvif/snapshot/{profile.token}")
    return f"<trt:GetSnapshotUriResponse>{uri}</trt:GetSnapshotUriResponse>"


def get_video_source_configurations(camera: "OnvifCamera", request: Element) -> str:
    items = "".join(
        _source_configuration("trt:Configurations", camera, n)
        for n in range(1, camera.spec.sources + 1)
    )
    return (
        f"<trt:GetVideoSourceConfigurationsResponse>{items}"
        "</trt:GetVideoSourceConfigurationsResponse>"
    )


def get_video_encoder_configurations(camera: "OnvifCamera", request: Element) -> str:
    items = "".join(
        _encoder_configuration("trt:Configurations", camera, profile) for profile in _listed(camera)
    )
    return (
        f"<trt:GetVideoEncoderConfigurationsResponse>{items}"
        "</trt:GetVideoEncoderConfigurationsResponse>"
    )


def set_synchronization_point(camera: "OnvifCamera", request: Element) -> str:
    profile = find_profile(camera, request.value("ProfileToken"))
    camera.rtsp.request_keyframe(profile.kind, profile.source)
    return "<trt:SetSynchronizationPointResponse/>"


def _media_uri(uri: str) -> str:
    return (
        f"<trt:MediaUri><tt:Uri>{text(uri)}</tt:Uri>"
        "<tt:InvalidAfterConnect>false</tt:InvalidAfterConnect>"
        "<tt:InvalidAfterReboot>false</tt:InvalidAfterReboot>"
        "<tt:Timeout>PT0S</tt:Timeout></trt:MediaUri>"
    )


def _profile(tag: str, camera: "OnvifCamera", profile: MediaProfile) -> str:
    ptz = ptz_service.configuration("tt:PTZConfiguration", profile.source)
    return (
        f'<{tag} token="{profile.token}" fixed="true"><tt:Name>{profile.kind}</tt:Name>'
        + _source_configuration("tt:VideoSourceConfiguration", camera, profile.source)
        + _encoder_configuration("tt:VideoEncoderConfiguration", camera, profile)
        + (ptz if camera.spec.ptz else "")
        + f"</{tag}>"
    )


def _source_configuration(tag: str, camera: "OnvifCamera", source: int) -> str:
    width, height = camera.spec.main_size
    return (
        f'<{tag} token="source_config_{source}"><tt:Name>source {source}</tt:Name>'
        f"<tt:UseCount>2</tt:UseCount><tt:SourceToken>source_{source}</tt:SourceToken>"
        f'<tt:Bounds x="0" y="0" width="{width}" height="{height}"/></{tag}>'
    )


def _encoder_configuration(tag: str, camera: "OnvifCamera", profile: MediaProfile) -> str:
    clip = camera.rtsp.stream(profile.kind, profile.source).clip.parameters
    h264_profile = "Baseline" if clip.profile == "baseline" else "Main"
    return (
        f'<{tag} token="{profile.encoder_token}"><tt:Name>{profile.kind}</tt:Name>'
        "<tt:UseCount>1</tt:UseCount><tt:Encoding>H264</tt:Encoding>"
        f"<tt:Resolution><tt:Width>{clip.width}</tt:Width><tt:Height>{clip.height}</tt:Height>"
        "</tt:Resolution><tt:Quality>4</tt:Quality>"
        f"<tt:RateControl><tt:FrameRateLimit>{clip.fps}</tt:FrameRateLimit>"
        "<tt:EncodingInterval>1</tt:EncodingInterval>"
        f"<tt:BitrateLimit>{clip.bitrate_bps // 1000}</tt:BitrateLimit></tt:RateControl>"
        f"<tt:H264><tt:GovLength>{clip.gop_frames}</tt:GovLength>"
        f"<tt:H264Profile>{h264_profile}</tt:H264Profile></tt:H264>"
        "<tt:Multicast><tt:Address><tt:Type>IPv4</tt:Type>"
        "<tt:IPv4Address>0.0.0.0</tt:IPv4Address></tt:Address><tt:Port>0</tt:Port>"
        "<tt:TTL>1</tt:TTL><tt:AutoStart>false</tt:AutoStart></tt:Multicast>"
        f"<tt:SessionTimeout>PT60S</tt:SessionTimeout></{tag}>"
    )
