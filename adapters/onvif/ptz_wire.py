"""PTZ as documents: moves, presets, and the scales of a device. Pure.

Sources: ONVIF PTZ specification; ONVIF schema (spaces and their ranges).
"""

import dataclasses
import math
from datetime import datetime
from typing import Any, Final
from xml.sax.saxutils import escape, quoteattr

from adapters.events import MovePtz, PlacePtz, ShiftPtz
from adapters.onvif.soap import Call

_TPTZ: Final = "http://www.onvif.org/ver20/ptz/wsdl"
_TDS: Final = "http://www.onvif.org/ver10/device/wsdl"
_TT: Final = "http://www.onvif.org/ver10/schema"
_MAX_NAME: Final = 64
# Of a range of 2: a fifth of a degree of a full turn, so that masks still cover what they are for.
_SAME_PLACE: Final = 0.001
_SAME_ZOOM: Final = 0.005


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The range of one axis in the device's own numbers."""

    low: float = -1.0
    high: float = 1.0

    def speed(self, value: float) -> float:
        """-1..1 of full speed, or of the whole way, to the device's own; 0 stays 0."""
        if value == 0:
            return 0.0
        wanted = -value * self.low if value < 0 and self.low < 0 else value * self.high
        return min(max(wanted, self.low), self.high)

    def place(self, value: float, lowest: float = -1.0) -> float:
        """lowest..1 from one end to the other."""
        return self.low + (value - lowest) / (1.0 - lowest) * (self.high - self.low)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """How an axis or two are counted. uri: the space's name, empty where the device gave none."""

    uri: str = ""
    x: Span = Span()
    y: Span = Span()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Scales:
    """The spaces of a PTZ node; what it does not tell is as the standard's generic spaces."""

    velocity: Space = Space()
    zoom_velocity: Space = Space()
    way: Space = Space()
    zoom_way: Space = Space()
    place: Space = Space()
    zoom_place: Space = Space(x=Span(low=0.0, high=1.0))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a head points, in the numbers of the device. zoom: None where it has none. spaces: what
    the numbers mean; only those of one are compared."""

    pan: float
    tilt: float
    zoom: float | None
    spaces: tuple[str, str]

    def is_at(self, other: "Place") -> bool:
        """Whether both are one place, but for what a head does not repeat exactly."""
        if self.spaces != other.spaces or (self.zoom is None) != (other.zoom is None):
            return False
        turned = max(abs(self.pan - other.pan), abs(self.tilt - other.tilt))
        zoomed = abs((self.zoom or 0.0) - (other.zoom or 0.0))
        return turned <= _SAME_PLACE and zoomed <= _SAME_ZOOM


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """place: None where the device does not tell."""

    place: Place | None
    moving: bool


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """place: None where the device does not tell."""

    token: str
    name: str
    place: Place | None = None


# --- calls ------------------------------------------------------------------------------------


def _call(operation: str, body: str, read: Any = lambda _reply: None) -> Call[Any]:
    return Call(
        service="ptz",
        operation=operation,
        read=read,
        lean=True,
        action=f"{_TPTZ}/{operation}",
        body=f'<p:{operation} xmlns:p="{_TPTZ}" xmlns:t="{_TT}">{body}</p:{operation}>',
    )


def _profile(token: str) -> str:
    return f"<p:ProfileToken>{escape(token)}</p:ProfileToken>"


def continuous_move(profile: str, move: MovePtz, scales: Scales) -> Call[None]:
    """The device's own time-out is a second longer than ours: it ends a move that we cannot.

    Axes that do not move are left out: a camera that only zooms refuses the others.
    """
    velocity = ""
    if move.pan or move.tilt:
        space = scales.velocity
        velocity = _pan_tilt(space.x.speed(move.pan), space.y.speed(move.tilt), space)
    if move.zoom:
        velocity += _zoom(scales.zoom_velocity.x.speed(move.zoom), scales.zoom_velocity)
    # Whole seconds: some firmware refuses a fraction.
    timeout = f"<p:Timeout>PT{math.ceil(move.duration_ms / 1_000) + 1}S</p:Timeout>"
    return _call(
        "ContinuousMove", f"{_profile(profile)}<p:Velocity>{velocity}</p:Velocity>{timeout}"
    )


def halt(profile: str) -> Call[None]:
    """A movement without speed, for devices that know no Stop."""
    still = '<t:PanTilt x="0" y="0"/><t:Zoom x="0"/>'
    return _call("ContinuousMove", f"{_profile(profile)}<p:Velocity>{still}</p:Velocity>")


def stop_move(profile: str) -> Call[None]:
    return _call("Stop", f"{_profile(profile)}<p:PanTilt>true</p:PanTilt><p:Zoom>true</p:Zoom>")


def relative_move(profile: str, move: ShiftPtz, scales: Scales) -> Call[None]:
    way = ""
    if move.pan or move.tilt:
        space = scales.way
        way = _pan_tilt(space.x.speed(move.pan), space.y.speed(move.tilt), space)
    if move.zoom:
        way += _zoom(scales.zoom_way.x.speed(move.zoom), scales.zoom_way)
    return _call("RelativeMove", f"{_profile(profile)}<p:Translation>{way}</p:Translation>")


def absolute_move(profile: str, move: PlacePtz, scales: Scales) -> Call[None]:
    place = ""
    if move.pan is not None and move.tilt is not None:
        space = scales.place
        place = _pan_tilt(space.x.place(move.pan), space.y.place(move.tilt), space)
    if move.zoom is not None:
        place += _zoom(scales.zoom_place.x.place(move.zoom, 0.0), scales.zoom_place)
    return _call("AbsoluteMove", f"{_profile(profile)}<p:Position>{place}</p:Position>")


def get_presets(profile: str) -> Call[tuple[Preset, ...]]:
    return _call("GetPresets", _profile(profile), _presets)


def get_status(profile: str) -> Call[Status]:
    return _call("GetStatus", _profile(profile), _status)


def set_preset(profile: str, name: str, token: str) -> Call[None]:
    """token: of the one to be replaced, empty for a new one."""
    named = f"<p:PresetName>{escape(name)}</p:PresetName>"
    known = f"<p:PresetToken>{escape(token)}</p:PresetToken>" if token else ""
    return _call("SetPreset", f"{_profile(profile)}{named}{known}")


def go_to_preset(profile: str, token: str) -> Call[None]:
    return _call("GotoPreset", f"{_profile(profile)}<p:PresetToken>{escape(token)}</p:PresetToken>")


def remove_preset(profile: str, token: str) -> Call[None]:
    return _call(
        "RemovePreset", f"{_profile(profile)}<p:PresetToken>{escape(token)}</p:PresetToken>"
    )


def set_clock(now: datetime) -> Call[None]:
    """now: UTC. Set by hand, for a device that has it from NTP would not be wrong."""
    return Call(
        service="devicemgmt",
        operation="SetSystemDateAndTime",
        read=lambda _reply: None,
        lean=True,
        action=f"{_TDS}/SetSystemDateAndTime",
        body=(
            f'<d:SetSystemDateAndTime xmlns:d="{_TDS}" xmlns:t="{_TT}">'
            "<d:DateTimeType>Manual</d:DateTimeType><d:DaylightSavings>false</d:DaylightSavings>"
            "<d:UTCDateTime>"
            f"<t:Time><t:Hour>{now.hour}</t:Hour><t:Minute>{now.minute}</t:Minute>"
            f"<t:Second>{now.second}</t:Second></t:Time>"
            f"<t:Date><t:Year>{now.year}</t:Year><t:Month>{now.month}</t:Month>"
            f"<t:Day>{now.day}</t:Day></t:Date></d:UTCDateTime></d:SetSystemDateAndTime>"
        ),
    )


def _pan_tilt(x: float, y: float, space: Space) -> str:
    return f'<t:PanTilt x="{x:.6g}" y="{y:.6g}"{_said(space)}/>'


def _zoom(x: float, space: Space) -> str:
    return f'<t:Zoom x="{x:.6g}"{_said(space)}/>'


def _said(space: Space) -> str:
    return f" space={quoteattr(space.uri)}" if space.uri else ""


# --- answers ----------------------------------------------------------------------------------


def _presets(reply: Any) -> tuple[Preset, ...]:
    """A preset without a name goes by its token."""
    return tuple(
        Preset(
            token=each.get("token"),
            name=((each.findtext("{*}Name") or "").strip() or each.get("token"))[:_MAX_NAME],
            place=_place(each.find("{*}PTZPosition")),
        )
        for each in reply.iterchildren("{*}Preset")
        if each.get("token")
    )


def _status(reply: Any) -> Status:
    status = reply.find("{*}PTZStatus")
    if status is None:
        return Status(place=None, moving=False)
    moves = status.find("{*}MoveStatus")
    said = [] if moves is None else [(each.text or "").strip().upper() for each in moves]
    return Status(place=_place(status.find("{*}Position")), moving="MOVING" in said)


def _place(position: Any) -> Place | None:
    """None for one that is not whole, or holds no numbers."""
    pan_tilt = None if position is None else position.find("{*}PanTilt")
    if pan_tilt is None:
        return None
    zoom = position.find("{*}Zoom")
    try:
        pan, tilt = float(pan_tilt.get("x")), float(pan_tilt.get("y"))
        near = None if zoom is None else float(zoom.get("x"))
    except (TypeError, ValueError):
        return None
    if not all(math.isfinite(each) for each in (pan, tilt, near or 0.0)):
        return None
    spaces = ((pan_tilt.get("space") or "").strip(), _space_of(zoom))
    return Place(pan=pan, tilt=tilt, zoom=near, spaces=spaces)


def _space_of(zoom: Any) -> str:
    return "" if zoom is None else (zoom.get("space") or "").strip()


def _nodes(reply: Any) -> Scales:
    """The scales of the nodes where they agree; generic ones where they do not."""
    found = {_scales(each) for each in reply.iterchildren("{*}PTZNode")}
    return found.pop() if len(found) == 1 else Scales()


def _scales(node: Any) -> Scales:
    spaces = node.find("{*}SupportedPTZSpaces")
    if spaces is None:
        return Scales()
    generic = Scales()
    return Scales(
        velocity=_space(spaces, "ContinuousPanTiltVelocitySpace", generic.velocity),
        zoom_velocity=_space(spaces, "ContinuousZoomVelocitySpace", generic.zoom_velocity),
        way=_space(spaces, "RelativePanTiltTranslationSpace", generic.way),
        zoom_way=_space(spaces, "RelativeZoomTranslationSpace", generic.zoom_way),
        place=_space(spaces, "AbsolutePanTiltPositionSpace", generic.place),
        zoom_place=_space(spaces, "AbsoluteZoomPositionSpace", generic.zoom_place),
    )


def _space(spaces: Any, name: str, otherwise: Space) -> Space:
    """The generic one where a device has several; one whose numbers make no sense is none."""
    offered = spaces.findall(f"{{*}}{name}")
    offered.sort(key=lambda each: "Generic" not in (each.findtext("{*}URI") or ""))
    for each in offered:
        x = _span(each.find("{*}XRange"))
        y = _span(each.find("{*}YRange"))
        if x is not None:
            uri = (each.findtext("{*}URI") or "").strip()
            # What every device takes unsaid is left unsaid: some refuse to be told.
            said = "" if uri.endswith("VelocityGenericSpace") else uri[:200]
            return Space(uri=said, x=x, y=y or otherwise.y)
    return otherwise


def _span(element: Any) -> Span | None:
    try:
        low = float(element.findtext("{*}Min"))
        high = float(element.findtext("{*}Max"))
    except (AttributeError, TypeError, ValueError):
        return None
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        return None
    return Span(low=low, high=high)


GET_NODES: Final[Call[Scales]] = _call("GetNodes", "", _nodes)
