"""The media profiles of a simulated camera: main and sub of each source."""

import dataclasses
from typing import TYPE_CHECKING

from simulators.onvif_camera.soap import Fault
from simulators.rtsp_camera import PROFILES, Profile

if TYPE_CHECKING:
    from simulators.onvif_camera.camera import OnvifCamera


@dataclasses.dataclass(frozen=True, slots=True)
class MediaProfile:
    """One of the two profiles of a video source. source: from 1."""

    source: int
    kind: Profile

    @property
    def token(self) -> str:
        return f"profile_{self.source}_{self.kind}"

    @property
    def encoder_token(self) -> str:
        return f"encoder_{self.source}_{self.kind}"


def profiles(camera: "OnvifCamera") -> list[MediaProfile]:
    return [MediaProfile(n, kind) for n in range(1, camera.spec.sources + 1) for kind in PROFILES]


def find_profile(camera: "OnvifCamera", token: str) -> MediaProfile:
    """Raises: Fault (ter:NoProfile)."""
    for profile in profiles(camera):
        if profile.token == token:
            return profile
    raise Fault(f"no profile {token!r}", "ter:InvalidArgVal", "ter:NoProfile")


def encoding_of(camera: "OnvifCamera", profile: MediaProfile) -> str:
    """As Media2 names it."""
    clip = camera.rtsp.stream(profile.kind, profile.source).clip.parameters
    return clip.codec.upper()
