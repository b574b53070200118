"""Floor control: queues, grace, penalties, emergencies, admission and the breaker, by example."""

import dataclasses
from typing import Any

import pytest

from gateway.interop import model as m
from gateway.interop.floor import deadline_s, step

A, B, C = "a", "b", "c"


class Play:
    """A floor, and what came of each step. Members are present."""

    def __init__(self, *channels: str, **rules: Any) -> None:
        members = rules.pop("members", None) or {
            c: m.Member(channel=c) for c in channels or (A, B, C)
        }
        made = m.Rules(members=members, **{"hang_s": 0.0, **rules})
        self.floor = m.Floor(tag="t", rules=made, present=frozenset(members))
        self.effects: list[m.Effect] = []
        self.now_s = 0.0

    def __call__(self, at_s: float, happened: m.Input) -> "Play":
        self.now_s = at_s
        self.floor, self.effects = step(self.floor, happened, at_s)
        return self

    def tick(self, at_s: float) -> "Play":
        return self(at_s, m.Tick())

    def decided(self) -> list[tuple[str, str]]:
        return [
            (e.decision, e.talk.channel or e.talk.talker)
            for e in self.effects
            if isinstance(e, m.Decided)
        ]

    def emergencies(self) -> list[tuple[str, str, str]]:
        return [
            (e.change, e.channel, e.by) for e in self.effects if isinstance(e, m.EmergencyChanged)
        ]

    def keys(self) -> list[str]:
        return [e.channel for e in self.effects if isinstance(e, m.Key)]

    def unkeys(self) -> list[str]:
        return [e.channel for e in self.effects if isinstance(e, m.Unkey)]


def talk(channel: str, stream: str = "1", talker: str = "", **fields: Any) -> m.TalkHeard:
    talker = talker or f"sys/{channel}"
    return m.TalkHeard(channel=channel, stream=stream, talker=talker, **{"hold_s": 99.0, **fields})


def ended(channel: str, stream: str = "1") -> m.TalkEnded:
    return m.TalkEnded(channel=channel, stream=stream)


# --- the queue ------------------------------------------------------------------------------------


def positions(play: Play) -> list[tuple[str, int, bool]]:
    return [
        (e.talk.channel or "", e.position, e.again)
        for e in play.effects
        if isinstance(e, m.Decided) and e.decision == "queued"
    ]


def test_a_queue_tells_places_and_tells_again_when_they_change() -> None:
    play = Play(queue=True)(0, talk(A))(1, talk(B))
    assert positions(play) == [(B, 1, False)]
    play(2, talk(C, priority=5))
    assert play.floor.holder == C  # it revokes
    play = Play(queue=True)(0, talk(A, priority=9))(1, talk(B))(2, talk(C, priority=5))
    assert positions(play) == [(C, 1, False), (B, 2, True)]
    assert positions(play(3, talk(B))) == []
    play(4, ended(C))
    assert positions(play) == [(B, 1, True)]


def test_who_waits_too_long_is_denied_and_its_late_frames_open_nothing() -> None:
    play = Play(queue=True, queue_timeout_s=10.0)(0, talk(A))(1, talk(B))
    assert deadline_s(play.floor) <= 11.0
    play.tick(11.0)
    assert play.decided() == [("denied", B)]
    play(12, ended(A))(13, talk(B))
    assert play.floor.holder is None
    play(14, ended(B))(15, talk(B, "2"))
    assert play.floor.holder == B


# --- revoking -------------------------------------------------------------------------------------


def test_a_revoked_talker_has_its_grace_and_the_next_one_waits_for_it() -> None:
    play = Play(revoke_grace_s=3.0)(0, talk(A))(1, talk(B, priority=9))
    assert play.decided() == [("revoked", A), ("queued", B)]
    assert next(e.grace_s for e in play.effects if isinstance(e, m.Decided)) == 3.0
    assert play.floor.holder == A
    play.tick(3.9)
    assert play.floor.holder == A
    play.tick(4.0)
    assert play.decided() == [("granted", B)]  # told of the revoke before
    assert play(5, talk(A)).floor.holder == B


def test_a_revoked_talker_that_lets_go_within_its_grace_is_not_barred() -> None:
    play = Play(revoke_grace_s=3.0, hang_s=2.0)(0, talk(A))(1, talk(B, priority=9))(2, ended(A))
    assert play.decided() == [("granted", B)]
    assert A not in play.floor.barred


def test_an_emergency_waits_for_no_grace() -> None:
    play = Play(revoke_grace_s=3.0)(0, talk(A))(1, talk(B, emergency=True))
    assert play.decided() == [("revoked", A), ("granted", B)]


def test_a_dispatcher_clears_and_it_is_told_who() -> None:
    play = Play()(0, talk(A))(1, m.Cleared(user="u7"))
    assert [e.user for e in play.effects if isinstance(e, m.Decided)] == ["u7"]


def test_repeat_offenders_stay_off_longer_each_time_and_others_do_not() -> None:
    play = Play(max_talk_s=5.0, penalty_s=10.0)
    play(0, talk(A)).tick(5.0)
    assert play.decided() == [("revoked", A)]
    play(6, ended(A))(7, talk(A, "2"))
    assert play.floor.holder == A  # once is no pattern
    play.tick(12.0)(13, ended(A, "2"))(14, talk(A, "3"))
    assert play.decided() == [("denied", A)]
    play(15, talk(B))
    assert play.floor.holder == B
    play(16, ended(B))(17, ended(A, "3"))(23, talk(A, "4"))
    assert play.floor.holder == A
    play.tick(28.0)(29, ended(A, "4"))(47, talk(A, "5"))
    assert play.decided() == [("denied", A)]  # 20 s this time
    play(47.5, ended(A, "5"))(48, talk(A, "6"))
    assert play.floor.holder == A


def test_an_offender_is_the_same_by_another_address() -> None:
    play = Play(max_talk_s=10, penalty_s=30)
    for start in (0, 20):
        play(start, talk(A, str(start), unit="u1")).tick(start + 10)(
            start + 11, ended(A, str(start))
        )
    assert play(32, talk(B, "x", talker="ptt/li", unit="u1")).decided() == [("denied", B)]
    assert play(33, talk(C, "y", talker="ptt/wu", unit="u2")).floor.holder == C


def test_an_emergency_of_an_offender_is_heard() -> None:
    play = Play(max_talk_s=5.0, penalty_s=100.0)
    for number in range(2):
        play(number * 10, talk(A, str(number))).tick(number * 10 + 5)
        play(number * 10 + 6, ended(A, str(number)))
    play(20, talk(A, "9", emergency=True))
    assert play.floor.holder == A


# --- emergencies ----------------------------------------------------------------------------------


def test_an_emergency_outlives_the_release_and_ends_without_talk() -> None:
    play = Play(emergency_hold_s=120.0)(0, talk(A, emergency=True))
    assert play.emergencies() == [("raised", A, "talk")]
    play(5, ended(A))
    assert play.emergencies() == []
    play(10, talk(B))(11, talk(A, "2"))  # the same unit, no flag this time
    assert play.floor.holder == A
    assert play.floor.talk is not None
    assert play.floor.talk.emergency
    play(20, ended(A, "2"))
    assert deadline_s(play.floor) == pytest.approx(11 + 120) or deadline_s(play.floor) < 131
    play(21, ended(B))
    play.tick(130.9)
    assert play.floor.emergencies
    play.tick(131.0)
    assert play.emergencies() == [("cleared", A, "timeout")]


def test_an_emergency_belongs_to_a_unit_and_not_to_all_on_its_channel() -> None:
    play = Play()(0, talk(A, talker="sys/1", emergency=True))(1, ended(A))
    play(2, talk(A, "2", talker="sys/2"))
    assert play.floor.talk is not None
    assert not play.floor.talk.emergency


def test_a_dispatcher_ends_an_emergency_and_the_talk_that_goes_on_is_an_ordinary_one() -> None:
    play = Play()(0, talk(A, emergency=True, priority=3))
    play(1, m.EmergencyCleared(channel=A, user="u7"))
    assert play.emergencies() == [("cleared", A, "u7")]
    play(2, talk(A, emergency=True, priority=3))  # its radio still says so
    assert play.emergencies() == []
    assert play.floor.talk is not None
    assert (play.floor.talk.emergency, play.floor.talk.priority) == (False, 3)
    play(3, ended(A))(4, talk(A, "2", emergency=True))
    assert play.emergencies() == [("raised", A, "talk")]


def test_a_system_raises_and_clears_without_any_talk() -> None:
    play = Play()(0, m.EmergencyRaised(channel=A, talker="sys/1"))
    assert play.emergencies() == [("raised", A, "system")]
    play(1, talk(A, talker="sys/1"))
    assert play.floor.talk is not None
    assert play.floor.talk.emergency
    play(2, m.EmergencyCleared(channel=A, talker="sys/1"))
    assert play.emergencies() == [("cleared", A, "system")]


def test_a_raised_emergency_lifts_the_talk_that_goes_on_to_the_floor() -> None:
    play = Play()(0, talk(A))(1, talk(B, talker="sys/1"))
    play(2, m.EmergencyRaised(channel=B, talker="sys/1"))
    assert ("granted", B) in play.decided()


def test_a_second_emergency_is_denied_and_a_member_it_does_not_reach_is_told_of() -> None:
    play = Play()(0, talk(B))(1, talk(A, emergency=True))
    assert ("undelivered", B, "") in play.emergencies()
    play(2, talk(A, emergency=True))
    assert play.emergencies() == []  # once
    play = Play()(0, talk(A, emergency=True))(1, talk(B, emergency=True))
    assert ("denied", B) in play.decided()
    assert ("raised", B, "talk") in play.emergencies()


# --- who is admitted ------------------------------------------------------------------------------


def test_lists_of_units_hold_by_unit_and_by_address_and_are_told() -> None:
    only = m.Admission(allow_units=frozenset({"unit-1", "sys/7"}))
    play = Play(admission=only)(0, talk(A, talker="sys/9"))
    assert play.decided() == [("denied", A)]
    assert play.keys() == []
    play(1, ended(A))(2, talk(A, "2", talker="sys/9", unit="unit-1"))
    assert play.floor.holder == A
    play(3, ended(A, "2"))(4, talk(A, "3", talker="sys/7"))
    assert play.floor.holder == A
    but = m.Admission(deny_units=frozenset({"sys/7"}))
    assert Play(admission=but)(0, talk(A, talker="sys/7")).floor.holder is None
    assert Play(admission=but)(0, m.Pressed(user="u", alias="U")).floor.holder == "user/u"


def test_lists_of_calls() -> None:
    calm = m.Admission(deny_calls=frozenset({m.Call.VOICE}))
    play = Play(admission=calm)(0, talk(A))
    assert play.floor.holder is None
    assert play(1, talk(B, emergency=True)).floor.holder == B
    no_console = m.Admission(allow_calls=frozenset({m.Call.VOICE}))
    press = m.Pressed(user="u", alias="U")
    play = Play(admission=no_console)(0, press)
    assert play.decided() == [("denied", "user/u")]
    assert play(1, press).decided() == []


def test_a_talk_that_is_admitted_only_later_comes_in_late() -> None:
    only_emergencies = m.Admission(allow_calls=frozenset({m.Call.EMERGENCY}))
    play = Play(admission=only_emergencies)(0, talk(A))(1, talk(A, emergency=True))
    assert (play.floor.holder, play.keys()) == (A, [B, C])
    play = Play(admission=only_emergencies)(0, talk(A))
    play(1, m.EmergencyRaised(channel=A, talker="sys/a"))
    assert play.floor.holder == A
    play(2, m.EmergencyCleared(channel=A))
    assert play.unkeys() == [B, C]
    known = m.Admission(allow_units=frozenset({"u1"}))
    play = Play(admission=known)(0, talk(A))(1, talk(A, unit="u1"))
    assert play.floor.holder == A, "who talks may be said after the talk began"


def test_encrypted_talk_is_bridged_where_the_patch_says_so() -> None:
    assert Play(bridge_encrypted=True)(0, talk(A, encrypted=True)).keys() == [B, C]
    assert Play()(0, talk(A, encrypted=True)).keys() == []


def test_a_muted_member_hears_and_is_not_heard() -> None:
    members = {A: m.Member(channel=A, muted=True), B: m.Member(channel=B)}
    assert Play(members=members)(0, talk(A)).keys() == []
    assert Play(members=members)(0, talk(B)).keys() == [A]


def test_muting_who_talks_ends_the_floor_and_unmuting_lets_it_in_again() -> None:
    play = Play(A, B)(0, talk(A))
    members = dict(play.floor.rules.members)
    muted = {**members, A: dataclasses.replace(members[A], muted=True)}
    play(1, m.RulesChanged(rules=dataclasses.replace(play.floor.rules, members=muted)))
    assert (play.unkeys(), play.floor.holder) == ([B], None)
    play(2, m.RulesChanged(rules=dataclasses.replace(play.floor.rules, members=members)))
    assert play.floor.holder == A


def test_a_talk_let_in_by_new_rules_outranks_who_holds_the_floor() -> None:
    members = {A: m.Member(channel=A, muted=True), B: m.Member(channel=B)}
    play = Play(members=members)(0, talk(A, priority=9))(1, talk(B))
    assert play.floor.holder == B
    rules = m.Rules(members={c: m.Member(channel=c) for c in (A, B)}, hang_s=0.0)
    play(2, m.RulesChanged(rules=rules))
    assert play.floor.holder == A


def test_each_member_is_renewed_by_its_own_lease() -> None:
    members = {
        A: m.Member(channel=A),
        B: m.Member(channel=B, lease_s=6.0),
        C: m.Member(channel=C, lease_s=0.6),
    }
    play = Play(members=members)(0, talk(A))
    assert play.tick(0.2).keys() == [C]
    assert play.tick(2.0).keys() == [B, C]


# --- echoes and loops -----------------------------------------------------------------------------


def test_where_nobody_says_who_talks_what_follows_our_key_is_ours() -> None:
    members = {A: m.Member(channel=A), B: m.Member(channel=B, echo_s=1.0)}
    nameless = m.TalkHeard(channel=B, stream="9", talker="", hold_s=99.0)
    play = Play(members=members)(0, talk(A))(0.5, nameless)
    assert B not in play.floor.talks
    assert B in play.floor.keyed
    play(2, ended(A))(2.9, nameless)
    assert B not in play.floor.talks
    play(3.0, nameless)
    assert play.floor.holder == B


def test_a_system_that_names_nobody_truly_is_taken_for_our_echo_too() -> None:
    members = {A: m.Member(channel=A), B: m.Member(channel=B, identifies_talker=False)}
    play = Play(members=members)(0, talk(A))(0.5, talk(B))
    assert B not in play.floor.talks


def _round(play: Play, at_s: float, number: int, delay_s: float, length_s: float) -> None:
    """A talks for two seconds, and something on C comes after it."""
    play(at_s, talk(A, f"a{number}"))
    play(at_s + 2.0, ended(A, f"a{number}"))
    play(at_s + 2.0 + delay_s, talk(C, f"c{number}", talker="sys/loop"))
    play(at_s + 2.0 + delay_s + length_s, ended(C, f"c{number}"))


def test_the_breaker_takes_a_member_out_that_echoes_three_times() -> None:
    play = Play()
    for number in range(2):
        _round(play, number * 20, number, delay_s=4.0, length_s=2.0)
        assert C not in play.floor.suspended
    _round(play, 40, 2, delay_s=4.05, length_s=2.1)
    assert [e.channel for e in play.effects if isinstance(e, m.Suspended)] == [C]
    play(60, talk(A, "x"))
    assert play.keys() == [B]
    play(61, ended(A, "x"))(62, talk(C, "y", talker="sys/loop"))
    assert play.floor.holder is None
    play(63, m.MemberResumed(channel=C, user="u7"))
    assert [(e.channel, e.user) for e in play.effects if isinstance(e, m.Suspended)] == [(C, "u7")]
    assert play.floor.holder == C  # who talks there is heard again at once


@pytest.mark.parametrize(
    ("delays", "lengths"),
    [((4.0, 4.3, 4.9), (2.0, 2.0, 2.0)), ((4.0, 4.0, 4.0), (2.0, 1.0, 2.0))],
    ids=["other delays", "other lengths"],
)
def test_people_who_answer_are_no_loop(
    delays: tuple[float, ...], lengths: tuple[float, ...]
) -> None:
    play = Play()
    for number, (delay_s, length_s) in enumerate(zip(delays, lengths, strict=True)):
        _round(play, number * 20, number, delay_s, length_s)
    assert not play.floor.suspended


def test_a_unit_that_the_directory_knows_is_no_loop() -> None:
    play = Play()
    for number in range(5):
        play(number * 20, talk(A, f"a{number}"))(number * 20 + 2, ended(A, f"a{number}"))
        play(number * 20 + 6, talk(C, f"c{number}", unit="u1"))(
            number * 20 + 8, ended(C, f"c{number}")
        )
    assert not play.floor.suspended


def test_a_key_that_is_only_tipped_is_no_loop() -> None:
    play = Play()
    for number in range(9):
        play(number, talk(A, f"a{number}"))(number + 0.2, ended(A, f"a{number}"))
    assert not play.floor.suspended


def test_a_registered_unit_that_we_key_for_is_one_voice_wherever_it_comes_out() -> None:
    play = Play()(0, talk(A, unit="u1"))(0.5, talk(C, "9", talker="other/7", unit="u1"))
    assert (play.decided(), play.unkeys(), play.floor.holder) == ([], [], A)
    play(2, ended(A))(2.1, talk(C, "9", talker="other/7", unit="u1"))
    play(2.9, talk(C, "9", talker="other/7", unit="u1"))
    assert play.floor.holder is None, "the rest of what a third system repeats opens nothing"
    play(4, ended(C, "9"))(5, talk(C, "10", talker="other/7", unit="u1"))
    assert play.floor.holder == C, "who takes another radio in hand is heard"


def test_an_emergency_under_the_same_name_is_believed_unless_it_is_the_one_that_we_carry() -> None:
    copy = talk(C, "9", talker="other/7", unit="u1", emergency=True)
    play = Play()(0, talk(A, unit="u1"))(0.5, copy)
    assert play.floor.holder == C
    play = Play()(0, talk(A, unit="u1"))(0.5, talk(A, unit="u1", emergency=True))(0.6, copy)
    assert (play.floor.holder, play.emergencies()) == (A, [])


def test_of_two_units_that_talk_at_once_the_second_waits() -> None:
    play = Play()(0, talk(A, unit="u1"))(0.5, talk(C, "9", unit="u2"))(1, ended(A))
    assert play.floor.holder == C
