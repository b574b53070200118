"""The server's side of one RTSP connection."""

import asyncio
import os
import secrets
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, cast

from simulators.rtsp_camera import authentication, wire
from simulators.rtsp_camera.description import AUDIO_TRACK, VIDEO_TRACK, describe
from simulators.rtsp_camera.session import TcpPlayer, UdpPlayer

if TYPE_CHECKING:
    from simulators.rtsp_camera.camera import RtspCamera, Site
    from simulators.rtsp_camera.stream import Stream

REALM: Final = "camera"
_BASIC_METHODS: Final = "OPTIONS, DESCRIBE, SETUP, PLAY, PAUSE, TEARDOWN"
_METHODS: Final = "OPTIONS, DESCRIBE, SETUP, PLAY, PAUSE, GET_PARAMETER, SET_PARAMETER, TEARDOWN"
_MAX_SESSIONS: Final = 8

Headers = list[tuple[str, str]]


Player = TcpPlayer | UdpPlayer


class RtspSession:
    """What one client set up: a player of the pictures of a stream, and one of its sound."""

    def __init__(self, camera: "RtspCamera", stream: "Stream", player: Player) -> None:
        self.id = secrets.token_hex(8)
        self.camera = camera
        self.stream = stream
        self.player = player
        self.audio: Player | None = None
        self.playing = False
        self.heard_s = asyncio.get_running_loop().time()


class RtspConnection(asyncio.Protocol):
    """Answers the requests of one client for the cameras of one listening address."""

    def __init__(self, site: "Site") -> None:
        self._site = site
        self._buffer = bytearray()
        self._nonce = secrets.token_hex(16)
        self._nonce_uses = 0
        self._sessions: dict[str, RtspSession] = {}
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._site.listener.transports.add(self._transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._site.listener.transports.discard(self._transport)
        for session in tuple(self._sessions.values()):
            self.end(session)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while self._buffer and not self._transport.is_closing():
            try:
                message, used = wire.next_message(self._buffer)
            except wire.MalformedRequest:
                self._transport.write(wire.format_response(400, "0"))
                self._transport.close()
                return
            del self._buffer[:used]
            if message is None:
                return
            if isinstance(message, wire.Interleaved):
                self._heard()
            else:
                self._request(message)

    def end(self, session: RtspSession) -> None:
        """End a session; the connection stays."""
        self._sessions.pop(session.id, None)
        session.camera.forget(session)

    def drop(self) -> None:
        """Cut the connection, as a camera that loses power does."""
        self._transport.abort()

    def _heard(self) -> None:
        now_s = asyncio.get_running_loop().time()
        for session in self._sessions.values():
            session.heard_s = now_s

    def _request(self, request: wire.Request) -> None:
        cseq = request.headers.get("cseq", "")
        path = _without_track(request.path)
        found = self._site.find(path)
        camera = found[0] if found else self._site.only_camera
        if camera is not None:
            camera.requests += 1
            if not camera.powered:
                self.drop()
                return
            if camera.quirks.silent:
                return
            if camera.quirks.garbage:
                self._transport.write(os.urandom(64))
                return
        self._heard()
        if not cseq.isdecimal():
            self._answer(400, "0")
        elif "require" in request.headers:
            self._answer(551, cseq, [("Unsupported", request.headers["require"])])
        elif camera is not None and request.method in dict(camera.quirks.refuse):
            self._answer(dict(camera.quirks.refuse)[request.method], cseq)
        elif request.method == "OPTIONS" and "session" in request.headers and camera is not None:
            self._alive(cseq, camera)
        elif request.method == "OPTIONS":
            self._offer(cseq, camera)
        elif found is None:
            self._answer(404, cseq)
        elif not self._authorized(request, found[0]):
            self._challenge(request, cseq, found[0])
        else:
            self._dispatch(request, cseq, *found)

    def _offer(self, cseq: str, camera: "RtspCamera | None") -> None:
        few = camera is not None and camera.quirks.keep_alive == "options"
        self._answer(200, cseq, [("Public", _BASIC_METHODS if few else _METHODS)])

    def _alive(self, cseq: str, camera: "RtspCamera") -> None:
        """A sign of life within a session."""
        camera.signs_of_life += 1
        if camera.quirks.forgets:
            self._answer(454, cseq)
        else:
            self._offer(cseq, camera)

    def _dispatch(
        self, request: wire.Request, cseq: str, camera: "RtspCamera", stream: "Stream"
    ) -> None:
        if request.method == "DESCRIBE":
            self._describe(request, cseq, camera, stream)
            return
        if request.method == "SETUP":
            self._setup(request, cseq, camera, stream)
            return
        handler = self._session_methods().get(request.method)
        if handler is None:
            self._answer(501, cseq, [("Public", _METHODS)])
            return
        wanted = request.headers.get("session", "").partition(";")[0]
        session = self._sessions.get(wanted)
        if session is None and (wanted or not request.method.endswith("_PARAMETER")):
            self._answer(454, cseq)
        elif session is None:
            self._answer(200, cseq)
        else:
            handler(request, cseq, session)

    def _session_methods(
        self,
    ) -> Mapping[str, Callable[[wire.Request, str, RtspSession], None]]:
        return {
            "PLAY": self._play,
            "PAUSE": self._pause,
            "TEARDOWN": self._teardown,
            "GET_PARAMETER": self._parameter,
            "SET_PARAMETER": self._parameter,
        }

    def _authorized(self, request: wire.Request, camera: "RtspCamera") -> bool:
        given = authentication.parse_authorization(request.headers.get("authorization", ""))
        kind, spec = camera.quirks.authentication, camera.spec
        if given is None or kind not in (given.scheme, "both"):
            return False
        if given.scheme == "basic":
            return authentication.basic_valid(given, username=spec.username, password=spec.password)
        uses = camera.quirks.nonce_uses
        if uses and self._nonce_uses >= uses:
            self._nonce, self._nonce_uses = secrets.token_hex(16), 0
        known = camera.quirks.digest
        if known != "rfc2069" and "qop" not in given.parameters:
            return False
        if known == "sha-256" and given.parameters.get("algorithm", "").upper() != "SHA-256":
            return False
        valid = given.parameters.get("nonce") == self._nonce and authentication.digest_valid(
            given,
            method=request.method,
            username=spec.username,
            password=spec.password,
            realm=REALM,
        )
        self._nonce_uses += valid
        return valid

    def _challenge(self, request: wire.Request, cseq: str, camera: "RtspCamera") -> None:
        given = authentication.parse_authorization(request.headers.get("authorization", ""))
        stale = given is not None and given.parameters.get("nonce", self._nonce) != self._nonce
        challenges = self._challenges(camera, stale=stale)
        if camera.quirks.one_header:
            challenges = [", ".join(challenges)]
        if given is not None and not stale:
            camera.refused += 1
        self._answer(401, cseq, [("WWW-Authenticate", challenge) for challenge in challenges])

    def _challenges(self, camera: "RtspCamera", *, stale: bool) -> list[str]:
        quirks = camera.quirks
        challenges = []
        if quirks.authentication != "basic":
            kinds = ['"MD5"'] if quirks.digest == "rfc2069" else quirks.digest.upper().split("+")
            challenges = [
                authentication.digest_challenge(
                    REALM,
                    self._nonce,
                    stale=stale,
                    qop=quirks.digest != "rfc2069",
                    algorithm=kind,
                )
                for kind in kinds
            ]
        if quirks.authentication != "digest":
            challenges.append(f'Basic realm="{REALM}"')
        return challenges

    def _describe(
        self, request: wire.Request, cseq: str, camera: "RtspCamera", stream: "Stream"
    ) -> None:
        if camera.quirks.redirect:
            self._answer(302, cseq, [("Location", camera.quirks.redirect)])
            return
        sdp = describe(
            stream.clip,
            stream.sound,
            host=camera.host,
            session=stream.ssrc,
            url=request.url,
            quirks=camera.quirks,
        )
        headers = [("Content-Type", "application/sdp")]
        if camera.quirks.controls != "bare":
            headers.append(("Content-Base", request.url.rstrip("/") + "/"))
        self._answer(200, cseq, headers, sdp)

    def _setup(
        self, request: wire.Request, cseq: str, camera: "RtspCamera", stream: "Stream"
    ) -> None:
        transport = wire.parse_transport(request.headers.get("transport", ""))
        quirks = camera.quirks
        if transport is None or quirks.transports == ("udp" if transport.tcp else "tcp"):
            self._answer(461, cseq)
            return
        known = self._sessions.get(request.headers.get("session", "").partition(";")[0])
        is_audio = request.path.endswith(AUDIO_TRACK)
        if is_audio and (known is None or stream.sound is None):
            self._answer(455 if stream.sound else 404, cseq)
            return
        full = quirks.max_sessions and camera.sessions >= quirks.max_sessions
        if known is None and (len(self._sessions) >= _MAX_SESSIONS or full):
            self._answer(453, cseq)
            return
        try:
            player, chosen = self._player(camera, transport)
        except OSError:
            self._answer(503, cseq)
            return
        if is_audio and known is not None:
            session = known
            session.audio = player
        else:
            session = RtspSession(camera, stream, player)
            self._sessions[session.id] = session
            camera.remember(session, self)
        if not quirks.coy:
            chosen += f';ssrc={stream.ssrc:08X};mode="PLAY"'
        self._answer(200, cseq, [("Transport", chosen), *self._session_header(session)])

    def _player(self, camera: "RtspCamera", transport: wire.Transport) -> tuple[Player, str]:
        """A player, and what the Transport header says of it. Raises: OSError."""
        first, second = transport.pair
        quirks = camera.quirks
        if transport.tcp:
            first, second = first + quirks.shift, second + quirks.shift
            chosen = f"RTP/AVP/TCP;unicast;interleaved={first}-{second}"
            return TcpPlayer(self._transport, (first, second)), chosen
        ports = camera.udp_ports()
        peer = self._transport.get_extra_info("peername")[0]
        player = UdpPlayer(ports, peer, transport.pair, strays=quirks.strays)
        chosen = f"RTP/AVP;unicast;client_port={first}-{second}"
        if not quirks.coy:
            rtp_port, rtcp_port = ports.numbers
            chosen += f";server_port={rtp_port}-{rtcp_port};source={camera.host}"
        return player, chosen

    def _session_header(self, session: RtspSession) -> Headers:
        timeout_s = max(1, round(session.camera.spec.session_timeout_s))
        return [("Session", f"{session.id};timeout={timeout_s}")]

    def _play(self, request: wire.Request, cseq: str, session: RtspSession) -> None:
        if not session.camera.quirks.aggregate and request.path == _without_track(request.path):
            self._answer(459, cseq)
            return
        stream = session.stream
        rtp_time = stream.timestamp(session.camera.pacer.number(stream) + 1)
        url = f"{_without_track(request.url.rstrip('/'))}/{VIDEO_TRACK}"
        headers = [
            ("Range", "npt=now-"),
            ("RTP-Info", f"url={url};seq={stream.sequence};rtptime={rtp_time}"),
        ]
        self._answer(200, cseq, self._session_header(session) + headers)
        session.camera.play(session)

    def _pause(self, request: wire.Request, cseq: str, session: RtspSession) -> None:
        session.camera.pause(session)
        self._answer(200, cseq, self._session_header(session))

    def _teardown(self, request: wire.Request, cseq: str, session: RtspSession) -> None:
        self.end(session)
        self._answer(200, cseq)

    def _parameter(self, request: wire.Request, cseq: str, session: RtspSession) -> None:
        quirks = session.camera.quirks
        if quirks.keep_alive != "any":
            self._answer(501, cseq)
            return
        session.camera.signs_of_life += 1
        if quirks.forgets:
            self._answer(454, cseq)
            return
        self._answer(200, cseq, self._session_header(session))

    def _answer(
        self, status: int, cseq: str, headers: Headers | None = None, body: bytes = b""
    ) -> None:
        self._transport.write(wire.format_response(status, cseq, headers or (), body))


def _without_track(path: str) -> str:
    return path.removesuffix(f"/{VIDEO_TRACK}").removesuffix(f"/{AUDIO_TRACK}")
