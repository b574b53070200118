"""Patches and units. What dispatchers do to running ones is in `talk`."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import AwareDatetime, Field

from gateway.api import unit_imports
from gateway.api.bodies import Body, Name, Reference, Text
from gateway.api.context import CurrentContext, CurrentPrincipal
from gateway.api.services import CurrentServices, Services
from gateway.api.shapes import (
    Shape,
    answer,
    given_version,
    page_shape,
    patch_shape,
    required_version,
    unit_shape,
)
from gateway.api.systems import ListQuery
from registry import patches, units
from registry.patch_options import FIELDS, Listed, PatchOptions
from registry.patches import Member, NewPatch, Patch
from registry.units import NewUnit, UnitAddress

router = APIRouter(tags=["radio"])
router.include_router(unit_imports.router)

Seconds = Annotated[float, Field(ge=0, le=60, allow_inf_nan=False)]
Limit = Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)]
Option = Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)]
Priority = Annotated[int, Field(ge=0, le=254)]
Members = Annotated[list["MemberBody"], Field(max_length=200)]


class MemberBody(Body):
    channel: Text
    direction: Literal["both", "talk", "listen"] = "both"
    priority: Priority = 0
    muted: bool = False

    def member(self) -> Member:
        return Member(
            channel_id=self.channel,
            direction=self.direction,
            priority=self.priority,
            muted=self.muted,
        )


class UnitLists(Body):
    """Units by id, or as ``{system_id}/{address}``. allow: empty for all; deny goes first."""

    allow: Annotated[list[Text], Field(max_length=2000)] = Field(default_factory=list)
    deny: Annotated[list[Text], Field(max_length=2000)] = Field(default_factory=list)


CallType = Literal["voice", "emergency", "dispatch"]


class CallLists(Body):
    allow: Annotated[list[CallType], Field(max_length=3)] = Field(default_factory=list)
    deny: Annotated[list[CallType], Field(max_length=3)] = Field(default_factory=list)


class OptionsBody(Body):
    """The finer rules, in seconds where they end in _s; the registry says what may be."""

    queue_timeout_s: Option = 30.0
    revoke_grace_s: Option = 0.0
    penalty_s: Option = 0.0
    emergency_hold_s: Option = 120.0
    encrypted: bool = False
    units: UnitLists = Field(default_factory=UnitLists)
    calls: CallLists = Field(default_factory=CallLists)

    def option(self, name: str) -> Any:
        value = getattr(self, name)
        if isinstance(value, UnitLists | CallLists):
            return Listed(allow=tuple(value.allow), deny=tuple(value.deny))
        return value


class ScheduleBody(Body):
    """On from `from` to the next `to`, by the clocks of a zone such as Asia/Shanghai, on the days
    (1 Monday .. 7 Sunday) on which that begins."""

    timezone: Annotated[Text, Field(max_length=64)]
    begins: Annotated[Text, Field(max_length=5, alias="from")]
    to: Annotated[Text, Field(max_length=5)]
    days: Annotated[list[int], Field(max_length=7)] | None = None

    def document(self) -> dict[str, Any]:
        return self.model_dump(by_alias=True, exclude_none=True)


class PatchBody(OptionsBody):
    """hang_s, max_talk_s: seconds. voice: `frames` keys those with whom voice can pass, `silence`
    keys all without sound, `events` keys nobody."""

    name: Name
    organization: Reference
    members: Members = Field(default_factory=list)
    enabled: bool = True
    hang_s: Seconds = 2.0
    max_talk_s: Limit = 60.0
    queue: bool = False
    until: AwareDatetime | None = None
    schedule: ScheduleBody | None = None
    voice: Literal["frames", "silence", "events"] = "frames"


class PatchPatch(OptionsBody):
    name: Name = ""
    organization: Reference = ""
    members: Members = Field(default_factory=list)
    enabled: bool = True
    hang_s: Seconds = 2.0
    max_talk_s: Limit = 60.0
    queue: bool = False
    until: AwareDatetime | None = None
    schedule: ScheduleBody | None = None
    voice: Literal["frames", "silence", "events"] = "frames"


class AddressBody(Body):
    system: Text
    address: Annotated[Text, Field(min_length=1, max_length=200)]


class UnitBody(Body):
    alias: Name
    organization: Reference
    priority: Priority = 0
    addresses: Annotated[list[AddressBody], Field(max_length=50)] = Field(default_factory=list)


class UnitPatch(Body):
    alias: Name = ""
    organization: Reference = ""
    priority: Priority = 0
    addresses: Annotated[list[AddressBody], Field(max_length=50)] = Field(default_factory=list)


class UnitQuery(ListQuery):
    q: Annotated[Text, Field(max_length=100)] | None = None


def _shape(patch: Patch, services: Services) -> Shape:
    """With `state` as the bridge says it, null while no bridge speaks."""
    return {**patch_shape(patch), "state": services.feed.patch_state(patch.id)}


def _patch_changes(body: PatchPatch) -> dict[str, Any]:
    changes = body.given()
    if "members" in changes:
        changes["members"] = tuple(member.member() for member in body.members)
    if "schedule" in changes:
        changes["schedule"] = body.schedule.document() if body.schedule else None
    return changes | {name: body.option(name) for name in FIELDS if name in changes}


@router.get("/patches")
async def list_patches(
    query: Annotated[ListQuery, Query()],
    context: CurrentContext,
    services: CurrentServices,
    principal: CurrentPrincipal,
) -> Response:
    page = await context.database.read(
        lambda c: patches.page(
            c, principal, organization=query.organization, limit=query.limit, cursor=query.cursor
        )
    )
    return answer(page_shape(page, lambda patch: _shape(patch, services)))


@router.post("/patches", status_code=201)
async def create_patch(
    body: PatchBody,
    context: CurrentContext,
    services: CurrentServices,
    principal: CurrentPrincipal,
) -> Response:
    """Join channels. 409 names the other patch when one of them may be keyed by it too."""
    new = NewPatch(
        name=body.name,
        organization=body.organization,
        members=tuple(member.member() for member in body.members),
        enabled=body.enabled,
        hang_s=body.hang_s,
        max_talk_s=body.max_talk_s,
        queue=body.queue,
        until=body.until,
        schedule=body.schedule.document() if body.schedule else None,
        voice=body.voice,
        options=PatchOptions(**{name: body.option(name) for name in FIELDS}),
    )
    patch = await context.database.write(lambda c: patches.create(c, principal, new))
    services.nudge()
    headers = {"Location": f"/api/v1/patches/{patch.id}"}
    return answer(_shape(patch, services), status=201, version=patch.version, headers=headers)


@router.get("/patches/{patch_id}")
async def get_patch(
    patch_id: str,
    context: CurrentContext,
    services: CurrentServices,
    principal: CurrentPrincipal,
) -> Response:
    patch = await context.database.read(lambda c: patches.get(c, principal, patch_id))
    return answer(_shape(patch, services), version=patch.version)


@router.patch("/patches/{patch_id}")
async def update_patch(
    patch_id: str,
    body: PatchPatch,
    request: Request,
    context: CurrentContext,
    services: CurrentServices,
    principal: CurrentPrincipal,
) -> Response:
    version = required_version(request)
    patch = await context.database.write(
        lambda c: patches.update(c, principal, patch_id, _patch_changes(body), version)
    )
    services.nudge()
    return answer(_shape(patch, services), version=patch.version)


@router.delete("/patches/{patch_id}", status_code=204)
async def delete_patch(
    patch_id: str,
    request: Request,
    context: CurrentContext,
    services: CurrentServices,
    principal: CurrentPrincipal,
) -> Response:
    version = given_version(request)
    await context.database.write(lambda c: patches.delete(c, principal, patch_id, version))
    services.nudge()
    return Response(status_code=204)


@router.get("/units")
async def list_units(
    query: Annotated[UnitQuery, Query()], context: CurrentContext, principal: CurrentPrincipal
) -> Response:
    page = await context.database.read(
        lambda c: units.page(
            c,
            principal,
            organization=query.organization,
            q=query.q if query.q and query.q.strip() else None,
            limit=query.limit,
            cursor=query.cursor,
        )
    )
    return answer(page_shape(page, unit_shape))


@router.post("/units", status_code=201)
async def create_unit(
    body: UnitBody,
    context: CurrentContext,
    services: CurrentServices,
    principal: CurrentPrincipal,
) -> Response:
    new = NewUnit(
        alias=body.alias,
        organization=body.organization,
        priority=body.priority,
        addresses=_addresses(body.addresses),
    )
    unit = await context.database.write(lambda c: units.create(c, principal, new))
    services.nudge()
    headers = {"Location": f"/api/v1/units/{unit.id}"}
    return answer(unit_shape(unit), status=201, version=unit.version, headers=headers)


def _addresses(bodies: list[AddressBody]) -> tuple[UnitAddress, ...]:
    return tuple(UnitAddress(system_id=each.system, address=each.address) for each in bodies)


@router.get("/units/{unit_id}")
async def get_unit(unit_id: str, context: CurrentContext, principal: CurrentPrincipal) -> Response:
    unit = await context.database.read(lambda c: units.get(c, principal, unit_id))
    return answer(unit_shape(unit), version=unit.version)


@router.patch("/units/{unit_id}")
async def update_unit(
    unit_id: str,
    body: UnitPatch,
    request: Request,
    context: CurrentContext,
    services: CurrentServices,
    principal: CurrentPrincipal,
) -> Response:
    version = required_version(request)
    changes = body.given()
    if "addresses" in changes:
        changes["addresses"] = _addresses(body.addresses)
    unit = await context.database.write(
        lambda c: units.update(c, principal, unit_id, changes, version)
    )
    services.nudge()
    return answer(unit_shape(unit), version=unit.version)


@router.delete("/units/{unit_id}", status_code=204)
async def delete_unit(
    unit_id: str,
    request: Request,
    context: CurrentContext,
    services: CurrentServices,
    principal: CurrentPrincipal,
) -> Response:
    version = given_version(request)
    await context.database.write(lambda c: units.delete(c, principal, unit_id, version))
    services.nudge()
    return Response(status_code=204)
