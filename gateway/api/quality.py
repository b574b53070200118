"""Video quality of a point: its latest report, thresholds of its own, the picture of evidence."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import Field

from gateway.access.roles import may_see_clear, may_view
from gateway.api.bodies import Body, Purpose, Reference
from gateway.api.context import CurrentContext, CurrentPrincipal
from gateway.api.shapes import Shape, answer, page_shape, ref_shape, timestamp
from gateway.api.sight import Sight, record_sight, sight_of
from gateway.vision.diagnosis import DEFAULT_THRESHOLDS, Fault
from gateway.vision.memory import from_bytes, to_bytes
from registry import points, quality
from registry.database import Connection
from registry.errors import Forbidden, NotFound
from registry.paging import DEFAULT_LIMIT, MAX_LIMIT
from registry.partition import Principal
from registry.points import Point
from registry.quality import Faulty, QualityReport

router = APIRouter(tags=["quality"])

Threshold = Annotated[float, Field(gt=0, le=2, allow_inf_nan=False)]


class ThresholdsBody(Body):
    """From which score a fault is found at this point. Scores go to 1: a threshold above it means
    never. A fault that is left out has the default."""

    thresholds: dict[Fault, Threshold]


class FaultyQuery(Body):
    """fault: one of those that are judged; any where it is left out."""

    organization: Reference | None = None
    fault: Fault | None = None
    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT
    cursor: Annotated[str, Field(max_length=200)] | None = None


@router.get("/quality")
async def list_faulty(
    query: Annotated[FaultyQuery, Query()], context: CurrentContext, principal: CurrentPrincipal
) -> Response:
    """The points of the caller's own partition whose picture has a fault."""
    page = await context.database.read(
        lambda c: quality.faulty(
            c,
            principal,
            organization=query.organization,
            fault=query.fault.value if query.fault else None,
            limit=query.limit,
            cursor=query.cursor or None,
        )
    )
    return answer(page_shape(page, _faulty_shape))


@router.get("/points/{point_id}/quality")
async def get_quality(
    point_id: str, context: CurrentContext, principal: CurrentPrincipal
) -> Response:
    """What the latest look at the point's picture found."""

    def read(connection: Connection) -> Shape:
        point = points.get(connection, principal, point_id)
        return _shape(principal, point, quality.of_point(connection, principal, point_id))

    return answer(await context.database.read(read))


@router.put("/points/{point_id}/quality/thresholds")
async def set_thresholds(
    point_id: str, body: ThresholdsBody, context: CurrentContext, principal: CurrentPrincipal
) -> Response:
    """The point's own thresholds, in place of those it has; none of them gives the defaults."""
    given = {fault.value: value for fault, value in body.thresholds.items()}

    def write(connection: Connection) -> Shape:
        report = quality.set_thresholds(connection, principal, point_id, given)
        return _shape(principal, points.get(connection, principal, point_id), report)

    return answer(await context.database.write(write))


@router.delete("/points/{point_id}/quality/scene", status_code=204)
async def forget_scene(
    point_id: str, context: CurrentContext, principal: CurrentPrincipal
) -> Response:
    """The camera was turned on purpose: what it shows next is its scene from then on."""

    def write(connection: Connection) -> None:
        point = points.get(connection, principal, point_id)
        memory = from_bytes(quality.memory_of(connection, point.id) or b"")
        kept = to_bytes(memory.without_scene())
        quality.set_memory(connection, principal, point.id, kept)

    await context.database.write(write)
    return Response(status_code=204)


@router.get("/points/{point_id}/quality/evidence.jpg")
async def get_evidence(
    point_id: str,
    context: CurrentContext,
    principal: CurrentPrincipal,
    purpose: Annotated[Purpose | None, Query()] = None,
) -> Response:
    """The picture in which a fault was found; seeing it is viewing, and recorded. Of a masked
    point it is from before it was masked, and for nobody who may not see past masks."""

    def read(connection: Connection) -> tuple[Sight, bytes]:
        sight = sight_of(connection, principal, point_id, purpose)
        if not sight.clear:
            raise Forbidden("this point is masked: its picture needs the right clear_view")
        picture = quality.evidence(connection, sight.point.id)
        if picture is None:
            raise NotFound("picture of evidence", sight.point.id)
        return sight, picture

    sight, data = await context.database.read(read)
    await record_sight(context, principal, sight, "quality_evidence", {})
    return Response(data, media_type="image/jpeg", headers={"Cache-Control": "no-store"})


def _faulty_shape(each: Faulty) -> Shape:
    return {
        "point": each.point_id,
        "name": each.name,
        "organization": ref_shape(each.organization),
        "faults": list(each.faults),
        "since": timestamp(each.faults_since) if each.faults_since else None,
        "at": timestamp(each.looked_at) if each.looked_at else None,
    }


def _in_clear(principal: Principal, point: Point) -> bool:
    return not point.masked or may_see_clear(principal, point.organization.path)


def _shape(principal: Principal, point: Point, report: QualityReport) -> Shape:
    """The address of the evidence is given to who may see it."""
    shown = report.has_evidence and may_view(principal, point) and _in_clear(principal, point)
    scores: list[dict[str, Any]] = [
        {
            "fault": each.fault,
            "score": each.score,
            "threshold": each.threshold,
            "found": each.found,
            "note": each.note,
        }
        for each in report.scores
    ]
    return {
        "point": point.id,
        "outcome": report.outcome,
        "at": timestamp(report.looked_at) if report.looked_at else None,
        "reason": report.reason,
        "faults": list(report.faults),
        "since": timestamp(report.faults_since) if report.faults_since else None,
        "scores": scores,
        "evidence": f"/api/v1/points/{point.id}/quality/evidence.jpg" if shown else None,
        "thresholds": {
            **{fault.value: value for fault, value in DEFAULT_THRESHOLDS.items()},
            **report.thresholds,
        },
        "own_thresholds": sorted(report.thresholds),
    }
