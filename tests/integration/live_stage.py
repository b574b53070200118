"""A gateway with nothing but live view, on a real server, in front of simulated cameras."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import uvicorn
from fastapi import FastAPI
from websockets.asyncio.client import ClientConnection, connect

from adapters.base import MediaSource
from adapters.events import RtspSource, Secret
from gateway.api.live import live_router
from gateway.api.wire import WireProtocol
from gateway.live import LiveService, LiveSettings, NoSource, View
from gateway.live.jpeg import jpeg_transform
from gateway.live.whep import WhepViews
from gateway.vision import PicturePool
from simulators.rtsp_camera import RtspCamera, RtspFleet


async def until(condition: Callable[[], object], timeout_s: float = 8.0) -> None:
    """Return as soon as the condition holds. Raises: TimeoutError."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - the condition is that of many different things
            await asyncio.sleep(0.002)


class LiveGateway:
    """denied: points that nobody may see (any more). away: whether the registry is. passwords:
    what we believe of a point's camera where that is not true. exchanged: which camera hangs in
    the place of another now. transport: how cameras are read."""

    def __init__(self, fleet: RtspFleet, settings: LiveSettings, pool: PicturePool) -> None:
        self._fleet = fleet
        self.denied: set[str] = set()
        self.away = False
        self.passwords: dict[str, str] = {}
        self.exchanged: dict[str, str] = {}
        self.transport = "tcp"
        self.port = 0
        self.peers: WhepViews
        self.live = LiveService(
            self._open_media, self._allowed, jpeg=jpeg_transform(pool), settings=settings
        )

    async def _open_media(self, point_id: str, profile: str) -> MediaSource:
        it: RtspCamera | None = self._fleet.cameras.get(self.exchanged.get(point_id, point_id))
        if it is None:
            raise NoSource("this point has no source")
        return RtspSource(
            url=it.url("sub" if profile == "sub" else "main"),
            username=it.spec.username,
            password=Secret(self.passwords.get(point_id, it.spec.password)),
            transport=self.transport,
        )

    async def _allowed(self, view: View) -> bool:
        if self.away:
            raise ConnectionError("the database is away")
        return view.point_id not in self.denied

    def path(self, point_id: str, transport: str = "frames", profile: str = "main") -> str:
        """The address of a new ticket."""
        ticket = self.live.issue("user", point_id, profile)
        return f"://127.0.0.1:{self.port}{ticket.urls()[transport]}"

    def view(
        self, point_id: str, transport: str = "frames", profile: str = "main", **options: Any
    ) -> connect:
        url = "ws" + self.path(point_id, transport, profile)
        given = {"max_size": None, "max_queue": None, "compression": None, **options}
        return connect(url, **given)


@contextlib.asynccontextmanager
async def gateway(
    fleet: RtspFleet, settings: LiveSettings | None = None, port: int = 0, *, deflate: bool = False
) -> AsyncIterator[LiveGateway]:
    """deflate: the server compresses messages, so frames cannot be written below it."""
    app = FastAPI()
    async with contextlib.AsyncExitStack() as stack:
        pool = await stack.enter_async_context(PicturePool())
        it = LiveGateway(fleet, settings or LiveSettings(), pool)
        await stack.enter_async_context(it.live)
        it.peers = await stack.enter_async_context(WhepViews(it.live, ["127.0.0.1"]))
        app.include_router(live_router(it.live, it.peers), prefix="/api/v1")
        config = uvicorn.Config(
            app,
            ws=WireProtocol,
            ws_per_message_deflate=deflate,
            lifespan="off",
            log_config=None,
        )
        server = uvicorn.Server(config)
        server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
        # What the kernel takes for a viewer that does not read is not ours to skip any more.
        listener = socket.create_server(("127.0.0.1", port), backlog=512)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 * 1024)
        it.port = listener.getsockname()[1]
        serving = asyncio.create_task(server.serve([listener]))
        await until(lambda: server.started)
        try:
            yield it
        finally:
            server.should_exit = True
            server.force_exit = True
            await serving


async def texts_and_units(viewer: ClientConnection, units: int) -> tuple[list[Any], list[bytes]]:
    """What comes until there are so many binary messages."""
    texts: list[Any] = []
    binary: list[bytes] = []
    async with asyncio.timeout(10):
        while len(binary) < units:
            message = await viewer.recv()
            if isinstance(message, str):
                texts.append(json.loads(message))
            else:
                binary.append(message)
    return texts, binary


async def first_text(viewer: ClientConnection, **fields: object) -> Any:
    """The first text message with these fields; what comes before is passed over."""
    async with asyncio.timeout(10):
        while True:
            message = await viewer.recv()
            if isinstance(message, str):
                document = json.loads(message)
                if fields.items() <= document.items():
                    return document
