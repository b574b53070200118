"""Many simulated RTSP cameras in one process."""

import asyncio
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import quote

from simulators.clips import ClipParameters, load_clip
from simulators.rtsp_camera.camera import ClipLibrary, RtspCamera, Site, clip_parameters
from simulators.rtsp_camera.listener import allow_open_files
from simulators.rtsp_camera.rtp import clip_packets
from simulators.rtsp_camera.spec import PROFILES, RtspCameraSpec
from simulators.rtsp_camera.stream import Pacer

LOOKS: Final = 2


class RtspFleet:
    """`async with RtspFleet(specs) as fleet:` runs the cameras; `fleet.cameras[name]` is one.

    clip_cache: a directory that keeps the encoded clips between runs. share_ports: cameras of
    one host with port 0 share one free port, told apart by path (their name by default). The
    cameras are on from the start.
    Raises on entering: OSError for an address that cannot be used; ValueError for two cameras
    of one name, or of one address and path.
    """

    def __init__(
        self,
        specs: Sequence[RtspCameraSpec],
        *,
        clip_cache: Path | None = None,
        share_ports: bool = False,
    ) -> None:
        for name, count in Counter(spec.name for spec in specs).most_common(1):
            if count > 1:
                raise ValueError(f"two cameras are named {name!r}")
        self.specs = tuple(specs)
        self.cameras: Mapping[str, RtspCamera] = {}
        self._clip_cache = clip_cache
        self._share_ports = share_ports
        self._sites: list[Site] = []
        self._pacer: Pacer | None = None
        self._sweep: asyncio.TimerHandle | None = None

    @property
    def frames_skipped(self) -> int:
        """Frames that were never sent because this process was too late."""
        return self._pacer.frames_skipped if self._pacer else 0

    async def __aenter__(self) -> Self:
        allow_open_files(8 * len(self.specs))
        looks = self._looks()
        clips = await asyncio.to_thread(_load_clips, self.specs, looks, self._clip_cache)
        self._pacer = Pacer(asyncio.get_running_loop())
        try:
            self.cameras = {spec.name: self._place(spec, looks, clips) for spec in self.specs}
            for camera in self.cameras.values():
                await camera.power(True)
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        for camera in self.cameras.values():
            camera.powered = False
            camera.cut()
        for site in self._sites:
            site.listener.close()
        self._sites.clear()
        if self._pacer is not None:
            self._pacer.close()
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        await asyncio.sleep(0)  # let the aborted connections call connection_lost

    def _looks(self) -> dict[str, int]:
        """Which look each camera has: few clips, and neighbours still differ."""
        profiles = sorted({spec.profile for spec in self.specs})
        return {
            spec.name: spec.variant
            if spec.variant is not None
            else profiles.index(spec.profile)
            if len(profiles) > 1
            else zlib.crc32(spec.name.encode()) % LOOKS
            for spec in self.specs
        }

    def _place(
        self, spec: RtspCameraSpec, looks: Mapping[str, int], clips: ClipLibrary
    ) -> RtspCamera:
        assert self._pacer is not None
        shared = bool(spec.port) or self._share_ports
        site = self._site(spec.host, spec.port) if shared else None
        if site is None:
            site = Site(spec.host, spec.port, spec.tls)
            self._sites.append(site)
        path = spec.path.strip("/")
        if not path and self._share_ports:
            path = quote(spec.name, safe="").replace("%", "_")
        prefix = f"/{path}" if path else ""
        camera = RtspCamera(spec, prefix, looks[spec.name], clips, self._pacer, self._watch)
        site.add(camera)
        return camera

    def _site(self, host: str, port: int) -> Site | None:
        for site in self._sites:
            if (site.listener.host, site.listener.port) == (host, port):
                return site
        return None

    def _watch(self) -> None:
        """Keep an eye on session time-outs as long as there are sessions."""
        if self._sweep is None:
            shortest_s = min(spec.session_timeout_s for spec in self.specs)
            loop = asyncio.get_running_loop()
            self._sweep = loop.call_later(min(2.0, shortest_s / 4), self._expire)

    def _expire(self) -> None:
        self._sweep = None
        now_s = asyncio.get_running_loop().time()
        for camera in self.cameras.values():
            camera.expire(now_s)
        if any(camera.sessions for camera in self.cameras.values()):
            self._watch()


def _load_clips(
    specs: Sequence[RtspCameraSpec], looks: Mapping[str, int], cache: Path | None
) -> ClipLibrary:
    wanted: dict[ClipParameters, None] = {
        clip_parameters(spec, profile, looks[spec.name]): None
        for spec in specs
        for profile in PROFILES
    }
    clips = {parameters: load_clip(parameters, cache) for parameters in wanted}
    return {parameters: (clip, clip_packets(clip)) for parameters, clip in clips.items()}
