"""Seeing and moving a camera: live tickets, snapshots; `ptz` has the moving."""

import dataclasses
from collections.abc import Hashable
from typing import Annotated, Literal
from urllib.parse import quote

from fastapi import APIRouter, HTTPException, Query, Request, Response

from adapters.errors import NotSupported
from gateway.agents.cameras import NoCamera
from gateway.api import ptz
from gateway.api.bodies import Body, Purpose
from gateway.api.context import CurrentContext, CurrentPrincipal, CurrentToken
from gateway.api.services import CurrentServices, Services
from gateway.api.shapes import answer, timestamp
from gateway.api.sight import Sight, picture_of, record_sight, sight_of, thumbnail_stamp
from gateway.live import KnownProfile, LiveRefused, Ticket
from gateway.live.mediaserver import Handed
from gateway.vision import VisionUnavailable
from gateway.vision.masking import fitted
from registry.database import Connection
from registry.errors import Conflict
from registry.sources import Profile

router = APIRouter(prefix="/points", tags=["live"])
router.include_router(ptz.router)

FIRST_PICTURE_S = 2.0
"""How long the first picture of a point is awaited before whoever asks is told to ask again."""
RETRY = {"Retry-After": "5"}
CODECS = {"h264": "avc1", "h265": "hvc1", "jpeg": "jpeg"}


class LiveBody(Body):
    """purpose: why the caller looks; recorded."""

    profile: Literal["main", "sub"] = "main"
    purpose: Purpose | None = None


@router.post("/{point_id}/live", status_code=201)
async def open_live(
    point_id: str,
    body: LiveBody,
    context: CurrentContext,
    services: CurrentServices,
    principal: CurrentPrincipal,
) -> Response:
    """A ticket for one stream, from last knowledge, without waiting for the camera."""
    sight = await picture_of(context, principal, point_id, body.purpose)
    point = sight.point
    profiles = {each.name: each for each in point.profiles}
    name = body.profile if body.profile in profiles else "main"
    known = profiles.get(name)
    details: dict[str, object] = {"profile": name, "purpose": sight.purpose}
    await record_sight(context, principal, sight, "open_live", details)
    try:
        ticket = services.live.issue(
            principal.user_id,
            point.id,
            name,
            _known(known, clear=sight.clear),
            clear=sight.clear,
            purpose=sight.purpose,
            token_id=principal.token.id if principal.token else "",
        )
    except LiveRefused as refused:
        raise HTTPException(refused.status, refused.reason) from None
    handed = _handed(services, sight, ticket)
    shape = {
        "ticket": ticket.token,
        "expires_at": timestamp(ticket.expires_at),
        "profile": ticket.profile,
        "codec": ticket.known.codec,
        "width": ticket.known.width,
        "height": ticket.known.height,
        "urls": ticket.urls() | (handed.urls if handed else {}),
        "media_server": handed and {"token": handed.token or None, "reason": handed.reason},
    }
    return answer(shape, status=201)


def _handed(services: Services, sight: Sight, ticket: Ticket) -> Handed | None:
    """Where a media server has the stream; None where there is no media server at all."""
    if services.media is None:
        return None
    if sight.point.masked:
        return Handed(reason="a masked point is not handed to a media server")
    if ticket.known.codec == "jpeg":
        return Handed(reason="a stream of single pictures is not handed to a media server")
    return services.media.hand_out(ticket)


def _known(profile: Profile | None, *, clear: bool) -> KnownProfile:
    """What is known of what will be shown. clear: as the camera sends it; else as it is masked."""
    if profile is None:
        return KnownProfile(codec=None if clear else "avc1")
    if not clear:
        width, height = fitted(profile.width, profile.height)
        return KnownProfile(codec="avc1", width=width, height=height)
    codec = CODECS.get(profile.codec)
    return KnownProfile(codec=codec, width=profile.width, height=profile.height)


@router.get("/{point_id}/thumbnail.jpg")
async def thumbnail(
    point_id: str,
    request: Request,
    context: CurrentContext,
    services: CurrentServices,
    principal: CurrentPrincipal,
    token: CurrentToken,
    purpose: Annotated[Purpose | None, Query()] = None,
) -> Response:
    """A picture 320 pixels wide that is kept for lists; `Hutong-Picture-Time` says of when. Of a
    masked point it is masked for everybody. Recorded once for each sign-in and point."""

    def read(connection: Connection) -> tuple[Sight, Hashable]:
        found = sight_of(connection, principal, point_id, purpose)
        return found, thumbnail_stamp(connection, found.point)

    sight, stamp = await context.database.read(read)
    if sight.point.device_id is None:
        raise Conflict("this point has no camera: no source is bound to it")
    if services.thumbnails is None:
        raise HTTPException(503, "no small pictures are kept here", RETRY)
    sight = dataclasses.replace(sight, clear=not sight.point.masked, clear_purpose="")
    await services.seen.record(context, principal, token, sight)
    away = sight.point.status == "offline"
    kept = await services.thumbnails.get(sight.point.id, stamp, FIRST_PICTURE_S, away=away)
    if kept is None:
        reason = sight.point.status_reason if away else services.thumbnails.reason(sight.point.id)
        raise HTTPException(
            503, f"there is no picture of it yet{': ' if reason else ''}{reason}", RETRY
        )
    tag = f'"{kept.etag}"'
    headers = {
        "ETag": tag,
        "Cache-Control": "private, no-cache",
        "Hutong-Picture-Time": timestamp(kept.at),
    }
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(kept.data, media_type="image/jpeg", headers=headers)


@router.get("/{point_id}/snapshot.jpg")
async def snapshot(
    point_id: str,
    context: CurrentContext,
    services: CurrentServices,
    principal: CurrentPrincipal,
    width: Annotated[int | None, Query(ge=64, le=1920)] = None,
    purpose: Annotated[Purpose | None, Query()] = None,
) -> Response:
    """A picture not older than 5 s: the device's own, else a keyframe of its stream; the header
    `Hutong-Picture` says which, `Hutong-Picture-Reason` why not its own. width: pixels."""
    sight = await picture_of(context, principal, point_id, purpose)
    await record_sight(context, principal, sight, "snapshot", {"width": width})
    try:
        picture = await services.snapshots.take(sight.point.id, width, clear=sight.clear)
    except NoCamera:
        raise Conflict("this point has no camera: no source is bound to it") from None
    except VisionUnavailable as error:
        raise NotSupported(str(error)) from None
    headers = {"Cache-Control": "no-store", "Hutong-Picture": picture.origin}
    if picture.reason:
        headers["Hutong-Picture-Reason"] = quote(picture.reason[:200], safe=" ,;:()'")
    return Response(picture.data, media_type="image/jpeg", headers=headers)
