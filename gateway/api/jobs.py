"""Long work: how far it is, and cancelling it."""

from fastapi import APIRouter, Response

from gateway.api.context import CurrentContext, CurrentPrincipal
from gateway.api.services import CurrentServices
from gateway.api.shapes import answer, job_shape
from registry import jobs

router = APIRouter(prefix="/jobs", tags=["jobs"])


@router.get("/{job_id}")
async def get_job(job_id: str, context: CurrentContext, principal: CurrentPrincipal) -> Response:
    """A job of the caller's own."""
    job = await context.database.read(lambda c: jobs.get(c, principal, job_id))
    return answer(job_shape(job))


@router.delete("/{job_id}")
async def cancel_job(
    job_id: str, services: CurrentServices, principal: CurrentPrincipal
) -> Response:
    return answer(job_shape(await services.jobs.cancel(principal, job_id)))
