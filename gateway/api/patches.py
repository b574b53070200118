"""Patches, the dispatcher's own press, and units."""

import asyncio
import uuid
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import AwareDatetime, Field

from gateway.access.roles import may_dispatch
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
from gateway.bus.errors import BrokerAway
from gateway.bus.messages import encode
from registry import channels, patches, units
from registry.channels import Channel
from registry.errors import Forbidden
from registry.partition import Principal, Role
from registry.patches import Member, NewPatch, Patch
from registry.units import NewUnit, UnitAddress

router = APIRouter(tags=["radio"])

ANSWER_TIMEOUT_S = 2.0
MAX_PRESS_PRIORITY = 100
"""What a dispatcher's press may be worth; an admin may go up to 254."""

Seconds = Annotated[float, Field(ge=0, le=60, allow_inf_nan=False)]
Limit = Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)]
Priority = Annotated[int, Field(ge=0, le=254)]
Members = Annotated[list["MemberBody"], Field(max_length=200)]


class MemberBody(Body):
    channel: Text
    direction: Literal["both", "talk", "listen"] = "both"
    priority: Priority = 0

    def member(self) -> Member:
        return Member(channel_id=self.channel, direction=self.direction, priority=self.priority)


class PatchBody(Body):
    """hang_s, max_talk_s: seconds. voice: what passes; `events` keys nothing."""

    name: Name
    organization: Reference
    members: Members = Field(default_factory=list)
    enabled: bool = True
    hang_s: Seconds = 2.0
    max_talk_s: Limit = 60.0
    queue: bool = False
    until: AwareDatetime | None = None
    voice: Literal["silence", "events"] = "events"


class PatchPatch(Body):
    name: Name = ""
    organization: Reference = ""
    members: Members = Field(default_factory=list)
    enabled: bool = True
    hang_s: Seconds = 2.0
    max_talk_s: Limit = 60.0
    queue: bool = False
    until: AwareDatetime | None = None
    voice: Literal["silence", "events"] = "events"


class TalkBody(Body):
    action: Literal["press", "refresh", "release"]
    priority: Priority = 0


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
    return changes


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
        voice=body.voice,
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


@router.post("/channels/{channel_id}/talk", status_code=202)
async def talk(
    channel_id: str,
    body: TalkBody,
    context: CurrentContext,
    services: CurrentServices,
    principal: CurrentPrincipal,
) -> Response:
    """A dispatcher's own press; ends without a refresh every 2 s. The bridge decides."""
    channel = await context.database.read(lambda c: channels.get(c, principal, channel_id))
    path = channel.organization.path
    if not may_dispatch(principal, path):
        raise Forbidden("talking needs the role dispatcher or admin here")
    cap = 254 if principal.may({Role.ADMIN}, path) else MAX_PRESS_PRIORITY
    decided = await _ask_bridge(services, channel, principal, body.action, min(body.priority, cap))
    shape = {
        "transmission": decided.get("transmission"),
        "state": decided.get("state"),
        "position": decided.get("position"),
        "reason": decided.get("reason"),
    }
    return answer(shape, status=202)


async def _ask_bridge(
    services: Services, channel: Channel, principal: Principal, action: str, priority: int
) -> dict[str, Any]:
    request_id = uuid.uuid4().hex
    request = {
        "id": request_id,
        "action": action,
        "user": principal.user_id,
        "alias": principal.name,
        "priority": priority,
    }
    bus = services.bus
    topic = bus.topics.org("channels", "request", channel.organization.path, channel.id)
    with services.feed.expecting(request_id) as answer:
        if not bus.publish(topic, encode(request)):
            raise BrokerAway("the broker is away, so nobody can talk through us now")
        await asyncio.wait([answer], timeout=ANSWER_TIMEOUT_S)
        decided = answer.result() if answer.done() else None
    if decided is None:
        raise BrokerAway("no bridge answers, so nobody can talk through us now")
    return dict(decided)


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
