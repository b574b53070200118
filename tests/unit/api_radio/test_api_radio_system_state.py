"""How a system is, over HTTP: as its agent says on the bus, inside the partition alone."""

from typing import Any

from databases import ON_SQLITE
from patience import wait_until
from test_api_radio_answers import system_of

pytest_plugins = ["radio_api"]
pytestmark = ON_SQLITE
SINCE = "2026-11-22T06:00:00.000Z"
LOSING = {"kind": "outbox_losing", "reason": "occurrences were lost", "since": SINCE}


def say(stage: Any, system_id: str, **changes: Any) -> None:
    topic = stage.agent.topics.org("systems", "state", "d/s1", system_id)
    said = {
        "node": stage.agent.node,
        "epoch": stage.agent.epoch,
        "sequence": stage.agent.next_sequence(topic),
        "state": "online",
        "reason": "",
        "since": SINCE,
        "last_heard": None,
        "alarms": [LOSING],
        "outbox": {"waiting": 7, "oldest_s": 90, "lost": 3, "late": 2, "fault": "the disk is full"},
        **changes,
    }
    stage.agent.set_state(topic, said)


async def test_a_system_is_shown_with_what_its_agent_says(stage: Any) -> None:
    integrator = await stage.caller("integrator")
    system_id = (await system_of(stage, integrator)).body["id"]
    before = (await integrator("GET", f"/systems/{system_id}")).body["state"]
    assert (before["state"], before["node"], before["alarms"]) == ("unknown", None, [])
    say(stage, system_id)
    states = stage.services.system_states
    await wait_until(lambda: states.state(system_id)["node"] == "agent")
    shown = (await integrator("GET", f"/systems/{system_id}")).body["state"]
    assert (shown["state"], shown["alarms"]) == ("online", [LOSING])
    assert shown["outbox"]["lost"] == 3
    (listed,) = (await integrator("GET", "/systems")).body["items"]
    assert listed["state"] == shown
    viewer = await stage.caller("viewer")
    assert (await viewer("GET", f"/systems/{system_id}")).status == 404
    say(stage, system_id, epoch="an earlier life")
    await wait_until(lambda: states.state(system_id)["node"] is None)


async def test_what_systems_say_is_counted_for_prometheus(stage: Any) -> None:
    integrator = await stage.caller("integrator")
    system_id = (await system_of(stage, integrator)).body["id"]
    say(stage, system_id)
    states = stage.services.system_states
    await wait_until(lambda: states.state(system_id)["node"] == "agent")
    stage.agent.obeys_bridge(10**9)  # it says its status once more
    await wait_until(lambda: states.clock_offset_s("agent") is not None)
    async with stage.api.session.get(f"{stage.api.url.removesuffix('/api/v1')}/metrics") as told:
        lines = (await told.text()).splitlines()
    for name, value in (
        ("online", "1"),
        ("alarms", "1"),
        ("outbox_waiting", "7"),
        ("outbox_oldest_seconds", "90"),
        ("outbox_lost", "3"),
        ("outbox_not_written", "1"),
    ):
        assert f'hutong_system_{name}{{system="{system_id}"}} {value}' in lines
        assert lines.count(f"# TYPE hutong_system_{name} gauge") == 1
    assert any(each.startswith('hutong_node_clock_offset_seconds{node="agent"}') for each in lines)
    assert "the disk is full" not in "\n".join(lines)


async def test_a_topic_that_is_none_of_ours_is_not_shown(stage: Any) -> None:
    states, bus = stage.services.system_states, stage.services.bus
    before = bus.counters.unreadable
    stage.agent.publish('hutong/v1/org/systems/state/d/a"b', b'{"node": "agent"}')
    await wait_until(lambda: bus.counters.unreadable == before + 1)
    assert states.all() == {}


async def test_what_another_node_hears_and_nobody_registered(stage: Any) -> None:
    integrator, dispatcher = await stage.caller("integrator"), await stage.caller("dispatcher")
    system_id = (await system_of(stage, integrator)).body["id"]
    path = f"/systems/{system_id}/unregistered"
    assert (await integrator("GET", path)).body["items"] == []
    heard = [{"address": "1/77", "events": 5}, {"address": "1/12", "events": 2}]
    say(stage, system_id, unregistered=heard)
    states = stage.services.system_states
    await wait_until(lambda: states.state(system_id)["node"] == "agent")
    told = (await integrator("GET", path)).body
    assert (told["items"], told["total"]) == (heard[::-1], 2)
    assert (await dispatcher("GET", path)).status == 403
    assert "unregistered" not in (await integrator("GET", f"/systems/{system_id}")).body["state"]
    say(stage, system_id, epoch="an earlier life", unregistered=heard)
    await wait_until(lambda: states.state(system_id)["node"] is None)
    assert (await integrator("GET", path)).body["items"] == []
