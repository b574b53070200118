"""The processes of the relay's bench: cameras, the relay alone, and others doing the same.

`python -m benchmarks.relay_stage ROLE CORE …` says one line of JSON when it is ready and runs
until its standard input ends.
"""

import asyncio
import json
import os
import socket
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import uvicorn
import uvloop
from fastapi import FastAPI

from adapters.base import AccessUnit, MediaItem, MediaSource
from adapters.events import RtspSource, Secret
from adapters.media import open_stream
from benchmarks.viewing import BareServer
from gateway.api.live import live_router
from gateway.api.wire import WireProtocol
from gateway.live import LiveService, LiveSettings, View
from gateway.live.frames import VIDEO, frame_message, wire_frame
from simulators.rtsp_camera import RtspCameraSpec, RtspFleet

USER, PASSWORD = "bench", "bench"


async def _until_told() -> None:
    """Return when standard input ends."""
    await asyncio.to_thread(sys.stdin.read)


def _ready(told: Any) -> None:
    print(json.dumps(told), flush=True)


async def cameras(count: int) -> None:
    """Says the address of each camera: 640x360 at 15 fps, 500 kb/s."""
    specs = [
        RtspCameraSpec(name=f"c{number}", username=USER, password=PASSWORD, variant=0)
        for number in range(count)
    ]
    cache = Path(tempfile.gettempdir()) / "hutong-bench-clips"
    async with RtspFleet(specs, clip_cache=cache, share_ports=True) as fleet:
        _ready([it.url() for it in fleet.cameras.values()])
        await _until_told()


async def relay(urls: list[str], viewers: int) -> None:
    """Says a ticket's address for each camera and viewer."""

    async def open_media(point_id: str, profile: str) -> MediaSource:
        return RtspSource(url=urls[int(point_id)], username=USER, password=Secret(PASSWORD))

    async def allowed(view: View) -> bool:
        return True

    app = FastAPI()
    settings = LiveSettings(linger_s=0.1)
    async with LiveService(open_media, allowed, settings=settings) as live:
        app.include_router(live_router(live), prefix="/api/v1")

        @app.get("/ticket/{camera}")
        async def ticket(camera: str) -> str:
            return live.issue("bench", camera, "main").urls()["frames"]

        config = uvicorn.Config(
            app,
            ws=WireProtocol,
            ws_per_message_deflate=False,
            lifespan="off",
            log_config=None,
        )
        server = uvicorn.Server(config)
        listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        port = listener.getsockname()[1]
        serving = asyncio.create_task(server.serve([listener]))
        tickets = [
            f"ws://127.0.0.1:{port}{live.issue('bench', str(number), 'main').urls()['frames']}"
            for number in range(len(urls))
            for _ in range(viewers)
        ]
        _ready(tickets)
        await _until_told()
        server.should_exit = server.force_exit = True
        await serving


async def bare(urls: list[str], viewers: int) -> None:
    """What asyncio can do at best: the first camera's units, framed once and written to all."""
    everybody: set[asyncio.Transport] = set()

    def hand_out(item: MediaItem) -> None:
        if isinstance(item, AccessUnit):
            frame = wire_frame(frame_message(item, VIDEO))
            for transport in everybody:
                transport.write(frame)

    source = RtspSource(url=urls[0], username=USER, password=Secret(PASSWORD))
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: BareServer(everybody), "127.0.0.1", 0, backlog=1024)
    port = server.sockets[0].getsockname()[1]
    async with open_stream(source) as stream:
        playing = asyncio.create_task(stream.pour(hand_out))
        _ready([f"ws://127.0.0.1:{port}/"] * viewers)
        await _until_told()
        playing.cancel()
        await asyncio.gather(playing, return_exceptions=True)


def remux(urls: list[str]) -> None:
    """PyAV from RTSP to fragmented MP4, a thread for each camera."""
    import av

    def one(url: str) -> None:
        address = url.replace("://", f"://{USER}:{PASSWORD}@")
        options = {"rtsp_transport": "tcp", "analyzeduration": "0", "probesize": "32"}
        flags = {"movflags": "frag_every_frame+empty_moov+default_base_moof"}
        with (
            av.open(address, options=options) as source,
            av.open(os.devnull, "w", format="mp4", options=flags) as target,
        ):
            stream = target.add_stream_from_template(source.streams.video[0])
            for packet in source.demux(source.streams.video[0]):
                packet.stream = stream
                target.mux(packet)

    for url in urls:
        threading.Thread(target=one, args=(url,), daemon=True).start()
    _ready("playing")
    sys.stdin.read()
    os._exit(0)


def main(role: str, core: str, *arguments: str) -> None:
    os.sched_setaffinity(0, {int(core)})
    if role == "cameras":
        uvloop.run(cameras(int(arguments[0])))
    elif role == "relay":
        uvloop.run(relay(json.loads(arguments[0]), int(arguments[1])))
    elif role == "bare":
        uvloop.run(bare(json.loads(arguments[0]), int(arguments[1])))
    else:
        remux(json.loads(arguments[0]))


if __name__ == "__main__":
    main(*sys.argv[1:])
