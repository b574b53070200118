"""Signing in and out, and one's own account."""

from fastapi import APIRouter, Request, Response

from gateway.access.errors import TooManyAttempts, UserDisabled, WrongCredentials
from gateway.access.sessions import SignedIn
from gateway.api.bodies import Body, Name, Password
from gateway.api.context import (
    COOKIE,
    CurrentContext,
    CurrentPerson,
    CurrentPrincipal,
    CurrentSession,
    client_address,
    is_secure,
    refuse_cross_site,
)
from gateway.api.shapes import answer, token_shape, user_shape
from registry import tokens, users
from registry.database import Connection
from registry.tokens import Token
from registry.users import User

router = APIRouter(tags=["session"])


class SignIn(Body):
    name: Name
    password: Password


class PasswordChange(Body):
    """old: the password until now."""

    old: Password
    new: Password


@router.post("/auth/login")
async def login(body: SignIn, request: Request, context: CurrentContext) -> Response:
    """A token for `Authorization: Bearer`, and the same one as a cookie."""
    refuse_cross_site(request)
    address = client_address(request)
    try:
        signed_in = await context.access.sign_in(body.name, body.password, address)
    except (TooManyAttempts, UserDisabled, WrongCredentials) as refused:
        await context.audit.record_sign_in(body.name, address, refused.message)
        raise
    await context.audit.record_sign_in(body.name, address)
    return _with_cookie(request, signed_in)


@router.post("/auth/refresh")
async def refresh(request: Request, context: CurrentContext, token: CurrentSession) -> Response:
    """Another token, as long-lived as the first; the old one ends. Not for access tokens."""
    return _with_cookie(request, await context.access.refresh(token))


@router.post("/auth/logout", status_code=204)
async def logout(request: Request, context: CurrentContext, token: CurrentSession) -> Response:
    await context.access.sign_out(token)
    response = Response(status_code=204)
    response.delete_cookie(
        COOKIE, path="/", secure=is_secure(request), httponly=True, samesite="strict"
    )
    return response


@router.get("/me")
async def me(context: CurrentContext, principal: CurrentPrincipal) -> Response:
    """`token`: the access token that asks, with `roles` as it carries them now; else null."""

    def read(connection: Connection) -> tuple[User, Token | None]:
        if principal.token is None:
            return users.get(connection, principal, principal.user_id), None
        token = tokens.get(connection, principal, principal.token.id)
        return tokens.acting_user(connection, principal), token

    user, token = await context.database.read(read)
    shape = user_shape(user) | {"token": token and token_shape(token)}
    return answer(shape, version=user.version)


@router.put("/me/password", status_code=204)
async def change_password(
    body: PasswordChange,
    request: Request,
    context: CurrentContext,
    principal: CurrentPerson,
    token: CurrentSession,
) -> Response:
    """Ends every other session of this user. Access tokens go on, and may not do it."""
    await context.access.change_password(
        principal, token, body.old, body.new, client_address(request)
    )
    return Response(status_code=204)


def _with_cookie(request: Request, signed_in: SignedIn) -> Response:
    response = answer({"access_token": signed_in.token, "expires_in": signed_in.expires_in_s})
    response.headers["Cache-Control"] = "no-store"
    response.set_cookie(
        COOKIE,
        signed_in.token,
        max_age=signed_in.expires_in_s,
        path="/",
        secure=is_secure(request),
        httponly=True,
        samesite="strict",
    )
    return response
