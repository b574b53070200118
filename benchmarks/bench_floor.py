"""One million random floor inputs: does any invariant break, and how fast is a step?

Seeded, so that what breaks can be looked at again: the message names the seed and the step.
"""

import os
import random
import time

from benchmarks import Row, row
from gateway.interop import model as m
from gateway.interop.floor import deadline_s, step
from gateway.interop.invariants import BrokenInvariant, Witness

INPUTS = int(os.environ.get("HUTONG_BENCH_FLOOR_INPUTS", "1000000"))
EACH = 2000
CHANNELS = ("a", "b", "c", "d")
STREAMS = ("1", "2", "3")
CODECS = ("x", "y")
TALKERS = ("sys/1", "sys/2", "sys/3", "")


def rows() -> list[Row]:
    broken, steps, spent_s = 0, 0, 0.0
    for seed in range(max(1, INPUTS // EACH)):
        try:
            taken_s = _history(seed)
        except BrokenInvariant as error:
            print(f"seed {seed}: {error}")
            broken += 1
            continue
        steps, spent_s = steps + EACH, spent_s + taken_s
    return [
        row("random floor inputs", steps, "inputs", at_least=INPUTS if not broken else None),
        row("invariants broken", broken, "histories", at_most=0),
        row("one step of a floor of 4 channels", spent_s / max(steps, 1) * 1e6, "us"),
    ]


def _history(seed: int) -> float:
    """Steps one floor through random inputs, then lets it fall idle; seconds spent stepping.

    Raises: BrokenInvariant.
    """
    chance = random.Random(seed)
    rules = _rules(chance)
    floor = m.Floor(tag="t", rules=rules, present=frozenset(CHANNELS))
    witness, now_s, spent_s = Witness(), 0.0, 0.0
    for number in range(EACH):
        now_s += chance.choice((0.0, 0.05, 0.4, 1.0, 3.0))
        happened = _input(chance, floor)
        began_s = time.perf_counter()
        floor, effects = step(floor, happened, now_s)
        spent_s += time.perf_counter() - began_s
        try:
            witness.see(happened, effects, floor, now_s)
        except BrokenInvariant as error:
            raise BrokenInvariant(f"step {number}, {happened}: {error}") from None
    _fall_idle(floor, witness, now_s)
    return spent_s


def _fall_idle(floor: m.Floor, witness: Witness, now_s: float) -> None:
    for _ in range(1000):
        at_s = deadline_s(floor)
        if at_s == float("inf"):
            break
        now_s = max(now_s, at_s)
        floor, effects = step(floor, m.Tick(), now_s)
        witness.see(m.Tick(), effects, floor, now_s)
    if floor.holder is not None or floor.talks or floor.keyed or floor.emergencies:
        raise BrokenInvariant("the floor does not fall idle when input stops")
    if witness.live(now_s + floor.rules.lease_s):
        raise BrokenInvariant("a channel stays keyed")


def _rules(chance: random.Random) -> m.Rules:
    units: tuple[frozenset[str], ...] = (frozenset(), frozenset(), frozenset({"sys/1"}))
    calls: tuple[frozenset[m.Call], ...] = (frozenset(), frozenset(), frozenset({m.Call.VOICE}))
    return m.Rules(
        members={c: _member(chance, c) for c in CHANNELS if chance.random() < 0.9},
        hang_s=chance.choice((0.0, 1.0, 3.0)),
        max_talk_s=chance.choice((0.5, 5.0, 60.0)),
        queue=chance.random() < 0.5,
        queue_timeout_s=chance.choice((0.5, 5.0, 30.0)),
        revoke_grace_s=chance.choice((0.0, 1.0)),
        penalty_s=chance.choice((0.0, 4.0)),
        emergency_hold_s=chance.choice((1.0, 20.0)),
        admission=m.Admission(allow_units=chance.choice(units), deny_calls=chance.choice(calls)),
        voice=chance.choice((m.Voice.FRAMES, m.Voice.SILENCE, m.Voice.SILENCE, m.Voice.EVENTS)),
        bridge_encrypted=chance.random() < 0.3,
    )


def _member(chance: random.Random, channel: str) -> m.Member:
    receive_only = chance.random() < 0.1
    return m.Member(
        channel=channel,
        direction=chance.choice((*m.Direction, m.Direction.BOTH)),
        priority=chance.choice((0, 0, 5)),
        muted=chance.random() < 0.1,
        receive_only=receive_only,
        advisory=receive_only,
        identifies_talker=chance.random() < 0.8,
        voice=frozenset(chance.sample(CODECS, chance.choice((0, 1, 2)))),
    )


def _input(chance: random.Random, floor: m.Floor) -> m.Input:
    channel, kind = chance.choice(CHANNELS), chance.random()
    talker, transmission = chance.choice(TALKERS), floor.transmission
    if kind < 0.5:
        return m.TalkHeard(
            channel=channel,
            stream=chance.choice(STREAMS),
            talker=talker,
            priority=chance.choice((0, 0, 0, 9, 100)),
            emergency=chance.random() < 0.05,
            encrypted=chance.random() < 0.05,
            hold_s=chance.choice((1.0, 3.0)),
            caused_by=transmission if chance.random() < 0.1 else None,
        )
    if kind < 0.7:
        caused_by = transmission if chance.random() < 0.1 else None
        return m.TalkEnded(channel=channel, stream=chance.choice(STREAMS), caused_by=caused_by)
    if kind < 0.8:
        outcome = chance.choice(("done", "done", "busy", "refused"))
        return m.KeyAnswered(channel=channel, transmission=transmission, outcome=outcome)
    user = chance.choice("ab")
    return chance.choice(
        (
            m.MemberPresent(channel=channel, present=chance.random() < 0.7),
            m.Pressed(user=user, alias=user, channel=channel, priority=chance.choice((0, 50))),
            m.Released(user=user),
            m.Cleared(user=user),
            m.EmergencyRaised(channel=channel, talker=talker),
            m.EmergencyCleared(channel=channel),
            m.MemberResumed(channel=channel, user=user),
            m.RulesChanged(rules=_rules(chance)),
            m.Tick(),
            m.Tick(),
        )
    )
