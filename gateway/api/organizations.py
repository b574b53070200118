"""The tree of organisations.

An organisation is named by its id or its slug path, so its routes take slashes; no two routes of
different depth share a method.
"""

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import BaseModel, ConfigDict

from gateway.api.background import Progress
from gateway.api.bodies import Body, Name, Reference, Text
from gateway.api.context import Context, CurrentContext, CurrentPrincipal
from gateway.api.services import current_services
from gateway.api.shapes import (
    Shape,
    answer,
    given_version,
    job_shape,
    organization_shape,
    page_shape,
    partition_shape,
    required_version,
)
from registry import organizations, repartition, reshaping
from registry.database import Connection, Database
from registry.errors import Conflict
from registry.organizations import Counts, NewOrganization, Organization
from registry.paging import MAX_LIMIT
from registry.partition import Principal
from registry.repartition import Plan

router = APIRouter(prefix="/organizations", tags=["organizations"])

LONG_POINTS = 10_000
ATTEMPTS = 3
PROGRESS_EVERY_S = 1.0


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
    business_group_code: Text | None = None
    virtual_organization_code: Text | None = None
    jurisdiction: Geometry | None = None
    purpose_required: bool = False


class OrganizationPatch(Body):
    """Null removes `region` or a code; a null `parent` makes a district a root. Another `parent`
    or `slug` takes along all that is below and all that is owned, retained topics included."""

    name: Name = ""
    slug: Text = ""
    parent: Reference | None = None
    code: Text | None = None
    region: Text | None = None
    business_group_code: Text | None = None
    virtual_organization_code: Text | None = None
    purpose_required: bool = False


class MergeBody(Body):
    """into: the organisation that stays."""

    into: Reference


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


@router.post("/{reference:path}/partition")
async def partition(
    reference: str,
    request: Request,
    context: CurrentContext,
    principal: CurrentPrincipal,
    dry_run: bool = False,
    include_explicit: bool = False,
    idempotency_key: Annotated[str | None, Header(max_length=200)] = None,
) -> Response:
    """Give the points created under an organisation to the polygons again; with `dry_run` only
    say what would move and why. Up to 10,000 points the answer is the report; more are a job's
    work: 202, and the report is the job's."""
    number = await context.database.read(lambda c: repartition.in_scope(c, principal, reference))

    async def work(progress: Progress) -> Shape:
        return await partitioned(
            context.database,
            principal,
            reference,
            dry_run=dry_run,
            include_explicit=include_explicit,
            progress=progress,
        )

    if number <= LONG_POINTS:
        return answer(await work(_unwatched))
    kind = "partition dry run" if dry_run else "partition"
    job = await current_services(request).jobs.start(principal, kind, work, idempotency_key)
    headers = {"Location": f"/api/v1/jobs/{job.id}"}
    return answer(job_shape(job), status=202, headers=headers)


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
    changes = body.given()
    place = {field: changes.pop(field) for field in ("slug", "parent") if field in changes}

    def write(connection: Connection) -> Organization:
        before = organizations.get(connection, principal, reference)
        changed = before
        if changes or not place:
            changed = organizations.update(connection, principal, before.id, changes, version)
        if place:
            changed = reshaping.move(
                connection,
                principal,
                before.id,
                parent=place.get("parent", before.parent_id),
                slug=place.get("slug", before.slug),
                version=changed.version if changes else version,
            )
        return changed

    changed = await context.database.write(write)
    if place:
        context.access.forget_all()
    return await _answer(context, principal, changed)


@router.post("/{reference:path}/merge")
async def merge_organizations(
    reference: str,
    body: MergeBody,
    request: Request,
    context: CurrentContext,
    principal: CurrentPrincipal,
) -> Response:
    """Make two of one kind into one; the answer is the one that stays."""
    version = given_version(request)
    merged = await context.database.write(
        lambda c: reshaping.merge(c, principal, reference, body.into, version)
    )
    context.access.forget_all()
    return await _answer(context, principal, merged)


@router.delete("/{reference:path}", status_code=204)
async def delete_organization(
    reference: str,
    request: Request,
    context: CurrentContext,
    principal: CurrentPrincipal,
    reassign_to: Annotated[str | None, Query(max_length=1000)] = None,
) -> Response:
    """Refused with what it still owns, unless `reassign_to` says who gets it."""
    version = given_version(request)

    def write(connection: Connection) -> None:
        if reassign_to:
            reshaping.delete_reassigning(connection, principal, reference, reassign_to, version)
        else:
            organizations.delete(connection, principal, reference, version)

    await context.database.write(write)
    context.access.forget_all()
    return Response(status_code=204)


async def _unwatched(done: int, total: int | None, report: Mapping[str, object] | None) -> None:
    """Somebody waits for the answer itself."""


async def partitioned(
    database: Database,
    principal: Principal,
    reference: str,
    *,
    dry_run: bool,
    include_explicit: bool,
    progress: Progress,
) -> Shape:
    """Plan and, unless it is a dry run, apply; again where something changed in between. Cancelled
    while it plans, it leaves nothing.

    Raises: NotFound, Forbidden; Conflict where things kept changing; DatabaseAway.
    """
    for left in reversed(range(ATTEMPTS)):
        plan = await _planned(database, principal, reference, include_explicit, progress)
        if dry_run:
            break
        try:
            await database.write(lambda c, plan=plan: repartition.apply(c, principal, plan))  # type: ignore[misc]
            break
        except Conflict:
            if not left:
                raise
    return partition_shape(plan, dry_run=dry_run)


async def _planned(
    database: Database,
    principal: Principal,
    reference: str,
    include_explicit: bool,
    progress: Progress,
) -> Plan:
    """The plan, made in the database's own thread; its progress is told from this one."""
    said = (0, 0)
    stopped = False

    def tell(done: int, total: int) -> None:
        nonlocal said
        said = (done, total)
        if stopped:
            raise Conflict("cancelled")

    planning = asyncio.ensure_future(
        database.read(
            lambda c: repartition.plan(
                c, principal, reference, include_explicit=include_explicit, progress=tell
            )
        )
    )
    try:
        while not planning.done():
            await asyncio.wait([planning], timeout=PROGRESS_EVERY_S)
            if not planning.done():
                await progress(*said, None)
        return await planning
    finally:
        stopped = True
        planning.cancel()
        await asyncio.gather(planning, return_exceptions=True)


async def _answer(
    context: Context, principal: Principal, organization: Organization, status: int = 200
) -> Response:
    counts = await context.database.read(
        lambda c: organizations.counts(c, principal, organization.path)
    )
    shape = organization_shape(organization, counts.get(organization.path, Counts()))
    return answer(shape, status=status, version=organization.version)
