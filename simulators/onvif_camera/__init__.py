"""Simulated ONVIF cameras: device, media, PTZ and event services, WS-Discovery, RTSP streams."""

from simulators.onvif_camera.camera import OnvifCamera
from simulators.onvif_camera.events import EventKind
from simulators.onvif_camera.fleet import OnvifFleet
from simulators.onvif_camera.personas import PERSONAS, with_persona
from simulators.onvif_camera.ptz import Position, PtzHead
from simulators.onvif_camera.spec import CameraSpec, Quirks
from simulators.rtsp_camera import RtspQuirks

__all__ = [
    "PERSONAS",
    "CameraSpec",
    "EventKind",
    "OnvifCamera",
    "OnvifFleet",
    "Position",
    "PtzHead",
    "Quirks",
    "RtspQuirks",
    "with_persona",
]
