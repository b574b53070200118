"""Imports over HTTP as jobs: cancelled while they write, gone on with, explained in a copy."""

import asyncio
import csv
import dataclasses
import io
import os
import signal
import threading
import types
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import openpyxl
import pytest
from core_api import Answer, Caller, CoreApi, served
from databases import ON_SQLITE, PostgresServer
from fastapi import FastAPI

from gateway.api import exchange, imports, install_api, jobs, points
from gateway.api.background import Jobs
from gateway.api.import_files import KEPT_S, ImportFolder, ImportFolders, ImportRequest
from registry import jobs as stored
from registry import organizations, reshaping
from registry.exchange import applying
from registry.exchange.staging import Staging
from registry.partition import SYSTEM

pytest_plugins = ["core_api"]


@dataclasses.dataclass
class Stage:
    """ask: as the admin of all. folders: of the node's imports."""

    core: CoreApi
    url: str
    ask: Caller
    folders: ImportFolders
    jobs: Jobs

    async def start(
        self,
        content: str | None,
        key: str = "",
        language: str = "en",
        name: str = "points.csv",
        **query: str,
    ) -> tuple[int, dict[str, Any]]:
        """Ask for an import into `d`: the status and the answer."""
        form = aiohttp.FormData()
        if content is not None:
            form.add_field("file", content.encode(), filename=name)
        else:
            form.add_field("nothing", "")
        headers = {"Authorization": f"Bearer {self.ask.token}", "Accept-Language": language}
        if key:
            headers["Idempotency-Key"] = key
        query = {"organization": "d", **query}
        async with self.core.session.post(
            f"{self.url}/api/v1/points/import", data=form, params=query, headers=headers
        ) as response:
            return response.status, await response.json()

    async def done(self, job_id: str) -> dict[str, Any]:
        while True:
            answer = await self.ask("GET", f"/jobs/{job_id}")
            assert answer.status == 200, answer.body
            job = answer.body
            if job["state"] not in ("queued", "running"):
                return dict(job)
            await asyncio.sleep(0.005)

    async def points(self) -> int:
        total: int = (await self.ask("GET", "/points")).body["total"]
        return total


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while True:
            if condition():
                return
            await asyncio.sleep(0.005)


@pytest.fixture
async def stage(core_api: CoreApi, tmp_path: Path) -> AsyncIterator[Stage]:
    app = FastAPI()
    background = Jobs(
        core_api.context.database, node="a", folder=tmp_path / "imports", retry_every_s=0.05
    )
    app.state.services = types.SimpleNamespace(jobs=background, nudge=lambda: None)
    install_api(app, core_api.context, (exchange.router, points.router, jobs.router))
    token = (await core_api.sign_in("admin")).token
    async with served(app) as url:
        ask = Caller(core_api.session, f"{url}/api/v1", token)
        yield Stage(core_api, url, ask, ImportFolders(tmp_path / "imports"), background)
        await background.close()


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """Set when an import has written its first points, and what lets it go on."""
    has_written, may_go_on = threading.Event(), threading.Event()
    insert = applying.insert_rows

    def insert_and_wait(*arguments: Any) -> None:
        insert(*arguments)
        has_written.set()
        may_go_on.wait(20)

    monkeypatch.setattr(applying, "insert_rows", insert_and_wait)
    return has_written, may_go_on


@pytest.fixture
def stops(monkeypatch: pytest.MonkeyPatch) -> list[threading.Event]:
    """What stops the thread of each import that was begun: set some time after its job was told."""
    made: list[threading.Event] = []

    def event() -> threading.Event:
        made.append(threading.Event())
        return made[-1]

    monkeypatch.setattr(imports, "threading", types.SimpleNamespace(Event=event))
    return made


async def test_an_import_is_cancelled_while_it_writes(
    stage: Stage, held: tuple[threading.Event, threading.Event], stops: list[threading.Event]
) -> None:
    has_written, may_go_on = held
    _, job = await stage.start("name\na\nb\n")
    assert await asyncio.to_thread(has_written.wait, 20)
    cancelling = asyncio.create_task(stage.ask("DELETE", f"/jobs/{job['id']}"))
    await until(stops[0].is_set)
    # It stops at the next rows, so some have to come.
    may_go_on.set()
    answer: Answer = await cancelling
    assert answer.status == 200, answer.body
    assert answer.body["state"] == "cancelled"
    assert await stage.points() == 0
    assert not stage.folders.of(job["id"]).path.exists()
    assert (await stage.ask("DELETE", f"/jobs/{job['id']}")).status == 409


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)  # SQLite has one writer
async def test_a_job_that_somebody_cancelled_elsewhere_writes_nothing(
    stage: Stage, held: tuple[threading.Event, threading.Event]
) -> None:
    database = stage.core.context.database
    has_written, may_go_on = held
    _, job = await stage.start("name\na\nb\n")
    assert await asyncio.to_thread(has_written.wait, 20)
    await database.write(lambda c: stored.cancel(c, SYSTEM, job["id"]))
    may_go_on.set()
    assert (await stage.done(job["id"]))["state"] == "cancelled"
    await until(lambda: not stage.jobs.at_work)
    assert await stage.points() == 0


async def left_by_a_node_that_died(stage: Stage, key: str) -> ImportFolder:
    """A job with its upload, of a process that is no more."""
    database = stage.core.context.database
    home = await database.read(lambda c: organizations.get(c, SYSTEM, "d"))
    _, other = await stage.start("name\na\n", dry_run="true")
    await until(lambda: not stage.jobs.at_work)
    mine = await database.read(lambda c: stored.get(c, SYSTEM, other["id"]))
    principal = dataclasses.replace(SYSTEM, user_id=mine.user_id, name="admin")
    job, _ = await database.write(
        lambda c: stored.create(c, principal, "import", idempotency_key=key, node="a")
    )
    folder = stage.folders.of(job.id)
    wanted = ImportRequest(
        kind="csv", organization=home.id, system=None, dry_run=False, partial=False, language="en"
    )
    folder.keep(io.BytesIO(b"name\na\nb\n"), wanted)
    folder.staging.write_bytes(b"half of it")
    return folder


async def test_an_interrupted_import_goes_on_without_another_upload(stage: Stage) -> None:
    database = stage.core.context.database
    folder = await left_by_a_node_that_died(stage, "k")
    status, job = await stage.start(None, key="k")
    assert (status, job["state"]) == (202, "queued")
    assert stage.jobs.at_work == frozenset()  # it may still be at work elsewhere
    await database.write(lambda c: stored.fail_open(c, "the gateway stopped meanwhile", "a"))
    assert (await stage.done(job["id"]))["state"] == "failed"
    status, again = await stage.start(None, key="k")
    assert (status, again["id"]) == (202, job["id"])
    done = await stage.done(job["id"])
    assert (done["state"], done["total"], done["report"]["created"]) == ("done", 2, 2)
    assert await stage.points() == 2
    await until(lambda: not folder.path.exists())
    assert (await stage.start(None, key="k"))[1]["state"] == "done"


@ON_SQLITE
async def test_what_is_not_kept_must_be_sent_again(stage: Stage) -> None:
    database = stage.core.context.database
    status, answer = await stage.start(None, key="nobody")
    assert (status, answer["errors"][0]["field"]) == (422, "file")
    folder = await left_by_a_node_that_died(stage, "k")
    folder.remove()
    await database.write(lambda c: stored.fail_open(c, "the gateway stopped meanwhile", "a"))
    assert (await stage.start(None, key="k"))[0] == 422
    _, job = await stage.start("name\nc\n", key="k")
    assert (await stage.done(job["id"]))["report"]["created"] == 1


@ON_SQLITE
async def test_an_import_that_ends_with_its_node_keeps_its_file(
    stage: Stage, held: tuple[threading.Event, threading.Event], stops: list[threading.Event]
) -> None:
    has_written, may_go_on = held
    _, job = await stage.start("name\na\nb\n", key="k")
    assert await asyncio.to_thread(has_written.wait, 20)
    closing = asyncio.create_task(stage.jobs.close())
    await until(stops[0].is_set)
    may_go_on.set()
    await closing
    ended = await stage.done(job["id"])
    assert (ended["state"], ended["report"]["error"]) == ("failed", "the gateway stopped")
    assert stage.folders.of(job["id"]).is_complete
    assert await stage.points() == 0


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_an_import_whose_database_is_killed_says_so_and_goes_on(
    stage: Stage,
    held: tuple[threading.Event, threading.Event],
    postgres_server: PostgresServer,
) -> None:
    has_written, may_go_on = held
    _, job = await stage.start("name\na\nb\n", key="k")
    assert await asyncio.to_thread(has_written.wait, 20)
    await asyncio.to_thread(postgres_server.stop, signal.SIGINT)
    try:
        may_go_on.set()
        away = await stage.ask("GET", f"/jobs/{job['id']}")
        assert (away.status, away.headers["Retry-After"]) == (503, "2")
    finally:
        await asyncio.to_thread(postgres_server.start)
    ended = await stage.done(job["id"])
    assert (ended["state"], ended["report"]) == ("failed", {"error": "the database went away"})
    assert await stage.points() == 0
    await until(lambda: not stage.jobs.at_work)
    status, again = await stage.start(None, key="k")
    assert (status, again["id"]) == (202, job["id"])
    assert (await stage.done(job["id"]))["report"]["created"] == 2
    assert await stage.points() == 2


def last_row(workbook: bytes) -> tuple[Any, ...]:
    sheet = openpyxl.load_workbook(io.BytesIO(workbook), read_only=True).worksheets[0]
    return list(sheet.iter_rows(values_only=True))[-1]


async def test_an_organisation_that_goes_meanwhile_is_told_as_that(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = stage.core.context.database
    may_go_on = threading.Event()
    fill = Staging.fill

    def filled_late(*arguments: Any) -> None:
        may_go_on.wait(20)
        fill(*arguments)

    monkeypatch.setattr(Staging, "fill", filled_late)
    _, job = await stage.start("name\na\n", language="zh", organization="d/s1/w1")
    gone = await database.read(lambda c: organizations.get(c, SYSTEM, "d/s1/w1"))
    await database.write(lambda c: reshaping.merge(c, SYSTEM, gone.id, "d/s1/w2"))
    may_go_on.set()
    ended = await stage.done(job["id"])
    assert ended["state"] == "failed"
    assert ended["report"]["error"].startswith("organization: 已被合并或删除")
    assert await stage.points() == 0


@ON_SQLITE
async def test_all_refused_rows_are_in_the_copy(stage: Stage) -> None:
    rows = 10_050
    text = "名称,经度\n" + "".join(f"n{number},x\n" for number in range(rows)) + "=1,1\n"
    _, job = await stage.start(text, language="zh", partial="true")
    report = (await stage.done(job["id"]))["report"]
    assert (report["refused"], len(report["refusals"])) == (rows + 1, 10_000)
    answer = await stage.ask("GET", report["refused_copy"].removeprefix("/api/v1"))
    assert answer.headers["Content-Type"].startswith("text/csv")
    copy = list(csv.reader(io.StringIO(answer.body.decode("utf-8-sig"))))
    assert copy[:2] == [["原因", "名称", "经度"], ["经度：不是数字", "n0", "x"]]
    assert copy[-1] == ["纬度：经度和纬度必须同时填写", "'=1", "1"]
    assert len(copy) == rows + 2
    answer = await stage.ask("GET", f"/jobs/{job['id']}/refused.xlsx")
    last = await asyncio.to_thread(last_row, answer.body)
    assert last == ("纬度：经度和纬度必须同时填写", "=1", "1")
    other = Caller(
        stage.core.session, f"{stage.url}/api/v1", (await stage.core.sign_in("viewer")).token
    )
    assert (await other("GET", f"/jobs/{job['id']}/refused.csv")).status == 404
    kept = stage.folders.of(job["id"])
    await until(lambda: not kept.file.exists())
    stage.folders.sweep(())
    assert kept.refused.exists()
    _, clean = await stage.start("name\na\n")
    assert (await stage.done(clean["id"]))["report"]["refused_copy"] is None
    assert (await stage.ask("GET", f"/jobs/{clean['id']}/refused.csv")).status == 404


@ON_SQLITE
async def test_a_file_that_cannot_be_read_says_why_in_the_callers_language(stage: Stage) -> None:
    status, answer = await stage.start("", name="a.xls", language="zh")
    assert (status, answer["errors"][0]["reason"]) == (
        422,
        "文件名应以 .csv、.xlsx 或 .geojson 结尾，而不是 .xls",
    )
    _, job = await stage.start("颜色\n红\n", language="zh")
    error = (await stage.done(job["id"]))["report"]["error"]
    assert error == "file: 前几行中没有可识别的列名，例如 名称 或 name"


@ON_SQLITE
async def test_what_is_older_than_a_day_is_swept(stage: Stage, tmp_path: Path) -> None:
    old, at_work = stage.folders.arriving(), stage.folders.arriving()
    for folder in (old, at_work):
        folder.path.mkdir(parents=True)
        aged = folder.path.stat().st_mtime - KEPT_S - 60
        os.utime(folder.path, (aged, aged))
    stage.folders.sweep({at_work.path.name})
    assert not old.path.exists()
    assert at_work.path.exists()
