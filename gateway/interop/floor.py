"""Floor control: one pure state machine for each patch; an unpatched channel is a patch of one.

`step` takes a floor, what happened and the time, and gives the next floor and what follows.
The rules are those of interop.md: first in wins, a higher priority revokes, a talk that was cut
is barred until its own stream ends, the air goes before us, and nothing that we caused counts.
"""

import dataclasses
from typing import assert_never

from gateway.interop.model import (
    EMERGENCY_PRIORITY,
    Cleared,
    Decided,
    Effect,
    Floor,
    Input,
    Key,
    KeyAnswered,
    Keyed,
    MemberPresent,
    Missed,
    Pressed,
    Released,
    Rules,
    RulesChanged,
    Standing,
    Talk,
    TalkEnded,
    TalkHeard,
    Tick,
    Unkey,
)

PRESS_HOLD_S = 2.5
"""A console refreshes its press every 2 s at the latest."""
BUSY_RETRY_S = 1.0
_FOREVER = float("inf")


def step(floor: Floor, happened: Input, now_s: float) -> tuple[Floor, list[Effect]]:
    """The floor after something happened, and what is to be done, in this order."""
    turn = _Turn(floor, now_s)
    turn.expire()
    turn.take(happened)
    turn.settle()
    return turn.result(), turn.effects


def shut(floor: Floor, reason: str) -> list[Effect]:
    """What is to be done when a floor goes away: whatever it keyed is unkeyed."""
    return [
        Unkey(channel=channel, transmission=floor.transmission, reason=reason)
        for channel in floor.keyed
    ]


def deadline_s(floor: Floor) -> float:
    """When `step` must be called next with a `Tick`, infinity if nothing is awaited."""
    times = [talk.heard_s + talk.hold_s for talk in floor.talks.values()]
    times += [keyed.renew_at_s for keyed in floor.keyed.values()]
    if floor.holder is not None:
        times.append(floor.granted_at_s + floor.rules.max_talk_s)
        times += [m.retry_at_s for m in floor.missed.values() if m.retry_at_s is not None]
    elif any(talk.standing is Standing.WAITING for talk in floor.talks.values()):
        times.append(floor.hang_until_s)
    return min(times, default=_FOREVER)


def queue_of(floor: Floor) -> list[Talk]:
    """Who waits, next one first."""
    waiting = [t for t in floor.talks.values() if t.standing is Standing.WAITING]
    return sorted(waiting, key=lambda talk: (-talk.rank, talk.order))


class _Turn:
    """One step: a scratch copy of the floor that the rules below change."""

    def __init__(self, floor: Floor, now_s: float) -> None:
        self._floor = floor
        self._now_s = now_s
        self._rules = floor.rules
        self._present = set(floor.present)
        self._talks = dict(floor.talks)
        self._holder = floor.holder
        self._transmission = floor.transmission
        self._granted_at_s = floor.granted_at_s
        self._keyed = dict(floor.keyed)
        self._missed = dict(floor.missed)
        self._hang_until_s = floor.hang_until_s
        self._last_priority = floor.last_priority
        self._barred = dict(floor.barred)
        self._count = floor.count
        self.effects: list[Effect] = []

    def result(self) -> Floor:
        return Floor(
            tag=self._floor.tag,
            rules=self._rules,
            present=frozenset(self._present),
            talks=self._talks,
            holder=self._holder,
            transmission=self._transmission,
            granted_at_s=self._granted_at_s,
            keyed=self._keyed,
            missed=self._missed,
            hang_until_s=self._hang_until_s,
            last_priority=self._last_priority,
            barred=self._barred,
            count=self._count,
        )

    # --- time -----------------------------------------------------------------------------------

    def expire(self) -> None:
        """Talks that were not refreshed in time are over; a talk limit that is reached cuts."""
        for name, talk in list(self._talks.items()):
            if self._now_s >= talk.heard_s + talk.hold_s:
                self._end_talk(name, "timeout")
        if self._holder is not None and self._now_s >= self._granted_at_s + self._rules.max_talk_s:
            self._revoke("talk limit reached")

    # --- what happened --------------------------------------------------------------------------

    def take(self, happened: Input) -> None:
        match happened:
            case TalkHeard():
                self._talk_heard(happened)
            case TalkEnded():
                self._talk_ended(happened)
            case KeyAnswered():
                self._key_answered(happened)
            case MemberPresent():
                self._member_present(happened)
            case Pressed():
                self._pressed(happened)
            case Released():
                self._end_talk(f"user/{happened.user}", "released")
            case Cleared():
                if self._holder is not None:
                    self._revoke("cleared by a dispatcher")
            case RulesChanged():
                self._rules_changed(happened.rules)
            case Tick():
                pass
            case _:
                assert_never(happened)

    def _talk_heard(self, heard: TalkHeard) -> None:
        member = self._rules.members.get(heard.channel)
        if member is None or heard.caused_by is not None:
            return
        known = self._talks.get(heard.channel)
        if known is not None and known.stream != heard.stream:
            self._end_talk(heard.channel, "another talk began")
            known = None
        encrypted = heard.encrypted or (known is not None and known.encrypted)
        fresh = Talk(
            channel=heard.channel,
            stream=heard.stream,
            talker=heard.talker,
            talker_alias=heard.talker_alias or (known.talker_alias if known else ""),
            priority=EMERGENCY_PRIORITY
            if heard.emergency
            else max(heard.priority, member.priority),
            emergency=heard.emergency,
            encrypted=encrypted,
            advisory=member.advisory,
            standing=self._standing(heard.channel, heard.stream, encrypted=encrypted),
            since_s=self._now_s,
            heard_s=self._now_s,
            hold_s=heard.hold_s,
        )
        self._air_goes_first(heard.channel)
        self._talk(heard.channel, fresh, known)

    def _standing(self, channel: str, stream: str, *, encrypted: bool) -> Standing:
        """Of a talk that neither holds the floor nor waits for it yet."""
        if self._barred.get(channel) == stream:
            return Standing.BARRED
        open_here = not encrypted or self._rules.bridge_encrypted
        bridged = self._rules.members[channel].may_talk and open_here
        return Standing.WAITING if bridged else Standing.LOCAL

    def _pressed(self, press: Pressed) -> None:
        name = f"user/{press.user}"
        known = self._talks.get(name)
        stream = known.stream if known else f"press-{self._count}-{len(self._talks)}"
        fresh = Talk(
            channel=None,
            pressed_on=known.pressed_on if known else press.channel,
            stream=stream,
            talker=name,
            talker_alias=press.alias,
            priority=press.priority,
            since_s=self._now_s,
            heard_s=self._now_s,
            hold_s=PRESS_HOLD_S,
        )
        self._talk(name, fresh, known)

    def _talk(self, name: str, fresh: Talk, known: Talk | None) -> None:
        """A talk began or goes on. One that goes on keeps its standing and its place."""
        if known is not None:
            if fresh.standing is Standing.LOCAL and name == self._holder:
                self._let_go("the talk is encrypted")
            fresh = dataclasses.replace(
                fresh,
                standing=fresh.standing if fresh.standing is Standing.LOCAL else known.standing,
                decided=known.decided,
                order=known.order,
                since_s=known.since_s,
                priority=max(known.priority, fresh.priority),
                emergency=known.emergency or fresh.emergency,
            )
        else:
            self._count += 1
            fresh = dataclasses.replace(fresh, order=self._count)
        self._talks[name] = fresh
        holder = self._talks.get(self._holder) if self._holder is not None else None
        if (
            holder is not None
            and fresh.standing is Standing.WAITING
            and fresh.rank > holder.rank
        ):
            self._revoke("a higher priority talks")

    def _talk_ended(self, ended: TalkEnded) -> None:
        if ended.caused_by is not None:
            if ended.caused_by == self._transmission and ended.channel in self._keyed:
                del self._keyed[ended.channel]
                self._missed[ended.channel] = Missed(reason=f"ended by its system: {ended.reason}")
            return
        talk = self._talks.get(ended.channel)
        if talk is not None and talk.stream == ended.stream:
            self._end_talk(ended.channel, ended.reason)

    def _key_answered(self, answer: KeyAnswered) -> None:
        keyed = self._keyed.get(answer.channel)
        if keyed is None or answer.transmission != self._transmission:
            return
        if answer.outcome == "done":
            self._keyed[answer.channel] = dataclasses.replace(keyed, confirmed=True)
            return
        del self._keyed[answer.channel]
        retry_at_s = self._now_s + BUSY_RETRY_S if answer.outcome == "busy" else None
        self._missed[answer.channel] = Missed(
            reason=answer.reason or answer.outcome, retry_at_s=retry_at_s
        )

    def _member_present(self, change: MemberPresent) -> None:
        if change.channel not in self._rules.members:
            return
        if change.present:
            self._present.add(change.channel)
            return
        self._present.discard(change.channel)
        self._keyed.pop(change.channel, None)
        self._end_talk(change.channel, "its agent is gone")

    def _rules_changed(self, rules: Rules) -> None:
        for channel in [c for c in self._keyed if c not in rules.members or not rules.keyable(c)]:
            self._unkey(channel, "no longer in the patch")
        before, self._rules = self._rules, rules
        for channel in before.members.keys() - rules.members.keys():
            self._end_talk(channel, "no longer in the patch")
            self._present.discard(channel)
        for channel in [c for c in self._missed if c not in rules.members or not rules.keyable(c)]:
            del self._missed[channel]
        for talk in list(self._talks.values()):
            self._take_anew(talk)

    def _take_anew(self, talk: Talk) -> None:
        """By rules that have changed: may it still hold the floor, or wait for it; may it now?"""
        if talk.channel is None or talk.standing is Standing.BARRED:
            return
        standing = self._standing(talk.channel, talk.stream, encrypted=talk.encrypted)
        if talk.standing is Standing.HOLDER and standing is Standing.LOCAL:
            self._let_go("it may not talk into the patch any more")
        elif talk.standing is Standing.HOLDER:
            return
        self._talks[talk.channel] = dataclasses.replace(talk, standing=standing)

    # --- rules ----------------------------------------------------------------------------------

    def _air_goes_first(self, channel: str) -> None:
        """Somebody talks on a channel that we key: their system has decided, so we let go."""
        if channel in self._keyed:
            self._unkey(channel, "the channel is in use")

    def _end_talk(self, name: str, reason: str) -> None:
        if self._talks.get(name) is None:
            return
        if name == self._holder:
            self._let_go(reason)
        del self._talks[name]
        self._missed.pop(name, None)

    def _revoke(self, reason: str) -> None:
        """Take the floor away from who holds it; barred until its own stream ends."""
        holder = self._holder
        assert holder is not None
        self._let_go(reason)
        talk = dataclasses.replace(self._talks[holder], standing=Standing.BARRED)
        self._talks[holder] = talk
        if talk.channel is not None:
            self._barred[talk.channel] = talk.stream
        self._hang_until_s = self._now_s
        self.effects.append(Decided(decision="revoked", talk=talk, reason=reason))

    def _let_go(self, reason: str) -> None:
        """The floor falls idle: every member is unkeyed at once, and the hang time begins."""
        assert self._holder is not None
        for channel in list(self._keyed):
            self._unkey(channel, reason)
        self._missed.clear()
        self._last_priority = max(self._talks[self._holder].rank, 0)
        self._hang_until_s = self._now_s + self._rules.hang_s
        self._holder = None

    def _unkey(self, channel: str, reason: str) -> None:
        del self._keyed[channel]
        self.effects.append(Unkey(channel=channel, transmission=self._transmission, reason=reason))

    # --- what follows ---------------------------------------------------------------------------

    def settle(self) -> None:
        """Grant an idle floor to who is next, key every member that can be, tell who waits."""
        waiting = self._waiting()
        if self._holder is None and waiting:
            first = waiting[0]
            hanging = self._now_s < self._hang_until_s
            if not hanging or self._may_end_hang(self._talks[first]):
                self._grant(first)
        if self._holder is not None:
            self._key_members(self._talks[self._holder])
        for position, name in enumerate(self._waiting(), start=1):
            self._tell_waiting(name, position)

    def _may_end_hang(self, talk: Talk) -> bool:
        """Of at least the last talker's priority; after an advisory talk, anybody."""
        return max(talk.rank, 0) >= self._last_priority

    def _waiting(self) -> list[str]:
        names = [n for n, t in self._talks.items() if t.standing is Standing.WAITING]
        return sorted(names, key=lambda n: (-self._talks[n].rank, self._talks[n].order))

    def _grant(self, name: str) -> None:
        talk = self._talks[name]
        late = talk.decided
        talk = dataclasses.replace(talk, standing=Standing.HOLDER, decided=True)
        self._talks[name] = talk
        self._holder = name
        self._count += 1
        self._transmission = f"{self._floor.tag}-{self._count}"
        self._granted_at_s = self._now_s
        self.effects.append(Decided(decision="granted", talk=talk, late_entry=late))

    def _key_members(self, talk: Talk) -> None:
        for channel in self._rules.members:
            if channel == talk.channel or not self._rules.keyable(channel):
                continue
            if channel in self._keyed:
                self._renew(channel, talk)
            else:
                self._key(channel, talk)

    def _renew(self, channel: str, talk: Talk) -> None:
        keyed = self._keyed[channel]
        if self._now_s >= keyed.renew_at_s:
            renew_at_s = self._now_s + self._rules.lease_s / 3
            self._keyed[channel] = dataclasses.replace(keyed, renew_at_s=renew_at_s)
            self.effects.append(
                Key(channel=channel, transmission=self._transmission, talk=talk, renewal=True)
            )

    def _key(self, channel: str, talk: Talk) -> None:
        missed = self._missed.get(channel)
        if channel not in self._present:
            self._missed[channel] = Missed(reason="its agent is away")
        elif channel in self._talks:
            self._missed[channel] = Missed(reason="busy with a talk of its own")
        elif missed is None or self._may_try_again(missed):
            self._missed.pop(channel, None)
            renew_at_s = self._now_s + self._rules.lease_s / 3
            self._keyed[channel] = Keyed(renew_at_s=renew_at_s)
            self.effects.append(Key(channel=channel, transmission=self._transmission, talk=talk))

    def _may_try_again(self, missed: Missed) -> bool:
        """Busy: after a while. Away: now that it is present. Refused: not in this talk."""
        if missed.retry_at_s is not None:
            return self._now_s >= missed.retry_at_s
        return missed.reason == "its agent is away"

    def _tell_waiting(self, name: str, position: int) -> None:
        talk = self._talks[name]
        if talk.decided:
            return
        talk = self._talks[name] = dataclasses.replace(talk, decided=True)
        holder = self._talks.get(self._holder) if self._holder is not None else None
        who = (holder.talker_alias or holder.talker) if holder else ""
        reason = f"{who} talks" if who else "the last talk has just ended"
        decision = "queued" if self._rules.queue or holder is None else "denied"
        if decision == "denied" and talk.channel is None:
            # Who was told no lets go; late entry would key the radios for nobody.
            talk = self._talks[name] = dataclasses.replace(talk, standing=Standing.BARRED)
        self.effects.append(Decided(decision=decision, talk=talk, reason=reason, position=position))
