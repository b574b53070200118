"""What of a device's reports is told: occurrences once, states not, missed ends after all."""

from datetime import UTC, datetime

import pytest
from structlog.testing import CapturingLogger

from adapters.events import Alarm, Identity, Motion, SourceCondition, Unrecognised
from gateway.agents import unrecognised
from gateway.agents.conditions import REPEAT_S, Conditions
from gateway.agents.unrecognised import UnrecognisedLog

AT = datetime.now(UTC)


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def conditions(clock: Clock) -> Conditions:
    return Conditions(clock)


def motion(active: bool | None, *, initial: bool = False, address: str = "front") -> Motion:
    return Motion(at=AT, address=address, active=active, initial=initial)


def told(conditions: Conditions, *events: SourceCondition) -> list[object]:
    data = (conditions.news(event) for event in events)
    return [each["active"] for each in data if each is not None]


def test_a_change_is_told_and_its_repeats_are_not(conditions: Conditions) -> None:
    events = [motion(True), motion(True), motion(True), motion(False), motion(False), motion(True)]
    assert told(conditions, *events) == [True, False, True]


def test_a_repeat_is_news_when_nothing_was_heard_for_long(
    conditions: Conditions, clock: Clock
) -> None:
    """Some cameras never say that it is over."""
    assert told(conditions, motion(True)) == [True]
    for _ in range(5):
        clock.now_s += REPEAT_S - 1
        assert told(conditions, motion(True)) == []
    clock.now_s += REPEAT_S
    assert told(conditions, motion(True)) == [True]


def test_how_it_stands_is_no_occurrence(conditions: Conditions) -> None:
    assert told(conditions, motion(True, initial=True), motion(False, initial=True)) == []


def test_an_end_that_was_missed_is_told(conditions: Conditions) -> None:
    assert told(conditions, motion(True)) == [True]
    assert told(conditions, motion(True, initial=True)) == []
    assert told(conditions, motion(False, initial=True)) == [False]
    assert told(conditions, motion(False, initial=True)) == []


def test_what_has_no_duration_is_told_each_time(conditions: Conditions) -> None:
    assert told(conditions, motion(None), motion(None)) == [None, None]


def test_sources_inputs_and_kinds_are_apart(conditions: Conditions) -> None:
    def alarm(kind: str, part: str) -> Alarm:
        return Alarm(at=AT, address="", active=True, kind=kind, part=part)

    assert conditions.news(alarm("digital_input", "1")) == {
        "active": True, "kind": "digital_input", "part": "1",
    }  # fmt: skip
    assert conditions.news(alarm("digital_input", "2")) is not None
    assert conditions.news(alarm("storage", "")) == {"active": True, "kind": "storage"}
    assert told(conditions, motion(True), motion(True, address="back")) == [True, True]


def test_a_device_that_invents_inputs_is_not_remembered_for_ever(conditions: Conditions) -> None:
    for number in range(3_000):
        conditions.news(
            Alarm(at=AT, address="", active=True, kind="digital_input", part=str(number))
        )
    assert len(conditions._known) <= 1_024


def test_the_unknown_is_logged_once_for_each_kind_of_device(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = CapturingLogger()
    monkeypatch.setattr(unrecognised, "log", log)
    unknown = UnrecognisedLog()
    event = Unrecognised(at=AT, kind="RuleEngine/Odd", sample="<s:Envelope/>")
    for model in ("M1", "M1", "M2"):
        unknown.note(Identity(manufacturer="Acme", model=model), event)
    assert [call.args for call in log.calls] == [("unknown event",), ("unknown event",)]
    assert [call.kwargs["model"] for call in log.calls] == ["M1", "M2"]
    assert log.calls[0].kwargs["case"] == "<s:Envelope/>"
