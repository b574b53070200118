"""Units from a file over HTTP: a job with a report, and nothing of what may not be."""

from typing import Any

import aiohttp
from databases import ON_SQLITE
from patience import wait_until
from test_api_radio_dispatch import channels_of

pytest_plugins = ["radio_api"]
pytestmark = ON_SQLITE
ROWS = "alias,organization,Trunk\nZhang,w1,3101001\nLi,,3101002\n"


class Uploads:
    def __init__(self, stage: Any, caller: Any) -> None:
        self._stage, self._caller = stage, caller

    async def send(
        self,
        text: str,
        name: str = "units.csv",
        *,
        key: str = "",
        language: str = "en",
        **query: str,
    ) -> tuple[int, dict[str, Any]]:
        form = aiohttp.FormData()
        form.add_field("file", text.encode(), filename=name)
        headers = {"Authorization": f"Bearer {self._caller.token}", "Accept-Language": language}
        if key:
            headers["Idempotency-Key"] = key
        url = f"{self._stage.api.url}/api/v1/units/import"
        query = {"organization": "d/s1", **query}
        session = self._stage.api.session
        async with session.post(url, data=form, params=query, headers=headers) as response:
            return response.status, await response.json()

    async def done(self, *parts: str, **options: str) -> dict[str, Any]:
        status, job = await self.send(*parts, **options)
        assert status == 202, job
        answers: list[dict[str, Any]] = []

        async def over() -> bool:
            answers.append((await self._caller("GET", f"/jobs/{job['id']}")).body)
            return answers[-1]["state"] not in ("queued", "running")

        while not await over():
            pass
        return answers[-1]


async def test_units_are_read_by_a_job_and_again_by_the_same_key_not(stage: Any) -> None:
    await channels_of(stage, "1/1")
    integrator = await stage.caller("integrator")
    uploads = Uploads(stage, integrator)
    tried = await uploads.done(ROWS, dry_run="true")
    assert (tried["state"], tried["report"]["applied"], tried["report"]["created"]) == (
        "done",
        False,
        2,
    )
    assert (await integrator("GET", "/units")).body["total"] == 0
    nudges = len(stage.nudges)
    first = await uploads.done(ROWS, key="k1")
    assert first["report"] == {
        "applied": True,
        "rows": 2,
        "created": 2,
        "updated": 0,
        "unchanged": 0,
        "refused": 0,
        "refusals": [],
        "ignored_columns": [],
    }
    await wait_until(lambda: len(stage.nudges) > nudges)
    assert (await uploads.done(ROWS, key="k1"))["id"] == first["id"]
    listed = (await integrator("GET", "/units")).body["items"]
    assert {each["alias"]: each["organization"]["path"] for each in listed} == {
        "Zhang": "d/s1/w1",
        "Li": "d/s1",
    }
    assert [a["address"] for each in listed for a in each["addresses"]] == ["3101001", "3101002"]
    wrong = await uploads.done("姓名,Trunk\n,1\n", language="zh-CN")
    assert wrong["report"]["refusals"] == [
        {"row": 2, "column": "姓名", "value": "", "reason": "不能为空"}
    ]


async def test_who_may_not_and_what_is_no_file_of_units(stage: Any) -> None:
    await channels_of(stage, "1/1")
    dispatcher = Uploads(stage, await stage.caller("dispatcher"))
    assert (await dispatcher.send(ROWS))[0] == 403
    viewer = Uploads(stage, await stage.caller("viewer"))
    assert (await viewer.send(ROWS))[0] == 404
    integrator = Uploads(stage, await stage.caller("integrator"))
    for name in ("units.geojson", "units.pdf"):
        assert (await integrator.send(ROWS, name))[0] == 422
    job = await integrator.done("alias,organization\nx,d\n")
    assert job["state"] == "failed"
    assert "no column is headed by" in job["report"]["error"]
