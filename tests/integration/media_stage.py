"""A gateway's live view with media servers, in front of simulated cameras."""

import asyncio
import contextlib
import dataclasses
import hashlib
import os
import socket
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from pathlib import Path

from aiohttp import web
from patience import wait_until

from adapters.base import MediaSource
from adapters.events import RtspSource, Secret
from gateway.live import LiveService, LiveSettings, NoSource, Ticket, View, Viewing
from gateway.live.mediaserver import Handed, KeyRing, MediaServers, MediaServerSettings
from simulators.rtsp_camera import RtspCamera, RtspFleet

CONFIGURATION = Path(__file__).parents[2] / "deploy" / "mediamtx" / "mediamtx.yml"


def derive(purpose: str) -> bytes:
    return hashlib.sha256(f"planted key {purpose}".encode()).digest()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclasses.dataclass
class MediaStage:
    """denied: points that nobody may see any more; masked: those that have masks. opened, closed:
    what the record of viewing was told."""

    fleet: RtspFleet
    settings: LiveSettings = dataclasses.field(default_factory=LiveSettings)
    keys: KeyRing = dataclasses.field(default_factory=lambda: KeyRing(derive))
    denied: set[str] = dataclasses.field(default_factory=set)
    masked: set[str] = dataclasses.field(default_factory=set)
    opened: list[Viewing] = dataclasses.field(default_factory=list)
    closed: list[Viewing] = dataclasses.field(default_factory=list)
    live: LiveService = dataclasses.field(init=False)
    media: MediaServers = dataclasses.field(init=False)
    jwks_url: str = ""
    jwks_reads: int = 0

    async def open_media(self, point_id: str, profile: str) -> MediaSource:
        camera: RtspCamera | None = self.fleet.cameras.get(point_id)
        if camera is None:
            raise NoSource("this point has no source")
        return RtspSource(
            url=camera.url("sub" if profile == "sub" else "main"),
            username=camera.spec.username,
            password=Secret(camera.spec.password),
        )

    async def allowed(self, view: View) -> bool:
        return view.point_id not in self.denied

    async def unmasked(self, point_id: str) -> bool:
        return point_id not in self.masked

    async def ready(self) -> None:
        await wait_until(
            lambda: all(each.ready for each in self.media.servers),
            what="the media server to be used",
        )

    def ticket(self, point_id: str, profile: str = "main", user: str = "user") -> Ticket:
        return self.live.issue(user, point_id, profile, purpose="a fire")

    async def hand_out(self, point_id: str, profile: str = "main") -> Handed:
        handed = self.media.hand_out(self.ticket(point_id, profile))
        assert handed.urls, handed.reason
        return handed

    async def _jwks(self, _request: web.Request) -> web.Response:
        self.jwks_reads += 1
        return web.json_response(self.keys.jwks())

    @contextlib.asynccontextmanager
    async def serve_keys(self) -> AsyncIterator[None]:
        app = web.Application()
        app.router.add_get("/.well-known/jwks.json", self._jwks)
        runner = web.AppRunner(app)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            port = runner.addresses[0][1]
            self.jwks_url = f"http://127.0.0.1:{port}/.well-known/jwks.json"
            yield
        finally:
            await runner.cleanup()

    @contextlib.asynccontextmanager
    async def watching(self, *control: str, node: str = "node-1") -> AsyncIterator[None]:
        """Live view and its media servers, for as long as the block runs."""
        self.live = LiveService(
            self.open_media,
            self.allowed,
            opened=lambda viewing: self.media.used_here(viewing.id),
            settings=self.settings,
        )
        async with self.live:
            self.media = MediaServers(
                MediaServerSettings(control=control),
                live=self.live,
                keys=self.keys,
                node=node,
                allowed=self.allowed,
                unmasked=self.unmasked,
                opened=self.opened.append,
                closed=self.closed.append,
            )
            async with self.media:
                yield


class MediaMtx:
    """The real server. program: its binary. jwks_url: where it gets our keys."""

    def __init__(self, program: str, folder: Path, jwks_url: str) -> None:
        self.ports = {name: free_port() for name in ("api", "rtsp", "hls", "webrtc", "udp")}
        self._program = program
        self._folder = folder
        self._jwks_url = jwks_url
        self._process: Process | None = None

    @property
    def control(self) -> str:
        return f"http://127.0.0.1:{self.ports['api']}"

    @property
    def log(self) -> str:
        return (self._folder / "mediamtx.log").read_text()

    async def __aenter__(self) -> "MediaMtx":
        await self.start()
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.stop()

    async def start(self) -> None:
        address = {name: f"127.0.0.1:{port}" for name, port in self.ports.items()}
        environment = {
            **os.environ,
            "MTX_AUTHJWTJWKS": self._jwks_url,
            "MTX_APIADDRESS": address["api"],
            "MTX_RTSPADDRESS": address["rtsp"],
            "MTX_HLSADDRESS": address["hls"],
            "MTX_WEBRTCADDRESS": address["webrtc"],
            "MTX_WEBRTCLOCALUDPADDRESS": address["udp"],
        }
        with (self._folder / "mediamtx.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                self._program,
                str(CONFIGURATION),
                cwd=self._folder,
                env=environment,
                stdout=log,
                stderr=log,
            )

    async def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            await process.wait()


async def probe(url: str, *options: str) -> tuple[int, str]:
    """What ffprobe says of the first pictures of a stream: its exit code, and its words."""
    process = await asyncio.create_subprocess_exec(
        "ffprobe",
        *("-v", "error", "-show_entries", "stream=codec_name,width,height", "-of", "csv=p=0"),
        *("-read_intervals", "%+1", *options, url),
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
    )
    try:
        async with asyncio.timeout(60):
            said, complaint = await process.communicate()
    except BaseException:
        process.kill()
        await process.wait()
        raise
    return process.returncode or 0, (said + complaint).decode().strip()


class Recorder:
    """ffmpeg, which reads a stream until it ends."""

    def __init__(self, url: str, *options: str) -> None:
        self._arguments = (*options, "-i", url, "-c", "copy", "-f", "null", "-")
        self._process: Process | None = None

    async def __aenter__(self) -> "Recorder":
        self._process = await asyncio.create_subprocess_exec(
            "ffmpeg", "-v", "error", *self._arguments, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL
        )
        return self

    async def __aexit__(self, *_error: object) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None
