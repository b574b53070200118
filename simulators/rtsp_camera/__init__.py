"""Simulated RTSP cameras: looped H.264 clips over TCP and UDP, hundreds in one process."""

from simulators.rtsp_camera.camera import RtspCamera
from simulators.rtsp_camera.fleet import RtspFleet
from simulators.rtsp_camera.spec import PROFILES, Profile, RtspCameraSpec, RtspQuirks

__all__ = ["PROFILES", "Profile", "RtspCamera", "RtspCameraSpec", "RtspFleet", "RtspQuirks"]
