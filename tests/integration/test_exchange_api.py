"""Importing and exporting points over HTTP, on both databases."""

import asyncio
import dataclasses
import io
import types
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import openpyxl
import pytest
from core_api import Caller, CoreApi, served
from databases import ON_SQLITE
from fastapi import FastAPI

from gateway.api import body_limit, exchange, install_api, jobs, organizations, points
from gateway.api.background import Jobs
from registry.exchange import exporting

pytest_plugins = ["core_api"]


@pytest.fixture
async def api(core_api: CoreApi, tmp_path: Path) -> AsyncIterator[CoreApi]:
    """The core's users and organisations behind the routes of exchange and jobs."""
    app = FastAPI()
    background = Jobs(core_api.context.database, node="a", folder=tmp_path / "imports")
    app.state.services = types.SimpleNamespace(jobs=background, nudge=lambda: None)
    routers = (exchange.router, organizations.router, points.router, jobs.router)
    install_api(app, core_api.context, routers)
    async with served(app) as url:
        yield dataclasses.replace(core_api, url=url)
    await background.close()


async def signed_in(core_api: CoreApi, api: CoreApi, name: str) -> Caller:
    token = (await core_api.sign_in(name)).token
    return Caller(api.session, f"{api.url}/api/v1", token)


async def upload(
    api: CoreApi,
    ask: Caller,
    content: bytes | str,
    name: str = "points.csv",
    headers: dict[str, str] | None = None,
    **query: str,
) -> dict[str, Any]:
    """The job, once it is over."""
    form = aiohttp.FormData()
    form.add_field("file", content.encode() if isinstance(content, str) else content, filename=name)
    own = {"Authorization": f"Bearer {ask.token}", **(headers or {})}
    url = f"{api.url}/api/v1/points/import"
    async with api.session.post(url, data=form, params=query, headers=own) as response:
        assert response.status == 202, await response.text()
        location = response.headers["Location"]
    while True:
        job = (await ask("GET", location.removeprefix("/api/v1"))).body
        if job["state"] not in ("queued", "running"):
            return dict(job)
        await asyncio.sleep(0.005)


async def test_a_file_is_imported_as_a_job_and_exported_again(
    core_api: CoreApi, api: CoreApi
) -> None:
    ask = await signed_in(core_api, api, "admin")
    text = "名称,经度,纬度,AZSJ\n一,1,1,2024-05-01\n二,21,1,\n".encode("gb18030")
    job = await upload(api, ask, text, organization="d")
    assert (job["state"], job["done"], job["total"]) == ("done", 2, 2)
    assert job["report"]["created"] == 2
    assert job["report"]["refusals"] == []
    for kind, media in (
        ("csv", "text/csv"),
        ("xlsx", "spreadsheetml"),
        ("geojson", "application/geo+json"),
    ):
        answer = await ask("GET", "/points/export", format=kind)
        assert answer.status == 200
        assert media in answer.headers["Content-Type"]
        assert f'filename="points.{kind}"' in answer.headers["Content-Disposition"]
        content = answer.body if isinstance(answer.body, bytes) else None
        if content is None:
            assert [each["properties"]["name"] for each in answer.body["features"]] == ["一", "二"]
            continue
        again = await upload(api, ask, content, f"points.{kind}", organization="d")
        assert again["report"]["unchanged"] == 2, again
        if kind == "xlsx":
            sheet = openpyxl.load_workbook(io.BytesIO(content)).active
            assert sheet is not None
            assert sheet["C2"].value == "一"


async def test_refused_rows_are_explained_in_the_callers_language(
    core_api: CoreApi, api: CoreApi
) -> None:
    ask = await signed_in(core_api, api, "integrator")
    text = "name,longitude,latitude\na,1,1\nb,x,1\n"
    job = await upload(api, ask, text, headers={"Accept-Language": "zh-CN"}, organization="d/s1")
    assert job["report"]["applied"] is False
    assert job["report"]["refusals"] == [
        {
            "sheet": "",
            "row": 3,
            "column": "longitude",
            "field": "longitude",
            "value": "x",
            "reason": "不是数字",
        }
    ]
    assert (await ask("GET", "/points")).body["total"] == 0
    job = await upload(api, ask, text, organization="d/s1", partial="true")
    assert (job["report"]["applied"], job["report"]["created"]) == (True, 1)
    assert (await ask("GET", "/points")).body["total"] == 1


async def test_the_same_key_gives_the_same_job(core_api: CoreApi, api: CoreApi) -> None:
    ask = await signed_in(core_api, api, "admin")
    headers = {"Idempotency-Key": "k"}
    first = await upload(api, ask, "name\na\n", headers=headers, organization="d")
    again = await upload(api, ask, "name\na\n", headers=headers, organization="d")
    assert first["id"] == again["id"]
    assert (await ask("GET", "/points")).body["total"] == 1


@ON_SQLITE
async def test_what_is_no_file_of_points_fails_the_job(core_api: CoreApi, api: CoreApi) -> None:
    ask = await signed_in(core_api, api, "admin")
    job = await upload(api, ask, b"\xff\xfe\xff", "x.xlsx", organization="d")
    assert job["state"] == "failed"
    assert "file:" in job["report"]["error"]


@ON_SQLITE
async def test_a_file_that_was_not_sent_is_asked_for(core_api: CoreApi, api: CoreApi) -> None:
    ask = await signed_in(core_api, api, "admin")
    own = {"Authorization": f"Bearer {ask.token}"}
    url = f"{api.url}/api/v1/points/import?organization=d"
    for headers, why in ((own, "form field"), ({**own, "Idempotency-Key": "k"}, "nothing is kept")):
        async with api.session.post(url, headers=headers) as response:
            assert response.status == 422
            assert why in (await response.json())["errors"][0]["reason"]


@ON_SQLITE
async def test_who_may_not_import_is_told_so(core_api: CoreApi, api: CoreApi) -> None:
    for name, organization, file, status in (
        ("viewer", "d/s1/w1", "a.csv", 403),
        ("viewer", "d/s2", "a.csv", 404),
        ("admin", "d", "a.xls", 422),
    ):
        ask = await signed_in(core_api, api, name)
        form = aiohttp.FormData()
        form.add_field("file", b"name\na\n", filename=file)
        url = f"{api.url}/api/v1/points/import"
        own = {"Authorization": f"Bearer {ask.token}"}
        query = {"organization": organization}
        async with api.session.post(url, data=form, params=query, headers=own) as response:
            assert response.status == status


@ON_SQLITE
async def test_an_export_is_filtered(
    core_api: CoreApi, api: CoreApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = await signed_in(core_api, api, "admin")
    await upload(api, ask, "name,longitude,latitude\na,1,1\nb,21,1\n", organization="d")
    answer = await ask("GET", "/points/export", organization="d/s2", format="geojson")
    assert [each["properties"]["name"] for each in answer.body["features"]] == ["b"]
    assert (await ask("GET", "/points/export", format="pdf")).status == 422
    assert (await ask("GET", "/points/export", organization="nowhere")).status == 404
    monkeypatch.setattr(exporting, "MAX_XLSX_ROWS", 2)
    refused = await ask("GET", "/points/export", format="xlsx")
    assert (refused.status, refused.body["errors"][0]["field"]) == (422, "format")
    answer = await ask("GET", "/points/export", organization="d/s2", format="xlsx")
    assert answer.status == 200


@ON_SQLITE
async def test_completeness(core_api: CoreApi, api: CoreApi) -> None:
    ask = await signed_in(core_api, api, "admin")
    await upload(api, ask, "name,place\na,b\n", organization="d/s1")
    answer = await ask("GET", "/organizations/d/s1/completeness")
    assert (answer.body["points"], answer.body["complete"]) == (1, 0)
    assert answer.body["lacking"]["place"] == 0
    assert "code" in answer.body["items"][0]["lacking"]


@ON_SQLITE
@pytest.mark.parametrize("says_so", [True, False])
async def test_a_request_that_is_too_large_is_not_read_to_its_end(
    core_api: CoreApi, api: CoreApi, monkeypatch: pytest.MonkeyPatch, says_so: bool
) -> None:
    monkeypatch.setattr(body_limit, "MAX_UPLOAD_BYTES", 1 << 20)
    monkeypatch.setattr(body_limit, "MAX_BYTES", 100_000)
    ask = await signed_in(core_api, api, "admin")
    asked = 0

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal asked
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n'
        while asked < 10_000:
            asked += 1
            yield b"name," * 2000

    own = {"Authorization": f"Bearer {ask.token}", "Accept-Language": "zh"}
    for path, kind in (
        ("points/import", "multipart/form-data; boundary=x"),
        ("points", "application/json"),
    ):
        headers = {**own, "Content-Type": kind}
        if says_so:
            headers["Content-Length"] = "100000000"
        url = f"{api.url}/api/v1/{path}?organization=d"
        async with api.session.post(url, data=pieces(), headers=headers) as response:
            assert response.status == 413
            assert response.content_type == "application/problem+json"
            assert "超过" in (await response.json())["detail"]
        assert asked < 10_000
    job = await upload(api, ask, "name\na\n", organization="d")
    assert job["report"]["created"] == 1
