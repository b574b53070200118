"""A token that is narrowed to one place, against every route there is: what lies elsewhere does not
exist for it, although its user administers it all."""

import asyncio
import json
import re
from datetime import timedelta
from typing import Any

import aiohttp
import pytest
from core_api import Answer, Caller, square
from databases import ON_SQLITE
from patience import wait_until
from schemas import rows
from sqlalchemy import update

from gateway.access.sessions import hash_token
from gateway.access.tokens import new_access_token
from gateway.bus.messages import CloudEvent, encode_event
from registry import tokens
from registry.database import Connection
from registry.identity import now
from registry.models import DEVICES, SHARES, TOKENS
from registry.partition import SYSTEM
from registry.tokens import CARRIABLE, NewToken, NewTokenRole

pytest_plugins = ["radio_api"]
pytestmark = ON_SQLITE

API = "/api/v1"
HERE = "shenhe/shandongmiao"
ELSEWHERE = {
    "point_id": rows.GATE,
    "device_id": rows.CAMERA,
    "system_id": rows.RADIO,
    "channel_id": rows.TALKGROUP,
    "patch_id": rows.known(34),
    "unit_id": rows.known(35),
    "level_id": rows.known(36),
    "share_id": rows.known(51),
    "user_id": rows.CHIEF,
    "token_id": rows.known(14),
    "tour_id": rows.known(82),
    "wall_id": rows.known(81),
    "job_id": rows.known(61),
    "event_id": "event-1",
    "organization": rows.WORKROOM,
    "reference": rows.STATION,
    "name": "gate",
}
"""What stands in the path of a route: objects of the token's own user, at other places."""
PLANTED = (
    *("北门", "万莲", "七室", "一组", "joined", "巡逻一", "夜巡", "192.0.2.7", "homebrew"),
    *(rows.GATE, rows.CAMERA, rows.RADIO, rows.TALKGROUP, rows.WORKROOM, rows.STATION),
    *(rows.known(number) for number in (14, 34, 35, 36, 51, 52, 61, 81, 82)),
)
"""What shows that something of those is told."""
BODIES: dict[str, Any] = {
    "POST /organizations/{reference}/merge": {"into": HERE},
    "PUT /organizations/{reference}/jurisdiction": rows.SQUARE,
    "PATCH /organizations/{reference}": {"name": "x"},
    "PATCH /points/{point_id}": {"name": "x"},
    "PUT /points/{point_id}/source": {"device": rows.CAMERA, "address": "v1"},
    "PUT /points/{point_id}/masks": {"polygons": []},
    "POST /points/{point_id}/code": {},
    "POST /points/{point_id}/ptz": {"stop": True},
    "POST /points/{point_id}/live": {"profile": "main"},
    "PUT /points/{point_id}/quality/thresholds": {"thresholds": {}},
    "PATCH /devices/{device_id}": {"name": "x"},
    "PATCH /systems/{system_id}": {"name": "x"},
    "PATCH /channels/{channel_id}": {"name": "x"},
    "PATCH /patches/{patch_id}": {"name": "x"},
    "PATCH /units/{unit_id}": {"alias": "x"},
    "PATCH /levels/{level_id}": {"name": "x"},
    "PATCH /tours/{tour_id}": {"name": "x"},
    "PATCH /walls/{wall_id}": {"name": "x"},
    "POST /channels/{channel_id}/talk": {"action": "press"},
    "POST /patches/{patch_id}/members/{channel_id}": {"muted": True},
    "PATCH /users/{user_id}": {"name": "x"},
    "PUT /users/{user_id}/roles": [{"role": "viewer", "organization": HERE}],
}
PEOPLE_ALONE = re.compile(r"(GET|PATCH|DELETE) /walls/|(PATCH|PUT|DELETE) /users/")
NOT_ASKED = re.compile(r"^/api/v1/(live|auth)/|/events/stream$|^/(?!api/v1/)")
"""By ticket alone, of sessions, without an end, and what is nobody's."""


def routes(stage: Any) -> list[tuple[str, str]]:
    """Method and path of every route that asks who asks."""
    return [
        (method.upper(), path.removeprefix(API))
        for path, operations in stage.api.app.openapi()["paths"].items()
        for method in operations
        if not NOT_ASKED.search(path)
    ]


async def program(stage: Any, user_id: str, *paths: str) -> Caller:
    """What asks by a token with every role that one can carry, at these places alone."""
    secret = new_access_token()
    roles = tuple(NewTokenRole(role=r, organization=path) for path in paths for r in CARRIABLE)
    new = NewToken(name="x", token_hash=hash_token(secret), user=user_id, roles=roles or None)
    await stage.api.context.database.write(lambda c: tokens.create(c, SYSTEM, new))
    return Caller(stage.api.session, f"{stage.api.url}{API}", secret)


@pytest.fixture
async def filled(stage: Any) -> Any:
    """A district with a row in every table, none of them at `HERE`."""

    def fill(connection: Connection) -> None:
        rows.fill(connection)
        connection.execute(update(SHARES).values(receiver_id=rows.DISTRICT))
        connection.execute(update(DEVICES).values(sources=[]))
        connection.execute(update(TOKENS).values(ends_at=now() + timedelta(days=1)))

    await stage.api.context.database.write(fill)
    return stage


async def test_what_lies_elsewhere_does_not_exist_on_any_route(filled: Any) -> None:
    narrow = await program(filled, rows.CHIEF, HERE)
    asked = [(method, path) for method, path in routes(filled) if "{" in path]
    assert len(asked) > 60
    for method, path in asked:
        route = f"{method} {path}"
        body = BODIES.get(route)
        answer: Answer = await narrow(
            method, path.format_map(ELSEWHERE), body, headers={"If-Match": "*"}
        )
        expected = 403 if PEOPLE_ALONE.match(route) else 404
        assert answer.status == expected, (route, answer.status, answer.body)
        told = json.dumps(answer.body, ensure_ascii=False) if answer.body else ""
        for each in PLANTED:
            assert each in path.format_map(ELSEWHERE) or each not in told, (route, told)


async def test_no_list_tells_of_what_lies_elsewhere(filled: Any) -> None:
    narrow = await program(filled, rows.CHIEF, HERE)
    whole = await program(filled, rows.CHIEF)
    lists = [path for method, path in routes(filled) if method == "GET" and "{" not in path]
    needs = {"/points/clusters": {"bbox": "123,41,124,42", "zoom": 12}}
    needs["/points/export"] = {"format": "csv"}
    told, shown = "", set()
    for path in lists:
        for who in (narrow, whole):
            answer = await who("GET", path, **needs.get(path, {}))
            assert answer.status in (200, 403), (path, answer.body)
            raw = (
                answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
            )
            text = raw.decode("unicode_escape" if raw.isascii() else "utf-8")
            if who is whole:
                told += text
                continue
            if answer.status == 200:
                shown.add(path)
            for each in PLANTED:
                assert path == "/adapters" or each not in text, (path, each, text)
    assert {"/points", "/organizations", "/audit", "/users", "/tokens", "/devices"} <= shown
    # The same questions by a token that is not narrowed: this test can fail.
    missing = {each for each in PLANTED if each not in told}
    assert missing <= {rows.known(61)}  # a job is in no list


async def test_new_things_are_made_at_no_other_place(filled: Any) -> None:
    narrow = await program(filled, rows.CHIEF, HERE)
    there = "shenhe/wanlian"
    for path, body, statuses in (
        ("/points", {"organization": there, "name": "x"}, {404, 422}),
        ("/points", {"organization": HERE, "name": "x"}, {201}),
        ("/organizations", {"kind": "workroom", "name": "x", "slug": "x", "parent": there}, {404}),
        ("/units", {"alias": "x", "organization": there, "addresses": []}, {404, 422}),
        ("/tours", {"name": "x", "organization": there, "dwell_s": 15, "groups": []}, {404, 422}),
        ("/points/assign", {"points": [rows.GATE], "organization": HERE}, {404, 422}),
    ):
        answer = await narrow("POST", path, body)
        assert answer.status in statuses, (path, answer.status, answer.body)
        if answer.status == 422:
            assert "there is no" in str(answer.body), (path, answer.body)


async def test_the_event_stream_tells_of_the_tokens_own_places(stage: Any) -> None:
    admin = (await (await stage.caller("admin"))("GET", "/me")).body["id"]
    narrow = await program(stage, admin, "d/s1/w1")
    heard: list[str] = []
    headers = {"Authorization": f"Bearer {narrow.token}"}
    url = f"{stage.api.url}{API}/events/stream"
    async with stage.api.session.get(url, headers=headers) as response:

        async def read() -> None:
            async for line in response.content:
                heard.extend([json.loads(line[6:])["id"]] if line.startswith(b"data: ") else [])

        reading = asyncio.create_task(read())
        await wait_until(lambda: stage.services.feed._listeners)
        for number, org in enumerate(("d", "d/s1", "d/s1/w2", "d/s2", "d/s1/w1"), start=1):
            event = CloudEvent(
                id=f"{org}-{number}",
                source="hutong/agent/system",
                type="floor.taken",
                subject=f"channel-{number}",
                time="2026-01-01T00:00:00.000Z",
                epoch=stage.agent.epoch,
                sequence=number,
                uptime_ms=1,
                data={},
            )
            topic = stage.agent.topics.org("channels", "event", org, event.subject)
            assert stage.agent.publish(topic, encode_event(event))
        await wait_until(lambda: heard)
        assert heard == ["d/s1/w1-5"]
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
    listed = (await narrow("GET", "/events")).body["items"]
    assert [each["id"] for each in listed] == ["d/s1/w1-5"]


async def test_jobs_of_a_person_are_not_a_narrowed_tokens(stage: Any) -> None:
    admin = await stage.caller("admin")
    user_id = (await admin("GET", "/me")).body["id"]
    narrow, whole = await program(stage, user_id, "d/s1"), await program(stage, user_id)
    job = await stage.services.jobs.start(await principal(stage, admin), "x", _nothing)
    own = await stage.services.jobs.start(await principal(stage, narrow), "x", _nothing)
    statuses = {
        name: [(await who("GET", f"/jobs/{each.id}")).status for each in (job, own)]
        for name, who in (("admin", admin), ("narrow", narrow), ("whole", whole))
    }
    assert statuses == {"admin": [200, 200], "narrow": [404, 200], "whole": [200, 200]}
    assert (await narrow("DELETE", f"/jobs/{job.id}")).status == 404


async def test_long_work_is_recorded_with_the_token_that_asked_for_it(stage: Any) -> None:
    admin = await stage.caller("admin")
    asks = await program(stage, (await admin("GET", "/me")).body["id"])
    named = {"id": (await asks("GET", "/me")).body["token"]["id"], "name": "x"}

    async def upload(path: str, text: str) -> None:
        form = aiohttp.FormData()
        form.add_field("file", text.encode(), filename="rows.csv")
        headers = {"Authorization": f"Bearer {asks.token}"}
        url, query = f"{stage.api.url}{API}{path}", {"organization": "d"}
        async with stage.api.session.post(url, data=form, params=query, headers=headers) as said:
            assert said.status == 202, await said.text()
            job = (await said.json())["id"]
        while (over := await asks("GET", f"/jobs/{job}")).body["state"] in ("queued", "running"):
            pass
        assert over.body["state"] == "done", over.body
        assert over.body["report"]["applied"], over.body

    async def told(kind: str, action: str) -> list[Any]:
        found = await admin("GET", "/audit", kind=kind, action=action)
        return [each["details"] for each in found.body["items"]]

    await upload("/points/import", "code,name,longitude,latitude\n21010300001320000001,a,1,1\n")
    await upload("/points/import", "code,name,longitude,latitude\n21010300001320000001,b,1,1\n")
    system = {"adapter": "homebrew", "name": "Trunk", "organization": "d"}
    system["settings"] = {"passphrase": "planted"}
    assert (await admin("POST", "/systems", system)).status == 201
    await upload("/units/import", "alias,organization,Trunk\nZhang,d/s1,3101001\n")
    await asks("PUT", "/organizations/d/s1/w1/jurisdiction", square(50, 50))
    moved = await asks("POST", "/organizations/d/partition")
    assert moved.body["moved"] == 1, moved.body
    (made,), (changed,) = await told("point", "create"), await told("point", "update")
    assert (made["name"], made["token"]) == ("a", named)
    assert (changed["name"], changed["token"]) == (["a", "b"], named)
    assert [each["token"] for each in await told("unit", "create")] == [named]
    assert [each["token"] for each in await told("point", "partition")] == [named]
    assert all("token" not in each for each in await told("system", "create"))


async def principal(stage: Any, who: Caller) -> Any:
    return await stage.api.context.access.authenticate(who.token)


async def _nothing(_progress: Any) -> dict[str, Any]:
    return {}
