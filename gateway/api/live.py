"""The streams themselves. The ticket in the address is the only credential they need."""

import asyncio
import contextlib
from collections.abc import Coroutine

from fastapi import APIRouter, HTTPException, Request, WebSocket, WebSocketDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.api.wire import wire_of
from gateway.live import LiveRefused, LiveService, LiveSession, ViewClosed
from gateway.live.mjpeg import CONTENT_TYPE, mjpeg_parts
from gateway.live.whep import WhepViews
from gateway.live.whep_sdp import OfferUnusable

# What a viewer that does not read may take to hear that its view is over.
FAREWELL_S = 1.0
SDP = "application/sdp"
MAX_OFFER_BYTES = 64 * 1024


def live_router(service: LiveService, peers: WhepViews | None = None) -> APIRouter:
    """Routes under ``/live``; the app mounts them below its prefix."""
    router = APIRouter(prefix="/live", tags=["live"])

    @router.websocket("/{ticket}/frames")
    async def frames(websocket: WebSocket, ticket: str, codec: str | None = None) -> None:
        await _view(websocket, service, ticket, "frames", codec)

    @router.websocket("/{ticket}/fmp4")
    async def fmp4(websocket: WebSocket, ticket: str) -> None:
        await _view(websocket, service, ticket, "fmp4")

    @router.get("/{ticket}/mjpeg", response_class=MjpegResponse, status_code=200)
    async def mjpeg(ticket: str) -> MjpegResponse:
        try:
            session = await service.redeem(ticket, "mjpeg")
        except LiveRefused as refused:
            raise HTTPException(refused.status, refused.reason) from None
        return MjpegResponse(session)

    if peers is not None:
        _add_whep(router, peers)
    return router


def _add_whep(router: APIRouter, peers: WhepViews) -> None:
    """WebRTC by WHEP (draft-ietf-wish-whep). Our candidates come with the answer: there is
    no PATCH, which is answered 405."""

    @router.post("/{ticket}/whep", status_code=201)
    async def whep(ticket: str, request: Request) -> Response:
        if request.headers.get("content-type", "").partition(";")[0].strip() != SDP:
            raise HTTPException(415, f"an offer is sent as {SDP}")
        try:
            answer = await peers.answer(ticket, await _offer(request))
        except LiveRefused as refused:
            raise HTTPException(refused.status, refused.reason) from None
        except OfferUnusable as unusable:
            raise HTTPException(406 if unusable.understood else 400, unusable.reason) from None
        headers = {"Location": f"{request.url.path}/{answer.id}", "Cache-Control": "no-store"}
        if answer.silent:
            headers["Hutong-Sound-Reason"] = answer.silent
        return Response(answer.sdp, status_code=201, media_type=SDP, headers=headers)

    @router.options("/{ticket}/whep", include_in_schema=False)
    async def options(ticket: str) -> Response:
        return Response(status_code=204, headers={"Accept-Post": SDP})

    @router.delete("/{ticket}/whep/{view_id}", status_code=204)
    async def end(ticket: str, view_id: str) -> Response:
        """The address of a view is the credential that ends it."""
        if not await peers.end(view_id):
            raise HTTPException(404, "there is no such view")
        return Response(status_code=204)


async def _offer(request: Request) -> str:
    data = b""
    async for chunk in request.stream():
        data += chunk
        if len(data) > MAX_OFFER_BYTES:
            raise HTTPException(413, f"an offer has at most {MAX_OFFER_BYTES} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise HTTPException(400, "this is no session description") from None


class MjpegResponse(Response):
    """One view as multipart/x-mixed-replace. Unlike a StreamingResponse it leaves the view as soon
    as the viewer has gone, whatever it was waiting for."""

    media_type = CONTENT_TYPE

    def __init__(self, session: LiveSession) -> None:
        super().__init__(headers={"Cache-Control": "no-store"})
        del self.headers["content-length"]
        self._session = session

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(start)
        async with self._session:
            await _carry(self._send(send), _until_gone(receive), self._session)
        with contextlib.suppress(OSError):
            async with asyncio.timeout(FAREWELL_S):
                await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send(self, send: Send) -> None:
        with contextlib.suppress(ViewClosed):
            async for part in mjpeg_parts(self._session):
                await send({"type": "http.response.body", "body": part, "more_body": True})


async def _view(
    websocket: WebSocket,
    service: LiveService,
    token: str,
    transport: str,
    codec: str | None = None,
) -> None:
    # Accepted first: a browser shows no close code of a handshake that was refused.
    await websocket.accept()
    with contextlib.suppress(WebSocketDisconnect, RuntimeError, TimeoutError):
        try:
            session = await service.redeem(token, transport, codec)
        except LiveRefused as refused:
            await websocket.close(refused.code, refused.reason)
            return
        async with session:
            over = await _carry(_send(websocket, session), _until_gone(websocket.receive), session)
        if over is not None:
            async with asyncio.timeout(FAREWELL_S):
                await websocket.close(over.code, _short(over.reason))


async def _carry(
    send: Coroutine[None, None, None], until_gone: Coroutine[None, None, None], session: LiveSession
) -> ViewClosed | None:
    """Send until the view is over; None when the viewer went first."""
    sending = asyncio.create_task(send, name="live-send")
    gone = asyncio.create_task(until_gone, name="live-gone")
    closed = asyncio.create_task(session.closed.wait(), name="live-closed")
    tasks = {sending, gone, closed}
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if closed.done() and not gone.done():
            left = {sending, gone}
            await asyncio.wait(left, timeout=FAREWELL_S, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return session.viewer.over


async def _send(websocket: WebSocket, session: LiveSession) -> None:
    wire = wire_of(websocket)
    with contextlib.suppress(ViewClosed):
        if wire is not None:
            session.write_through(wire.write)
        while wire is not None:
            for frames in await session.take_wire():
                await wire.drain(frames)
        while True:
            for message in await session.take():
                kind = "bytes" if isinstance(message, bytes) else "text"
                await websocket.send({"type": "websocket.send", kind: message})


async def _until_gone(receive: Receive) -> None:
    while not (await receive())["type"].endswith(".disconnect"):
        pass  # Viewers have nothing to say.


def _short(reason: str) -> str:
    """A close reason holds at most 123 bytes."""
    return reason.encode()[:120].decode(errors="ignore")
