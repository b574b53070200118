"""The core routes on a real HTTP server, a small district behind them.

PYTEST_DONT_REWRITE: test modules import this before pytest does, and it asserts nothing.
"""

import asyncio
import contextlib
import dataclasses
import json
import os
import socket
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import pytest
import uvicorn
from databases import square
from fastapi import FastAPI

from gateway.access.audit import Audit
from gateway.access.passwords import Passwords
from gateway.access.secrets import Sealer
from gateway.access.sessions import Access
from gateway.api import install_api
from gateway.api.context import Context
from registry import organizations, users
from registry.database import Connection, Database
from registry.organizations import NewOrganization
from registry.partition import SYSTEM
from registry.users import NewRole, NewUser

pytest_plugins = ["databases"]

PASSWORD = "correct horse"
NULL = object()
"""A JSON body that is null; None is no body at all."""
PLACES = (
    ("district", None, "d", "东区", None),
    ("station", "d", "s1", "一所", square(0, 0, 10)),
    ("station", "d", "s2", "二所", square(20, 0, 10)),
    ("workroom", "d/s1", "w1", "一室", square(0, 0, 5)),
    ("workroom", "d/s1", "w2", "二室", square(5, 0, 5)),
    ("workroom", "d/s2", "w3", "三室", square(20, 0, 5)),
)
USERS = (
    ("admin", "admin", "d"),
    ("station-admin", "admin", "d/s1"),
    ("integrator", "integrator", "d"),
    ("dispatcher", "dispatcher", "d/s1"),
    ("viewer", "viewer", "d/s1/w1"),
    ("auditor", "auditor", "d"),
)


def cheap_passwords() -> Passwords:
    """The real thing with parameters that tests can afford."""
    return Passwords(time_cost=1, memory_cost_kib=64)


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: Any
    cookies: Mapping[str, Any]


class Caller:
    """One person's requests. token: a bearer token, or none."""

    def __init__(self, session: aiohttp.ClientSession, url: str, token: str | None) -> None:
        self._session = session
        self._url = url
        self.token = token

    async def __call__(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        **query: Any,
    ) -> Answer:
        own = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        written = json.dumps(None if body is NULL else body)
        async with self._session.request(
            method,
            f"{self._url}{path}",
            data=None if body is None else written,
            params={name: str(value) for name, value in query.items()},
            headers={"Content-Type": "application/json", **own, **(headers or {})},
        ) as response:
            text = await response.read()
            is_json = "json" in response.headers.get("content-type", "")
            parsed = await response.json(content_type=None) if text and is_json else text
            return Answer(response.status, response.headers, parsed, response.cookies)


@dataclasses.dataclass(frozen=True, slots=True)
class CoreApi:
    url: str
    context: Context
    session: aiohttp.ClientSession
    app: FastAPI

    async def sign_in(self, name: str, password: str = PASSWORD) -> Caller:
        answer = await self.anybody()(
            "POST", "/api/v1/auth/login", {"name": name, "password": password}
        )
        if answer.status != 200:
            raise AssertionError(answer.body)
        return Caller(self.session, f"{self.url}/api/v1", answer.body["access_token"])

    def anybody(self) -> Caller:
        """Nobody is signed in; paths are from the root."""
        return Caller(self.session, self.url, None)


def fill(connection: Connection, password_hash: str) -> None:
    for kind, parent, slug, name, jurisdiction in PLACES:
        new = NewOrganization(
            kind=kind, name=name, slug=slug, parent=parent, jurisdiction=jurisdiction
        )
        organizations.create(connection, SYSTEM, new)
    for name, role, organization in USERS:
        roles = (NewRole(role=role, organization=organization),)
        new_user = NewUser(name=name, password_hash=password_hash, roles=roles)
        users.create(connection, SYSTEM, new_user)


@contextlib.asynccontextmanager
async def served(app: FastAPI) -> AsyncIterator[str]:
    """The application on an ephemeral port of 127.0.0.1; its URL."""
    # asyncio sets TCP_NODELAY only where the protocol is named: without it an answer takes 40 ms.
    with socket.socket(proto=socket.IPPROTO_TCP) as listening:
        listening.bind(("127.0.0.1", 0))
        config = uvicorn.Config(app, log_level="critical", lifespan="off")
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            while not server.started:
                if task.done():
                    await task
                await asyncio.sleep(0.002)
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            await task


@pytest.fixture
async def core_api(database: Database, audit_store: Database) -> AsyncIterator[CoreApi]:
    """Six organisations and a user per role, served over HTTP; on both databases."""
    access = Access(database, passwords=cheap_passwords())
    context = Context(
        database=database,
        access=access,
        audit=Audit(audit_store, database),
        sealer=Sealer(os.urandom(32)),
    )
    password_hash = access.passwords.hash_now(PASSWORD)
    await database.write(lambda connection: fill(connection, password_hash))
    app = FastAPI(openapi_url="/api/openapi.json", docs_url=None, redoc_url=None)
    install_api(app, context)
    # No jar: what a test sends is what it says, and cookies are for the tests of cookies.
    jar = aiohttp.DummyCookieJar()
    async with served(app) as url, aiohttp.ClientSession(cookie_jar=jar) as session:
        yield CoreApi(url, context, session, app)
    access.close()
