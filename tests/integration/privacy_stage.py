"""A whole gateway in front of a simulated camera whose picture is known, and eyes that look at it
by every way there is.

PYTEST_DONT_REWRITE: test modules import this before pytest does, and it asserts nothing.
"""

import asyncio
import base64
import contextlib
import dataclasses
import io
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import av
import cv2
import numpy as np
from core_api import PASSWORD, Caller, cheap_passwords, fill
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from adapters.base import AccessUnit, TrackFormat
from gateway.app import Node, run
from gateway.settings import Settings
from gateway.vision.pictures import UnitDecoder
from registry import users
from registry.database import Connection, Database
from registry.partition import SYSTEM
from registry.users import NewRole, NewUser
from simulators.onvif_camera import CameraSpec, OnvifCamera, OnvifFleet

Pixels = Any
GREY = 64
RIGHT_HALF = [[0.5, 0.0], [1.0, 0.0], [1.0, 1.0], [0.5, 1.0]]
CAMERA_PASSWORD = "planted"


@dataclasses.dataclass(frozen=True, slots=True)
class Stage:
    """One gateway with one camera, bound to the point of point_id in the workroom d/s1/w1."""

    node: Node
    session: aiohttp.ClientSession
    database: Database
    camera: OnvifCamera
    point_id: str
    admin: Caller

    async def sign_in(self, name: str) -> Caller:
        return await sign_in(self.session, self.node.url, name)

    async def mask(self, *polygons: Any, **presets: Any) -> None:
        body = {"polygons": list(polygons), "presets": presets}
        put = await self.admin("PUT", f"/points/{self.point_id}/masks", body)
        if put.status != 200:
            raise AssertionError(put.body)

    async def unmask(self) -> None:
        path = f"/points/{self.point_id}"
        headers = {"If-Match": "*"}
        changed = await self.admin("PATCH", path, {"masked": False}, headers=headers)
        if changed.status != 200:
            raise AssertionError(changed.body)

    async def ticket(self, who: Caller, profile: str = "main", **more: Any) -> dict[str, Any]:
        made = await who("POST", f"/points/{self.point_id}/live", {"profile": profile, **more})
        if made.status != 201:
            raise AssertionError(made.body)
        shape: dict[str, Any] = made.body
        return shape

    async def url(self, who: Caller, transport: str, profile: str = "main", **more: Any) -> str:
        """The address of a new ticket."""
        urls = (await self.ticket(who, profile, **more))["urls"]
        return f"{self.node.url}{urls[transport]}"

    async def watch(
        self, who: Caller, transport: str = "frames", profile: str = "main", **more: Any
    ) -> connect:
        url = (await self.url(who, transport, profile, **more)).replace("http", "ws", 1)
        return connect(url, max_size=None, max_queue=None, compression=None)

    async def acts(self, action: str) -> list[dict[str, Any]]:
        found = await self.admin("GET", "/audit", action=action, limit=500)
        items: list[dict[str, Any]] = found.body["items"]
        return items


async def sign_in(session: aiohttp.ClientSession, url: str, name: str) -> Caller:
    body = {"name": name, "password": PASSWORD}
    answer = await Caller(session, url, None)("POST", "/api/v1/auth/login", body)
    if answer.status != 200:
        raise AssertionError(answer.body)
    return Caller(session, f"{url}/api/v1", answer.body["access_token"])


def give_clear_view(database: Database, ends_at: Any, at: str = "d/s1") -> Callable[[], None]:
    """A user ``clear``, who may look at d/s1, past masks too; call the answer to end that."""
    passwords = cheap_passwords()
    password_hash = passwords.hash_now(PASSWORD)
    passwords.close()
    viewer = NewRole(role="viewer", organization="d/s1")
    clear = NewRole(role="clear_view", organization=at, purpose="case 7", ends_at=ends_at)

    def add(connection: Connection) -> str:
        new = NewUser(name="clear", password_hash=password_hash, roles=(viewer, clear))
        return users.create(connection, SYSTEM, new).id

    user_id = database.write_now(add)

    def end() -> None:
        database.write_now(lambda c: users.set_roles(c, SYSTEM, user_id, (viewer,)))

    return end


@contextlib.asynccontextmanager
async def privacy_stage(
    database: Database, database_url: str, folder: Path, clips: Path, *, ptz: bool = False
) -> AsyncIterator[Stage]:
    passwords = cheap_passwords()
    password_hash = passwords.hash_now(PASSWORD)
    passwords.close()
    await database.write(lambda connection: fill(connection, password_hash))
    spec = CameraSpec(
        name="gate", username="admin", password=CAMERA_PASSWORD, serial="SN-1", ptz=ptz,
        manufacturer="Hutong", model="Dome", firmware="1.0", gop_s=0.4, main_size=(640, 360),
        sub_size=(320, 180),
    )  # fmt: skip
    settings = Settings(
        data_dir=folder / "var", database_url=database_url, http_port=0, diagnosis_period_s=0
    )
    ready: asyncio.Future[Node] = asyncio.get_running_loop().create_future()

    async def tell(node: Node) -> None:
        ready.set_result(node)

    async with OnvifFleet([spec], discovery_port=None, clip_cache=clips) as fleet:
        running = asyncio.create_task(run(settings, "all", tell))
        try:
            await asyncio.wait({running, ready}, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                running.result()
            node, camera = ready.result(), fleet.cameras["gate"]
            jar = aiohttp.DummyCookieJar()
            async with aiohttp.ClientSession(cookie_jar=jar) as session:
                admin = await sign_in(session, node.url, "admin")
                point_id = await _register(admin, camera)
                yield Stage(node, session, database, camera, point_id, admin)
        finally:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running


async def _register(admin: Caller, camera: OnvifCamera) -> str:
    body = {
        "adapter": "onvif",
        "endpoint": camera.device_url,
        "organization": "d/s1/w1",
        "username": "admin",
        "password": CAMERA_PASSWORD,
    }
    made = await admin("POST", "/devices", body)
    if made.status != 201:
        raise AssertionError(made.body)
    point_id: str = made.body["created"][0]["point"]
    return point_id


# --- eyes -----------------------------------------------------------------------------------------


def of_jpeg(data: bytes) -> Pixels:
    """Luma as an encoder writes it, where 16 is black, of any JPEG."""
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    return pixels.astype(int) * 219 // 255 + 16


def of_masked_jpeg(data: bytes) -> Pixels:
    """The grey levels of a JPEG as they are."""
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE).astype(int)


def is_flat(part: Pixels) -> bool:
    """Whether it shows nothing: the colour of masks, in the encoder's range or in full."""
    return bool(part.std() < 2.5 and 40 <= part.mean() <= 80)


def hides_right_half(shown: Pixels) -> bool:
    middle = shown.shape[1] // 2
    return is_flat(shown[:, middle + 8 :]) and shown[:, : middle - 8].std() > 12


def shows_all(shown: Pixels) -> bool:
    middle = shown.shape[1] // 2
    return bool(shown[:, middle + 8 :].std() > 12 and shown[:, : middle - 8].std() > 12)


class FramesEye:
    """Decodes what comes over the frames WebSocket."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._decoder: UnitDecoder | None = None
        self._jpeg = False
        self.tracks: list[dict[str, Any]] = []
        self.states: list[dict[str, Any]] = []

    async def next(self) -> Pixels:
        """The next picture. Raises: ConnectionClosed when the view is over."""
        while True:
            message = await self._socket.recv()
            if isinstance(message, str):
                self._hear(json.loads(message))
                continue
            if message[1] != 0:
                self.tracks.append({"type": "sound"})
                continue
            if self._jpeg:
                return of_masked_jpeg(message[10:])
            unit = AccessUnit(
                track=0,
                pts_us=int.from_bytes(message[2:10], "big"),
                keyframe=bool(message[0] & 1),
                data=message[10:],
            )
            assert self._decoder is not None
            frame = self._decoder.decode(unit)
            if frame is not None:
                return frame.to_ndarray()[: frame.height].astype(int)

    async def until_closed(self) -> int:
        """Look on; the code with which the view ends."""
        with contextlib.suppress(ConnectionClosed):
            while True:
                await self.next()
        return self._socket.close_code or 0

    def _hear(self, document: dict[str, Any]) -> None:
        if document["type"] == "state":
            self.states.append(document)
        elif document["type"] in ("video", "audio"):
            self.tracks.append(document)
            self._jpeg = document["codec"] == "jpeg"
            if document["type"] == "video" and not self._jpeg:
                track = TrackFormat(
                    track=0,
                    kind="video",
                    codec=document["codec"],
                    description=base64.b64decode(document["description"]),
                )
                self._decoder = UnitDecoder(track)


async def fmp4_pictures(socket: ClientConnection, fragments: int) -> list[Pixels]:
    """What a media source extension would show of so many fragments."""
    parts: list[bytes] = []
    while len(parts) < fragments + 1:
        message = await socket.recv()
        if isinstance(message, bytes):
            parts.append(message)
    with av.open(io.BytesIO(b"".join(parts)), format="mp4") as opened:
        return [frame.to_ndarray()[: frame.height].astype(int) for frame in opened.decode(video=0)]


async def mjpeg_pictures(session: aiohttp.ClientSession, url: str, pictures: int) -> list[Pixels]:
    found: list[Pixels] = []
    async with session.get(url) as response:
        if response.status != 200:
            raise AssertionError(await response.text())
        while len(found) < pictures:
            head = await response.content.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            found.append(of_masked_jpeg(await response.content.readexactly(length)))
            await response.content.readexactly(2)
    return found
