"""Seeing and moving a camera: live tickets, snapshots; `ptz` has the moving."""

from typing import Annotated, Literal
from urllib.parse import quote

from fastapi import APIRouter, Query, Response
from pydantic import Field

from adapters.errors import NotSupported
from gateway.access.roles import may_see_clear, may_view
from gateway.agents.cameras import NoCamera
from gateway.api import ptz
from gateway.api.bodies import Body, Text
from gateway.api.context import Context, CurrentContext, CurrentPrincipal
from gateway.api.services import CurrentServices
from gateway.api.shapes import answer, timestamp
from gateway.live import KnownProfile
from gateway.vision import VisionUnavailable
from registry import points
from registry.errors import Conflict, Forbidden
from registry.partition import Principal
from registry.points import Point

router = APIRouter(prefix="/points", tags=["live"])
router.include_router(ptz.router)

CODECS = {"h264": "avc1", "h265": "hvc1", "jpeg": "jpeg"}


class LiveBody(Body):
    """purpose: why the caller looks; recorded."""

    profile: Literal["main", "sub"] = "main"
    purpose: Annotated[Text, Field(max_length=400)] | None = None


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
        purpose=body.purpose or "",
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
    width: Annotated[int | None, Query(ge=64, le=1920)] = None,
) -> Response:
    """A picture not older than 5 s: the device's own, else a keyframe of its stream; the header
    `Hutong-Picture` says which, `Hutong-Picture-Reason` why not its own. width: pixels."""
    point = await _picture_of(context, principal, point_id)
    await _record(context, principal, point, "snapshot", {"width": width})
    try:
        picture = await services.snapshots.take(point.id, width)
    except NoCamera:
        raise Conflict("this point has no camera: no source is bound to it") from None
    except VisionUnavailable as error:
        raise NotSupported(str(error)) from None
    headers = {"Cache-Control": "no-store", "Hutong-Picture": picture.origin}
    if picture.reason:
        headers["Hutong-Picture-Reason"] = quote(picture.reason[:200], safe=" ,;:()'")
    return Response(picture.data, media_type="image/jpeg", headers=headers)
