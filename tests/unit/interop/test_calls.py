"""Calls out of events, in whatever order the air and the bridge come in."""

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.bus.messages import CloudEvent
from gateway.interop.calls import SILENT_AFTER_S, CallBook
from registry.journal import Call

BEGAN = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


class Told:
    """A book that is told of one talk on channel a, and what it said last of each call."""

    def __init__(self) -> None:
        self.book = CallBook()
        self.calls: dict[str, Call] = {}
        self._sequence = 0

    def __call__(self, kind: str, at_s: float = 0.0, subject: str = "a", **data: Any) -> list[Call]:
        self._sequence += 1
        bridge = kind in ("floor.granted", "floor.denied", "floor.revoked", "floor.released")
        event = CloudEvent(
            id=str(self._sequence),
            source="hutong/n/bridge" if bridge else "hutong/n/s",
            type=kind,
            subject=subject,
            time="",
            epoch="bridge" if bridge else "agent",
            sequence=self._sequence,
            uptime_ms=1,
            data={"stream": "s1", "talker": "s/1", **data},
        )
        found = self.book.take(event, BEGAN + timedelta(seconds=at_s), at_s)
        self.calls |= {call.key: call for call in found}
        return found

    @property
    def only(self) -> Call:
        (call,) = self.calls.values()
        return call


GRANTED = {"transmission": "t-1", "patch": "p1"}
STEPS: dict[str, Any] = {
    "taken": lambda told: told("floor.taken", talker_alias="Zhang"),
    "granted": lambda told: told("floor.granted", **GRANTED),
    "b": lambda told: told("command.result", subject="b", outcome="done", transmission="t-1"),
    "c": lambda told: told("command.result", subject="c", outcome="done", transmission="t-1"),
}


def test_what_was_decided_is_heard_after_the_end_too() -> None:
    told = Told()
    told("floor.taken")
    told("floor.idle", 0.1)
    told("floor.granted", 0.2, **GRANTED)
    told("command.result", 0.2, subject="b", outcome="done", transmission="t-1")
    assert (told.only.outcome, told.only.bridged_to) == ("bridged", ("b",))
    assert told.only.duration_s == 0.1


@pytest.mark.parametrize("order", list(itertools.permutations(STEPS)), ids="-".join)
def test_a_call_is_the_same_in_whatever_order_it_is_heard(order: tuple[str, ...]) -> None:
    told = Told()
    for step in order:
        STEPS[step](told)
    told("floor.refreshed", 2.0)
    told("floor.idle", 3.5, reason="released")
    call = told.only
    assert (call.channel_id, call.talker, call.talker_alias) == ("a", "s/1", "Zhang")
    assert (call.outcome, call.patch_id) == ("bridged", "p1")
    assert sorted(call.bridged_to) == ["b", "c"]
    assert (call.duration_s, call.end_reason) == (3.5, "released")
    assert len(told.book) == 0


def test_what_became_of_a_talk_is_the_most_that_was_decided() -> None:
    told = Told()
    told("floor.taken")
    assert told.only.outcome == "local"
    told("floor.denied")
    assert told.only.outcome == "denied"
    told("floor.granted", **GRANTED)
    told("floor.denied")
    assert told.only.outcome == "bridged"
    told("floor.revoked")
    assert told.only.outcome == "revoked"


def test_a_dispatchers_talk_is_a_call_too() -> None:
    told = Told()
    told("floor.granted", stream="press-1-0", talker="user/7", **GRANTED)
    told("command.result", subject="b", outcome="done", transmission="t-1")
    told("floor.released", 4.0, stream="press-1-0", talker="user/7", reason="released")
    assert (told.only.talker, told.only.duration_s) == ("user/7", 4.0)
    assert told.only.bridged_to == ("b",)
    assert told("floor.denied", stream="press-2-0", talker="user/8") == []


def test_what_we_caused_and_what_was_only_a_test_are_no_calls() -> None:
    told = Told()
    told("floor.taken", caused_by="t-9")
    told("floor.idle", caused_by="t-9")
    told("command.result", subject="b", outcome="done", transmission="test-x-1")
    assert told.calls == {}


def test_another_talk_on_a_channel_ends_the_one_before() -> None:
    told = Told()
    (first,) = told("floor.taken")
    told("floor.taken", 5.0, stream="s2")
    assert told.calls[first.key].end_reason == "another talk began"
    assert len(told.book) == 1


def test_a_call_whose_end_was_lost_is_closed_in_time() -> None:
    told = Told()
    told("floor.taken")
    told("floor.refreshed", 10.0)
    later = BEGAN + timedelta(seconds=99)
    assert told.book.close_silent(later, 10.0 + SILENT_AFTER_S - 1) == []
    (call,) = told.book.close_silent(later, 10.0 + SILENT_AFTER_S)
    assert (call.end_reason, call.ended_at) == ("its end was lost", later)


def test_an_emergency_that_begins_in_a_call_is_of_that_call() -> None:
    told = Told()
    told("floor.taken")
    told("floor.refreshed", 1.0, emergency=True)
    assert told.only.emergency
