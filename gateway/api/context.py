"""What every route can reach, and who asks."""

import dataclasses
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends
from starlette.requests import HTTPConnection

from gateway.access.audit import Audit
from gateway.access.errors import AccessError, CrossSite, NotByToken, NotSignedIn
from gateway.access.secrets import Sealer
from gateway.access.sessions import Access
from gateway.access.tokens import is_access_token
from gateway.api.point_texts import PointTexts
from registry.database import Database
from registry.partition import Principal

COOKIE = "hutong_session"
_REFUSED = "hutong.refused"
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclasses.dataclass(slots=True, kw_only=True)
class Context:
    """Set once, at ``app.state.context``. public_url: where people reach us, empty for wherever
    they ask; with https there, cookies are for TLS only, also behind a proxy. texts: points as
    JSON, kept."""

    database: Database
    access: Access
    audit: Audit
    sealer: Sealer
    public_url: str = ""
    texts: PointTexts = dataclasses.field(default_factory=PointTexts)


def current_context(connection: HTTPConnection) -> Context:
    context: Context = connection.app.state.context
    return context


async def current_token(connection: HTTPConnection) -> str:
    """The bearer token, else the cookie's.

    Raises: NotSignedIn for neither; CrossSite where another site's page sends the cookie with
    anything but a plain read.
    """
    header = connection.headers.get("authorization", "")
    scheme, _, token = header.partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    token = connection.cookies.get(COOKIE, "")
    if not token:
        raise NotSignedIn
    # A WebSocket begins with a GET that any page may send, and then reads what it likes.
    if connection.scope["type"] == "websocket" or connection.scope["method"] not in _SAFE_METHODS:
        refuse_cross_site(connection)
    return token


def refuse_cross_site(connection: HTTPConnection) -> None:
    """Raises: CrossSite where a browser says that another site's page sent this. Programs that
    are no browser send neither header, and cannot be tricked."""
    site = connection.headers.get("sec-fetch-site")
    if site is not None and site not in ("same-origin", "none"):
        raise CrossSite
    origin = connection.headers.get("origin")
    if origin is None or (site is not None and connection.scope["type"] == "http"):
        return
    public = urlsplit(current_context(connection).public_url).netloc
    if urlsplit(origin).netloc not in {connection.headers.get("host", ""), public} - {""}:
        raise CrossSite


async def current_principal(connection: HTTPConnection) -> Principal:
    """Who asks. Raises: NotSignedIn, CrossSite, TooManyAttempts, DatabaseAway."""
    # The short way and the long way both ask; a wrong token is looked up and counted once.
    refused: AccessError | None = connection.scope.get(_REFUSED)
    if refused is not None:
        raise refused
    token = await current_token(connection)
    try:
        return await current_context(connection).access.authenticate(token)
    except AccessError as error:
        connection.scope[_REFUSED] = error
        raise


async def current_person(connection: HTTPConnection) -> Principal:
    """`current_principal`, signed in: for passwords, users and tokens, by which whoever finds a
    token could stay when it has ended. Raises: NotByToken too."""
    principal = await current_principal(connection)
    if principal.token is not None:
        raise NotByToken
    return principal


async def current_owner(connection: HTTPConnection) -> Principal:
    """`current_principal`, but no narrowed token: for what is the user's own, whatever the roles.
    Raises: NotByToken too."""
    principal = await current_principal(connection)
    if principal.token is not None and principal.token.narrowed:
        raise NotByToken
    return principal


async def current_session(connection: HTTPConnection) -> str:
    """`current_token` of a session. Raises: NotByToken too."""
    token = await current_token(connection)
    if is_access_token(token):
        raise NotByToken
    return token


def client_address(connection: HTTPConnection) -> str:
    """Where the caller is, for the back-off of sign-in."""
    return connection.client.host if connection.client else ""


def is_secure(connection: HTTPConnection) -> bool:
    """Whether the caller reached us by TLS."""
    public_url = current_context(connection).public_url
    return connection.url.scheme in ("https", "wss") or public_url.startswith("https:")


async def _context(connection: HTTPConnection) -> Context:
    # FastAPI runs what is not async in a thread, which costs more than all of this.
    return current_context(connection)


CurrentContext = Annotated[Context, Depends(_context)]
CurrentPrincipal = Annotated[Principal, Depends(current_principal)]
CurrentPerson = Annotated[Principal, Depends(current_person)]
CurrentOwner = Annotated[Principal, Depends(current_owner)]
CurrentToken = Annotated[str, Depends(current_token)]
CurrentSession = Annotated[str, Depends(current_session)]
