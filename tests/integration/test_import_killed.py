"""A gateway that is killed in the middle of an import, as by a power cut."""

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
from brokers import free_port

from gateway.access.sessions import hash_token
from registry import organizations, point_lists, sessions, users
from registry.database import Connection, Database
from registry.identity import now
from registry.organizations import NewOrganization
from registry.partition import SYSTEM
from registry.users import NewRole, NewUser

pytest_plugins = ["databases"]

ROWS = 20_000
PATIENCE_S = 90.0
TOKEN = "of-the-admin"


def signed_in(connection: Connection) -> None:
    new = NewOrganization(kind="district", name="区", slug="d", parent=None)
    organizations.create(connection, SYSTEM, new)
    roles = (NewRole(role="admin", organization="d"),)
    user = users.create(connection, SYSTEM, NewUser(name="a", password_hash="!", roles=roles))
    ends_at = now() + timedelta(hours=1)
    sessions.open_session(connection, user.id, hash_token(TOKEN), ends_at)


@contextlib.asynccontextmanager
async def serving(url: str, folder: Path) -> AsyncIterator[tuple[str, Process]]:
    """`hutong serve`: where it can be asked, and its process, which is killed at the end."""
    port = free_port()
    environment = {
        **os.environ,
        "HUTONG_DATABASE_URL": url,
        "HUTONG_DATA_DIR": str(folder),
        "HUTONG_HTTP_PORT": str(port),
        "HUTONG_HELLO_INTERFACES": "none",
    }
    with (folder.parent / "log").open("ab") as log:
        command = (sys.executable, "-m", "gateway.cli", "serve")
        child = await asyncio.create_subprocess_exec(
            *command, env=environment, stdout=log, stderr=log
        )
    try:
        async with asyncio.timeout(PATIENCE_S), aiohttp.ClientSession() as session:
            while True:
                assert child.returncode is None, (folder.parent / "log").read_text()
                with contextlib.suppress(aiohttp.ClientError):
                    async with session.get(f"http://127.0.0.1:{port}/readyz") as answer:
                        if answer.status == 200:
                            break
                await asyncio.sleep(0.1)
        yield f"http://127.0.0.1:{port}/api/v1", child
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()


async def started(url: str, content: str | None) -> dict[str, Any]:
    """The job of an import into `d`, with the file or, once more, without."""
    form = aiohttp.FormData()
    if content is None:
        form.add_field("nothing", "")
    else:
        form.add_field("file", content.encode(), filename="points.csv")
    headers = {"Authorization": f"Bearer {TOKEN}", "Idempotency-Key": "k"}
    query = {"organization": "d"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}/points/import", data=form, params=query, headers=headers) as answer,
    ):
        job: dict[str, Any] = await answer.json()
        assert answer.status == 202, job
        return job


async def not_any_more(url: str, job_id: str, *states: str) -> dict[str, Any]:
    """The job, as soon as it is in none of these states."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with asyncio.timeout(PATIENCE_S), aiohttp.ClientSession(headers=headers) as session:
        while True:
            async with session.get(f"{url}/jobs/{job_id}") as answer:
                job: dict[str, Any] = await answer.json()
            if job["state"] not in states:
                return job
            await asyncio.sleep(0.01)


async def test_an_import_goes_on_after_a_kill(empty_database_url: str, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    database = Database(empty_database_url)
    try:
        database.upgrade_now()
        database.write_now(signed_in)
        content = "name\n" + "".join(f"p{number}\n" for number in range(ROWS))
        async with serving(empty_database_url, folder) as (url, child):
            job = await started(url, content)
            await not_any_more(url, job["id"], "queued")
            child.kill()
            await child.wait()
        assert database.read_now(lambda c: point_lists.page(c, SYSTEM)).total in (0, ROWS)
        async with serving(empty_database_url, folder) as (url, _):
            ended = await not_any_more(url, job["id"], "queued", "running")
            if ended["state"] == "failed":
                assert (await started(url, None))["id"] == job["id"]
                ended = await not_any_more(url, job["id"], "queued", "running")
        assert ended["state"] == "done"
        assert ended["report"]["created"] == ROWS
        assert database.read_now(lambda c: point_lists.page(c, SYSTEM)).total == ROWS
    finally:
        database.close_now()
