"""Patches with their finer rules, and what dispatchers do to running ones, over HTTP."""

import asyncio
from typing import Any

import pytest
from databases import ON_SQLITE
from patience import wait_until

from gateway.interop.definitions import (
    ChannelDefinition,
    Definitions,
    PatchDefinition,
    PatchMember,
)
from gateway.interop.model import Voice
from registry import changes
from registry.partition import SYSTEM

pytest_plugins = ["radio_api"]
pytestmark = ON_SQLITE
NIGHT = {"timezone": "Asia/Shanghai", "from": "18:00", "to": "06:00"}


async def channels_of(stage: Any, *addresses: str) -> list[str]:
    integrator = await stage.caller("integrator")
    body = {"adapter": "homebrew", "name": "Trunk", "organization": "d/s1"}
    body["settings"] = {"port": 0, "passphrase": "s3cret-word"}
    system = (await integrator("POST", "/systems", body)).body["id"]
    made = []
    for address in addresses:
        channel = {"system": system, "address": address, "name": address}
        made.append((await integrator("POST", "/channels", channel)).body["id"])
    return made


async def patch_of(stage: Any, *channels: str, **fields: Any) -> Any:
    dispatcher = await stage.caller("dispatcher")
    members = [{"channel": channel} for channel in channels]
    body = {"name": "p", "organization": "d/s1", "members": members, "voice": "silence"}
    return await dispatcher("POST", "/patches", {**body, **fields})


async def bridged(stage: Any, patch: str, *channels: str) -> None:
    """The bridge knows the patch, as the roster would tell it."""
    stage.bridge.define(
        Definitions(
            channels=tuple(
                ChannelDefinition(id=c, name=c, org="d/s1", system_id="x") for c in channels
            ),
            patches=(
                PatchDefinition(
                    id=patch,
                    name="p",
                    org="d/s1",
                    hang_s=0,
                    max_talk_s=60,
                    queue=False,
                    voice=Voice.SILENCE,
                    members=tuple(PatchMember(channel=c) for c in channels),
                ),
            ),
        )
    )
    await wait_until(lambda: stage.lease.held)


async def test_the_finer_rules_of_a_patch_are_written_changed_and_refused(stage: Any) -> None:
    dispatcher = await stage.caller("dispatcher")
    (channel,) = await channels_of(stage, "1/1")
    made = await patch_of(
        stage,
        channel,
        schedule=NIGHT,
        queue_timeout_s=20,
        encrypted=True,
        units={"deny": ["u1"]},
        calls={"allow": ["voice"]},
    )
    assert made.status == 201, made.body
    assert made.body["schedule"] == NIGHT
    assert made.body["units"] == {"allow": [], "deny": ["u1"]}
    assert (made.body["encrypted"], made.body["emergency_hold_s"]) == (True, 120.0)
    path, tag = f"/patches/{made.body['id']}", {"If-Match": made.headers["ETag"]}
    changed = await dispatcher("PATCH", path, {"penalty_s": 9, "schedule": None}, headers=tag)
    assert changed.status == 200, changed.body
    assert (changed.body["penalty_s"], changed.body["schedule"]) == (9, None)
    assert changed.body["calls"] == {"allow": ["voice"], "deny": []}
    tag = {"If-Match": changed.headers["ETag"]}
    assert changed.body["voice"] == "silence"
    for wrong in (
        {"voice": "song"},
        {"schedule": {**NIGHT, "timezone": "Nowhere"}},
        {"schedule": {"from": "18:00", "to": "06:00"}},
        {"calls": {"allow": ["song"]}},
        {"revoke_grace_s": 11},
    ):
        assert (await dispatcher("PATCH", path, wrong, headers=tag)).status == 422


async def test_a_patch_is_for_voice_unless_it_says_otherwise(stage: Any) -> None:
    dispatcher = await stage.caller("dispatcher")
    (channel,) = await channels_of(stage, "1/1")
    body = {"name": "p", "organization": "d/s1", "members": [{"channel": channel}]}
    made = await dispatcher("POST", "/patches", body)
    assert (made.status, made.body["voice"]) == (201, "frames")
    path, tag = f"/patches/{made.body['id']}", {"If-Match": made.headers["ETag"]}
    changed = await dispatcher("PATCH", path, {"voice": "events"}, headers=tag)
    assert (changed.status, changed.body["voice"]) == (200, "events")


async def test_a_member_is_muted_and_moved(stage: Any) -> None:
    dispatcher, viewer = await stage.caller("dispatcher"), await stage.caller("viewer")
    a, b, c = await channels_of(stage, "1/1", "1/2", "1/3")
    one, two = (await patch_of(stage, a, b)).body["id"], (await patch_of(stage, c)).body["id"]
    path = f"/patches/{one}/members/{b}"
    muted = await dispatcher("POST", path, {"muted": True})
    assert [each["muted"] for each in muted.body["members"]] == [False, True]
    assert (await viewer("POST", path, {"muted": False})).status == 404
    nudges = len(stage.nudges)
    moved = await dispatcher("POST", path, {"move_to": two})
    assert moved.status == 200, moved.body
    assert [each["channel"] for each in moved.body["to"]["members"]] == [c, b]
    assert len(stage.nudges) == nudges + 1
    assert (await dispatcher("POST", path, {"muted": False})).status == 404
    for wrong in ({}, {"muted": True, "move_to": one}, {"suspended": True}):
        assert (await dispatcher("POST", path, wrong)).status == 422


async def test_a_stuck_floor_and_an_emergency_are_cleared_and_recorded(stage: Any) -> None:
    dispatcher, viewer = await stage.caller("dispatcher"), await stage.caller("viewer")
    a, b = await channels_of(stage, "1/1", "1/2")
    patch = (await patch_of(stage, a, b)).body["id"]
    await bridged(stage, patch, a, b)
    pressed = await dispatcher("POST", f"/channels/{a}/talk", {"action": "press"})
    assert pressed.body["state"] == "granted"
    cleared = await dispatcher("POST", f"/patches/{patch}/clear", {})
    assert cleared.status == 202, cleared.body
    assert [each["channel"] for each in cleared.body["cleared"]] == [None]
    ended = await dispatcher("POST", f"/channels/{a}/emergency/clear", {})
    assert (ended.status, ended.body) == (202, {"cleared": []})
    resumed = await dispatcher("POST", f"/patches/{patch}/members/{a}", {"suspended": False})
    assert resumed.status == 200, resumed.body
    for path in (f"/patches/{patch}/clear", f"/channels/{a}/emergency/clear"):
        assert (await viewer("POST", path, {})).status == 404
    database = stage.api.context.database
    noted = await database.read(lambda connection: changes.page(connection, SYSTEM, limit=500))
    assert {each.action for each in noted.items} >= {"clear", "clear emergency", "resume"}


async def test_a_patch_is_tested_or_it_says_why_not(stage: Any) -> None:
    dispatcher = await stage.caller("dispatcher")
    a, b = await channels_of(stage, "1/1", "1/2")
    patch = (await patch_of(stage, a, b)).body["id"]
    await bridged(stage, patch, a, b)
    nobody_there = await dispatcher("POST", f"/patches/{patch}/test", {})
    assert (nobody_there.status, nobody_there.body) == (200, {"members": []})
    await dispatcher("POST", f"/channels/{a}/talk", {"action": "press"})
    assert (await dispatcher("POST", f"/patches/{patch}/test", {})).status == 409
    empty = (await patch_of(stage)).body["id"]
    assert (await dispatcher("POST", f"/patches/{empty}/test", {})).status == 409


@pytest.mark.parametrize("path", ["clear", "test", "members/{a}"])
async def test_a_patch_that_is_not_on_says_so_at_once(stage: Any, path: str) -> None:
    dispatcher = await stage.caller("dispatcher")
    a, b = await channels_of(stage, "1/1", "1/2")
    patch = (await patch_of(stage, a, b)).body["id"]
    off = (await patch_of(stage, a, b, enabled=False)).body["id"]
    await bridged(stage, patch, a, b)
    body = {"suspended": False} if "members" in path else {}
    async with asyncio.timeout(10):
        answer = await dispatcher("POST", f"/patches/{off}/{path.format(a=a)}", body)
    assert answer.status == 409, answer.body
    assert "not on" in answer.body["detail"]


@pytest.mark.parametrize("path", ["clear", "test"])
async def test_without_a_bridge_it_is_503(stage: Any, path: str) -> None:
    dispatcher = await stage.caller("dispatcher")
    (a,) = await channels_of(stage, "1/1")
    patch = (await patch_of(stage, a)).body["id"]
    assert (await dispatcher("POST", f"/patches/{patch}/{path}", {})).status == 503


@pytest.mark.parametrize(("name", "most"), [("dispatcher", 100), ("admin", 254)])
async def test_a_press_is_worth_what_the_role_allows(stage: Any, name: str, most: int) -> None:
    caller = await stage.caller(name)
    a, b = await channels_of(stage, "1/1", "1/2")
    await bridged(stage, (await patch_of(stage, a, b)).body["id"], a, b)
    body = {"action": "press", "priority": 254}
    assert (await caller("POST", f"/channels/{a}/talk", body)).body["state"] == "granted"
    feed = stage.services.feed

    def granted() -> list[Any]:
        found = [item.payload for item in feed.recent(lambda _item: True)]
        return [each for each in found if each["type"] == "hutong.floor.granted"]

    await wait_until(granted)
    assert granted()[0]["data"]["priority"] == most
