"""The one question that is asked a thousand times a second, answered before any routing."""

import contextlib
import functools
from urllib.parse import parse_qsl

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.api.context import current_context, current_principal
from gateway.api.points import ListQuery
from gateway.api.shapes import GEO_JSON, accepted
from registry.point_lists import PointFilter

PATH = "/api/v1/points"


class PointsShortcut:
    """Answers `GET /points` by itself: finding the route and resolving what it depends on takes
    longer than everything else. Only what goes well is answered here; the long way, which says
    what is wrong with a question, is taken for all others, and stays what is documented."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == PATH and scope["method"] == "GET":
            text = None
            with contextlib.suppress(Exception):
                text = await _page(HTTPConnection(scope))
            if text is not None:
                headers = [
                    (b"content-type", b"application/json"),
                    (b"content-length", b"%d" % len(text)),
                ]
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                await send({"type": "http.response.body", "body": text})
                return
        await self._app(scope, receive, send)


async def _page(connection: HTTPConnection) -> bytes | None:
    """The answer; None where another form is wanted. Raises: what is wrong."""
    if GEO_JSON in accepted(connection.headers.get("accept", "")):
        return None
    wanted, limit, cursor = _read(connection.scope["query_string"])
    principal = await current_principal(connection)
    context = current_context(connection)
    return await context.texts.page(context.database, principal, wanted, limit=limit, cursor=cursor)


@functools.lru_cache(maxsize=1024)
def _read(query_string: bytes) -> tuple[PointFilter, int, str | None]:
    """What is asked for; people turn the same few pages over and over. Raises: ValidationError."""
    given = dict(parse_qsl(query_string.decode("latin-1"), keep_blank_values=True))
    query = ListQuery.model_validate(given)
    return query.wanted(), query.limit, query.cursor or None
