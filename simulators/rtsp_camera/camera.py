"""Simulated RTSP cameras at run time, and the addresses they listen on."""

import asyncio
import dataclasses
import ssl
import zlib
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import quote

from simulators.clips import Clip, ClipParameters
from simulators.rtsp_camera.connection import RtspConnection, RtspSession
from simulators.rtsp_camera.listener import Listener
from simulators.rtsp_camera.rtp import FramePackets
from simulators.rtsp_camera.session import TcpPlayer, UdpPlayer, UdpPorts
from simulators.rtsp_camera.sound import sound
from simulators.rtsp_camera.spec import PROFILES, Profile, RtspCameraSpec, TlsFiles
from simulators.rtsp_camera.stream import Pacer, Stream

ClipLibrary = Mapping[ClipParameters, tuple[Clip, tuple[FramePackets, ...]]]

_BITS_PER_PIXEL: Final = 0.145  # 500 kb/s at 640x360 and 15 frames/s


def clip_parameters(spec: RtspCameraSpec, profile: Profile, variant: int) -> ClipParameters:
    """The clip that this profile of a camera loops."""
    width, height = spec.main_size if profile == "main" else spec.sub_size
    return ClipParameters(
        width=width,
        height=height,
        fps=spec.fps,
        gop_s=spec.gop_s,
        profile=spec.profile,
        bitrate_bps=round(width * height * spec.fps * _BITS_PER_PIXEL),
        variant=variant,
        codec=spec.codec,
    )


class RtspCamera:
    """One camera of a fleet.

    quirks may be replaced at any time. requests: RTSP requests received. refused: those with a
    wrong password. signs_of_life: requests that keep a session alive. frames_dropped: for
    clients too slow to take them, ended sessions included.
    """

    def __init__(
        self,
        spec: RtspCameraSpec,
        path: str,
        variant: int,
        clips: ClipLibrary,
        pacer: Pacer,
        watch: Callable[[], None],
    ) -> None:
        self.spec = spec
        self.name = spec.name
        self.host = spec.host
        self.path = path
        self.quirks = spec.quirks
        self.pacer = pacer
        self.powered = False
        self.requests = 0
        self.refused = 0
        self.signs_of_life = 0
        self.site: Site
        self._watch = watch
        self._sessions: dict[RtspSession, RtspConnection] = {}
        self._udp: UdpPorts | None = None
        self._dropped_before = 0
        self._streams: dict[tuple[int, Profile], Stream] = {}
        for source in range(1, spec.sources + 1):
            for profile in PROFILES:
                clip, packets = clips[clip_parameters(spec, profile, variant)]
                offset = zlib.crc32(f"{spec.name}/{source}".encode()) % len(packets)
                heard = sound(spec.audio)
                stream = Stream(clip, packets, lambda: self.quirks, offset, heard)
                self._streams[source, profile] = stream

    @property
    def port(self) -> int:
        return self.site.listener.port

    @property
    def sessions(self) -> int:
        return len(self._sessions)

    @property
    def clients(self) -> int:
        """Sessions that play now."""
        return sum(session.playing for session in self._sessions)

    @property
    def frames_dropped(self) -> int:
        return self._dropped_before + sum(s.player.frames_dropped for s in self._sessions)

    def url(self, profile: Profile = "main", source: int = 1) -> str:
        """The stream's address, without user and password. source: from 1."""
        path = quote(self._path(source, profile))
        return f"rtsp{'s' if self.spec.tls else ''}://{self.host}:{self.port}{path}"

    def streams(self) -> dict[str, Stream]:
        """The streams by decoded URL path."""
        return {self._path(*key): stream for key, stream in self._streams.items()}

    def stream(self, profile: Profile = "main", source: int = 1) -> Stream:
        return self._streams[source, profile]

    def snapshot(self, profile: Profile = "main", source: int = 1) -> bytes:
        """A JPEG of the last keyframe on the stream's timeline."""
        stream = self.stream(profile, source)
        return stream.clip.picture(stream.frame_index(self.pacer.number(stream)))

    def request_keyframe(self, profile: Profile = "main", source: int = 1) -> None:
        """Go on with a keyframe (ONVIF SetSynchronizationPoint)."""
        stream = self.stream(profile, source)
        stream.skip_to_keyframe(self.pacer.number(stream))

    async def power(self, on: bool) -> None:
        """Switch on or off. Off drops clients at once; a port of its own refuses new ones."""
        self.powered = on
        if not on:
            self.cut()
        await self.site.follow_power()

    def cut(self) -> None:
        """Drop every client."""
        for connection in tuple(self._sessions.values()):
            connection.drop()
        for session in tuple(self._sessions):
            self.forget(session)
        self._close_udp()

    def remember(self, session: RtspSession, connection: RtspConnection) -> None:
        self._sessions[session] = connection
        self._watch()

    def play(self, session: RtspSession) -> None:
        if not session.playing:
            session.playing = True
            if self.quirks.wraps:
                session.stream.wrap_soon(self.pacer.number(session.stream))
            session.stream.add(session.player, session.audio)
            self.pacer.start(session.stream)

    def pause(self, session: RtspSession) -> None:
        if session.playing:
            session.playing = False
            session.stream.remove(session.player)
            if not session.stream.players:
                self.pacer.stop(session.stream)

    def forget(self, session: RtspSession) -> None:
        if self._sessions.pop(session, None) is not None:
            self.pause(session)
            self._dropped_before += session.player.frames_dropped

    def expire(self, now_s: float) -> None:
        """End the sessions that have not been heard for the time-out, with their connection."""
        limit_s = now_s - self.spec.session_timeout_s
        for session, connection in tuple(self._sessions.items()):
            if session.heard_s < limit_s:
                connection.end(session)
                if isinstance(session.player, TcpPlayer):
                    connection.drop()

    def udp_ports(self) -> UdpPorts:
        """The camera's UDP ports, opened at the first call. Raises: OSError."""
        if self._udp is None:
            self._udp = UdpPorts(self.host)
            loop = asyncio.get_running_loop()
            loop.add_reader(self._udp.rtcp, self._read_rtcp)
        return self._udp

    def _path(self, source: int, profile: Profile) -> str:
        return f"{self.path}/ch{source}/{profile}"

    def _read_rtcp(self) -> None:
        assert self._udp is not None
        try:
            _, address = self._udp.rtcp.recvfrom(2048)
        except OSError:
            return
        for session in self._sessions:
            player = session.player
            if isinstance(player, UdpPlayer) and player.rtcp_address == address[:2]:
                session.heard_s = asyncio.get_running_loop().time()

    def _close_udp(self) -> None:
        if self._udp is not None:
            asyncio.get_running_loop().remove_reader(self._udp.rtcp)
            self._udp.close()
            self._udp = None


@dataclasses.dataclass(slots=True)
class _Place:
    camera: RtspCamera
    stream: Stream


class Site:
    """One listening address and the cameras behind it, told apart by path."""

    def __init__(self, host: str, port: int, tls: TlsFiles | None = None) -> None:
        context = None
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls.certificate, tls.key)
        self.listener = Listener(host, port, lambda: RtspConnection(self), context)
        self.cameras: list[RtspCamera] = []
        self._places: dict[str, _Place] = {}

    def add(self, camera: RtspCamera) -> None:
        """Raises: ValueError when the path is taken."""
        for path, stream in camera.streams().items():
            if path in self._places:
                other = self._places[path].camera.name
                raise ValueError(
                    f"cameras {other!r} and {camera.name!r} share {self.listener.host}:"
                    f"{self.listener.port} and must differ in path"
                )
            self._places[path] = _Place(camera, stream)
        self.cameras.append(camera)
        camera.site = self

    @property
    def only_camera(self) -> RtspCamera | None:
        return self.cameras[0] if len(self.cameras) == 1 else None

    def find(self, path: str) -> tuple[RtspCamera, Stream] | None:
        place = self._places.get(path)
        return (place.camera, place.stream) if place else None

    async def follow_power(self) -> None:
        """Listen while any camera has power."""
        if any(camera.powered for camera in self.cameras):
            await self.listener.on()
        else:
            self.listener.off()
