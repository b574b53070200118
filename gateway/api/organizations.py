"""The tree of organisations.

An organisation is named by its id or its slug path, so its routes take slashes; no two routes of
different depth share a method.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict

from gateway.api.bodies import Body, Name, Reference, Text
from gateway.api.context import Context, CurrentContext, CurrentPrincipal
from gateway.api.shapes import (
    Shape,
    answer,
    given_version,
    organization_shape,
    page_shape,
    required_version,
)
from registry import organizations
from registry.database import Connection
from registry.organizations import Counts, NewOrganization, Organization
from registry.paging import MAX_LIMIT
from registry.partition import Principal

router = APIRouter(prefix="/organizations", tags=["organizations"])


class Geometry(BaseModel):
    """A GeoJSON Polygon or MultiPolygon, WGS-84 degrees. Other members, such as `bbox`, are left
    out."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    type: Text
    coordinates: list[Any]


class OrganizationBody(Body):
    kind: Text
    name: Name
    slug: Text
    parent: Reference | None = None
    code: Text | None = None
    region: Text | None = None
    jurisdiction: Geometry | None = None


class OrganizationPatch(Body):
    """Null removes `code` or `region`. Slug and parent stay: topics and rights hang on them."""

    name: Name = ""
    code: Text | None = None
    region: Text | None = None


@router.get("")
async def list_organizations(
    context: CurrentContext,
    principal: CurrentPrincipal,
    limit: Annotated[int | None, Query(ge=1, le=MAX_LIMIT)] = None,
    cursor: Annotated[str | None, Query(max_length=2000)] = None,
) -> Response:
    """All that the caller sees, in path order, so that a parent stands before its children; in
    pages only where a limit is given."""

    def read(connection: Connection) -> Shape:
        page = organizations.page(connection, principal, limit=limit, cursor=cursor or None)
        counts = organizations.counts(connection, principal)
        return page_shape(
            page, lambda each: organization_shape(each, counts.get(each.path, Counts()))
        )

    return answer(await context.database.read(read))


@router.post("", status_code=201)
async def create_organization(
    body: OrganizationBody, context: CurrentContext, principal: CurrentPrincipal
) -> Response:
    new = NewOrganization(**body.model_dump())
    created = await context.database.write(lambda c: organizations.create(c, principal, new))
    context.access.forget_all()
    return await _answer(context, principal, created, status=201)


@router.put("/{reference:path}/jurisdiction")
async def set_jurisdiction(
    reference: str,
    body: Geometry | None,
    request: Request,
    context: CurrentContext,
    principal: CurrentPrincipal,
) -> Response:
    """Null removes it. Points stay where they are until the next partition."""
    document = body.model_dump() if body else None
    version = given_version(request)
    changed = await context.database.write(
        lambda c: organizations.set_jurisdiction(c, principal, reference, document, version)
    )
    return await _answer(context, principal, changed)


@router.get("/{reference:path}")
async def get_organization(
    reference: str, context: CurrentContext, principal: CurrentPrincipal
) -> Response:
    found = await context.database.read(lambda c: organizations.get(c, principal, reference))
    return await _answer(context, principal, found)


@router.patch("/{reference:path}")
async def change_organization(
    reference: str,
    body: OrganizationPatch,
    request: Request,
    context: CurrentContext,
    principal: CurrentPrincipal,
) -> Response:
    version = required_version(request)
    changed = await context.database.write(
        lambda c: organizations.update(c, principal, reference, body.given(), version)
    )
    return await _answer(context, principal, changed)


@router.delete("/{reference:path}", status_code=204)
async def delete_organization(
    reference: str, request: Request, context: CurrentContext, principal: CurrentPrincipal
) -> Response:
    """Refused with what it still owns."""
    version = given_version(request)
    await context.database.write(lambda c: organizations.delete(c, principal, reference, version))
    context.access.forget_all()
    return Response(status_code=204)


async def _answer(
    context: Context, principal: Principal, organization: Organization, status: int = 200
) -> Response:
    counts = await context.database.read(
        lambda c: organizations.counts(c, principal, organization.path)
    )
    shape = organization_shape(organization, counts.get(organization.path, Counts()))
    return answer(shape, status=status, version=organization.version)
