"""Shares: what one organisation shows another for a time."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import AwareDatetime, Field, StringConstraints

from gateway.api.bodies import Body, Reference, Text
from gateway.api.context import CurrentContext, CurrentPrincipal
from gateway.api.shapes import answer, given_version, page_shape, share_shape
from registry import shares
from registry.paging import DEFAULT_LIMIT, MAX_LIMIT
from registry.shares import NewShare

router = APIRouter(prefix="/shares", tags=["shares"])

Purpose = Annotated[Text, StringConstraints(strip_whitespace=True, min_length=1, max_length=400)]


class SharedFrom(Body):
    """One of the two: a point's id, or an organisation for all of its points and of those below."""

    point: Annotated[Text, Field(max_length=100)] | None = None
    organization: Reference | None = None


class ShareBody(Body):
    """to: id or slug path, also of an organisation that the caller does not see. starts_at: now,
    unless given. Whoever posts it approves it."""

    source: Annotated[SharedFrom, Field(alias="from")]
    to: Reference
    purpose: Purpose
    starts_at: AwareDatetime | None = None
    ends_at: AwareDatetime
    ptz: bool = False

    def new(self) -> NewShare:
        return NewShare(
            point=self.source.point,
            organization=self.source.organization,
            to=self.to,
            purpose=self.purpose,
            starts_at=self.starts_at,
            ends_at=self.ends_at,
            ptz=self.ptz,
        )


@router.get("")
async def list_shares(
    context: CurrentContext,
    principal: CurrentPrincipal,
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
) -> Response:
    """Those that the caller could have approved, audits, or is given."""
    page = await context.database.read(
        lambda c: shares.page(c, principal, limit=limit, cursor=cursor or None)
    )
    return answer(page_shape(page, share_shape))


@router.post("", status_code=201)
async def create_share(
    body: ShareBody, context: CurrentContext, principal: CurrentPrincipal
) -> Response:
    share = await context.database.write(lambda c: shares.create(c, principal, body.new()))
    context.access.forget_all()  # who was shown nothing so far, is from now on
    return answer(share_shape(share), status=201, version=share.version)


@router.get("/{share_id}")
async def get_share(
    share_id: str, context: CurrentContext, principal: CurrentPrincipal
) -> Response:
    share = await context.database.read(lambda c: shares.get(c, principal, share_id))
    return answer(share_shape(share), version=share.version)


@router.delete("/{share_id}", status_code=204)
async def delete_share(
    share_id: str, request: Request, context: CurrentContext, principal: CurrentPrincipal
) -> Response:
    """It ends now: new requests are refused at once, running views close within 5 s."""
    version = given_version(request)
    await context.database.write(lambda c: shares.delete(c, principal, share_id, version))
    return Response(status_code=204)
