"""Response levels over HTTP."""

from typing import Any

from databases import ON_SQLITE
from test_api_radio_dispatch import channels_of, patch_of

pytest_plugins = ["radio_api"]
pytestmark = ON_SQLITE


async def test_a_level_is_written_applied_and_restored(stage: Any) -> None:
    dispatcher, viewer = await stage.caller("dispatcher"), await stage.caller("viewer")
    (channel,) = await channels_of(stage, "1/1")
    patch = (await patch_of(stage, channel, enabled=False)).body["id"]
    step = {"kind": "patch", "id": patch, "field": "enabled", "value": True}
    body = {"name": "heightened", "organization": "d/s1", "rank": 1, "plan": [step]}
    made = await dispatcher("POST", "/levels", body)
    assert made.status == 201, made.body
    assert made.body["plan"] == [step]
    path = f"/levels/{made.body['id']}"
    nudges = len(stage.nudges)
    applied = await dispatcher("POST", f"{path}/apply", {})
    assert (applied.status, applied.body["done"]) == (200, [step]), applied.body
    assert applied.body["level"]["applied"]["by"]["name"] == "dispatcher"
    assert len(stage.nudges) == nudges + 1
    assert (await dispatcher("GET", f"/patches/{patch}")).body["enabled"] is True
    assert (await dispatcher("DELETE", path)).status == 409
    restored = await dispatcher("POST", f"{path}/restore", {})
    assert restored.body["done"] == [{**step, "value": False}]
    assert (await dispatcher("GET", f"/patches/{patch}")).body["enabled"] is False
    assert (await viewer("POST", f"{path}/apply", {})).status == 404
    changed = await dispatcher(
        "PATCH", path, {"name": "high", "plan": []}, headers={"If-Match": '"1"'}
    )
    assert (changed.status, changed.body["plan"]) == (200, [])
    assert (await dispatcher("GET", "/levels")).body["total"] == 1
    assert (await dispatcher("DELETE", path)).status == 204
    wrong = {**body, "plan": [{**step, "value": "yes"}]}
    assert (await dispatcher("POST", "/levels", wrong)).status == 422


async def test_a_level_puts_a_tour_on_duty(stage: Any) -> None:
    dispatcher = await stage.caller("dispatcher")
    made = await dispatcher("POST", "/tours", {"name": "night", "organization": "d/s1"})
    assert (made.status, made.body["on_duty"]) == (201, False), made.body
    tour = f"/tours/{made.body['id']}"
    step = {"kind": "tour", "id": made.body["id"], "field": "on_duty", "value": True}
    body = {"name": "high", "organization": "d/s1", "plan": [step]}
    level = f"/levels/{(await dispatcher('POST', '/levels', body)).body['id']}"
    assert (await dispatcher("POST", f"{level}/apply", {})).body["done"] == [step]
    on_duty = await dispatcher("GET", tour)
    assert on_duty.body["on_duty"] is True
    assert (await dispatcher("GET", "/tours")).body["items"][0]["on_duty"] is True
    assert (await dispatcher("POST", f"{level}/restore", {})).status == 200
    assert (await dispatcher("GET", tour)).body["on_duty"] is False
    by_hand = await dispatcher("PATCH", tour, {"on_duty": True}, headers={"If-Match": '"3"'})
    assert (by_hand.status, by_hand.body["on_duty"]) == (200, True), by_hand.body
