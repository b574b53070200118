"""The topic tree and the codec: round trips, refusals, and any bytes at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.bus import messages as msg
from gateway.bus.topics import InvalidTopic, Topics, matches, overlap

slug = st.from_regex(r"[a-z0-9-]{1,8}", fullmatch=True)


@given(st.lists(slug, min_size=1, max_size=4), slug)
def test_an_org_topic_is_read_back(path: list[str], object_id: str) -> None:
    topics = Topics("hutong/v1")
    topic = topics.org("channels", "event", "/".join(path), object_id)
    parts = topics.parse_org(topic)
    assert parts is not None
    assert (parts.family, parts.kind, parts.org, parts.id) == (
        "channels",
        "event",
        "/".join(path),
        object_id,
    )
    assert matches(topics.org_all("channels", "event"), topic)


def test_the_workroom_right_of_the_contract_covers_its_own_and_nothing_else() -> None:
    topics = Topics()
    right = "hutong/v1/org/+/+/shenhe/wanlian/#"
    assert matches(right, topics.org("points", "state", "shenhe/wanlian/room-07", "p1"))
    assert matches(right, topics.org("channels", "event", "shenhe/wanlian", "c1"))
    assert not matches(right, topics.org("points", "state", "shenhe/other", "p1"))


@pytest.mark.parametrize("bad", ["A", "a b", "a.b", "", "a/+", "#", "中"])
def test_levels_hold_nothing_else(bad: str) -> None:
    with pytest.raises(InvalidTopic):
        Topics().org("points", "state", "shenhe", bad)


def test_overlap() -> None:
    assert overlap("a/+/c", "a/b/c")
    assert overlap("a/#", "a/b/c")
    assert overlap("a/#", "a")
    assert not overlap("a/b/c", "a/b/d")
    assert not overlap("a/+", "a/b/c")


def event(**changes: object) -> msg.CloudEvent:
    fields: dict[str, object] = {
        "id": "1",
        "source": "hutong/n/s",
        "type": "floor.taken",
        "subject": "c",
        "time": "2026-11-21T08:00:00.000Z",
        "epoch": "e",
        "sequence": 7,
        "uptime_ms": 5,
        "data": {"stream": "x"},
    }
    return msg.CloudEvent(**{**fields, **changes})  # type: ignore[arg-type]


def test_an_event_is_structured_json_and_read_back() -> None:
    shown = msg.cloud_event_object(event())
    assert shown["specversion"] == "1.0"
    assert shown["type"] == "hutong.floor.taken"
    assert shown["sequence"] == "00000000000000000007"
    assert msg.decode_event(msg.encode_event(event())) == event()


def test_unknown_fields_are_ignored_and_missing_ones_named() -> None:
    shown = {**msg.cloud_event_object(event()), "traceparent": "x"}
    assert msg.decode_event(msg.encode(shown)) == event()
    del shown["epoch"]
    with pytest.raises(msg.UnreadableMessage, match="epoch"):
        msg.decode_event(msg.encode(shown))


@given(st.binary(max_size=200))
def test_any_bytes_decode_or_explain_themselves(payload: bytes) -> None:
    try:
        msg.decode_event(payload)
    except msg.UnreadableMessage as error:
        assert str(error)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
)


@given(st.dictionaries(st.sampled_from(list(msg.cloud_event_object(event()))), json_values))
def test_any_object_decodes_or_explains_itself(value: dict[str, object]) -> None:
    try:
        msg.decode_event(msg.encode(value))
    except msg.UnreadableMessage as error:
        assert str(error)


def test_repeats_are_dropped_and_gaps_counted() -> None:
    seen = msg.Repeats()
    assert [seen.passes("a", n) for n in (1, 2, 2, 1, 5)] == [True, True, False, False, True]
    assert seen.gaps == 2
    assert seen.passes("b", 1)
