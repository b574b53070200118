"""What a simulated RTSP camera is, and how it misbehaves."""

import dataclasses
from typing import Literal

from simulators.clips import H264Profile

Profile = Literal["main", "sub"]
PROFILES: tuple[Profile, Profile] = ("main", "sub")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RtspQuirks:
    """Named faults and peculiarities; the default is a polite camera.

    garbage: answers requests with junk, and sends junk instead of pictures over TCP. silent:
    accepts connections and reads, but answers nothing and stops the picture. authentication:
    what it challenges with. max_sessions: the next one gets 453; 0 is no limit.
    """

    garbage: bool = False
    silent: bool = False
    authentication: Literal["digest", "basic", "both"] = "digest"
    max_sessions: int = 0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RtspCameraSpec:
    """One camera, or a recorder with several sources.

    port: 0 takes a free one. path: goes in front of `/ch1/main`; cameras on one host and port
    must differ in it. sources: video sources, ch1 to chN. sizes in pixels. variant: which of the
    shared clips' looks; None lets the fleet choose. session_timeout_s: a session ends when
    neither a request nor an RTCP packet arrives for so long.
    """

    name: str
    username: str
    password: str
    host: str = "127.0.0.1"
    port: int = 0
    path: str = ""
    profile: H264Profile = "baseline"
    sources: int = 1
    main_size: tuple[int, int] = (640, 360)
    sub_size: tuple[int, int] = (320, 180)
    fps: int = 15
    gop_s: float = 1.0
    variant: int | None = None
    session_timeout_s: float = 60.0
    quirks: RtspQuirks = RtspQuirks()
