"""Who is keyed, pair by pair, by what voice can pass; and what is said of it."""

import dataclasses

import pytest

from gateway.interop import model as m
from gateway.interop.floor import step
from gateway.interop.invariants import BrokenInvariant, check
from gateway.interop.showing import member_shown, voice_between

DMR, OPUS = frozenset({"ambe+2"}), frozenset({"opus"})


def rules(voice: m.Voice = m.Voice.FRAMES, **members: frozenset[str]) -> m.Rules:
    return m.Rules(
        members={c: m.Member(channel=c, voice=codecs) for c, codecs in members.items()},
        voice=voice,
    )


THREE = rules(a=DMR, b=DMR | OPUS, c=OPUS)


def floor_of(these: m.Rules) -> m.Floor:
    return m.Floor(tag="t", rules=these, present=frozenset(these.members))


def talk(channel: str, **fields: object) -> m.TalkHeard:
    given = {"channel": channel, "stream": f"s-{channel}", "talker": f"x/{channel}", **fields}
    return m.TalkHeard(**given)  # type: ignore[arg-type]


def keyed_by(these: m.Rules, happened: m.Input) -> set[str]:
    floor, effects = step(floor_of(these), happened, 0.0)
    check(floor)
    keys = {effect.channel for effect in effects if isinstance(effect, m.Key)}
    assert keys == set(floor.keyed)
    assert not floor.missed, "what is not to be keyed is not missed"
    return keys


@pytest.mark.parametrize(("channel", "keyed"), [("a", {"b"}), ("b", {"a", "c"}), ("c", {"b"})])
def test_those_are_keyed_who_share_a_codec_with_the_talker(channel: str, keyed: set[str]) -> None:
    assert keyed_by(THREE, talk(channel)) == keyed


def test_silence_keys_everybody_and_events_nobody() -> None:
    codecs = {"a": DMR, "b": DMR, "c": frozenset[str]()}
    assert keyed_by(rules(m.Voice.SILENCE, **codecs), talk("a")) == {"b", "c"}
    assert keyed_by(rules(m.Voice.EVENTS, **codecs), talk("a")) == set()


def test_a_dispatcher_keys_all_who_may_be_keyed() -> None:
    press = m.Pressed(user="u", channel="a", alias="desk")
    assert keyed_by(THREE, press) == {"a", "b", "c"}
    assert keyed_by(rules(m.Voice.EVENTS, a=DMR, b=DMR), press) == set()


def test_a_new_holder_is_heard_by_others_than_the_old() -> None:
    floor, _ = step(floor_of(THREE), talk("a"), 0.0)
    floor, effects = step(floor, talk("c", emergency=True), 0.1)
    check(floor)
    assert [e.channel for e in effects if isinstance(e, m.Unkey)] == ["b"]
    assert [e.channel for e in effects if isinstance(e, m.Key)] == ["b"]
    assert set(floor.keyed) == {"b"}


def test_who_reaches_nobody_keeps_nobody_off_the_floor() -> None:
    floor, effects = step(floor_of(rules(a=DMR, b=DMR, c=OPUS)), talk("c", emergency=True), 0.0)
    assert floor.holder is None
    assert [type(each) for each in effects] == [m.EmergencyChanged], "shown all the same"
    floor, effects = step(floor, talk("a"), 0.1)
    check(floor)
    assert floor.holder == "a"
    assert [e.channel for e in effects if isinstance(e, m.Key)] == ["b"]
    wrong = {**floor.talks, "a": floor.talks["c"], "c": floor.talks["a"]}
    wrong["c"] = dataclasses.replace(wrong["c"], channel="c")
    with pytest.raises(BrokenInvariant, match="nobody can hear"):
        check(dataclasses.replace(floor, talks=wrong, holder="c", keyed={}))


def test_who_no_longer_shares_a_codec_is_let_go_of_in_the_middle_of_a_talk() -> None:
    floor, _ = step(floor_of(THREE), talk("a"), 0.0)
    changed = dataclasses.replace(THREE, members={**THREE.members, "b": m.Member(channel="b")})
    floor, effects = step(floor, m.RulesChanged(rules=changed), 0.1)
    check(floor)
    assert [e.channel for e in effects if isinstance(e, m.Unkey)] == ["b"]
    assert not floor.keyed


def test_a_key_that_nothing_can_pass_to_is_found() -> None:
    floor, _ = step(floor_of(THREE), talk("a"), 0.0)
    wrong = dataclasses.replace(floor, keyed={**floor.keyed, "c": m.Keyed(renew_at_s=9.0)})
    with pytest.raises(BrokenInvariant, match="nothing passes"):
        check(wrong)
    awaited = dataclasses.replace(floor, missed={"c": m.Missed(reason="busy")})
    with pytest.raises(BrokenInvariant, match="nothing passes"):
        check(awaited)


def test_it_is_said_of_each_member_how_far_voice_passes() -> None:
    assert voice_between(THREE) == {"a": "some", "b": "all", "c": "some"}
    alone = rules(a=DMR, b=DMR, c=frozenset())
    assert voice_between(alone) == {"a": "some", "b": "some", "c": "none"}
    assert set(voice_between(rules(m.Voice.SILENCE, a=DMR, b=DMR)).values()) == {"none"}
    into = {"b": m.Member(channel="b", voice=DMR, direction=m.Direction.TALK)}
    both_talk = dataclasses.replace(
        rules(a=DMR, b=DMR), members={"a": m.Member(channel="a"), **into}
    )
    assert set(voice_between(both_talk).values()) == {"none"}
    assert member_shown(floor_of(THREE), "a", "ok", "some")["voice"] == "some"
