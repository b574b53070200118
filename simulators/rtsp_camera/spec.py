"""What a simulated RTSP camera is, and how it misbehaves."""

import dataclasses
from pathlib import Path
from typing import Literal

from simulators.clips import Codec, H264Profile

Profile = Literal["main", "sub"]
PROFILES: tuple[Profile, Profile] = ("main", "sub")
AudioCodec = Literal["", "pcma", "pcmu", "aac"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RtspQuirks:
    """Named faults and peculiarities; the default is a polite camera.

    General
        garbage: answers requests with junk, and sends junk instead of pictures over TCP. silent:
        accepts connections and reads, but answers nothing and stops the picture. refuse: methods
        and the status that each is answered with. redirect: where DESCRIBE is sent to.
    Signing in
        authentication: what it challenges with. digest: ``rfc2069`` is MD5 without qop, the
        others have one; ``md5+sha-256`` offers both. one_header: all challenges in one header.
        nonce_uses: a nonce is stale after so many answers; 0 is never.
    Sessions
        max_sessions: the next one gets 453; 0 is no limit. keep_alive: ``options`` offers no
        GET_PARAMETER, ``broken`` offers it and answers 501. forgets: answers 454 to signs of
        life. controls: how the SDP writes control addresses; ``bare`` leaves the base out.
        aggregate: False answers 459 to a PLAY of all tracks.
    Transport
        transports: which it has; another gets 461. coy: names neither its UDP ports nor its
        address. strays: sends from other UDP ports than announced. shift: uses interleaved
        channels that are higher by so much than asked.
    Packets
        loss: which part of RTP packets never leaves. swap: neighbours leave in the wrong order.
        junk_between: stray bytes in front of each picture over TCP. extensions: header
        extensions and padding. sets: where parameter sets are. wraps: sequence numbers and times
        run over within the first second.
    """

    garbage: bool = False
    silent: bool = False
    refuse: tuple[tuple[str, int], ...] = ()
    redirect: str = ""
    authentication: Literal["digest", "basic", "both"] = "digest"
    digest: Literal["rfc2069", "md5", "sha-256", "md5+sha-256"] = "rfc2069"
    one_header: bool = False
    nonce_uses: int = 0
    max_sessions: int = 0
    keep_alive: Literal["any", "options", "broken"] = "any"
    forgets: bool = False
    controls: Literal["relative", "absolute", "bare"] = "relative"
    aggregate: bool = True
    transports: Literal["both", "tcp", "udp"] = "both"
    coy: bool = False
    strays: bool = False
    shift: int = 0
    loss: float = 0.0
    swap: bool = False
    junk_between: bool = False
    extensions: bool = False
    sets: Literal["both", "sdp", "band"] = "both"
    wraps: bool = False

    @property
    def spoils_packets(self) -> bool:
        return bool(self.loss or self.swap or self.extensions)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """What a camera that speaks rtsps shows: certificate and key in PEM."""

    certificate: Path
    key: Path


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RtspCameraSpec:
    """One camera, or a recorder with several sources.

    port: 0 takes a free one. path: goes in front of `/ch1/main`; cameras on one host and port
    must differ in it. sources: video sources, ch1 to chN. sizes in pixels. variant: which of the
    shared clips' looks; None lets the fleet choose. session_timeout_s: a session ends when
    neither a request nor an RTCP packet arrives for so long. profile: of H.264. audio: empty for
    a camera without microphone. tls: with it the camera speaks rtsps.
    """

    name: str
    username: str
    password: str
    host: str = "127.0.0.1"
    port: int = 0
    path: str = ""
    codec: Codec = "h264"
    profile: H264Profile = "baseline"
    audio: AudioCodec = ""
    sources: int = 1
    main_size: tuple[int, int] = (640, 360)
    sub_size: tuple[int, int] = (320, 180)
    fps: int = 15
    gop_s: float = 1.0
    variant: int | None = None
    session_timeout_s: float = 60.0
    tls: TlsFiles | None = None
    quirks: RtspQuirks = RtspQuirks()
