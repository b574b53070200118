"""Access tokens at a whole gateway: what runs by one ends with it, and the page that tells of them
is run as it stands."""

import asyncio
import contextlib
import os
import re
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from core_api import PASSWORD, Caller
from databases import ON_SQLITE
from patience import wait_until
from privacy_stage import Stage, privacy_stage
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from registry import organizations, users
from registry.database import Connection, Database
from registry.identity import now
from registry.models import TOKENS
from registry.organizations import NewOrganization
from registry.partition import SYSTEM
from registry.users import NewRole, NewUser

pytest_plugins = ["databases"]
pytestmark = ON_SQLITE

WITHIN_S = 60.0
PROMISED_S = 5.0
BUSY_S = 2.5
"""What a busy machine may add to it."""
PAGE = Path(__file__).parents[2] / "docs" / "tokens.md"


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clips")


@pytest.fixture
async def stage(
    database: Database, database_url: str, tmp_path: Path, clips: Path
) -> AsyncIterator[Stage]:
    async with privacy_stage(database, database_url, tmp_path, clips) as it:
        yield it


async def program(stage: Stage, who: Caller, **body: Any) -> tuple[Caller, str]:
    """What asks by a new token, and the token's id."""
    answer = await who("POST", "/tokens", {"name": "a program", **body})
    assert answer.status == 201, answer.body
    token = answer.body["token"]
    return Caller(stage.session, f"{stage.node.url}/api/v1", token), answer.body["id"]


class Hears:
    """Reads the event stream; `ended_s` is when it was over, on the loop's clock."""

    def __init__(self, stage: Stage, who: Caller) -> None:
        self.response: aiohttp.ClientResponse | None = None
        self.ended_s: float | None = None
        self._url = f"{stage.node.url}/api/v1/events/stream"
        self._headers = {"Authorization": f"Bearer {who.token}"}
        self._session = stage.session

    async def run(self) -> None:
        async with self._session.get(self._url, headers=self._headers) as self.response:
            async for _line in self.response.content:
                pass
        self.ended_s = asyncio.get_running_loop().time()


async def shows(socket: ClientConnection, units: int = 1) -> None:
    """Return when so many parts of a stream have come."""
    while units:
        units -= isinstance(await socket.recv(), bytes)


async def closes(socket: ClientConnection) -> tuple[int, float]:
    """With what code a view ended, and when."""
    with contextlib.suppress(ConnectionClosed):
        while True:
            await socket.recv()
    return socket.close_code or 0, asyncio.get_running_loop().time()


async def drained(response: aiohttp.ClientResponse) -> float:
    async for _part in response.content.iter_any():
        pass
    return asyncio.get_running_loop().time()


async def test_revoking_ends_views_and_streams_and_no_others(stage: Stage) -> None:
    viewer = await stage.sign_in("viewer")
    asks, token_id = await program(stage, viewer)
    other, _ = await program(stage, viewer)
    loop = asyncio.get_running_loop()
    gone, stays = Hears(stage, asks), Hears(stage, viewer)
    async with (
        asyncio.timeout(WITHIN_S),
        asyncio.TaskGroup() as group,
        await stage.watch(asks) as frames,
        await stage.watch(asks, "fmp4", "sub") as fmp4,
        await stage.watch(other) as others,
        await stage.watch(viewer) as persons,
        stage.session.get(await stage.url(asks, "mjpeg", "sub")) as mjpeg,
    ):
        streams = [group.create_task(each.run()) for each in (gone, stays)]
        await wait_until(lambda: gone.response is not None and stays.response is not None)
        for each in (frames, fmp4, others, persons):
            await shows(each)
        left = await stage.ticket(asks)
        ends = [group.create_task(closes(each)) for each in (frames, fmp4)]
        pictures = group.create_task(drained(mjpeg))
        assert (await viewer("DELETE", f"/tokens/{token_id}")).status == 204
        revoked_s = loop.time()
        assert (await asks("GET", f"/points/{stage.point_id}")).status == 401
        refused = await asks("POST", f"/points/{stage.point_id}/live", {"profile": "main"})
        assert refused.status == 401
        # A ticket from before opens nothing any more.
        url = f"{stage.node.url}{left['urls']['frames']}".replace("http", "ws", 1)
        async with connect(url) as late:
            assert (await closes(late))[0] == 4403
        await streams[0]
        assert gone.ended_s is not None
        codes, at_s = zip(*[await each for each in ends], strict=True)
        assert codes == (4403, 4403)
        for ended_s in (*at_s, gone.ended_s, await pictures):
            assert ended_s - revoked_s < PROMISED_S + BUSY_S
        for each in (others, persons):
            await shows(each, 20)
        assert stays.ended_s is None
        streams[1].cancel()
    closed = await stage.acts("live_closed")
    lost = [each["details"] for each in closed if "right" in each["details"]["ended"]]
    assert [each["token"] for each in lost] == [{"id": token_id}] * 3
    began = [each["details"].get("token") for each in await stage.acts("live_opened")]
    assert began.count({"id": token_id}) == 3
    assert began.count(None) == 1
    (opened, *_) = await stage.acts("open_live")
    assert opened["user"]["name"] == "viewer"


async def test_a_view_ends_with_its_token_and_with_what_it_may_no_longer_carry(
    stage: Stage,
) -> None:
    viewer = await stage.sign_in("viewer")
    short, token_id = await program(stage, viewer)
    role = {"role": "viewer", "organization": "d/s1/w1"}
    narrow, _ = await program(stage, stage.admin, roles=[role])
    async with (
        asyncio.timeout(WITHIN_S),
        await stage.watch(short) as ends,
        await stage.watch(narrow, "frames", "sub") as ended,
    ):
        await shows(ends)
        end = now() + timedelta(seconds=1)
        sooner = TOKENS.update().where(TOKENS.c.id == token_id).values(ends_at=end)
        await stage.database.write(lambda c: c.execute(sooner))
        code, _at_s = await closes(ends)
        assert code == 4403
        assert end <= now() < end + timedelta(seconds=PROMISED_S + BUSY_S)
        await shows(ended)
        me = (await stage.admin("GET", "/me")).body["id"]
        elsewhere = [NewRole(role="admin", organization="d/s2")]
        await stage.database.write(lambda c: users.set_roles(c, SYSTEM, me, elsewhere))
        lost_s = asyncio.get_running_loop().time()
        code, closed_s = await closes(ended)
        assert (code, closed_s - lost_s < PROMISED_S + BUSY_S) == (4403, True)


def shenhe(connection: Connection, password_hash: str) -> None:
    for kind, parent, slug, name in (
        ("district", None, "shenhe", "沈河区"),
        ("station", "shenhe", "wanlian", "万莲派出所"),
    ):
        new = NewOrganization(kind=kind, name=name, slug=slug, parent=parent)
        organizations.create(connection, SYSTEM, new)
    roles = (NewRole(role="admin", organization="shenhe"),)
    users.create(
        connection, SYSTEM, NewUser(name="chief", password_hash=password_hash, roles=roles)
    )


async def test_the_page_about_tokens_runs_as_it_stands(stage: Stage, tmp_path: Path) -> None:
    password_hash = await stage.node.access.passwords.hash(PASSWORD)
    await stage.database.write(lambda c: shenhe(c, password_hash))
    commands = tmp_path / "bin" / "hutong"
    commands.parent.mkdir()
    commands.write_text(f'#!/bin/sh\nexec {sys.executable} -m gateway.cli "$@"\n')
    commands.chmod(0o755)
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 4
    settings = stage.node.settings
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HUTONG")}
    given = {
        "PATH": f"{commands.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(PAGE.parents[1]),
        "HUTONG_DATA_DIR": str(settings.data_dir),
        "HUTONG_DATABASE_URL": settings.database,
        "HUTONG": stage.node.url,
        "PASSWORD": PASSWORD,
    }
    done = await asyncio.create_subprocess_exec(
        *("bash", "-euo", "pipefail", "-c", "\n".join(blocks)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=tmp_path,
        env={**kept, **given},
    )
    async with asyncio.timeout(WITHIN_S):
        said, complained = (each.decode() for each in await done.communicate())
    assert done.returncode == 0, complained
    token, walls = ((tmp_path / name).read_text().strip() for name in ("token", "wall-token"))
    assert complained.startswith("token ")
    assert "(nightly export) acts for chief until " in complained
    assert complained.rstrip().endswith("viewer at shenhe/wanlian; it is not shown again")
    assert token not in said + complained
    listed = [line.split("\t")[1:3] for line in said.splitlines() if line.count("\t") == 4]
    assert listed == [["nightly export", "chief"], ["wall of the duty room", "chief"]]
    assert "retry: 2000" in said
    for secret, status in ((token, 200), (walls, 401)):
        asks = Caller(stage.session, f"{stage.node.url}/api/v1", secret)
        assert (await asks("GET", "/points")).status == status
