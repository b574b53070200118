"""Video points."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from gateway.api.bodies import Body, Latitude, Longitude, Name, Place, Reference, Text
from gateway.api.context import (
    CurrentContext,
    CurrentPrincipal,
)
from gateway.api.point_shapes import (
    clusters_shape,
    features_shape,
    point_shape,
)
from gateway.api.shapes import (
    GEO_JSON,
    answer,
    given_version,
    merge_patch,
    move_shape,
    required_version,
    wants_geo_json,
)
from registry import point_clusters, point_lists, points
from registry.database import Connection
from registry.errors import Invalid
from registry.paging import DEFAULT_LIMIT, MAX_LIMIT
from registry.point_lists import PointFilter
from registry.points import NewPoint, Point

router = APIRouter(prefix="/points", tags=["points"])

Category = Literal[1, 2, 3, 9]
Ownership = Literal["public_security", "community", "property", "enterprise", "other"]
Code = Annotated[str, Field(pattern=r"^[0-9]{20}$")]
Host = Annotated[Text, Field(max_length=255)]
ChannelNumber = Annotated[int, Field(ge=1, le=65_535)]


class PointBody(Body):
    """organization: where it is created. assign: `explicit` makes it that organisation's;
    `polygon` gives it to the one below whose jurisdiction covers it. The default is `polygon`
    under a district, else `explicit`."""

    organization: Reference
    name: Name
    code: Code | None = None
    place: Place = ""
    longitude: Longitude | None = None
    latitude: Latitude | None = None
    category: Category = 9
    ownership: Ownership = "other"
    host: Host | None = None
    channel_number: ChannelNumber | None = None
    masked: bool = False
    attributes: dict[str, Any] = Field(default_factory=dict)
    assign: Literal["explicit", "polygon"] | None = None


class PointPatch(Body):
    """A JSON Merge Patch. organization: moves the point, explicitly. attributes: merged."""

    name: Name = ""
    code: Code | None = None
    place: Place | None = None
    longitude: Longitude | None = None
    latitude: Latitude | None = None
    category: Category = 9
    ownership: Ownership = "other"
    host: Host | None = None
    channel_number: ChannelNumber | None = None
    masked: bool = False
    attributes: dict[str, Any] | None = None
    organization: Reference = ""


class SourceBody(Body):
    """device: id. address: what the device calls the source."""

    device: Text
    address: Text


class Assignment(Body):
    """organization: null gives the points back to the polygons."""

    points: Annotated[list[Text], Field(min_length=1, max_length=1000)]
    organization: Reference | None


class ListQuery(Body):
    """bbox: west,south,east,north in degrees."""

    organization: Reference | None = None
    q: Annotated[Text, Field(max_length=100)] | None = None
    status: Literal["online", "offline", "fault", "unknown"] | None = None
    category: Annotated[int, Field(ge=1, le=9)] | None = None
    ownership: Ownership | None = None
    assigned_by: Literal["explicit", "polygon", "none"] | None = None
    bbox: Annotated[str, Field(max_length=200)] | None = None
    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT
    cursor: Annotated[str, Field(max_length=200)] | None = None

    def wanted(self) -> PointFilter:
        return PointFilter(
            organization=self.organization or None,
            q=self.q if self.q and self.q.strip() else None,
            status=self.status,
            category=self.category,
            ownership=self.ownership,
            assigned_by=self.assigned_by,
            bbox=_box(self.bbox) if self.bbox else None,
        )


class ClusterQuery(Body):
    """zoom: of web maps, 0 to 22. bbox: west,south,east,north in degrees."""

    zoom: Annotated[int, Field(ge=0, le=point_clusters.MAX_ZOOM)]
    bbox: Annotated[str, Field(max_length=200)] | None = None
    organization: Reference | None = None


def _box(text: str) -> tuple[float, float, float, float]:
    try:
        west, south, east, north = (float(part) for part in text.split(","))
    except ValueError:
        raise Invalid.at("bbox", "must be west,south,east,north in degrees") from None
    return west, south, east, north


@router.get("")
async def list_points(
    query: Annotated[ListQuery, Query()],
    request: Request,
    context: CurrentContext,
    principal: CurrentPrincipal,
) -> Response:
    """The points that the caller sees; as a FeatureCollection for `Accept:
    application/geo+json`."""
    wanted, limit, cursor = query.wanted(), query.limit, query.cursor or None
    if wants_geo_json(request):
        page = await context.database.read(
            lambda c: point_lists.page(c, principal, wanted, limit=limit, cursor=cursor)
        )
        return answer(features_shape(page), media_type=GEO_JSON)
    text = await context.texts.page(context.database, principal, wanted, limit=limit, cursor=cursor)
    return Response(text, media_type="application/json")


@router.get("/clusters")
async def list_clusters(
    query: Annotated[ClusterQuery, Query()], context: CurrentContext, principal: CurrentPrincipal
) -> Response:
    """How many points lie in each cell of a map, cells growing finer with the zoom."""
    found = await context.database.read(
        lambda c: point_clusters.clusters(
            c,
            principal,
            zoom=query.zoom,
            bbox=_box(query.bbox) if query.bbox else None,
            organization=query.organization or None,
        )
    )
    return answer(clusters_shape(found))


@router.post("", status_code=201)
async def create_point(
    body: PointBody, context: CurrentContext, principal: CurrentPrincipal
) -> Response:
    new = NewPoint(**body.model_dump())
    point = await context.database.write(lambda c: points.create(c, principal, new))
    return _answer(point, status=201)


@router.post("/assign")
async def assign_points(
    body: Assignment, context: CurrentContext, principal: CurrentPrincipal
) -> Response:
    """All of them or none; the answer lists those that changed."""
    moves = await context.database.write(
        lambda c: points.assign(c, principal, body.points, body.organization)
    )
    return answer({"moves": [move_shape(move) for move in moves]})


@router.get("/{point_id}")
async def get_point(
    point_id: str, context: CurrentContext, principal: CurrentPrincipal
) -> Response:
    return _answer(await context.database.read(lambda c: points.get(c, principal, point_id)))


@router.patch("/{point_id}")
async def change_point(
    point_id: str,
    body: PointPatch,
    request: Request,
    context: CurrentContext,
    principal: CurrentPrincipal,
) -> Response:
    version = required_version(request)
    changes = body.given()

    def write(connection: Connection) -> Point:
        if "attributes" in changes:
            before = points.get(connection, principal, point_id)
            merged = merge_patch(before.attributes, changes["attributes"] or {})
            given = {**changes, "attributes": merged if changes["attributes"] else {}}
        else:
            given = changes
        return points.update(connection, principal, point_id, given, version)

    return _answer(await context.database.write(write))


@router.delete("/{point_id}", status_code=204)
async def delete_point(
    point_id: str, request: Request, context: CurrentContext, principal: CurrentPrincipal
) -> Response:
    version = given_version(request)
    await context.database.write(lambda c: points.delete(c, principal, point_id, version))
    return Response(status_code=204)


@router.put("/{point_id}/source")
async def set_source(
    point_id: str,
    body: SourceBody,
    request: Request,
    context: CurrentContext,
    principal: CurrentPrincipal,
) -> Response:
    version = given_version(request)
    point = await context.database.write(
        lambda c: points.set_source(c, principal, point_id, body.device, body.address, version)
    )
    return _answer(point)


@router.delete("/{point_id}/source")
async def clear_source(
    point_id: str, request: Request, context: CurrentContext, principal: CurrentPrincipal
) -> Response:
    version = given_version(request)
    point = await context.database.write(
        lambda c: points.clear_source(c, principal, point_id, version)
    )
    return _answer(point)


def _answer(point: Point, status: int = 200) -> Response:
    return answer(point_shape(point), status=status, version=point.version)
