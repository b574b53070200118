"""The event stream: who sees what, resuming, losing the right; and what the feed believes."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from databases import ON_SQLITE
from patience import wait_until

from gateway.api import events
from gateway.bus.messages import CloudEvent, encode_event
from registry import users
from registry.errors import DatabaseAway
from registry.partition import SYSTEM

pytest_plugins = ["radio_api"]
pytestmark = ON_SQLITE


def say(stage: Any, org: str, number: int, kind: str = "floor.taken") -> None:
    event = CloudEvent(
        id=f"{org}-{number}",
        source="hutong/agent/system",
        type=kind,
        subject=f"channel-{number}",
        time="2026-01-01T00:00:00.000Z",
        epoch=stage.agent.epoch,
        sequence=number,
        uptime_ms=1,
        data={"stream": "s", "talker": "system/7"},
    )
    topic = stage.agent.topics.org("channels", "event", org, event.subject)
    assert stage.agent.publish(topic, encode_event(event))


def set_state(stage: Any, org: str, channel: str = "channel-1", **fields: Any) -> None:
    state = {"node": "agent", "epoch": stage.agent.epoch, "floor": "idle", "health": "ok"}
    topic = stage.agent.topics.org("channels", "state", org, channel)
    stage.agent.set_state(topic, {**state, **fields})


class Reader:
    """Reads server-sent events as they come."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response
        self.items: list[tuple[str, str, Any]] = []
        self.ended = False

    async def run(self) -> None:
        fields: dict[str, str] = {}
        async for raw in self.response.content:
            line = raw.decode().rstrip("\n")
            if line and not line.startswith(":"):
                name, _, value = line.partition(": ")
                fields[name] = value
            elif "data" in fields:
                data = json.loads(fields["data"])
                self.items.append((fields["id"], fields["event"], data))
                fields = {}
        self.ended = True

    def last(self, kind: str) -> Any:
        return next(data for _, each, data in reversed(self.items) if each == kind)

    def events(self) -> list[str]:
        return [data["id"] for _, kind, data in self.items if kind == "event"]


@pytest.fixture
async def open_stream(stage: Any) -> AsyncIterator[Any]:
    tasks: list[asyncio.Task[None]] = []
    responses: list[aiohttp.ClientResponse] = []

    async def open_(caller: Any, last: str | None = None) -> Reader:
        headers = {"Authorization": f"Bearer {caller.token}"}
        if last is not None:
            headers["Last-Event-ID"] = last
        url = f"{stage.api.url}/api/v1/events/stream"
        listeners = len(stage.services.feed._listeners)
        response = await stage.api.session.get(url, headers=headers)
        assert response.status == 200
        reader = Reader(response)
        tasks.append(asyncio.create_task(reader.run()))
        responses.append(response)
        await wait_until(lambda: len(stage.services.feed._listeners) == listeners + 1)
        return reader

    yield open_
    for response in responses:
        response.close()
    await asyncio.gather(*tasks, return_exceptions=True)
    await wait_until(lambda: not stage.services.feed._listeners)


async def test_everybody_sees_what_happens_in_their_own_partition(
    stage: Any, open_stream: Any
) -> None:
    all_of_it = await open_stream(await stage.caller("admin"))
    station = await open_stream(await stage.caller("dispatcher"))
    for number, org in enumerate(("d/s1", "d/s2", "d/s1/w1", "d"), start=1):
        say(stage, org, number)
    await wait_until(lambda: len(all_of_it.events()) == 4)
    await wait_until(lambda: len(station.events()) == 2)
    assert station.events() == ["d/s1-1", "d/s1/w1-3"]
    listed = await (await stage.caller("dispatcher"))("GET", "/events")
    assert [each["id"] for each in listed.body["items"]] == ["d/s1/w1-3", "d/s1-1"]


async def test_a_reader_resumes_where_it_stopped(stage: Any, open_stream: Any) -> None:
    dispatcher = await stage.caller("dispatcher")
    first = await open_stream(dispatcher)
    for number in (1, 2, 3):
        say(stage, "d/s1", number)
    await wait_until(lambda: len(first.events()) == 3)
    last = first.items[0][0]
    again = await open_stream(dispatcher, last)
    await wait_until(lambda: len(again.events()) == 2)
    assert again.events() == ["d/s1-2", "d/s1-3"]
    say(stage, "d/s1", 4)
    await wait_until(lambda: again.events()[-1] == "d/s1-4")


@pytest.mark.parametrize("last", ["another-life-1", "1", "-", "", "x-\u0661"])
async def test_an_id_of_another_life_begins_now(stage: Any, open_stream: Any, last: str) -> None:
    say(stage, "d/s1", 1)
    await wait_until(lambda: stage.services.feed.recent(lambda _org: True))
    reader = await open_stream(await stage.caller("dispatcher"), last)
    say(stage, "d/s1", 2)
    await wait_until(lambda: reader.events())
    assert reader.events() == ["d/s1-2"]


async def test_a_reader_that_loses_the_right_is_ended(
    stage: Any, open_stream: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "RIGHTS_EVERY_S", 0.05)
    reader = await open_stream(await stage.caller("dispatcher"))
    database = stage.api.context.database

    def disable(connection: Any) -> None:
        user = next(u for u in users.page(connection, SYSTEM).items if u.name == "dispatcher")
        users.update(connection, SYSTEM, user.id, {"disabled": True})

    await database.write(disable)
    await wait_until(lambda: reader.ended)


async def test_while_nobody_can_say_a_reader_stays_for_a_while_and_no_longer(
    stage: Any, open_stream: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "RIGHTS_EVERY_S", 0.02)
    monkeypatch.setattr(events, "RIGHTS_UNKNOWN_FOR_S", 0.6)
    reader = await open_stream(await stage.caller("dispatcher"))
    asked = []

    async def away(_token: str) -> None:
        asked.append(True)
        raise DatabaseAway("the database is away")

    monkeypatch.setattr(type(stage.api.context.access), "authenticate", lambda _s, t: away(t))
    await wait_until(lambda: len(asked) >= 3)
    say(stage, "d/s1", 1)
    await wait_until(lambda: reader.events() == ["d/s1-1"])
    await wait_until(lambda: reader.ended)


async def test_a_state_is_told_once_and_not_again_by_a_heartbeat(
    stage: Any, open_stream: Any
) -> None:
    reader = await open_stream(await stage.caller("dispatcher"))
    set_state(stage, "d/s1", sequence=1)
    await wait_until(lambda: reader.items and reader.items[-1][2]["state"]["health"] == "ok")
    told = len(reader.items)
    set_state(stage, "d/s1", sequence=2)
    stage.agent._publish_status()
    say(stage, "d/s1", 1)
    await wait_until(lambda: reader.events())
    assert len(reader.items) == told + 1


async def test_a_channel_that_moves_stays_known_when_its_old_state_is_cleared(
    stage: Any, open_stream: Any
) -> None:
    reader = await open_stream(await stage.caller("admin"))
    set_state(stage, "d/s1", floor="taken")
    await wait_until(lambda: stage.services.feed.channel_state("channel-1")["floor"] == "taken")
    set_state(stage, "d/s2", floor="taken")
    stage.agent.clear_state(stage.agent.topics.org("channels", "state", "d/s1", "channel-1"))
    say(stage, "d/s2", 1)
    await wait_until(lambda: reader.events())
    assert stage.services.feed.channel_state("channel-1")["floor"] == "taken"
    stage.agent.clear_state(stage.agent.topics.org("channels", "state", "d/s2", "channel-1"))
    await wait_until(lambda: stage.services.feed.channel_state("channel-1")["floor"] == "idle")


async def test_what_a_node_said_is_not_believed_when_it_has_left(
    stage: Any, open_stream: Any
) -> None:
    reader = await open_stream(await stage.caller("dispatcher"))
    set_state(stage, "d/s1", floor="taken")
    topic = stage.agent.topics.org("points", "state", "d/s1", "point-1")
    online = {"node": "agent", "epoch": stage.agent.epoch, "status": "online"}
    stage.agent.set_state(topic, online)
    await wait_until(lambda: {"channel", "point"} <= {kind for _, kind, _ in reader.items})
    await stage.agent.leave()
    await wait_until(lambda: reader.last("point")["status"] == "unknown")
    await wait_until(lambda: reader.last("channel")["state"]["health"] == "unknown")
    assert stage.services.feed.channel_state("channel-1")["floor"] == "idle"


async def test_a_slow_reader_loses_the_oldest_and_that_is_counted(
    stage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.interop.feed.LISTENER_QUEUE", 3)
    feed = stage.services.feed
    items = feed.listen(lambda _org: True)
    waiting = asyncio.ensure_future(anext(items))
    await wait_until(lambda: feed._listeners)
    for number in range(1, 7):
        say(stage, "d/s1", number)
    await wait_until(lambda: len(feed.recent(lambda _org: True)) == 6)
    got = [(await waiting).payload["id"]]
    while got[-1] != "d/s1-6":
        got.append((await anext(items)).payload["id"])
    await items.aclose()
    assert got[-3:] == ["d/s1-4", "d/s1-5", "d/s1-6"]
    assert feed.dropped == 6 - len(got) >= 2
    assert not feed._listeners
