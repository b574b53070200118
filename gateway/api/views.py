"""Seeing and moving a camera: live tickets, snapshots, PTZ."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from pydantic import Field, model_validator

from adapters.errors import NotSupported
from adapters.events import Command, MovePtz, Result
from gateway.access.roles import may_move, may_see_clear, may_view
from gateway.agents.cameras import NoCamera
from gateway.api.bodies import Body, Text
from gateway.api.context import Context, CurrentContext, CurrentPrincipal
from gateway.api.services import CurrentServices, Services
from gateway.api.shapes import answer, timestamp
from gateway.live import KnownProfile
from gateway.vision import VisionUnavailable, keyframe_jpeg, resize_jpeg
from registry import points
from registry.errors import Conflict, Forbidden
from registry.partition import Principal
from registry.points import Point

router = APIRouter(prefix="/points", tags=["live"])

CODECS = {"h264": "avc1", "h265": "hvc1", "jpeg": "jpeg"}


class LiveBody(Body):
    """purpose: why the caller looks; recorded."""

    profile: Literal["main", "sub"] = "main"
    purpose: Annotated[Text, Field(max_length=400)] | None = None


class PtzBody(Body):
    """pan, tilt, zoom: -1..1 of full speed, for duration_ms; or stop."""

    pan: Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False)] = 0.0
    tilt: Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False)] = 0.0
    zoom: Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False)] = 0.0
    duration_ms: Annotated[int, Field(ge=1, le=10_000)] = 500
    stop: bool = False

    @model_validator(mode="after")
    def _says_something(self) -> "PtzBody":
        if not self.stop and not (self.pan or self.tilt or self.zoom):
            raise ValueError("say pan, tilt or zoom, or stop")
        return self

    def command(self, address: str) -> Command:
        if self.stop:
            return MovePtz(address=address, duration_ms=0)
        return MovePtz(
            address=address,
            pan=self.pan,
            tilt=self.tilt,
            zoom=self.zoom,
            duration_ms=self.duration_ms,
        )


async def _picture_of(context: Context, principal: Principal, point_id: str) -> Point:
    """The point, where the caller may see its picture.

    Raises: NotFound outside the partition; Forbidden without the role, and for a masked point:
    what cannot be masked yet is shown in clear to nobody without that right.
    """
    point = await context.database.read(lambda c: points.get(c, principal, point_id))
    path = point.organization.path
    if not may_view(principal, point):
        raise Forbidden("seeing pictures needs the role viewer, dispatcher or admin here")
    if point.masked and not may_see_clear(principal, path):
        raise Forbidden("this point is masked: its picture needs the right clear_view")
    if point.device_id is None:
        raise Conflict("this point has no camera: no source is bound to it")
    return point


async def _record(
    context: Context, principal: Principal, point: Point, action: str, details: dict[str, object]
) -> None:
    owner = point.organization
    await context.audit.record(principal, action, "point", point.id, owner, details)


@router.post("/{point_id}/live", status_code=201)
async def open_live(
    point_id: str,
    body: LiveBody,
    context: CurrentContext,
    services: CurrentServices,
    principal: CurrentPrincipal,
) -> Response:
    """A ticket for one stream, from last knowledge, without waiting for the camera."""
    point = await _picture_of(context, principal, point_id)
    profiles = {each.name: each for each in point.profiles}
    name = body.profile if body.profile in profiles else "main"
    known = profiles.get(name)
    details: dict[str, object] = {"profile": name, "purpose": body.purpose or ""}
    await _record(context, principal, point, "open_live", details)
    ticket = services.live.issue(
        principal.user_id,
        point.id,
        name,
        KnownProfile(
            codec=CODECS.get(known.codec) if known else None,
            width=known.width if known else 0,
            height=known.height if known else 0,
        ),
    )
    shape = {
        "ticket": ticket.token,
        "expires_at": timestamp(ticket.expires_at),
        "profile": ticket.profile,
        "codec": ticket.known.codec,
        "width": ticket.known.width,
        "height": ticket.known.height,
        "urls": ticket.urls(),
    }
    return answer(shape, status=201)


@router.get("/{point_id}/snapshot.jpg")
async def snapshot(
    point_id: str,
    context: CurrentContext,
    services: CurrentServices,
    principal: CurrentPrincipal,
    width: Annotated[int | None, Query(ge=16, le=7680)] = None,
) -> Response:
    """A picture: the device's own, else a keyframe of its stream. width: pixels."""
    point = await _picture_of(context, principal, point_id)
    await _record(context, principal, point, "snapshot", {"width": width})
    try:
        data = await _snapshot(services, point)
        if width is not None:
            data = await services.pictures.run(lambda: resize_jpeg(data, width))
    except NoCamera:
        raise Conflict("this point has no camera: no source is bound to it") from None
    except VisionUnavailable as error:
        raise NotSupported(str(error)) from None
    return Response(data, media_type="image/jpeg", headers={"Cache-Control": "no-store"})


async def _snapshot(services: Services, point: Point) -> bytes:
    try:
        return (await services.cameras.snapshot(point.id)).data
    except NotSupported:
        source = await services.cameras.open_media(point.id, "main")
        return await keyframe_jpeg(source, pool=services.pictures)


@router.post("/{point_id}/ptz")
async def move(
    point_id: str,
    body: PtzBody,
    context: CurrentContext,
    services: CurrentServices,
    principal: CurrentPrincipal,
) -> Response:
    """Move a camera, or stop it; it stops by itself after duration_ms."""
    point = await context.database.read(lambda c: points.get(c, principal, point_id))
    if not may_move(principal, point):
        raise Forbidden("moving a camera needs the role dispatcher or admin here")
    await _record(context, principal, point, "ptz", body.model_dump(exclude_unset=True))
    try:
        outcome = await services.cameras.execute(point.id, body.command)
    except NoCamera:
        raise Conflict("this point has no camera: no source is bound to it") from None
    if outcome.result is not Result.DONE:
        raise Conflict(f"the camera did not move: {outcome.reason}")
    return answer({"result": "done"})
