"""Walls, the saved layouts of whoever asks, and tours, the patrols of organisations."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from gateway.api.bodies import Body, Name, Reference, Text
from gateway.api.context import CurrentContext, CurrentOwner, CurrentPrincipal
from gateway.api.shapes import (
    Shape,
    answer,
    given_version,
    page_shape,
    ref_shape,
    required_version,
)
from gateway.api.systems import ListQuery
from registry import tours, walls
from registry.paging import DEFAULT_LIMIT, MAX_LIMIT
from registry.tours import Group, NewTour, Tour
from registry.walls import NewWall, Wall

router = APIRouter(tags=["walls"])

Tiles = Literal[1, 4, 9, 16, 25]
PointId = Annotated[Text, Field(max_length=64)]
Places = Annotated[list[PointId | None], Field(max_length=25)]
Dwell = Annotated[int, Field(ge=5, le=3600)]


class WallQuery(Body):
    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT
    cursor: Annotated[str, Field(max_length=200)] | None = None


class WallBody(Body):
    """points: the id of the point in each tile by rows, null for an empty one."""

    name: Name
    tiles: Tiles
    points: Places = Field(default_factory=list)


class WallPatch(Body):
    name: Name = ""
    tiles: Tiles = 1
    points: Places = Field(default_factory=list)


class GroupBody(Body):
    name: Name
    points: Annotated[list[PointId], Field(min_length=1, max_length=25)]

    def group(self) -> Group:
        return Group(name=self.name, points=tuple(self.points))


Groups = Annotated[list[GroupBody], Field(max_length=100)]


class TourBody(Body):
    """dwell_s: seconds for which a group stands. on_duty: whether it is to be watched now; the
    organisation's consoles offer it first."""

    name: Name
    organization: Reference
    dwell_s: Dwell = 15
    on_duty: bool = False
    groups: Groups = Field(default_factory=list)


class TourPatch(Body):
    name: Name = ""
    dwell_s: Dwell = 15
    on_duty: bool = False
    groups: Groups = Field(default_factory=list)


def _wall_shape(wall: Wall) -> Shape:
    """hidden: points in places that look empty, as the caller may not see them now."""
    return {
        "id": wall.id,
        "version": wall.version,
        "name": wall.name,
        "tiles": wall.tiles,
        "points": list(wall.points),
        "hidden": wall.hidden,
    }


def _tour_shape(tour: Tour) -> Shape:
    """hidden: points that are left out, as the caller may not see them."""
    return {
        "id": tour.id,
        "version": tour.version,
        "name": tour.name,
        "organization": ref_shape(tour.organization),
        "dwell_s": tour.dwell_s,
        "on_duty": tour.on_duty,
        "groups": [
            {"name": each.name, "points": list(each.points), "hidden": each.hidden}
            for each in tour.groups
        ],
        "hidden": tour.hidden,
    }


@router.get("/walls")
async def list_walls(
    query: Annotated[WallQuery, Query()], context: CurrentContext, principal: CurrentOwner
) -> Response:
    """The caller's own; nobody sees another person's."""
    page = await context.database.read(
        lambda c: walls.page(c, principal, limit=query.limit, cursor=query.cursor or None)
    )
    return answer(page_shape(page, _wall_shape))


@router.post("/walls", status_code=201)
async def create_wall(body: WallBody, context: CurrentContext, principal: CurrentOwner) -> Response:
    new = NewWall(name=body.name, tiles=body.tiles, points=tuple(body.points))
    wall = await context.database.write(lambda c: walls.create(c, principal, new))
    headers = {"Location": f"/api/v1/walls/{wall.id}"}
    return answer(_wall_shape(wall), status=201, version=wall.version, headers=headers)


@router.get("/walls/{wall_id}")
async def get_wall(wall_id: str, context: CurrentContext, principal: CurrentOwner) -> Response:
    wall = await context.database.read(lambda c: walls.get(c, principal, wall_id))
    return answer(_wall_shape(wall), version=wall.version)


@router.patch("/walls/{wall_id}")
async def update_wall(
    wall_id: str,
    body: WallPatch,
    request: Request,
    context: CurrentContext,
    principal: CurrentOwner,
) -> Response:
    version = required_version(request)
    wall = await context.database.write(
        lambda c: walls.update(c, principal, wall_id, body.given(), version)
    )
    return answer(_wall_shape(wall), version=wall.version)


@router.delete("/walls/{wall_id}", status_code=204)
async def delete_wall(
    wall_id: str, request: Request, context: CurrentContext, principal: CurrentOwner
) -> Response:
    version = given_version(request)
    await context.database.write(lambda c: walls.delete(c, principal, wall_id, version))
    return Response(status_code=204)


@router.get("/tours")
async def list_tours(
    query: Annotated[ListQuery, Query()], context: CurrentContext, principal: CurrentPrincipal
) -> Response:
    page = await context.database.read(
        lambda c: tours.page(
            c, principal, organization=query.organization, limit=query.limit, cursor=query.cursor
        )
    )
    return answer(page_shape(page, _tour_shape))


@router.post("/tours", status_code=201)
async def create_tour(
    body: TourBody, context: CurrentContext, principal: CurrentPrincipal
) -> Response:
    new = NewTour(
        name=body.name,
        organization=body.organization,
        dwell_s=body.dwell_s,
        on_duty=body.on_duty,
        groups=tuple(each.group() for each in body.groups),
    )
    tour = await context.database.write(lambda c: tours.create(c, principal, new))
    headers = {"Location": f"/api/v1/tours/{tour.id}"}
    return answer(_tour_shape(tour), status=201, version=tour.version, headers=headers)


@router.get("/tours/{tour_id}")
async def get_tour(tour_id: str, context: CurrentContext, principal: CurrentPrincipal) -> Response:
    tour = await context.database.read(lambda c: tours.get(c, principal, tour_id))
    return answer(_tour_shape(tour), version=tour.version)


@router.patch("/tours/{tour_id}")
async def update_tour(
    tour_id: str,
    body: TourPatch,
    request: Request,
    context: CurrentContext,
    principal: CurrentPrincipal,
) -> Response:
    version = required_version(request)
    changes: dict[str, Any] = body.given()
    if "groups" in changes:
        changes["groups"] = tuple(each.group() for each in body.groups)
    tour = await context.database.write(
        lambda c: tours.update(c, principal, tour_id, changes, version)
    )
    return answer(_tour_shape(tour), version=tour.version)


@router.delete("/tours/{tour_id}", status_code=204)
async def delete_tour(
    tour_id: str, request: Request, context: CurrentContext, principal: CurrentPrincipal
) -> Response:
    version = given_version(request)
    await context.database.write(lambda c: tours.delete(c, principal, tour_id, version))
    return Response(status_code=204)
