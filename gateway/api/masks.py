"""Privacy masks: what is hidden of a point's picture from whoever has no `clear_view`."""

from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import Field

from gateway.api.bodies import Body, Text
from gateway.api.context import CurrentContext, CurrentPrincipal
from gateway.api.shapes import Shape, answer, given_version
from registry import masks
from registry.mask_rules import MAX_CORNERS, MAX_POLYGONS, MAX_PRESETS
from registry.masks import Masks

router = APIRouter(prefix="/points", tags=["masks"])

Share = Annotated[float, Field(allow_inf_nan=False)]
Corner = Annotated[list[Share], Field(min_length=2, max_length=2)]
Corners = Annotated[list[Corner], Field(max_length=MAX_CORNERS + 1)]
Polygons = Annotated[list[Corners], Field(max_length=MAX_POLYGONS)]
PresetName = Annotated[Text, Field(min_length=1, max_length=64)]


class MasksBody(Body):
    """In place of the masks there are. polygons: of a camera that stands still; presets: of one
    that moves, by the name of its preset. Corners are [x, y] in 0..1 of the frame, from its upper
    left. With neither, all of the picture is hidden."""

    polygons: Polygons = Field(default_factory=list)
    presets: Annotated[dict[PresetName, Polygons], Field(max_length=MAX_PRESETS)] = Field(
        default_factory=dict
    )


@router.get("/{point_id}/masks")
async def get_masks(
    point_id: str, context: CurrentContext, principal: CurrentPrincipal
) -> Response:
    found = await context.database.read(lambda c: masks.get(c, principal, point_id))
    return answer(_shape(found), version=found.version)


@router.put("/{point_id}/masks")
async def put_masks(
    point_id: str,
    body: MasksBody,
    request: Request,
    context: CurrentContext,
    principal: CurrentPrincipal,
) -> Response:
    """Hide these parts, and mask the point; running views follow within 5 s."""
    version = given_version(request)
    changed = await context.database.write(
        lambda c: masks.put(
            c, principal, point_id, polygons=body.polygons, presets=body.presets, version=version
        )
    )
    return answer(_shape(changed), version=changed.version)


def _shape(found: Masks) -> Shape:
    """version: of the masks, 0 before they are first set."""
    return {
        "point": found.point_id,
        "version": found.version,
        "masked": found.masked,
        "movable": found.movable,
        "polygons": found.polygons,
        "presets": found.presets,
    }
