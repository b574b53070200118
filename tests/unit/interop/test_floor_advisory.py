"""A member that is told late that a talk is over never keeps the floor from one that knows."""

import dataclasses

from gateway.interop import model as m
from gateway.interop.definitions import (
    ChannelDefinition,
    PatchDefinition,
    PatchMember,
    rules_alone,
    rules_of,
)
from gateway.interop.floor import step

FEED, OTHER_FEED, TRUNK = "feed", "other-feed", "trunk"


def floor() -> m.Floor:
    members = {
        FEED: m.Member(channel=FEED, receive_only=True, advisory=True, priority=200),
        OTHER_FEED: m.Member(channel=OTHER_FEED, receive_only=True, advisory=True),
        TRUNK: m.Member(channel=TRUNK),
    }
    rules = m.Rules(members=members, hang_s=2.0)
    return m.Floor(tag="t", rules=rules, present=frozenset(members))


def talk(channel: str, stream: str = "1", **fields: object) -> m.TalkHeard:
    return m.TalkHeard(channel=channel, stream=stream, talker=channel, **fields)  # type: ignore[arg-type]


def test_an_advisory_talk_keys_the_others_and_any_of_them_takes_the_floor() -> None:
    at, effects = step(floor(), talk(FEED), 0.0)
    assert [e.channel for e in effects if isinstance(e, m.Key)] == [TRUNK]
    at, effects = step(at, talk(TRUNK), 0.5)
    assert at.holder == TRUNK
    assert at.talks[FEED].standing is m.Standing.BARRED
    assert [e.channel for e in effects if isinstance(e, m.Unkey)] == [TRUNK]


def test_even_an_advisory_emergency_gives_way() -> None:
    at, _ = step(floor(), talk(FEED, emergency=True), 0.0)
    assert at.talks[FEED].emergency
    at, _ = step(at, talk(TRUNK), 0.5)
    assert at.holder == TRUNK


def test_a_dispatcher_takes_the_floor_from_an_advisory_talk() -> None:
    at, _ = step(floor(), talk(FEED), 0.0)
    at, _ = step(at, m.Pressed(user="u", alias="Desk"), 0.5)
    assert at.holder == "user/u"


def test_among_advisory_talks_the_priority_decides() -> None:
    at, _ = step(floor(), talk(OTHER_FEED), 0.0)
    at, _ = step(at, talk(FEED), 0.5)
    assert at.holder == FEED


def test_an_advisory_talk_waits_for_one_that_is_not() -> None:
    at, _ = step(floor(), talk(TRUNK), 0.0)
    at, _ = step(at, talk(FEED, priority=254), 0.5)
    assert at.holder == TRUNK


def test_after_an_advisory_talk_nobody_waits_for_the_hang_time() -> None:
    at, _ = step(floor(), talk(FEED, emergency=True), 0.0)
    at, _ = step(at, m.TalkEnded(channel=FEED, stream="1"), 1.0)
    at, _ = step(at, talk(TRUNK), 1.1)
    assert at.holder == TRUNK


def test_an_advisory_talk_whose_end_never_comes_is_over_after_its_hold() -> None:
    at, _ = step(floor(), talk(FEED, hold_s=4.0), 0.0)
    at, effects = step(at, m.Tick(), 4.0)
    assert [e.channel for e in effects if isinstance(e, m.Unkey)] == [TRUNK]
    assert at.holder is None


def test_the_rules_carry_what_the_system_is() -> None:
    channel = ChannelDefinition(id=FEED, name="", org="o", system_id="s", advisory=True)
    patch = PatchDefinition(
        id="p",
        name="",
        org="o",
        hang_s=1.0,
        max_talk_s=60.0,
        queue=False,
        voice=m.Voice.SILENCE,
        members=(PatchMember(channel=FEED),),
    )
    assert rules_of(patch, {FEED: channel}).members[FEED].advisory
    assert rules_alone(channel).members[FEED].advisory
    for said_s, taken_s in ((6.0, 6.0), (60.0, 10.0), (0.0, 0.5)):
        slow = dataclasses.replace(channel, lease_s=said_s)
        assert rules_of(patch, {FEED: slow}).lease_of(FEED) == taken_s
