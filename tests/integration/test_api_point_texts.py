"""Lists of points are kept as text, and never older than the points."""

from typing import Any

from core_api import Caller, CoreApi

from gateway.api.point_texts import PointTexts
from registry import organizations, point_status
from registry.identity import now
from registry.partition import SYSTEM

pytest_plugins = ["core_api"]


async def listed(ask: Caller, query: str = "") -> list[dict[str, Any]]:
    answer = await ask("GET", f"/points{query}")
    assert answer.status == 200
    items: list[dict[str, Any]] = answer.body["items"]
    return items


async def test_a_list_shows_at_once_what_was_changed(core_api: CoreApi) -> None:
    admin = await core_api.sign_in("admin")
    made = [
        (await admin("POST", "/points", {"organization": "d/s1/w1", "name": f"p{number}"})).body
        for number in range(3)
    ]
    assert await listed(admin) == made
    assert await listed(admin) == made
    one, point_id = made[1], made[1]["id"]
    one = (
        await admin(
            "PATCH", f"/points/{point_id}", {"name": "another"}, headers={"If-Match": '"1"'}
        )
    ).body
    assert await listed(admin) == [made[0], one, made[2]]
    database = core_api.context.database
    await database.write(lambda c: point_status.set_status(c, [(point_id, "fault", now(), "dark")]))
    seen = (await listed(admin))[1]
    assert (seen["status"], seen["status_reason"]) == ("fault", "dark")
    assert seen == (await admin("GET", f"/points/{point_id}")).body
    await database.write(lambda c: organizations.update(c, SYSTEM, "d/s1/w1", {"name": "renamed"}))
    assert {each["organization"]["name"] for each in await listed(admin)} == {"renamed"}
    await admin("DELETE", f"/points/{point_id}")
    assert [each["id"] for each in await listed(admin)] == [made[0]["id"], made[2]["id"]]


async def test_what_is_kept_for_one_is_shown_to_nobody_else(core_api: CoreApi) -> None:
    admin = await core_api.sign_in("admin")
    await admin("POST", "/points", {"organization": "d/s2", "name": "p"})
    assert len(await listed(admin)) == 1
    assert (await core_api.anybody()("GET", "/api/v1/points")).status == 401
    assert await listed(await core_api.sign_in("viewer")) == []


async def test_little_room_is_enough(core_api: CoreApi) -> None:
    core_api.context.texts = PointTexts(room=4)
    admin = await core_api.sign_in("admin")
    for number in range(9):
        await admin("POST", "/points", {"organization": "d/s1/w1", "name": f"p{number}"})
    for _ in range(2):
        for size in (1, 2, 5, 9):
            found = await listed(admin, f"?limit={size}")
            assert [each["name"] for each in found] == [f"p{each}" for each in range(size)]
