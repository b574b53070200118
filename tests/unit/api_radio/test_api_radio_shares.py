"""Shares on the event stream and in lists of channels: what they show, and that it ends."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from core_api import Caller
from databases import ON_SQLITE
from patience import wait_until

from gateway.bus.messages import CloudEvent, encode_event
from registry import channels, points, systems
from registry.channels import NewChannel
from registry.partition import SYSTEM
from registry.points import NewPoint
from registry.systems import NewSystem

pytest_plugins = ["radio_api"]
pytestmark = ON_SQLITE

PASSWORD = "correct horse battery"


def say(stage: Any, family: str, org: str, subject: str, kind: str) -> None:
    event = CloudEvent(
        id=f"{kind}-{subject}",
        source="hutong/agent/system",
        type=kind,
        subject=subject,
        time="2026-01-01T00:00:00.000Z",
        epoch=stage.agent.epoch,
        sequence=1,
        uptime_ms=1,
        data={},
    )
    topic = stage.agent.topics.org(family, "event", org, subject)
    assert stage.agent.publish(topic, encode_event(event))


@contextlib.asynccontextmanager
async def heard(stage: Any, caller: Caller) -> AsyncIterator[tuple[list[str], asyncio.Task[None]]]:
    """Ids of the events on a stream, and the task that ends when the stream does."""
    got: list[str] = []
    headers = {"Authorization": f"Bearer {caller.token}"}
    listeners = len(stage.services.feed._listeners)
    async with stage.api.session.get(
        f"{stage.api.url}/api/v1/events/stream", headers=headers
    ) as response:

        async def read() -> None:
            async for line in response.content:
                got.extend([json.loads(line[6:])["id"]] if line.startswith(b"data: ") else [])

        reading = asyncio.create_task(read())
        await wait_until(lambda: len(stage.services.feed._listeners) == listeners + 1)
        try:
            yield got, reading
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


async def share(caller: Caller, seconds: float = 3600, **source: str) -> str:
    ends_at = (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()
    body = {"from": source, "to": "d/s2", "purpose": "case 7", "ends_at": ends_at}
    made = await caller("POST", "/shares", body)
    assert made.status == 201, made.body
    share_id: str = made.body["id"]
    return share_id


@pytest.fixture
async def receiver(stage: Any) -> Caller:
    admin = await stage.caller("admin")
    user = {
        "name": "receiver",
        "password": PASSWORD,
        "roles": [{"role": "viewer", "organization": "d/s2"}],
    }
    assert (await admin("POST", "/users", user)).status == 201
    signed_in: Caller = await stage.api.sign_in("receiver", PASSWORD)
    return signed_in


@pytest.fixture
async def channel(stage: Any) -> str:
    def make(connection: Any) -> str:
        system = NewSystem(adapter="homebrew", name="s", organization="d/s1")
        made = systems.create(connection, SYSTEM, system)
        new = NewChannel(system=made.id, address="1", name="c", kind="trunk")
        return channels.create(connection, SYSTEM, new).id

    channel_id: str = await stage.api.context.database.write(make)
    return channel_id


async def test_the_channels_of_a_shared_subtree_over_http(
    stage: Any, receiver: Caller, channel: str
) -> None:
    assert (await receiver("GET", f"/channels/{channel}")).status == 404
    dispatcher = await stage.caller("dispatcher")
    share_id = await share(dispatcher, organization="d/s1")
    shown = (await receiver("GET", f"/channels/{channel}")).body
    assert shown["shared"]["share"] == share_id
    assert (await dispatcher("GET", f"/channels/{channel}")).body["shared"] is None
    for query in ({}, {"organization": "d/s1"}):
        listed = (await receiver("GET", "/channels", **query)).body
        assert ([each["id"] for each in listed["items"]], listed["total"]) == ([channel], 1)
    assert (await receiver("GET", "/channels", organization="d")).status == 404
    # By a share one looks on: no talk, no patch, no system, no share of their own.
    assert (await receiver("POST", f"/channels/{channel}/talk", {"action": "press"})).status == 403
    assert (await receiver("GET", f"/systems/{shown['system']}")).status == 404
    assert (await receiver("DELETE", f"/shares/{share_id}")).status == 403
    assert (await dispatcher("DELETE", f"/shares/{share_id}")).status == 204
    assert (await receiver("GET", f"/channels/{channel}")).status == 404
    assert (await receiver("GET", "/channels", organization="d/s1")).status == 404


@pytest.mark.parametrize("how", ["ended by hand", "its time is over"])
async def test_a_subtree_on_the_stream_until_its_share_ends(
    stage: Any, receiver: Caller, how: str
) -> None:
    dispatcher = await stage.caller("dispatcher")
    seconds = 3600 if how == "ended by hand" else 1.5
    share_id = await share(dispatcher, seconds, organization="d/s1")
    async with heard(stage, receiver) as (got, reading):
        for family, org, subject in (
            ("channels", "d/s2", "own"),
            ("channels", "d/s1", "channel-1"),
            ("points", "d/s1/w1", "point-1"),
            ("systems", "d/s1", "system-1"),
            ("channels", "d", "channel-2"),
            ("channels", "d/s1/w1", "channel-3"),
        ):
            say(stage, family, org, subject, "floor.taken")
        seen = {"own", "channel-1", "point-1", "channel-3"}
        # All six have come; which of two topics is told first is the broker's business.
        await wait_until(lambda: len(stage.services.feed.recent(lambda _: True)) == 6)
        await wait_until(lambda: len(got) >= len(seen))
        assert {each.removeprefix("floor.taken-") for each in got} == seen
        listed = await receiver("GET", "/events")
        assert {each["subject"] for each in listed.body["items"]} == seen
        if how == "ended by hand":
            assert (await dispatcher("DELETE", f"/shares/{share_id}")).status == 204
        async with asyncio.timeout(5 + (0 if how == "ended by hand" else seconds)):
            await reading
    async with heard(stage, receiver) as (got, reading):
        say(stage, "channels", "d/s1", "channel-1", "floor.idle")
        say(stage, "channels", "d/s2", "own", "floor.idle")
        await wait_until(lambda: len(stage.services.feed.recent(lambda _: True)) == 8)
        await wait_until(lambda: got)
        assert got == ["floor.idle-own"]
        assert not reading.done()
    listed = await receiver("GET", "/events")
    assert {each["subject"] for each in listed.body["items"]} == {"own"}


async def test_a_share_of_a_point_tells_of_that_point_alone(stage: Any, receiver: Caller) -> None:
    database = stage.api.context.database
    new = NewPoint(organization="d/s1/w1", name="p")
    point = (await database.write(lambda c: points.create(c, SYSTEM, new))).id
    await share(await stage.caller("dispatcher"), point=point)
    async with heard(stage, receiver) as (got, reading):
        say(stage, "points", "d/s1/w1", "another", "point.motion")
        say(stage, "channels", "d/s1/w1", point, "floor.taken")
        say(stage, "points", "d/s1/w1", point, "point.motion")
        await wait_until(lambda: len(stage.services.feed.recent(lambda _: True)) == 3)
        await wait_until(lambda: got)
        assert got == [f"point.motion-{point}"]
        # Given away, it is not the share's any more.
        await database.write(lambda c: points.assign(c, SYSTEM, [point], "d/s1/w2"))
        async with asyncio.timeout(30):
            await reading


async def test_a_share_that_begins_is_heard_on_a_running_stream(
    stage: Any, receiver: Caller
) -> None:
    async with heard(stage, receiver) as (got, _):
        await share(await stage.caller("dispatcher"), organization="d/s1")

        def told() -> bool:
            say(stage, "channels", "d/s1", "channel-1", "floor.taken")
            return bool(got)

        await wait_until(told)
