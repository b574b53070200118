"""What a simulated ONVIF camera is, and how it misbehaves."""

import dataclasses
import uuid
from typing import Final, Literal

from simulators.clips import Codec, H264Profile
from simulators.rtsp_camera import RtspCameraSpec, RtspQuirks

_DEVICES: Final = uuid.UUID("0f0c1b36-54a2-5f4e-9d0b-6a1e5c7de8b1")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Quirks:
    """Named faults and peculiarities; the default is a polite camera.

    garbage: every TCP port of the device answers junk. silent: every TCP port accepts and never
    answers. Both still answer WS-Discovery. clock_offset_s: how far the device's clock is ahead;
    the Created times it accepts follow its clock. created_window_s: how far Created may be off.
    max_subscriptions: PullPoints at the same time; the next one is refused. rtsp: quirks of the
    RTSP side alone.

    authentication: which credentials of ONVIF calls it judges; it ignores the other. Snapshots
    take digest, or Basic with ``basic``. digest_qop: False challenges as RFC 2069 did.
    locks_after: so many wrong passwords in a row lock the account until the power is switched;
    0 never. forbidden: calls that the account may not make. announced_host: host or host:port in
    every address that it announces, in place of its own. media2, get_services: whether it knows
    them. foreign_namespaces: its answers put schema elements under a namespace of its own.
    snapshot_refused: 401 whatever the credentials.
    delay_ms: for each ONVIF call. dead_after: a TCP connection goes dead without a word after so
    many answers; 0 never. reboots_after: after so many requests it breaks off, is away for
    reboot_s and comes back, once; 0 never.

    events: whether it has an event service. pull_point_expires_s: after how long a PullPoint is
    gone, whatever was granted and said; 0 as granted. pull_keeps_alive: whether PullMessages is a
    sign of life. renew_refused: Renew is a fault. pull_breaks_s: a PullMessages that waits longer
    breaks the connection; 0 never. pull_at_once: PullMessages waits for nothing. topic_prefix:
    what stands before its topics.
    ptz_speed: its velocities go from minus to plus this. ptz_positions: lowest and highest of its
    pan and tilt.
    """

    garbage: bool = False
    silent: bool = False
    clock_offset_s: float = 0.0
    created_window_s: float = 60.0
    max_subscriptions: int = 10
    rtsp: RtspQuirks = dataclasses.field(default_factory=RtspQuirks)
    authentication: Literal["both", "digest", "token", "basic"] = "both"
    digest_algorithm: Literal["MD5", "SHA-256"] = "MD5"
    digest_qop: bool = True
    locks_after: int = 0
    forbidden: tuple[str, ...] = ()
    announced_host: str = ""
    media2: bool = True
    get_services: bool = True
    foreign_namespaces: bool = False
    snapshot_refused: bool = False
    delay_ms: float = 0.0
    dead_after: int = 0
    reboots_after: int = 0
    reboot_s: float = 0.5
    events: bool = True
    pull_point_expires_s: float = 0.0
    pull_keeps_alive: bool = True
    renew_refused: bool = False
    pull_breaks_s: float = 0.0
    pull_at_once: bool = False
    topic_prefix: str = "tns1"
    ptz_speed: float = 1.0
    ptz_positions: tuple[float, float] = (-1.0, 1.0)

    def of_rtsp(self) -> RtspQuirks:
        """What the RTSP side does, the whole device's faults included."""
        return dataclasses.replace(
            self.rtsp,
            garbage=self.garbage or self.rtsp.garbage,
            silent=self.silent or self.rtsp.silent,
        )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CameraSpec:
    """One camera, or a recorder with several sources.

    onvif_port, rtsp_port: 0 takes a free one. location: a street address, sent as a scope.
    codec: of all its profiles; Media1 lists none of H.265. profile: of H.264. delay_ms: what the
    device takes to process an ONVIF request. main_size, sub_size: width and height in pixels.
    variant: which look of picture; None lets the fleet choose. tls: HTTPS alone, with a
    self-signed certificate of its own.
    """

    name: str
    username: str
    password: str
    serial: str
    manufacturer: str
    model: str
    firmware: str
    host: str = "127.0.0.1"
    onvif_port: int = 0
    rtsp_port: int = 0
    location: str = ""
    ptz: bool = False
    codec: Codec = "h264"
    profile: H264Profile = "baseline"
    sources: int = 1
    quirks: Quirks = Quirks()
    delay_ms: float = 0.0
    main_size: tuple[int, int] = (640, 360)
    sub_size: tuple[int, int] = (320, 180)
    fps: int = 15
    gop_s: float = 1.0
    variant: int | None = None
    tls: bool = False

    @property
    def endpoint_reference(self) -> str:
        """The device's address in WS-Discovery, `urn:uuid:…`; follows from the serial."""
        return f"urn:uuid:{uuid.uuid5(_DEVICES, self.serial)}"

    @property
    def mac_address(self) -> str:
        """A locally administered address that follows from the serial."""
        tail = uuid.uuid5(_DEVICES, self.serial).bytes[-5:]
        return ":".join(f"{octet:02x}" for octet in (0x02, *tail))

    def rtsp_spec(self) -> RtspCameraSpec:
        return RtspCameraSpec(
            name=self.name,
            username=self.username,
            password=self.password,
            host=self.host,
            port=self.rtsp_port,
            path="" if not self.rtsp_port else self.serial,
            codec=self.codec,
            profile=self.profile,
            sources=self.sources,
            main_size=self.main_size,
            sub_size=self.sub_size,
            fps=self.fps,
            gop_s=self.gop_s,
            variant=self.variant,
            quirks=self.quirks.of_rtsp(),
        )
