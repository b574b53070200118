"""Floor control: the rules by example."""

import dataclasses

import pytest

from gateway.interop import model as m
from gateway.interop.floor import deadline_s, step

TRUNK, PTT, THIRD = "trunk", "ptt", "third"


def rules(**changes: object) -> m.Rules:
    members = {c: m.Member(channel=c) for c in (TRUNK, PTT)}
    return dataclasses.replace(m.Rules(members=members, hang_s=1.0), **changes)  # type: ignore[arg-type]


def floor_of(rules_: m.Rules) -> m.Floor:
    return m.Floor(tag="t", rules=rules_, present=frozenset(rules_.members))


def talk(channel: str, stream: str = "1", **fields: object) -> m.TalkHeard:
    return m.TalkHeard(channel=channel, stream=stream, talker=f"sys/{channel}", **fields)  # type: ignore[arg-type]


def ended(channel: str, stream: str = "1", **fields: object) -> m.TalkEnded:
    return m.TalkEnded(channel=channel, stream=stream, **fields)  # type: ignore[arg-type]


def keys(effects: list[m.Effect]) -> list[str]:
    return [e.channel for e in effects if isinstance(e, m.Key)]


def unkeys(effects: list[m.Effect]) -> list[str]:
    return [e.channel for e in effects if isinstance(e, m.Unkey)]


def decisions(effects: list[m.Effect]) -> list[tuple[str, str | None]]:
    return [(e.decision, e.talk.channel) for e in effects if isinstance(e, m.Decided)]


def test_a_press_keys_the_other_member_and_its_release_unkeys_it() -> None:
    floor, effects = step(floor_of(rules()), talk(TRUNK), 0.0)
    assert keys(effects) == [PTT]
    assert decisions(effects) == [("granted", TRUNK)]
    floor, effects = step(floor, ended(TRUNK), 1.0)
    assert unkeys(effects) == [PTT]
    assert floor.holder is None
    assert not floor.keyed


def test_first_in_wins_and_the_second_is_told() -> None:
    floor, _ = step(floor_of(rules()), talk(TRUNK), 0.0)
    floor, effects = step(floor, talk(PTT), 0.01)
    assert floor.holder == TRUNK
    assert decisions(effects) == [("denied", PTT)]
    assert unkeys(effects) == [PTT]  # the air goes before us on the loser's own channel
    _, again = step(floor, talk(PTT), 0.5)
    assert decisions(again) == []  # told once


def test_a_denied_talk_that_goes_on_enters_late_and_the_first_is_not_barred() -> None:
    floor, _ = step(floor_of(rules()), talk(TRUNK), 0.0)
    floor, _ = step(floor, talk(PTT), 0.1)
    floor, effects = step(floor, ended(TRUNK), 1.0)
    assert floor.holder == PTT
    assert keys(effects) == [TRUNK]
    assert [e.late_entry for e in effects if isinstance(e, m.Decided)] == [True]


def test_a_member_busy_with_its_own_talk_is_keyed_when_it_falls_idle() -> None:
    floor, _ = step(floor_of(rules()), talk(TRUNK), 0.0)
    floor, _ = step(floor, talk(PTT), 0.1)
    assert "talk of its own" in floor.missed[PTT].reason
    floor, effects = step(floor, ended(PTT), 0.5)
    assert keys(effects) == [PTT]
    assert PTT not in floor.missed


def test_higher_priority_revokes_and_unkeys_before_it_keys() -> None:
    three = rules(members={c: m.Member(channel=c) for c in (TRUNK, PTT, THIRD)})
    floor, _ = step(floor_of(three), talk(TRUNK), 0.0)
    floor, effects = step(floor, talk(PTT, priority=9), 0.2)
    kinds = [type(e).__name__ for e in effects]
    assert kinds.index("Unkey") < kinds.index("Key")
    assert ("revoked", TRUNK) in decisions(effects)
    assert floor.holder == PTT
    floor, effects = step(floor, talk(TRUNK), 0.4)
    assert floor.holder == PTT  # late frames of the revoked talk do not reopen it
    floor, effects = step(floor, ended(PTT), 0.5)
    floor, effects = step(floor, talk(TRUNK), 5.0)
    assert floor.holder is None
    floor, _ = step(floor, ended(TRUNK), 5.1)
    floor, _ = step(floor, talk(TRUNK, "2"), 5.2)
    assert floor.holder == TRUNK


def test_emergency_revokes_and_among_emergencies_the_first_wins() -> None:
    floor, _ = step(floor_of(rules()), talk(TRUNK, emergency=True), 0.0)
    floor, effects = step(floor, talk(PTT, emergency=True), 0.2)
    assert floor.holder == TRUNK
    assert decisions(effects) == [("denied", PTT)]


def test_talk_limit_cuts_and_bars() -> None:
    floor, _ = step(floor_of(rules(max_talk_s=5.0)), talk(TRUNK, hold_s=99.0), 0.0)
    assert deadline_s(floor) <= 5.0
    floor, effects = step(floor, m.Tick(), 5.0)
    assert ("revoked", TRUNK) in decisions(effects)
    assert unkeys(effects) == [PTT]
    floor, _ = step(floor, talk(TRUNK, hold_s=99.0), 6.0)
    assert floor.holder is None


def test_an_unrefreshed_talk_is_over_after_its_hold() -> None:
    floor, _ = step(floor_of(rules()), talk(TRUNK, hold_s=1.0), 0.0)
    floor, effects = step(floor, m.Tick(), 1.0)
    assert unkeys(effects) == [PTT]
    assert floor.holder is None


def test_hang_lets_equals_in_and_keeps_lower_ones_waiting() -> None:
    floor, _ = step(floor_of(rules()), talk(TRUNK, priority=5), 0.0)
    floor, _ = step(floor, ended(TRUNK), 1.0)
    floor, effects = step(floor, talk(PTT, hold_s=60.0), 1.2)
    assert decisions(effects) == [("queued", PTT)]
    assert floor.holder is None
    floor, effects = step(floor, m.Tick(), deadline_s(floor))
    assert floor.holder == PTT


def test_what_we_caused_is_never_bridged() -> None:
    floor, _ = step(floor_of(rules()), talk(TRUNK), 0.0)
    after, effects = step(floor, talk(PTT, "9", caused_by=floor.transmission), 0.1)
    assert not effects
    assert PTT not in after.talks


def test_directions() -> None:
    members = {
        TRUNK: m.Member(channel=TRUNK, direction=m.Direction.TALK),
        PTT: m.Member(channel=PTT, direction=m.Direction.LISTEN),
        THIRD: m.Member(channel=THIRD, receive_only=True),
    }
    _, effects = step(floor_of(rules(members=members)), talk(TRUNK), 0.0)
    assert keys(effects) == [PTT]
    _, effects = step(floor_of(rules(members=members)), talk(PTT), 0.0)
    assert not effects


def test_events_only_patches_key_nothing() -> None:
    floor, effects = step(floor_of(rules(voice=m.Voice.EVENTS)), talk(TRUNK), 0.0)
    assert keys(effects) == []
    assert floor.holder == TRUNK


def test_encrypted_talk_stays_local() -> None:
    floor, effects = step(floor_of(rules()), talk(TRUNK, encrypted=True), 0.0)
    assert not effects
    assert floor.holder is None


def test_busy_is_tried_again_and_refused_is_not() -> None:
    floor, _ = step(floor_of(rules()), talk(TRUNK, hold_s=60), 0.0)
    busy = m.KeyAnswered(channel=PTT, transmission=floor.transmission, outcome="busy")
    floor, _ = step(floor, busy, 0.1)
    assert PTT not in floor.keyed
    floor, effects = step(floor, m.Tick(), 1.2)
    assert keys(effects) == [PTT]
    refused = m.KeyAnswered(channel=PTT, transmission=floor.transmission, outcome="refused")
    floor, _ = step(floor, refused, 1.3)
    floor, effects = step(floor, m.Tick(), 9.0)
    assert keys(effects) == []
    assert floor.missed[PTT].reason == "refused"


def test_a_dispatcher_press_keys_every_member_and_ends_without_refresh() -> None:
    floor, effects = step(floor_of(rules()), m.Pressed(user="u", alias="Dispatcher"), 0.0)
    assert sorted(keys(effects)) == [PTT, TRUNK]
    floor, effects = step(floor, m.Tick(), 2.6)
    assert sorted(unkeys(effects)) == [PTT, TRUNK]


def test_a_clear_bars_who_talks() -> None:
    floor, _ = step(floor_of(rules()), talk(TRUNK), 0.0)
    floor, effects = step(floor, m.Cleared(user="d"), 0.5)
    assert unkeys(effects) == [PTT]
    floor, _ = step(floor, talk(TRUNK), 0.6)
    assert floor.holder is None


def test_a_member_whose_agent_goes_ends_its_talk_and_is_keyed_when_it_is_back() -> None:
    floor, _ = step(floor_of(rules()), talk(TRUNK, hold_s=60), 0.0)
    floor, _ = step(floor, m.MemberPresent(channel=PTT, present=False), 0.1)
    assert PTT not in floor.keyed
    floor, effects = step(floor, m.MemberPresent(channel=PTT, present=True), 0.2)
    assert keys(effects) == [PTT]
    floor, effects = step(floor, m.MemberPresent(channel=TRUNK, present=False), 0.3)
    assert unkeys(effects) == [PTT]


def test_keys_are_renewed_every_third_of_the_lease() -> None:
    floor, _ = step(floor_of(rules()), talk(TRUNK, hold_s=60), 0.0)
    assert deadline_s(floor) == pytest.approx(2 / 3)
    _, effects = step(floor, m.Tick(), 2 / 3)
    assert [(e.channel, e.renewal) for e in effects if isinstance(e, m.Key)] == [(PTT, True)]


def test_taking_a_member_out_of_the_patch_unkeys_it() -> None:
    floor, _ = step(floor_of(rules()), talk(TRUNK), 0.0)
    alone = rules(members={TRUNK: m.Member(channel=TRUNK)})
    floor, effects = step(floor, m.RulesChanged(rules=alone), 0.1)
    assert unkeys(effects) == [PTT]
    assert floor.holder == TRUNK


def test_a_member_that_may_no_longer_talk_loses_the_floor_it_holds() -> None:
    floor, _ = step(floor_of(rules()), talk(TRUNK, hold_s=60), 0.0)
    members = {
        TRUNK: m.Member(channel=TRUNK, direction=m.Direction.LISTEN),
        PTT: m.Member(channel=PTT),
    }
    floor, effects = step(floor, m.RulesChanged(rules=rules(members=members)), 0.5)
    assert unkeys(effects) == [PTT]
    assert floor.holder is None
    floor, effects = step(floor, m.RulesChanged(rules=rules()), 5.0)
    assert floor.holder == TRUNK
    assert keys(effects) == [PTT]


def test_a_talk_that_turns_out_to_be_encrypted_is_bridged_no_longer() -> None:
    floor, _ = step(floor_of(rules()), talk(TRUNK), 0.0)
    floor, effects = step(floor, talk(TRUNK, encrypted=True), 0.5)
    assert unkeys(effects) == [PTT]
    floor, effects = step(floor, talk(TRUNK), 1.0)
    assert floor.holder is None
    assert keys(effects) == []


def test_nothing_is_awaited_of_a_busy_member_that_left() -> None:
    floor, _ = step(floor_of(rules()), talk(TRUNK, hold_s=60), 0.0)
    busy = m.KeyAnswered(channel=PTT, transmission=floor.transmission, outcome="busy")
    floor, _ = step(floor, busy, 0.1)
    floor, _ = step(floor, m.RulesChanged(rules=rules(voice=m.Voice.EVENTS)), 0.2)
    assert PTT not in floor.missed
    assert deadline_s(floor) > 5.0  # else the bridge would step without end


def test_a_talk_alone_does_not_make_an_absent_agent_present() -> None:
    floor = m.Floor(tag="t", rules=rules())
    floor, effects = step(floor, talk(TRUNK, hold_s=60), 0.0)
    assert floor.holder == TRUNK
    assert keys(effects) == []
    assert floor.present == frozenset()


def test_of_two_dispatchers_the_second_is_denied_and_not_keyed_later_for_nobody() -> None:
    first, second = m.Pressed(user="a", alias="A"), m.Pressed(user="b", alias="B")
    floor, _ = step(floor_of(rules()), first, 0.0)
    floor, effects = step(floor, second, 0.1)
    assert [e.decision for e in effects if isinstance(e, m.Decided)] == ["denied"]
    floor, effects = step(floor, m.Released(user="a"), 0.5)
    floor, effects = step(floor, m.Tick(), 2.4)
    assert floor.holder is None
    assert keys(effects) == []
    floor, _ = step(floor, m.Released(user="b"), 2.5)
    floor, effects = step(floor, second, 3.0)
    assert floor.holder == "user/b"


def test_a_dispatcher_waits_where_the_patch_has_a_queue() -> None:
    floor, _ = step(floor_of(rules(queue=True)), talk(TRUNK, hold_s=60), 0.0)
    press = m.Pressed(user="a", alias="A", channel=PTT)
    floor, effects = step(floor, press, 0.1)
    assert [(e.decision, e.position) for e in effects if isinstance(e, m.Decided)] == [
        ("queued", 1)
    ]
    floor, effects = step(floor, ended(TRUNK), 0.5)
    floor, effects = step(floor, press, 2.0)
    assert floor.holder == "user/a"
    assert sorted(keys(effects)) == [PTT, TRUNK]
    assert floor.talk is not None
    assert floor.talk.pressed_on == PTT


def test_pressing_again_while_holding_keeps_the_same_transmission() -> None:
    press = m.Pressed(user="a", alias="A")
    floor, _ = step(floor_of(rules()), press, 0.0)
    transmission = floor.transmission
    floor, effects = step(floor, press, 0.1)
    assert (floor.transmission, keys(effects)) == (transmission, [])
