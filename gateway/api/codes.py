"""Codes of GB/T 28181 that the gateway issues."""

from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import Field

from gateway.api.bodies import Body
from gateway.api.context import CurrentContext, CurrentPrincipal
from gateway.api.shapes import answer, given_version, point_shape
from registry import issuing
from registry.codes import NETWORK_CAMERA

router = APIRouter(prefix="/points", tags=["points"])


class CodeBody(Body):
    """industry: digits 9 and 10. type: digits 11 to 13, such as 131 camera, 132 network camera.
    network: digit 14."""

    industry: Annotated[str, Field(pattern=r"^[0-9]{2}$")] = "00"
    type: Annotated[str, Field(pattern=r"^[0-9]{3}$")] = NETWORK_CAMERA
    network: Annotated[str, Field(pattern=r"^[0-9]$")] = "0"


@router.post("/{point_id}/code")
async def give_code(
    point_id: str,
    request: Request,
    context: CurrentContext,
    principal: CurrentPrincipal,
    body: CodeBody | None = None,
) -> Response:
    """Give a point without a code the next free one of its owner's region; the point with it."""
    version = given_version(request)
    wanted = body or CodeBody()
    point = await context.database.write(
        lambda c: issuing.give_code(
            c,
            principal,
            point_id,
            industry=wanted.industry,
            type=wanted.type,
            network=wanted.network,
            version=version,
        )
    )
    return answer(point_shape(point), version=point.version)
