"""Many simulated ONVIF cameras in one process."""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from simulators.onvif_camera import soap
from simulators.onvif_camera.camera import OnvifCamera
from simulators.onvif_camera.discovery import PORT, Responder
from simulators.onvif_camera.spec import CameraSpec
from simulators.rtsp_camera import RtspFleet
from simulators.rtsp_camera.listener import allow_open_files


class OnvifFleet:
    """`async with OnvifFleet(specs) as fleet:` runs the cameras; `fleet.cameras[name]` is one.

    clip_cache: a directory that keeps the encoded clips between runs. discovery_port: of
    WS-Discovery; None is none at all, 0 a free one. discovery_interfaces: addresses of the
    interfaces it answers on. The cameras are on from the start.
    Raises on entering: OSError for an address that cannot be used; ValueError for two cameras
    of one name.
    """

    def __init__(
        self,
        specs: Sequence[CameraSpec],
        *,
        clip_cache: Path | None = None,
        discovery_port: int | None = PORT,
        discovery_interfaces: Sequence[str] = ("127.0.0.1",),
    ) -> None:
        self.specs = tuple(specs)
        self.cameras: Mapping[str, OnvifCamera] = {}
        self.rtsp = RtspFleet([spec.rtsp_spec() for spec in specs], clip_cache=clip_cache)
        self._discovery_port = discovery_port
        self._discovery_interfaces = tuple(discovery_interfaces)
        self._responder: Responder | None = None
        self._stack = contextlib.AsyncExitStack()

    @property
    def discovery_port(self) -> int | None:
        """The port WS-Discovery answers on."""
        return self._responder.port if self._responder else self._discovery_port

    @property
    def probes(self) -> int:
        """WS-Discovery probes received."""
        return self._responder.probes if self._responder else 0

    async def __aenter__(self) -> Self:
        allow_open_files(12 * len(self.specs))
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(self.rtsp)
            reader = soap.Reader()
            self.cameras = {
                spec.name: OnvifCamera(spec, self.rtsp.cameras[spec.name], reader, self._announce)
                for spec in self.specs
            }
            stack.push_async_callback(self._close)
            if self._discovery_port is not None:
                self._responder = Responder(
                    self.cameras.values,
                    reader,
                    self._discovery_port,
                    self._discovery_interfaces,
                )
                stack.callback(self._responder.close)
                self._responder.open()
            for camera in self.cameras.values():
                await camera.power(True)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._stack.aclose()

    def _announce(self, camera: OnvifCamera) -> None:
        if self._responder is not None:
            self._responder.announce(camera)

    async def _close(self) -> None:
        for camera in self.cameras.values():
            camera.close()
        await asyncio.sleep(0)  # let the aborted connections call connection_lost
