"""Floor control over any sequence of inputs: no invariant breaks, and it always falls idle.

`python -m benchmarks floor` does the same a million times.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.interop import model as m
from gateway.interop.floor import deadline_s, shut, step
from gateway.interop.invariants import BrokenInvariant, Witness, check

CHANNELS = ("trunk", "ptt", "third")
channel = st.sampled_from(CHANNELS)
stream = st.sampled_from(["1", "2", "3"])
talker = st.sampled_from(["sys/unit", "sys/other", ""])
inputs = st.one_of(
    st.builds(
        m.TalkHeard,
        channel=channel,
        stream=stream,
        talker=talker,
        unit=st.sampled_from(["", "u1"]),
        priority=st.integers(0, 254),
        emergency=st.booleans(),
        encrypted=st.booleans(),
        hold_s=st.floats(0.5, 6),
        caused_by=st.sampled_from([None, None, None, "t-2"]),
    ),
    st.builds(m.TalkEnded, channel=channel, stream=stream),
    st.builds(
        m.KeyAnswered,
        channel=channel,
        transmission=st.sampled_from(["t-2", "t-4", "t-6"]),
        outcome=st.sampled_from(["done", "busy", "refused"]),
    ),
    st.builds(m.MemberPresent, channel=channel, present=st.booleans()),
    st.builds(
        m.Pressed, user=st.sampled_from("ab"), alias=st.just("d"), priority=st.integers(0, 9)
    ),
    st.builds(m.Released, user=st.sampled_from("ab")),
    st.builds(m.Cleared, user=st.just("a")),
    st.builds(m.EmergencyRaised, channel=channel, talker=talker),
    st.builds(m.EmergencyCleared, channel=channel, talker=talker),
    st.builds(m.MemberResumed, channel=channel, user=st.just("a")),
    st.just(m.Tick()),
)
members = st.fixed_dictionaries(
    {
        c: st.builds(
            m.Member,
            channel=st.just(c),
            direction=st.sampled_from(m.Direction),
            priority=st.integers(0, 9),
            muted=st.sampled_from([False, False, True]),
            receive_only=st.booleans(),
            advisory=st.booleans(),
            identifies_talker=st.booleans(),
            voice=st.sampled_from([frozenset(), frozenset({"a"}), frozenset({"a", "b"})]),
            lease_s=st.sampled_from([None, 1.0]),
        )
        for c in CHANNELS
    }
)
calls = st.frozensets(st.sampled_from(m.Call), max_size=2)
units = st.frozensets(st.sampled_from(["u1", "sys/unit"]), max_size=1)
any_rules = st.builds(
    m.Rules,
    members=members,
    hang_s=st.floats(0, 4),
    max_talk_s=st.floats(0.5, 30),
    queue=st.booleans(),
    queue_timeout_s=st.floats(0.5, 9),
    revoke_grace_s=st.sampled_from([0.0, 1.0]),
    penalty_s=st.sampled_from([0.0, 3.0]),
    emergency_hold_s=st.floats(1, 20),
    bridge_encrypted=st.booleans(),
    admission=st.builds(
        m.Admission, allow_units=units, deny_units=units, allow_calls=calls, deny_calls=calls
    ),
    voice=st.sampled_from(m.Voice),
)
changes = st.builds(m.RulesChanged, rules=any_rules)
histories = st.lists(st.tuples(st.floats(0, 3), inputs | changes), max_size=60)


def floor_of(rules: m.Rules) -> m.Floor:
    return m.Floor(tag="t", rules=rules, present=frozenset(rules.members))


@settings(max_examples=300, deadline=None)
@given(rules=any_rules, history=histories)
def test_never_two_holders_no_double_key_and_always_back_to_idle(
    rules: m.Rules, history: list[tuple[float, m.Input]]
) -> None:
    floor, now_s, witness = floor_of(rules), 0.0, Witness()
    for wait_s, happened in history:
        now_s += wait_s
        floor, effects = step(floor, happened, now_s)
        witness.see(happened, effects, floor, now_s)
    for _ in range(500):
        at_s = deadline_s(floor)
        if at_s == float("inf"):
            break
        assert not at_s < now_s, "a deadline that is over would be stepped without end"
        now_s = max(now_s, at_s)
        floor, effects = step(floor, m.Tick(), now_s)
        witness.see(m.Tick(), effects, floor, now_s)
    assert floor.holder is None
    assert not floor.talks
    assert not floor.keyed
    assert not floor.emergencies
    assert not witness.live(now_s + rules.lease_s)


@settings(max_examples=100, deadline=None)
@given(rules=any_rules, history=histories)
def test_a_floor_that_goes_away_unkeys_all_it_keyed(
    rules: m.Rules, history: list[tuple[float, m.Input]]
) -> None:
    floor, now_s = floor_of(rules), 0.0
    for wait_s, happened in history:
        now_s += wait_s
        floor, _ = step(floor, happened, now_s)
    assert {e.channel for e in shut(floor, "gone") if isinstance(e, m.Unkey)} == set(floor.keyed)


def _talk(channel: str) -> m.Talk:
    return m.Talk(
        channel=channel,
        stream="1",
        talker="a",
        since_s=0,
        heard_s=0,
        hold_s=1,
        standing=m.Standing.HOLDER,
    )


RULES = m.Rules(members={c: m.Member(channel=c) for c in CHANNELS})
KEYED = m.Keyed(renew_at_s=1)


@pytest.mark.parametrize(
    "fields",
    [
        {"talks": {"trunk": _talk("trunk"), "ptt": _talk("ptt")}, "holder": "trunk"},
        {"keyed": {"ptt": KEYED}},
        {"talks": {"trunk": _talk("trunk")}, "holder": "trunk", "keyed": {"trunk": KEYED}},
        {"talks": {"trunk": _talk("trunk")}, "holder": "trunk", "keyed": {"gone": KEYED}},
        {
            "talks": {"trunk": _talk("trunk")},
            "holder": "trunk",
            "suspended": frozenset({"trunk"}),
        },
    ],
    ids=["two holders", "orphaned key", "own channel", "no member", "suspended"],
)
def test_the_witness_sees_what_is_broken(fields: dict[str, object]) -> None:
    with pytest.raises(BrokenInvariant):
        check(m.Floor(tag="t", rules=RULES, **fields))  # type: ignore[arg-type]


def test_the_witness_sees_a_channel_keyed_twice() -> None:
    witness, floor = Witness(), floor_of(RULES)
    for transmission in ("t-1", "t-1"):
        key = m.Key(channel="ptt", transmission=transmission, talk=_talk("trunk"))
        witness.see(m.Tick(), [key], floor, 0.0)
    other = m.Key(channel="ptt", transmission="t-2", talk=_talk("trunk"))
    with pytest.raises(BrokenInvariant, match="twice"):
        witness.see(m.Tick(), [other], floor, 1.0)
