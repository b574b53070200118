"""Privacy masks and the rule of purpose over HTTP."""

import pytest
from core_api import CoreApi
from databases import ON_SQLITE

from registry import points
from registry.partition import SYSTEM
from registry.points import NewPoint

pytest_plugins = ["core_api"]
pytestmark = ON_SQLITE

WINDOW = [[0.1, 0.1], [0.4, 0.1], [0.4, 0.5]]


@pytest.fixture
async def point_id(core_api: CoreApi) -> str:
    new = NewPoint(organization="d/s1/w1", name="gate")
    made = await core_api.context.database.write(lambda c: points.create(c, SYSTEM, new))
    return made.id


async def test_masks_come_and_go_with_a_version(core_api: CoreApi, point_id: str) -> None:
    admin, path = await core_api.sign_in("station-admin"), f"/points/{point_id}/masks"
    before = await admin("GET", path)
    assert (before.status, before.headers["ETag"]) == (200, '"0"')
    assert before.body == {
        "point": point_id,
        "version": 0,
        "masked": False,
        "movable": False,
        "polygons": [],
        "presets": {},
    }
    headers = {"If-Match": '"0"'}
    put = await admin("PUT", path, {"polygons": [WINDOW]}, headers=headers)
    assert (put.status, put.headers["ETag"], put.body["masked"]) == (200, '"1"', True)
    assert put.body["polygons"] == [WINDOW]
    assert (await admin("GET", path)).body == put.body
    assert (await admin("PUT", path, {"polygons": []}, headers=headers)).status == 412
    assert (await admin("GET", f"/points/{point_id}")).body["masked"] is True
    viewer = await core_api.sign_in("viewer")
    assert (await viewer("GET", path)).body["polygons"] == [WINDOW]
    assert (await viewer("PUT", path, {"polygons": []})).status == 403
    auditor = await core_api.sign_in("auditor")
    assert (await auditor("PUT", path, {"polygons": []})).status == 404
    (kept,) = (await auditor("GET", "/audit", action="masks")).body["items"]
    assert kept["details"]["polygons"] == [[], [WINDOW]]
    assert kept["details"]["masked"] == [False, True]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"polygons": [[[0, 0], [1, 1]]]}, "polygons[0]"),
        ({"polygons": [WINDOW, [[0, 0], [1, 1], [0, 1], [1, 0]]]}, "polygons[1]"),
        ({"polygons": [[[0, 0], [2, 0], [1, 1]]]}, "polygons[0][1]"),
        ({"polygons": [WINDOW] * 17}, "polygons"),
        ({"polygons": "all"}, "polygons"),
        ({"presets": {"gate": [WINDOW]}}, "presets"),
        ({"circles": []}, "circles"),
    ],
)
async def test_garbage_is_named(core_api: CoreApi, point_id: str, body: object, field: str) -> None:
    admin, path = await core_api.sign_in("admin"), f"/points/{point_id}/masks"
    refused = await admin("PUT", path, body)
    assert refused.status == 422
    assert refused.body["errors"][0]["field"] == field
    assert (await admin("GET", path)).body["masked"] is False


async def test_an_organisation_asks_for_a_purpose(core_api: CoreApi) -> None:
    admin = await core_api.sign_in("station-admin")
    shown = await admin("GET", "/organizations/d/s1")
    assert shown.body["purpose_required"] is False
    headers = {"If-Match": shown.headers["ETag"]}
    body = {"purpose_required": True}
    changed = await admin("PATCH", "/organizations/d/s1", body, headers=headers)
    assert (changed.status, changed.body["purpose_required"]) == (200, True)
    assert changed.body["name"] == "一所"
