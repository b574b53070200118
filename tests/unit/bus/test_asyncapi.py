"""docs/asyncapi.yaml: it is whole, and it refuses what is wrong."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from jsonschema import Draft7Validator
from wire_schema import Traffic, document, faults

from adapters import events as seam
from gateway.agents import system_events
from gateway.bus.messages import CloudEvent, encode_event
from gateway.bus.topics import Topics

AT = datetime(2026, 11, 22, tzinfo=UTC)
SYSTEM_EVENTS = (
    seam.UnitRegistered(at=AT, unit="1", alias="one"),
    seam.UnitDeregistered(at=AT, unit="1"),
    seam.UnitLocation(at=AT, unit="1", longitude_deg=123.4, latitude_deg=41.8),
    seam.UnitLocation(at=AT, unit="1", site="3"),
    seam.PrivateTalk(at=AT, unit="1", to="2", active=True),
    seam.TalkRefused(at=AT, unit="1", address="9", queued=True, reason="busy"),
    seam.ChannelsPatched(at=AT, addresses=("1", "2"), active=False),
)


def event(kind: str, data: Any, **fields: Any) -> bytes:
    said: dict[str, Any] = {
        "id": "1",
        "source": "hutong/n/s",
        "type": kind,
        "subject": "s",
        "time": "2026-11-22T00:00:00.000Z",
        "epoch": "e",
        "sequence": 1,
        "uptime_ms": 5,
        "data": data,
        **fields,
    }
    return encode_event(CloudEvent(**said))


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [ref for each in value.values() for ref in references(each)]
    if isinstance(value, list):
        return [ref for each in value for ref in references(each)]
    return []


def test_every_reference_leads_somewhere_and_every_schema_is_one() -> None:
    whole = document()
    assert whole["asyncapi"] == "3.0.0"
    for ref in references(whole):
        place: Any = whole
        for step in ref.removeprefix("#/").split("/"):
            place = place[step]
    for schema in whole["components"]["schemas"].values():
        Draft7Validator.check_schema(schema)


def test_every_channel_is_written_by_somebody_and_every_message_is_sent_somewhere() -> None:
    whole = document()
    written = {each["channel"]["$ref"] for each in whole["operations"].values()}
    assert written == {f"#/channels/{name}" for name in whole["channels"]}
    sent = {ref for each in whole["channels"].values() for ref in references(each["messages"])}
    assert sent == {f"#/components/messages/{name}" for name in whole["components"]["messages"]}


def test_every_topic_of_ours_is_there() -> None:
    topics = Topics()
    for topic in (
        topics.status("n"),
        topics.bridge_lease(),
        topics.system_config("s"),
        topics.system_backlog("s"),
        topics.system_acknowledged("s"),
        *(topics.org("channels", k, "d/s/w", "c") for k in ("event", "state", "decision")),
        *(topics.org("channels", k, "d", "c") for k in ("command", "request")),
        *(topics.org("points", k, "d", "p") for k in ("event", "state")),
        topics.org("patches", "state", "d", "p"),
        topics.voice_in("c"),
        topics.voice_out("c"),
        *(topics.org("systems", k, "d", "s") for k in ("event", "state")),
    ):
        assert not any("no such topic" in fault for fault in faults(topic, b"{}")), topic


@pytest.mark.parametrize("said", SYSTEM_EVENTS, ids=lambda each: type(each).__name__)
def test_what_systems_say_is_described(said: seam.SystemEvent) -> None:
    described = system_events.told(said, lambda unit: f"s/{unit}" if unit else "")
    assert described is not None
    kind, data = described
    assert not faults(Topics().org("systems", "event", "d", "s"), event(kind, data))


@pytest.mark.parametrize(
    ("kind", "data", "fields", "why"),
    [
        ("unit.located", {}, {}, "no message"),
        ("unit.registered", {"talker": 5, "talker_alias": ""}, {}, "data/talker"),
        ("unit.registered", {"talker_alias": ""}, {}, "required"),
        ("talk.private", {}, {}, "required"),
        ("unit.registered", {"talker": "", "talker_alias": ""}, {"time": "now"}, "time"),
        ("unit.registered", {"talker": "", "talker_alias": ""}, {"source": "n/s"}, "source"),
    ],
)
def test_what_is_wrong_is_found(
    kind: str, data: dict[str, Any], fields: dict[str, Any], why: str
) -> None:
    traffic = Traffic()
    traffic.hear(Topics().org("systems", "event", "d", "s"), event(kind, data, **fields))
    with pytest.raises(AssertionError, match=why):
        traffic.check()


def test_an_empty_payload_clears_what_is_kept_and_nothing_else() -> None:
    topics = Topics()
    assert not faults(topics.org("channels", "state", "d", "c"), b"")
    assert faults(topics.org("channels", "command", "d", "c"), b"")
    assert faults(topics.org("channels", "state", "d", "c"), json.dumps({"floor": 1}).encode())
    assert faults("hutong/v1/elsewhere", b"{}")
