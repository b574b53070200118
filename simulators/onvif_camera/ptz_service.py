"""The PTZ service (ver20/ptz). Source: ONVIF PTZ specification."""

from typing import TYPE_CHECKING, Final

from simulators.onvif_camera import durations, soap
from simulators.onvif_camera.device_service import PTZ_CAPABILITIES
from simulators.onvif_camera.profiles import find_profile
from simulators.onvif_camera.ptz import MAX_PRESETS, Position, PtzHead
from simulators.onvif_camera.soap import Element, Fault, text

if TYPE_CHECKING:
    from simulators.onvif_camera.camera import OnvifCamera

_SPACES: Final = "http://www.onvif.org/ver10/tptz"
_PAN_TILT_VELOCITY: Final = f"{_SPACES}/PanTiltSpaces/VelocityGenericSpace"
_ZOOM_VELOCITY: Final = f"{_SPACES}/ZoomSpaces/VelocityGenericSpace"
_PAN_TILT_POSITION: Final = f"{_SPACES}/PanTiltSpaces/PositionGenericSpace"
_ZOOM_POSITION: Final = f"{_SPACES}/ZoomSpaces/PositionGenericSpace"
_DEFAULT_MOVE_S: Final = 10.0


def configuration(tag: str, source: int) -> str:
    """The PTZ configuration of a source."""
    return (
        f'<{tag} token="ptz_config_{source}"><tt:Name>ptz {source}</tt:Name>'
        f"<tt:UseCount>2</tt:UseCount><tt:NodeToken>ptz_node_{source}</tt:NodeToken>"
        "<tt:DefaultContinuousPanTiltVelocitySpace>"
        f"{_PAN_TILT_VELOCITY}</tt:DefaultContinuousPanTiltVelocitySpace>"
        "<tt:DefaultContinuousZoomVelocitySpace>"
        f"{_ZOOM_VELOCITY}</tt:DefaultContinuousZoomVelocitySpace>"
        f"<tt:DefaultPTZTimeout>PT{_DEFAULT_MOVE_S:.0f}S</tt:DefaultPTZTimeout></{tag}>"
    )


def get_service_capabilities(camera: "OnvifCamera", request: Element) -> str:
    return (
        f"<tptz:GetServiceCapabilitiesResponse>{PTZ_CAPABILITIES}"
        "</tptz:GetServiceCapabilitiesResponse>"
    )


def get_nodes(camera: "OnvifCamera", request: Element) -> str:
    items = "".join(_node(source) for source in camera.ptz_heads)
    return f"<tptz:GetNodesResponse>{items}</tptz:GetNodesResponse>"


def get_configurations(camera: "OnvifCamera", request: Element) -> str:
    items = "".join(configuration("tptz:PTZConfiguration", n) for n in camera.ptz_heads)
    return f"<tptz:GetConfigurationsResponse>{items}</tptz:GetConfigurationsResponse>"


def continuous_move(camera: "OnvifCamera", request: Element) -> str:
    head = _head(camera, request)
    velocity = request.child("Velocity")
    pan_tilt = velocity.child("PanTilt") if velocity else None
    zoom = velocity.child("Zoom") if velocity else None
    old = head.velocity
    wanted = Position(
        pan=_speed(pan_tilt, "x") if pan_tilt else old.pan,
        tilt=_speed(pan_tilt, "y") if pan_tilt else old.tilt,
        zoom=_speed(zoom, "x") if zoom else old.zoom,
    )
    duration_s = durations.seconds(request.value("Timeout"), default_s=_DEFAULT_MOVE_S)
    head.move(wanted, duration_s)
    return "<tptz:ContinuousMoveResponse/>"


def stop(camera: "OnvifCamera", request: Element) -> str:
    head = _head(camera, request)
    head.stop(
        pan_tilt=request.value("PanTilt") not in ("false", "0"),
        zoom=request.value("Zoom") not in ("false", "0"),
    )
    return "<tptz:StopResponse/>"


def get_status(camera: "OnvifCamera", request: Element) -> str:
    head = _head(camera, request)
    position, velocity = head.position, head.velocity
    turning = "MOVING" if velocity.pan or velocity.tilt else "IDLE"
    zooming = "MOVING" if velocity.zoom else "IDLE"
    return (
        f"<tptz:GetStatusResponse><tptz:PTZStatus>{_position(position)}"
        f"<tt:MoveStatus><tt:PanTilt>{turning}</tt:PanTilt><tt:Zoom>{zooming}</tt:Zoom>"
        f"</tt:MoveStatus><tt:UtcTime>{soap.utc(camera.now_s)}</tt:UtcTime>"
        "</tptz:PTZStatus></tptz:GetStatusResponse>"
    )


def get_presets(camera: "OnvifCamera", request: Element) -> str:
    items = "".join(
        f'<tptz:Preset token="{token}"><tt:Name>{text(preset.name)}</tt:Name>'
        f"{_position(preset.position, 'tt:PTZPosition')}</tptz:Preset>"
        for token, preset in _head(camera, request).presets.items()
    )
    return f"<tptz:GetPresetsResponse>{items}</tptz:GetPresetsResponse>"


def set_preset(camera: "OnvifCamera", request: Element) -> str:
    head = _head(camera, request)
    try:
        token = head.set_preset(request.value("PresetName"), request.value("PresetToken"))
    except KeyError:
        raise _no_preset(request) from None
    except OverflowError as error:
        raise Fault(str(error), "ter:Action", "ter:TooManyPresets", sender=False) from None
    return (
        f"<tptz:SetPresetResponse><tptz:PresetToken>{token}</tptz:PresetToken>"
        "</tptz:SetPresetResponse>"
    )


def goto_preset(camera: "OnvifCamera", request: Element) -> str:
    try:
        _head(camera, request).goto_preset(request.value("PresetToken"))
    except KeyError:
        raise _no_preset(request) from None
    return "<tptz:GotoPresetResponse/>"


def remove_preset(camera: "OnvifCamera", request: Element) -> str:
    try:
        _head(camera, request).remove_preset(request.value("PresetToken"))
    except KeyError:
        raise _no_preset(request) from None
    return "<tptz:RemovePresetResponse/>"


def _no_preset(request: Element) -> Fault:
    token = request.value("PresetToken")
    return Fault(f"no preset {token!r}", "ter:InvalidArgVal", "ter:NoToken")


def _head(camera: "OnvifCamera", request: Element) -> PtzHead:
    profile = find_profile(camera, request.value("ProfileToken"))
    return camera.ptz_heads[profile.source]


def _speed(element: Element, axis: str) -> float:
    try:
        speed = float(element.attribute(axis) or "0")
    except ValueError:
        speed = float("nan")
    if not -1.0 <= speed <= 1.0:
        raise Fault(
            f"velocity {axis} is not in -1 to 1", "ter:InvalidArgVal", "ter:InvalidVelocity"
        )
    return speed


def _position(position: Position, tag: str = "tt:Position") -> str:
    return (
        f'<{tag}><tt:PanTilt x="{position.pan:.4f}" y="{position.tilt:.4f}"'
        f' space="{_PAN_TILT_POSITION}"/>'
        f'<tt:Zoom x="{position.zoom:.4f}" space="{_ZOOM_POSITION}"/></{tag}>'
    )


def _node(source: int) -> str:
    return (
        f'<tptz:PTZNode token="ptz_node_{source}"><tt:Name>ptz {source}</tt:Name>'
        "<tt:SupportedPTZSpaces><tt:ContinuousPanTiltVelocitySpace>"
        f"<tt:URI>{_PAN_TILT_VELOCITY}</tt:URI>{_range('X')}{_range('Y')}"
        "</tt:ContinuousPanTiltVelocitySpace><tt:ContinuousZoomVelocitySpace>"
        f"<tt:URI>{_ZOOM_VELOCITY}</tt:URI>{_range('X')}</tt:ContinuousZoomVelocitySpace>"
        f"</tt:SupportedPTZSpaces><tt:MaximumNumberOfPresets>{MAX_PRESETS}"
        "</tt:MaximumNumberOfPresets><tt:HomeSupported>false</tt:HomeSupported></tptz:PTZNode>"
    )


def _range(axis: str) -> str:
    return f"<tt:{axis}Range><tt:Min>-1</tt:Min><tt:Max>1</tt:Max></tt:{axis}Range>"
