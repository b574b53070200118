"""History over HTTP: within the partition, in pages, as CSV and as CloudEvents."""

import csv
import io
from datetime import UTC, datetime, timedelta
from typing import Any

from databases import ON_SQLITE
from test_api_radio_dispatch import channels_of

from registry import journal, organizations
from registry.journal import Call, Event
from registry.partition import SYSTEM

pytest_plugins = ["radio_api"]
pytestmark = ON_SQLITE
BEGAN = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
SINCE = "2026-11-21T12:00:00Z"


async def filled(stage: Any, count: int = 5, system: str = "s") -> None:
    """Events and calls of w1, and one of each of w3, which lies in another station."""
    tree = await stage.api.context.database.read(lambda c: organizations.tree(c, SYSTEM))
    ids = {each.path: each.id for each in tree}
    rows = [(ids["d/s1/w1"], "mine", n) for n in range(count)] + [(ids["d/s2/w3"], "theirs", 99)]
    events = [
        Event(
            id=f"{channel}-{n}",
            source="hutong/n/s",
            type="text.message",
            subject=channel,
            organization_id=owner,
            time=BEGAN + timedelta(minutes=n),
            received_at=BEGAN,
            epoch="e",
            sequence=n,
            uptime_ms=1,
            late=False,
            data={"text": f"=1+{n}"},
        )
        for owner, channel, n in rows
    ]
    calls = [
        Call(
            key=f"{channel}-{n}",
            channel_id=channel,
            organization_id=owner,
            patch_id="p",
            talker=f"{system}/{n}",
            talker_alias="=cmd()",
            emergency=n == 2,
            encrypted=False,
            started_at=BEGAN + timedelta(minutes=n),
            ended_at=BEGAN + timedelta(minutes=n, seconds=4),
            duration_s=4.0,
            outcome="bridged",
            end_reason="released",
            bridged_to=("x", "y"),
        )
        for owner, channel, n in rows
    ]
    await stage.services.history.write(lambda c: journal.store(c, events, calls, {}))


async def test_calls_in_pages_and_by_what_is_asked(stage: Any) -> None:
    await filled(stage)
    viewer, admin = await stage.caller("viewer"), await stage.caller("admin")
    first = await viewer("GET", "/calls", limit=2)
    assert first.status == 200, first.body
    assert first.body["total"] == 5
    assert [each["id"] for each in first.body["items"]] == ["mine-4", "mine-3"]
    rest = await viewer("GET", "/calls", limit=3, cursor=first.body["next"])
    assert [each["id"] for each in rest.body["items"]] == ["mine-2", "mine-1", "mine-0"]
    assert rest.body["next"] is None
    call = rest.body["items"][0]
    assert (call["duration_s"], call["bridged_to"], call["emergency"]) == (4.0, ["x", "y"], True)
    assert (await admin("GET", "/calls")).body["total"] == 6
    for query, count in (
        ({"emergency": "true"}, 1),
        ({"talker": "s/3"}, 1),
        ({"channel": "theirs"}, 0),
        ({"patch": "p", "until": "2026-11-21T12:02:00Z"}, 2),
    ):
        assert (await viewer("GET", "/calls", **query)).body["total"] == count, query
    assert (await viewer("GET", "/calls", since="yesterday")).status == 422
    assert (await viewer("GET", "/calls", cursor="none")).status == 422


async def test_calls_of_one_person_from_whatever_radio(stage: Any) -> None:
    await channels_of(stage, "1/1")
    integrator, dispatcher = await stage.caller("integrator"), await stage.caller("dispatcher")
    system = (await integrator("GET", "/systems")).body["items"][0]["id"]
    addresses = [{"system": system, "address": each} for each in ("1", "3")]
    body = {"alias": "Li", "organization": "d/s1", "addresses": addresses}
    unit = (await integrator("POST", "/units", body)).body["id"]
    await filled(stage, system=system)
    told = await dispatcher("GET", "/calls", unit=unit)
    assert [each["id"] for each in told.body["items"]] == ["mine-3", "mine-1"]
    assert (await dispatcher("GET", "/calls", unit=unit, talker="s/2")).body["items"] == []
    nobody = (await dispatcher("GET", "/calls", unit=system)).status
    # Who sees no units does not learn by the history which there are.
    assert (nobody, (await (await stage.caller("viewer"))("GET", "/calls", unit=unit)).status) == (
        404,
        404,
    )


async def test_past_events_are_cloud_events_of_ones_own_partition(stage: Any) -> None:
    await filled(stage)
    viewer = await stage.caller("viewer")
    page = await viewer("GET", "/events", since=SINCE, limit=3)
    assert (page.body["total"], len(page.body["items"])) == (5, 3)
    event = page.body["items"][0]
    assert (event["specversion"], event["type"]) == ("1.0", "hutong.text.message")
    assert event["sequence"] == f"{4:020d}"
    more = await viewer("GET", "/events", since=SINCE, cursor=page.body["next"])
    assert [each["id"] for each in more.body["items"]] == ["mine-1", "mine-0"]
    accept = {"Accept": "application/cloudevents-batch+json"}
    batch = await viewer("GET", "/events", limit=2, headers=accept)
    assert batch.headers["Content-Type"] == accept["Accept"]
    assert [each["id"] for each in batch.body] == ["mine-4", "mine-3"]
    assert 'rel="next"' in batch.headers["Link"]
    assert (await viewer("GET", "/events", channel="theirs", since=SINCE)).body["items"] == []
    assert (await viewer("GET", "/events", type="x", since=SINCE)).body["total"] == 0


async def test_the_latest_events_go_on_below_what_the_node_remembers(stage: Any) -> None:
    await filled(stage)
    viewer = await stage.caller("viewer")
    page = await viewer("GET", "/events", limit=2)
    assert [each["id"] for each in page.body["items"]] == ["mine-4", "mine-3"]
    assert page.body["total"] == 5
    rest = await viewer("GET", "/events", cursor=page.body["next"])
    assert [each["id"] for each in rest.body["items"]] == ["mine-2", "mine-1", "mine-0"]
    assert (await viewer("GET", "/events", type="x")).body["items"] == []
    assert (await viewer("GET", "/events", channel="theirs")).body["items"] == []


async def test_csv_holds_all_pages_and_no_formula(stage: Any) -> None:
    await filled(stage, count=600)
    viewer = await stage.caller("viewer")
    for path in ("/calls", "/events"):
        answer = await viewer("GET", path, headers={"Accept": "text/csv"})
        assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
        rows = list(csv.DictReader(io.StringIO(answer.body.decode("utf-8-sig"))))
        assert len(rows) == 600
        assert rows[0]["id"] == "mine-599"
        assert not any(cell.startswith("=") for row in rows for cell in row.values())
    assert (
        "'=cmd()" in (await viewer("GET", "/calls", headers={"Accept": "text/csv"})).body.decode()
    )


async def test_who_sees_no_channels_sees_no_history(stage: Any) -> None:
    await filled(stage)
    auditor = await stage.caller("auditor")
    assert (await auditor("GET", "/calls")).body["items"] == []
    assert (await auditor("GET", "/events", since=SINCE)).body["items"] == []


async def test_what_the_journal_and_the_bridge_counted_is_told(stage: Any) -> None:
    async with stage.api.session.get(f"{stage.api.url.removesuffix('/api/v1')}/metrics") as told:
        text = await told.text()
    for name in ("bridge_events_total", "bridge_gaps_total", "journal_stored_total"):
        assert f"hutong_{name} 0" in text
    assert "hutong_journal_behind_seconds 0" in text
    for name in ("bridge_not_carried", "bridge_passed", "agents_kept_back", "agents_dropped"):
        assert f"hutong_voice_{name}_total 0" in text
