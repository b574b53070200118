"""Access tokens: how programs ask, for a user, without anybody's password."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import AwareDatetime, Field, StringConstraints

from gateway.access.sessions import hash_token
from gateway.access.tokens import new_access_token
from gateway.api.bodies import Body, Reference, Text
from gateway.api.context import CurrentContext, CurrentPerson, CurrentPrincipal
from gateway.api.shapes import answer, given_version, page_shape, token_shape
from registry import tokens
from registry.paging import DEFAULT_LIMIT, MAX_LIMIT
from registry.tokens import NewToken, NewTokenRole

router = APIRouter(prefix="/tokens", tags=["tokens"])

TokenName = Annotated[Text, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]


class TokenRoleBody(Body):
    """organization: at the user's own, or below it."""

    role: Annotated[Text, Field(max_length=32)]
    organization: Reference


class TokenBody(Body):
    """user: the id of another user, all of whose roles are where the caller is an admin; the
    caller, unless given. ends_at: in 90 days, unless given, and within 366. roles: all that the
    user has, unless given; `clear_view` never."""

    name: TokenName
    user: Annotated[Text, Field(max_length=64)] | None = None
    ends_at: AwareDatetime | None = None
    roles: Annotated[list[TokenRoleBody], Field(max_length=100)] | None = None

    def new(self, token_hash: bytes) -> NewToken:
        roles = None
        if self.roles is not None:
            given = (NewTokenRole(role=r.role, organization=r.organization) for r in self.roles)
            roles = tuple(given)
        return NewToken(
            name=self.name,
            token_hash=token_hash,
            user=self.user,
            ends_at=self.ends_at,
            roles=roles,
        )


@router.get("")
async def list_tokens(
    context: CurrentContext,
    principal: CurrentPrincipal,
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
) -> Response:
    """One's own, and those of users with a role within what the caller administers. An access token
    sees itself in place of its user's."""
    page = await context.database.read(
        lambda c: tokens.page(c, principal, limit=limit, cursor=cursor or None)
    )
    return answer(page_shape(page, token_shape))


@router.post("", status_code=201)
async def create_token(
    body: TokenBody, context: CurrentContext, principal: CurrentPerson
) -> Response:
    """`token` in the answer is shown this once. Access tokens make none."""
    secret = new_access_token()
    new = body.new(hash_token(secret))
    token = await context.database.write(lambda c: tokens.create(c, principal, new))
    shape = {**token_shape(token), "token": secret}
    headers = {"Location": f"/api/v1/tokens/{token.id}", "Cache-Control": "no-store"}
    return answer(shape, status=201, version=token.version, headers=headers)


@router.get("/{token_id}")
async def get_token(
    token_id: str, context: CurrentContext, principal: CurrentPrincipal
) -> Response:
    token = await context.database.read(lambda c: tokens.get(c, principal, token_id))
    return answer(token_shape(token), version=token.version)


@router.delete("/{token_id}", status_code=204)
async def revoke_token(
    token_id: str, request: Request, context: CurrentContext, principal: CurrentPrincipal
) -> Response:
    """It ends now: new requests are refused at once, running views and event streams close within
    5 s. An access token may end itself."""
    version = given_version(request)
    token = await context.database.write(lambda c: tokens.revoke(c, principal, token_id, version))
    context.access.forget(token.user_id)
    return Response(status_code=204)
