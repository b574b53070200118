"""The HTTP API: thin routes, a file per resource."""

from collections.abc import Iterable

from fastapi import APIRouter, FastAPI

from gateway.api import (
    audit,
    auth,
    codes,
    masks,
    organizations,
    points,
    shares,
    tokens,
    users,
    walls,
)
from gateway.api.body_limit import BodyLimit
from gateway.api.context import Context
from gateway.api.errors import install_error_answers
from gateway.api.shortcut import PointsShortcut
from gateway.api.traffic import Counted, Traffic

PREFIX = "/api/v1"

CORE_ROUTERS = (
    auth.router,
    organizations.router,
    points.router,
    masks.router,
    codes.router,
    shares.router,
    users.router,
    tokens.router,
    walls.router,
    audit.router,
)
"""Session, organisations, points, masks, codes, shares, users, tokens, walls, audit: what the
registry answers alone."""


def install_api(
    app: FastAPI, context: Context, routers: Iterable[APIRouter] = CORE_ROUTERS
) -> None:
    """Put routes, error answers and the context on an application. Routes are tried in order."""
    app.state.context = context
    install_error_answers(app)
    for router in routers:
        app.include_router(router, prefix=PREFIX)
    install_middleware(app)


def install_middleware(app: FastAPI) -> None:
    """Answer the most frequent question the short way, count all requests, and let none bring
    more than it may."""
    app.state.traffic = Traffic()
    app.add_middleware(BodyLimit)
    app.add_middleware(PointsShortcut)
    app.add_middleware(Counted, traffic=app.state.traffic)
