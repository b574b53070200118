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
_PAN_TILT_WAY: Final = f"{_SPACES}/PanTiltSpaces/TranslationGenericSpace"
_ZOOM_WAY: Final = f"{_SPACES}/ZoomSpaces/TranslationGenericSpace"
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
    items = "".join(_node(camera, source) for source in camera.ptz_heads)
    return f"<tptz:GetNodesResponse>{items}</tptz:GetNodesResponse>"


def get_node(camera: "OnvifCamera", request: Element) -> str:
    number = request.value("NodeToken").removeprefix("ptz_node_")
    source = int(number) if number.isdecimal() and len(number) < 6 else 0
    if source not in camera.ptz_heads:
        raise Fault("no such node", "ter:InvalidArgVal", "ter:NoEntity")
    return f"<tptz:GetNodeResponse>{_node(camera, source)}</tptz:GetNodeResponse>"


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
        pan=_speed(camera, pan_tilt, "x") if pan_tilt else old.pan,
        tilt=_speed(camera, pan_tilt, "y") if pan_tilt else old.tilt,
        zoom=_speed(camera, zoom, "x") if zoom else old.zoom,
    )
    duration_s = durations.seconds(request.value("Timeout"), default_s=_DEFAULT_MOVE_S)
    head.move(wanted, duration_s)
    return "<tptz:ContinuousMoveResponse/>"


def relative_move(camera: "OnvifCamera", request: Element) -> str:
    """The way is said in the scale of the positions."""
    head, step = _head(camera, request), request.child("Translation")
    low, high = camera.quirks.ptz_positions
    pan_tilt, zoom = _way(step, "PanTilt"), _way(step, "Zoom")
    old = head.position
    scale = 2.0 / (high - low)
    head.go(
        Position(
            pan=old.pan + _coordinate(pan_tilt, "x") * scale,
            tilt=old.tilt + _coordinate(pan_tilt, "y") * scale,
            zoom=old.zoom + _coordinate(zoom, "x"),
        )
    )
    return "<tptz:RelativeMoveResponse/>"


def absolute_move(camera: "OnvifCamera", request: Element) -> str:
    head, there = _head(camera, request), request.child("Position")
    low, high = camera.quirks.ptz_positions
    pan_tilt, zoom = _way(there, "PanTilt"), _way(there, "Zoom")
    old = head.position

    def ours(axis: str) -> float:
        value = _coordinate(pan_tilt, axis)
        if not low <= value <= high:
            raise Fault(
                f"position {axis} is out of bounds", "ter:InvalidArgVal", "ter:InvalidPosition"
            )
        return -1.0 + 2.0 * (value - low) / (high - low)

    head.go(
        Position(
            pan=ours("x") if pan_tilt else old.pan,
            tilt=ours("y") if pan_tilt else old.tilt,
            zoom=_coordinate(zoom, "x") if zoom else old.zoom,
        )
    )
    return "<tptz:AbsoluteMoveResponse/>"


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


def _speed(camera: "OnvifCamera", element: Element, axis: str) -> float:
    full = camera.quirks.ptz_speed
    speed = _coordinate(element, axis)
    if not -full <= speed <= full:
        raise Fault(
            f"velocity {axis} is beyond {full:g}", "ter:InvalidArgVal", "ter:InvalidVelocity"
        )
    return speed / full


def _way(vector: Element | None, name: str) -> Element | None:
    return vector.child(name) if vector else None


def _coordinate(element: Element | None, axis: str) -> float:
    try:
        value = float(element.attribute(axis) or "0") if element else 0.0
    except ValueError:
        value = float("nan")
    if value != value or abs(value) > 1e6:
        raise Fault(f"{axis} is no number", "ter:InvalidArgVal", "ter:InvalidPosition")
    return value


def _position(position: Position, tag: str = "tt:Position") -> str:
    return (
        f'<{tag}><tt:PanTilt x="{position.pan:.4f}" y="{position.tilt:.4f}"'
        f' space="{_PAN_TILT_POSITION}"/>'
        f'<tt:Zoom x="{position.zoom:.4f}" space="{_ZOOM_POSITION}"/></{tag}>'
    )


def _node(camera: "OnvifCamera", source: int) -> str:
    speed, (low, high) = camera.quirks.ptz_speed, camera.quirks.ptz_positions
    return (
        f'<tptz:PTZNode token="ptz_node_{source}"><tt:Name>ptz {source}</tt:Name>'
        "<tt:SupportedPTZSpaces>"
        + _space("AbsolutePanTiltPositionSpace", _PAN_TILT_POSITION, low, high)
        + _space("AbsoluteZoomPositionSpace", _ZOOM_POSITION, 0, 1, axes="X")
        + _space("RelativePanTiltTranslationSpace", _PAN_TILT_WAY, low - high, high - low)
        + _space("RelativeZoomTranslationSpace", _ZOOM_WAY, -1, 1, axes="X")
        + _space("ContinuousPanTiltVelocitySpace", _PAN_TILT_VELOCITY, -speed, speed)
        + _space("ContinuousZoomVelocitySpace", _ZOOM_VELOCITY, -speed, speed, axes="X")
        + f"</tt:SupportedPTZSpaces><tt:MaximumNumberOfPresets>{MAX_PRESETS}"
        "</tt:MaximumNumberOfPresets><tt:HomeSupported>false</tt:HomeSupported></tptz:PTZNode>"
    )


def _space(tag: str, uri: str, low: float, high: float, axes: str = "XY") -> str:
    ranges = "".join(
        f"<tt:{axis}Range><tt:Min>{low:g}</tt:Min><tt:Max>{high:g}</tt:Max></tt:{axis}Range>"
        for axis in axes
    )
    return f"<tt:{tag}><tt:URI>{uri}</tt:URI>{ranges}</tt:{tag}>"
