"""Who did what: writes, looking, moving, signing in."""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import AwareDatetime, Field

from gateway.api.bodies import Body, Text
from gateway.api.context import CurrentContext, CurrentPrincipal
from gateway.api.shapes import act_shape, answer, page_shape
from registry.audit import ActFilter
from registry.paging import DEFAULT_LIMIT, MAX_LIMIT

router = APIRouter(prefix="/audit", tags=["audit"])

Word = Annotated[Text, Field(max_length=100)]


class AuditQuery(Body):
    """kind: of the object, such as `point`. action: such as `open_live`. object, user: ids.
    since, until: from then on, and before then."""

    kind: Word | None = None
    action: Word | None = None
    object: Word | None = None
    user: Word | None = None
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT
    cursor: Annotated[str, Field(max_length=200)] | None = None


@router.get("")
async def list_acts(
    query: Annotated[AuditQuery, Query()],
    context: CurrentContext,
    principal: CurrentPrincipal,
) -> Response:
    """What was done at the organisations that the caller audits, newest first."""
    wanted = ActFilter(
        kind=query.kind,
        action=query.action,
        object_id=query.object,
        user_id=query.user,
        since=query.since,
        until=query.until,
    )
    page = await context.audit.page(
        principal, wanted, limit=query.limit, cursor=query.cursor or None
    )
    return answer(page_shape(page, act_shape))
