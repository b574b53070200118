"""History by a share over HTTP: the same as a list, a file, CloudEvents and the latest; on both
databases."""

import csv
import io
from datetime import UTC, datetime, timedelta
from typing import Any

from core_api import Caller
from patience import wait_until
from test_api_radio_shares import channel, receiver, say, share

from registry import journal, organizations
from registry.journal import Call, Event
from registry.partition import SYSTEM

pytest_plugins = ["radio_api"]
__all__ = ["channel", "receiver"]
SINCE = "2026-01-01T00:00:00Z"


async def stored(stage: Any, channel_id: str, name: str, at: datetime) -> None:
    tree = await stage.api.context.database.read(lambda c: organizations.tree(c, SYSTEM))
    owner = next(each.id for each in tree if each.path == "d/s1")
    event = Event(
        id=name,
        source="hutong/n/s",
        type="text.message",
        subject=channel_id,
        organization_id=owner,
        time=at,
        received_at=at,
        epoch="e",
        sequence=1,
        uptime_ms=1,
        late=False,
        data={},
    )
    call = Call(
        key=name,
        channel_id=channel_id,
        organization_id=owner,
        patch_id="",
        talker="s/1",
        talker_alias="",
        emergency=False,
        encrypted=False,
        started_at=at,
        ended_at=at,
        duration_s=0.0,
        outcome="local",
        end_reason="",
        bridged_to=(),
    )
    await stage.services.history.write(lambda c: journal.store(c, [event], [call], {}))


async def read(caller: Caller, channel_id: str) -> dict[str, list[str]]:
    """The ids of what the caller reads of a channel, in each form that there is."""

    async def ids(path: str, accept: str = "application/json", **query: str) -> list[str]:
        query = {"channel": channel_id, **query}
        answer = await caller("GET", path, headers={"Accept": accept}, **query)
        assert answer.status == 200, answer.body
        if accept == "text/csv":
            text = io.StringIO(answer.body.decode("utf-8-sig"))
            return [row["id"] for row in csv.DictReader(text)]
        items = answer.body if isinstance(answer.body, list) else answer.body["items"]
        return [each["id"] for each in items]

    return {
        "latest": await ids("/events"),
        "past": await ids("/events", since=SINCE),
        "batch": await ids("/events", "application/cloudevents-batch+json"),
        "events.csv": await ids("/events", "text/csv"),
        "calls": await ids("/calls"),
        "calls.csv": await ids("/calls", "text/csv"),
    }


async def test_history_in_every_form_since_the_share_began_until_it_ends(
    stage: Any, receiver: Caller, channel: str
) -> None:
    dispatcher = await stage.caller("dispatcher")
    now = datetime.now(UTC)
    await stored(stage, channel, "before", now - timedelta(hours=1))
    assert set(map(tuple, (await read(receiver, channel)).values())) == {()}
    share_id = await share(dispatcher, organization="d/s1")
    assert set(map(tuple, (await read(receiver, channel)).values())) == {()}
    await stored(stage, channel, "since", datetime.now(UTC) + timedelta(seconds=1))
    assert set(map(tuple, (await read(receiver, channel)).values())) == {("since",)}
    both = set(map(tuple, (await read(dispatcher, channel)).values()))
    assert both == {("since", "before")}
    assert (await dispatcher("DELETE", f"/shares/{share_id}")).status == 204
    assert set(map(tuple, (await read(receiver, channel)).values())) == {()}


async def test_what_this_node_remembers_from_before_the_share_is_not_shown(
    stage: Any, receiver: Caller
) -> None:
    feed = stage.services.feed
    say(stage, "channels", "d/s1", "channel-1", "floor.taken")
    await wait_until(lambda: len(feed.recent(lambda _: True)) == 1)
    await share(await stage.caller("dispatcher"), organization="d/s1")
    say(stage, "channels", "d/s1", "channel-1", "floor.idle")
    await wait_until(lambda: len(feed.recent(lambda _: True)) == 2)
    listed = (await receiver("GET", "/events")).body["items"]
    assert [each["id"] for each in listed] == ["floor.idle-channel-1"]
