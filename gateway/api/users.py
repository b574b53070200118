"""Users and their roles. Access tokens may read them, and write none."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import AwareDatetime, Field, StringConstraints

from gateway.access.roles import administers_anything
from gateway.api.bodies import Body, Password, Reference, Text
from gateway.api.context import CurrentContext, CurrentPerson, CurrentPrincipal
from gateway.api.shapes import (
    answer,
    given_version,
    page_shape,
    required_version,
    user_shape,
)
from registry import users
from registry.errors import Forbidden
from registry.paging import DEFAULT_LIMIT, MAX_LIMIT
from registry.users import NewRole, NewUser, User

router = APIRouter(prefix="/users", tags=["users"])

UserName = Annotated[Text, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]


class RoleBody(Body):
    """purpose, ends_at: of `clear_view`, which needs both."""

    role: Text
    organization: Reference
    purpose: Annotated[Text, Field(max_length=1000)] = ""
    ends_at: AwareDatetime | None = None

    def new(self) -> NewRole:
        ends_at: datetime | None = self.ends_at
        return NewRole(
            role=self.role, organization=self.organization, purpose=self.purpose, ends_at=ends_at
        )


Roles = Annotated[list[RoleBody], Field(max_length=1000)]


class RolesBody(Body):
    roles: Roles


class UserBody(Body):
    name: UserName
    password: Password
    roles: Roles
    disabled: bool = False


class UserPatch(Body):
    name: UserName = ""
    password: Password = ""
    disabled: bool = False


@router.get("")
async def list_users(
    context: CurrentContext,
    principal: CurrentPrincipal,
    q: Annotated[str | None, Query(max_length=100)] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
) -> Response:
    """Those with a role within what the caller administers."""
    page = await context.database.read(
        lambda c: users.page(c, principal, q=q or None, limit=limit, cursor=cursor or None)
    )
    return answer(page_shape(page, user_shape))


@router.post("", status_code=201)
async def create_user(
    body: UserBody, context: CurrentContext, principal: CurrentPerson
) -> Response:
    # Before the hash, which is dear.
    if not administers_anything(principal):
        raise Forbidden("this needs the role admin somewhere")
    new = NewUser(
        name=body.name,
        password_hash=await context.access.passwords.hash(body.password),
        roles=tuple(role.new() for role in body.roles),
        disabled=body.disabled,
    )
    return _answer(
        await context.database.write(lambda c: users.create(c, principal, new)), status=201
    )


@router.get("/{user_id}")
async def get_user(user_id: str, context: CurrentContext, principal: CurrentPrincipal) -> Response:
    return _answer(await context.database.read(lambda c: users.get(c, principal, user_id)))


@router.patch("/{user_id}")
async def change_user(
    user_id: str,
    body: UserPatch,
    request: Request,
    context: CurrentContext,
    principal: CurrentPerson,
) -> Response:
    """Whoever is disabled or gets another password is signed out everywhere; the access tokens
    of who is disabled end."""
    version = required_version(request)
    changes: dict[str, Any] = body.given()
    if "password" in changes:
        changes["password_hash"] = await context.access.passwords.hash(changes.pop("password"))
    user = await context.database.write(
        lambda c: users.update(c, principal, user_id, changes, version)
    )
    context.access.forget(user.id)
    return _answer(user)


@router.delete("/{user_id}", status_code=204)
async def delete_user(
    user_id: str, request: Request, context: CurrentContext, principal: CurrentPerson
) -> Response:
    version = given_version(request)
    await context.database.write(lambda c: users.delete(c, principal, user_id, version))
    context.access.forget(user_id)
    return Response(status_code=204)


@router.put("/{user_id}/roles")
async def set_roles(
    user_id: str,
    body: RolesBody | Roles,
    request: Request,
    context: CurrentContext,
    principal: CurrentPerson,
) -> Response:
    """Exactly these roles, `{"roles": […]}` or the bare list."""
    version = given_version(request)
    wanted = [role.new() for role in (body.roles if isinstance(body, RolesBody) else body)]
    user = await context.database.write(
        lambda c: users.set_roles(c, principal, user_id, wanted, version)
    )
    context.access.forget(user.id)
    return _answer(user)


def _answer(user: User, status: int = 200) -> Response:
    return answer(user_shape(user), status=status, version=user.version)
