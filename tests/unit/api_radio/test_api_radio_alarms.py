"""Alarms over HTTP: which there are, who saw to them, and who may say so; on both databases."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from patience import wait_until
from test_api_radio_shares import say

from gateway.api import history
from registry import alarms, changes, journal, organizations
from registry.database import Connection
from registry.errors import NotFound
from registry.journal import Event
from registry.partition import SYSTEM

pytest_plugins = ["radio_api"]
BEGAN = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


async def stored(stage: Any, *wanted: tuple[str, str, str, dict[str, Any]]) -> None:
    """wanted: id, type, path of the organisation, data."""
    tree = await stage.api.context.database.read(lambda c: organizations.tree(c, SYSTEM))
    ids = {each.path: each.id for each in tree}
    events = [
        Event(
            id=event_id,
            source="hutong/agent/system",
            type=kind,
            subject="channel-1",
            organization_id=ids[path],
            time=BEGAN + timedelta(minutes=number),
            received_at=BEGAN,
            epoch="e",
            sequence=number + 1,
            uptime_ms=1,
            late=False,
            data=data,
        )
        for number, (event_id, kind, path, data) in enumerate(wanted)
    ]
    await stage.services.history.write(lambda c: journal.store(c, events, [], {}))


async def listed(caller: Any, **query: str) -> list[str]:
    answer = await caller("GET", "/events", **query)
    assert answer.status == 200, answer.body
    return [each["id"] for each in answer.body["items"]]


async def test_a_dispatcher_sees_to_an_alarm_and_the_first_one_stays(stage: Any) -> None:
    await stored(
        stage,
        ("e1", "emergency.raised", "d/s1/w1", {}),
        ("e2", "floor.taken", "d/s1/w1", {}),
        ("e3", "point.tamper", "d/s1/w1", {"active": True}),
        ("e4", "point.tamper", "d/s1/w1", {"active": False}),
        ("e5", "member.suspended", "d/s2/w3", {}),
    )
    dispatcher, admin = await stage.caller("dispatcher"), await stage.caller("admin")
    assert await listed(dispatcher, acknowledged="false") == ["e3", "e1"]
    assert await listed(admin, acknowledged="false") == ["e5", "e3", "e1"]
    assert await listed(dispatcher, acknowledged="true") == []
    seen = await dispatcher("POST", "/alarms/e1/acknowledge", {})
    assert seen.status == 200, seen.body
    assert (seen.body["id"], seen.body["acknowledgedby"]) == ("e1", "dispatcher")
    again = await admin("POST", "/alarms/e1/acknowledge", {})
    assert (again.status, again.body) == (200, seen.body)
    assert await listed(dispatcher, acknowledged="false") == ["e3"]
    assert await listed(dispatcher, acknowledged="true", type="emergency.raised") == ["e1"]
    for query in ({}, {"since": "2026-01-01T00:00:00Z"}):
        shown = (await dispatcher("GET", "/events", **query)).body["items"]
        assert {e["id"]: e.get("acknowledgedat") for e in shown} == {
            "e1": seen.body["acknowledgedat"],
            **dict.fromkeys(("e2", "e3", "e4")),
        }
    database = stage.api.context.database
    noted = await database.read(lambda c: changes.page(c, SYSTEM, limit=500))
    done = [each for each in noted.items if each.action == "acknowledge"]
    assert [(e.kind, e.object_id, e.user_name) for e in done] == [
        ("channel", "channel-1", "dispatcher")
    ]


async def test_who_may_not_and_what_is_no_alarm(stage: Any) -> None:
    await stored(
        stage,
        ("e1", "emergency.raised", "d/s1/w1", {}),
        ("e2", "floor.taken", "d/s1/w1", {}),
        ("e5", "member.suspended", "d/s2/w3", {}),
    )
    dispatcher = await stage.caller("dispatcher")
    for name, alarm, status in (
        ("viewer", "e1", 403),
        ("integrator", "e1", 403),
        ("auditor", "e1", 404),
        ("dispatcher", "e2", 404),
        ("dispatcher", "e5", 404),
        ("dispatcher", "none", 404),
    ):
        caller = await stage.caller(name)
        refused = await caller("POST", f"/alarms/{alarm}/acknowledge", {})
        assert refused.status == status, (name, alarm)
    assert await listed(dispatcher, acknowledged="false") == ["e1"]
    gone = await stage.services.history.write(
        lambda c: journal.forget(
            c, events_before=BEGAN + timedelta(days=1), calls_before=BEGAN, most=10
        )
    )
    assert gone == 3
    assert (await dispatcher("POST", "/alarms/e1/acknowledge", {})).status == 404


async def test_an_alarm_that_this_node_remembers_says_who_saw_to_it(stage: Any) -> None:
    await stored(stage, ("emergency.raised-channel-1", "emergency.raised", "d/s1", {}))
    say(stage, "channels", "d/s1", "channel-1", "emergency.raised")
    await wait_until(lambda: len(stage.services.feed.recent(lambda _: True)) == 1)
    dispatcher = await stage.caller("dispatcher")
    seen = await dispatcher("POST", "/alarms/emergency.raised-channel-1/acknowledge", {})
    assert seen.status == 200, seen.body
    (shown,) = (await dispatcher("GET", "/events")).body["items"]
    assert shown["acknowledgedby"] == "dispatcher"


async def test_an_alarm_that_was_just_heard_is_waited_for(
    stage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    dispatcher = await stage.caller("dispatcher")
    say(stage, "channels", "d/s1/w1", "channel-9", "emergency.raised")
    heard = "emergency.raised-channel-9"
    await wait_until(lambda: stage.services.feed.recent(lambda item: item.payload["id"] == heard))
    seen = await dispatcher("POST", f"/alarms/{heard}/acknowledge", {})
    assert (seen.status, seen.body["acknowledgedby"]) == (200, "dispatcher")

    def not_stored(_connection: Connection, _scope: Any, event_id: str) -> None:
        raise NotFound("alarm", event_id)

    monkeypatch.setattr(alarms, "get", not_stored)
    monkeypatch.setattr(history, "STORED_WITHIN_S", 0.2)
    answer = await dispatcher("POST", f"/alarms/{heard}/acknowledge", {})
    assert (answer.status, "Retry-After" in answer.headers) == (503, True)
    assert (await dispatcher("POST", "/alarms/never-heard/acknowledge", {})).status == 404
