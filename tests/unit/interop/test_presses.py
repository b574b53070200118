"""What the API may ask of the bridge, and what it is told."""

import dataclasses

import pytest

from gateway.interop import model as m
from gateway.interop.floor import step
from gateway.interop.presses import capped, input_of, standing_of, worst


def floor(*, queue: bool = False) -> m.Floor:
    members = {c: m.Member(channel=c) for c in ("a", "b")}
    return m.Floor(tag="t", rules=m.Rules(members=members, queue=queue), present=frozenset(members))


@pytest.mark.parametrize(
    ("written", "means"), [(5, 5), (-3, 0), (10**30, 254), ("9", 0), (None, 0), ([], 0)]
)
def test_a_priority_that_anybody_may_write_is_capped(written: object, means: int) -> None:
    assert capped(written) == means


@pytest.mark.parametrize(
    "request_", [{}, {"user": "u"}, {"user": 1, "action": "press"}, {"user": "u", "action": "x"}]
)
def test_a_request_that_the_api_would_not_write_is_refused(request_: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="action"):
        input_of("a", request_)


def test_a_press_stands_as_the_floor_says() -> None:
    held, _ = step(floor(), m.Pressed(user="u", alias="U"), 0.0)
    answer = standing_of(held, "u")
    assert (answer["state"], answer["transmission"]) == ("granted", held.transmission)
    refused, _ = step(held, m.Pressed(user="v", alias="V"), 0.1)
    assert standing_of(refused, "v") == {
        "state": "denied",
        "position": 0,
        "transmission": None,
        "reason": "U",
    }
    assert standing_of(refused, "nobody")["state"] == "released"


def test_a_press_that_is_not_admitted_or_reaches_nobody_is_denied_with_the_reason() -> None:
    for changes, reason in (
        ({"admission": m.Admission(deny_calls=frozenset({m.Call.DISPATCH}))}, "does not admit"),
        ({"voice": m.Voice.EVENTS}, "nobody here can be keyed"),
        ({"members": {"a": m.Member(channel="a", receive_only=True)}}, "nobody here can be keyed"),
        ({"members": {"a": m.Member(channel="a", direction=m.Direction.TALK)}}, "nobody here"),
    ):
        begun = floor()
        begun = dataclasses.replace(begun, rules=dataclasses.replace(begun.rules, **changes))
        pressed, effects = step(begun, m.Pressed(user="u", alias="U"), 0.0)
        assert [e.decision for e in effects if isinstance(e, m.Decided)] == ["denied"]
        assert pressed.holder is None
        answer = standing_of(pressed, "u")
        assert answer["state"] == "denied"
        assert reason in answer["reason"]
        again, effects = step(pressed, m.Pressed(user="u", alias="U"), 1.0)
        assert (effects, standing_of(again, "u")["state"]) == ([], "denied")


def test_a_press_in_a_queue_has_a_place() -> None:
    held, _ = step(floor(queue=True), m.Pressed(user="u", alias="U"), 0.0)
    held, _ = step(held, m.Pressed(user="v", alias="V"), 0.1)
    held, _ = step(held, m.Pressed(user="w", alias="W"), 0.2)
    assert (standing_of(held, "w")["state"], standing_of(held, "w")["position"]) == ("queued", 2)


def test_of_several_patches_the_worst_answer_is_told() -> None:
    answers = [{"state": "granted"}, {"state": "denied"}, {"state": "released"}]
    assert worst(answers)["state"] == "denied"
    assert worst(answers[::2])["state"] == "granted"
