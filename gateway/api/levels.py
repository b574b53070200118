"""Response levels: an organisation's named plans, put in force and taken back."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field, StrictBool, StrictFloat, StrictInt

from gateway.api.bodies import Body, Name, Reference, Text
from gateway.api.context import CurrentContext, CurrentPrincipal
from gateway.api.services import CurrentServices
from gateway.api.shapes import (
    Shape,
    answer,
    given_version,
    page_shape,
    ref_shape,
    required_version,
)
from gateway.api.systems import ListQuery
from gateway.bus.messages import rfc3339
from registry import levels
from registry.levels import Change, Level, NewLevel, Step

router = APIRouter(prefix="/levels", tags=["radio"])


class StepBody(Body):
    """One value that the plan sets: `enabled`, `queue`, `hang_s`, `max_talk_s` of a patch,
    `priority` of a channel or unit, `on_duty`, `dwell_s` of a tour."""

    kind: Literal["patch", "channel", "unit", "tour"]
    id: Annotated[Text, Field(max_length=64)]
    field: Annotated[Text, Field(max_length=32)]
    value: StrictBool | StrictInt | StrictFloat

    def step(self) -> Step:
        return Step(kind=self.kind, id=self.id, field=self.field, value=self.value)


Plan = Annotated[list[StepBody], Field(max_length=1000)]
Rank = Annotated[int, Field(ge=0, le=100)]


class LevelBody(Body):
    """rank: 0 is the calmest."""

    name: Name
    organization: Reference
    rank: Rank = 0
    plan: Plan = Field(default_factory=list)


class LevelPatch(Body):
    name: Name = ""
    rank: Rank = 0
    plan: Plan = Field(default_factory=list)


def _step_shape(step: Step) -> Shape:
    return {"kind": step.kind, "id": step.id, "field": step.field, "value": step.value}


def _shape(level: Level) -> Shape:
    applied = level.applied
    return {
        "id": level.id,
        "version": level.version,
        "name": level.name,
        "organization": ref_shape(level.organization),
        "rank": level.rank,
        "plan": [_step_shape(step) for step in level.plan],
        "applied": {
            "at": rfc3339(applied.at),
            "by": {"id": applied.by_id, "name": applied.by_name},
        }
        if applied
        else None,
    }


def _change_shape(change: Change) -> Shape:
    return {
        "level": _shape(change.level) if change.level else None,
        "done": [_step_shape(step) for step in change.done],
        "skipped": [_step_shape(step) for step in change.skipped],
    }


@router.get("")
async def list_levels(
    query: Annotated[ListQuery, Query()], context: CurrentContext, principal: CurrentPrincipal
) -> Response:
    page = await context.database.read(
        lambda c: levels.page(
            c, principal, organization=query.organization, limit=query.limit, cursor=query.cursor
        )
    )
    return answer(page_shape(page, _shape))


@router.post("", status_code=201)
async def create_level(
    body: LevelBody, context: CurrentContext, principal: CurrentPrincipal
) -> Response:
    new = NewLevel(
        name=body.name,
        organization=body.organization,
        rank=body.rank,
        plan=tuple(step.step() for step in body.plan),
    )
    level = await context.database.write(lambda c: levels.create(c, principal, new))
    headers = {"Location": f"/api/v1/levels/{level.id}"}
    return answer(_shape(level), status=201, version=level.version, headers=headers)


@router.get("/{level_id}")
async def get_level(
    level_id: str, context: CurrentContext, principal: CurrentPrincipal
) -> Response:
    level = await context.database.read(lambda c: levels.get(c, principal, level_id))
    return answer(_shape(level), version=level.version)


@router.patch("/{level_id}")
async def update_level(
    level_id: str,
    body: LevelPatch,
    request: Request,
    context: CurrentContext,
    principal: CurrentPrincipal,
) -> Response:
    version = required_version(request)
    changes: dict[str, Any] = body.given()
    if "plan" in changes:
        changes["plan"] = tuple(step.step() for step in body.plan)
    level = await context.database.write(
        lambda c: levels.update(c, principal, level_id, changes, version)
    )
    return answer(_shape(level), version=level.version)


@router.delete("/{level_id}", status_code=204)
async def delete_level(
    level_id: str, request: Request, context: CurrentContext, principal: CurrentPrincipal
) -> Response:
    version = given_version(request)
    await context.database.write(lambda c: levels.delete_level(c, principal, level_id, version))
    return Response(status_code=204)


@router.post("/{level_id}/apply")
async def apply_level(
    level_id: str,
    context: CurrentContext,
    services: CurrentServices,
    principal: CurrentPrincipal,
) -> Response:
    """Put a level in force at once; what the one before it had set is taken back first."""
    change = await context.database.write(lambda c: levels.apply(c, principal, level_id))
    services.nudge()
    return answer(_change_shape(change))


@router.post("/{level_id}/restore")
async def restore_level(
    level_id: str,
    context: CurrentContext,
    services: CurrentServices,
    principal: CurrentPrincipal,
) -> Response:
    """Take back what a level in force has set."""
    change = await context.database.write(lambda c: levels.restore(c, principal, level_id))
    services.nudge()
    return answer(_change_shape(change))
