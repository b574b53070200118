"""Floor control: one pure state machine for each patch; an unpatched channel is a patch of one.

`step` takes a floor, what happened and the time, and gives the next floor and what follows.
The rules are those of interop.md: first in wins, a higher priority revokes, a talk that was cut
is barred until its own stream ends, the air goes before us, and nothing that we caused counts.
"""

import dataclasses
from typing import assert_never

from gateway.interop.emergencies import Emergencies, with_emergency
from gateway.interop.model import (
    Cleared,
    Decided,
    Effect,
    EmergencyCleared,
    EmergencyRaised,
    Floor,
    Input,
    Key,
    KeyAnswered,
    Keyed,
    MemberPresent,
    MemberResumed,
    Missed,
    Pressed,
    Released,
    Rules,
    RulesChanged,
    Standing,
    Suspended,
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
    """What is to be done when a floor goes away: whatever it keyed is unkeyed, and who held it at
    a console is told, for no agent says so of them."""
    effects: list[Effect] = [
        Unkey(channel=channel, transmission=floor.transmission, reason=reason)
        for channel in floor.keyed
    ]
    talk = floor.talk
    if talk is not None and talk.channel is None:
        effects.append(Decided(decision="released", talk=talk, reason=reason))
    return effects


def deadline_s(floor: Floor) -> float:
    """When `step` must be called next with a `Tick`, infinity if nothing is awaited."""
    rules = floor.rules
    times = [talk.heard_s + talk.hold_s for talk in floor.talks.values()]
    times += [keyed.renew_at_s for keyed in floor.keyed.values()]
    waiting = [talk for talk in floor.talks.values() if talk.standing is Standing.WAITING]
    if rules.queue:
        queued = [talk.queued_at_s for talk in waiting if talk.queued_at_s is not None]
        times += [at_s + rules.queue_timeout_s for at_s in queued]
    for emergency in floor.emergencies.values():
        talk = floor.talks.get(emergency.channel)
        if talk is None or talk.talker != emergency.talker:
            times.append(emergency.heard_s + rules.emergency_hold_s)
    if floor.holder is not None:
        times.append(floor.granted_at_s + rules.max_talk_s)
        times += [m.retry_at_s for m in floor.missed.values() if m.retry_at_s is not None]
        if floor.revoke_at_s is not None:
            times.append(floor.revoke_at_s)
    elif waiting:
        times.append(floor.hang_until_s)
    return min(times, default=_FOREVER)


def queue_of(floor: Floor) -> list[Talk]:
    """Who waits, next one first."""
    return _in_order([t for t in floor.talks.values() if t.standing is Standing.WAITING])


def _in_order(talks: list[Talk]) -> list[Talk]:
    return sorted(talks, key=lambda talk: (-talk.rank, talk.order))


def _stays(channel: str, rules: Rules, holder: Talk | None) -> bool:
    """Is a member still keyed, or awaited, by other rules?"""
    return channel in rules.members and holder is not None and rules.keyed_for(holder, channel)


class _Turn(Emergencies):
    """One step."""

    # --- time -----------------------------------------------------------------------------------

    def expire(self) -> None:
        """Talks that were not refreshed in time are over, and so is who waited too long; a talk
        limit that is reached cuts."""
        for name, talk in list(self._talks.items()):
            if self._now_s >= talk.heard_s + talk.hold_s:
                self.end_talk(name, "timeout")
            elif self._waited_too_long(talk):
                self.deny(name, "waited too long")
        self.expire_emergencies()
        holder = self.holding()
        if holder is None:
            return
        if self._now_s >= self._granted_at_s + self._rules.max_talk_s:
            self.note_offence(holder)
            self.revoke("talk limit reached")
        elif self._revoke_at_s is not None and self._now_s >= self._revoke_at_s:
            self.revoke("a higher priority talks")

    def _waited_too_long(self, talk: Talk) -> bool:
        longest_s = self._rules.queue_timeout_s
        queued_at_s = talk.queued_at_s if self._rules.queue else None
        return queued_at_s is not None and self._now_s >= queued_at_s + longest_s

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
                self.end_talk(f"user/{happened.user}", "released")
            case Cleared():
                if self._holder is not None:
                    self.revoke("cleared by a dispatcher", happened.user)
            case EmergencyRaised():
                self.take_raised(happened)
                self._look_again(happened.channel)
            case EmergencyCleared():
                self.take_cleared(happened)
                self._look_again(happened.channel)
            case MemberResumed():
                self._resume(happened)
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
            self.end_talk(heard.channel, "another talk began")
            known = None
        if known is None and self._is_echo(heard):
            return
        if known is None and self._is_copy(heard):
            self._barred[heard.channel] = heard.stream
            return
        priority = max(heard.priority, member.priority)
        fresh = Talk(
            channel=heard.channel,
            stream=heard.stream,
            talker=heard.talker,
            talker_alias=heard.talker_alias or (known.talker_alias if known else ""),
            unit=heard.unit,
            priority=priority,
            plain_priority=priority,
            encrypted=heard.encrypted or (known is not None and known.encrypted),
            advisory=member.advisory,
            since_s=self._now_s,
            heard_s=self._now_s,
            hold_s=heard.hold_s,
        )
        if self.hear_emergency(heard):
            fresh = with_emergency(fresh)
        self._air_goes_first(heard.channel)
        self._talk(heard.channel, fresh, known)

    def _is_echo(self, heard: TalkHeard) -> bool:
        """Where nobody says who talks, what begins while we key, or just after, is ours."""
        member = self._rules.members[heard.channel]
        if member.identifies_talker and heard.talker:
            return False
        unkeyed_at_s = self._unkeyed_at_s.get(heard.channel, -_FOREVER)
        return heard.channel in self._keyed or self._now_s < unkeyed_at_s + member.echo_s

    def _is_copy(self, heard: TalkHeard) -> bool:
        """Whom we key for, under their own name on another member: a third system repeats us, and
        nobody would tell them from a person. An emergency is believed in any case."""
        carried = self.holding() or self._carried
        if carried is None or not heard.unit or heard.unit != carried.unit:
            return False
        if heard.channel == carried.channel or (heard.emergency and not carried.emergency):
            return False
        echo_s = self._rules.members[heard.channel].echo_s
        return bool(self._keyed) or bool(self._spans and self._now_s < self._spans[-1][1] + echo_s)

    def _standing(self, talk: Talk) -> Standing:
        """Of a talk that neither holds the floor nor waits for it yet."""
        if talk.channel is None:
            return Standing.LOCAL if self._rules.refuses(talk) else Standing.WAITING
        if self._barred.get(talk.channel) == talk.stream:
            return Standing.BARRED
        open_here = not talk.encrypted or self._rules.bridge_encrypted
        may_talk = self._rules.members[talk.channel].may_talk
        heard = may_talk and self._rules.reaches(talk.channel)
        bridged = heard and open_here and talk.channel not in self._suspended
        return Standing.WAITING if bridged and not self._rules.refuses(talk) else Standing.LOCAL

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
            plain_priority=press.priority,
            since_s=self._now_s,
            heard_s=self._now_s,
            hold_s=PRESS_HOLD_S,
        )
        self._talk(name, fresh, known)

    def _talk(self, name: str, fresh: Talk, known: Talk | None) -> None:
        """A talk began or goes on. One that goes on keeps its standing and its place."""
        standing = self._standing(fresh)
        if known is None:
            self._begin(name, dataclasses.replace(fresh, standing=standing, order=self._count + 1))
            return
        if standing is Standing.LOCAL and name == self._holder:
            self.let_go("the talk may not be bridged")
        if Standing.LOCAL not in (standing, known.standing):
            standing = known.standing
        fresh = dataclasses.replace(
            fresh,
            standing=standing,
            decided=known.decided,
            position=known.position,
            queued_at_s=known.queued_at_s,
            order=known.order,
            since_s=known.since_s,
            priority=fresh.priority if fresh.emergency else max(known.priority, fresh.priority),
            plain_priority=max(known.plain_priority, fresh.plain_priority),
        )
        self._talks[name] = fresh

    def _begin(self, name: str, talk: Talk) -> None:
        self._count += 1
        self._talks[name] = talk
        if talk.standing is Standing.LOCAL and (reason := self._rules.refuses(talk)):
            told = self._talks[name] = dataclasses.replace(talk, decided=True)
            self.effects.append(Decided(decision="denied", talk=told, reason=reason))
        elif talk.standing is Standing.WAITING and (left_s := self.penalty_left_s(talk)) > 0:
            self.deny(name, f"talked too long before: wait {left_s:.0f} s")

    def _outrank(self, talk: Talk) -> None:
        """Who waits and goes before who holds the floor: at once, or when the grace is over."""
        holder = self.holding()
        if holder is None or talk.rank <= holder.rank:
            return
        grace_s = self._rules.revoke_grace_s
        if talk.emergency or holder.advisory or not grace_s:
            self.revoke("a higher priority talks")
        elif self._revoke_at_s is None:
            self._revoke_at_s = self._now_s + grace_s
            self.effects.append(
                Decided(
                    decision="revoked",
                    talk=holder,
                    reason="a higher priority talks",
                    grace_s=grace_s,
                )
            )

    def _talk_ended(self, ended: TalkEnded) -> None:
        if ended.caused_by is not None:
            if ended.caused_by == self._transmission and ended.channel in self._keyed:
                self.note_unkeyed(ended.channel)
                self._missed[ended.channel] = Missed(reason=f"ended by its system: {ended.reason}")
            return
        talk = self._talks.get(ended.channel)
        if talk is not None and talk.stream == ended.stream:
            self.end_talk(ended.channel, ended.reason)

    def _key_answered(self, answer: KeyAnswered) -> None:
        keyed = self._keyed.get(answer.channel)
        if keyed is None or answer.transmission != self._transmission:
            return
        if answer.outcome == "done":
            self._keyed[answer.channel] = dataclasses.replace(keyed, confirmed=True)
            return
        self.note_unkeyed(answer.channel)
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
        self.end_talk(change.channel, "its agent is gone")

    def _resume(self, resumed: MemberResumed) -> None:
        if resumed.channel not in self._suspended:
            return
        self._suspended -= {resumed.channel}
        self.effects.append(Suspended(channel=resumed.channel, reason="", user=resumed.user))
        self._look_again(resumed.channel)

    def _rules_changed(self, rules: Rules) -> None:
        holder = self.holding()
        for channel in [c for c in self._keyed if not _stays(c, rules, holder)]:
            self.unkey(channel, "no longer in the patch")
        before, self._rules = self._rules, rules
        for channel in before.members.keys() - rules.members.keys():
            self.end_talk(channel, "no longer in the patch")
            self._forget(channel)
        for channel in [c for c in self._missed if not _stays(c, rules, self.holding())]:
            del self._missed[channel]
        for name, talk in list(self._talks.items()):
            self._take_anew(name, talk)
        self.expire()  # what waited long enough by the new rules

    def _forget(self, channel: str) -> None:
        """A channel that is a member no longer."""
        self._present.discard(channel)
        self._suspended -= {channel}
        for known in (self._barred, self._quieted, self._follows, self._unkeyed_at_s):
            known.pop(channel, None)
        for key in [key for key in self._emergencies if key[0] == channel]:
            del self._emergencies[key]

    def _look_again(self, channel: str) -> None:
        """Its talk is of another kind now."""
        if (talk := self._talks.get(channel)) is not None:
            self._take_anew(channel, talk)

    def _take_anew(self, name: str, talk: Talk) -> None:
        """By rules, or facts, that have changed: may it still hold the floor, or wait for it; may
        it now?"""
        if talk.standing is Standing.BARRED:
            return
        standing = self._standing(talk)
        if talk.standing is Standing.HOLDER and standing is Standing.LOCAL:
            self.let_go("it may not talk into the patch any more")
        elif talk.standing is Standing.HOLDER:
            return
        self._talks[name] = dataclasses.replace(talk, standing=standing)

    # --- rules ----------------------------------------------------------------------------------

    def _air_goes_first(self, channel: str) -> None:
        """Somebody talks on a channel that we key: their system has decided, so we let go."""
        if channel in self._keyed:
            self.unkey(channel, "the channel is in use")

    # --- what follows ---------------------------------------------------------------------------

    def settle(self) -> None:
        """Grant an idle floor to who is next, key every member that can be, tell who waits."""
        waiting = self._waiting()
        if waiting:
            self._outrank(self._talks[waiting[0]])
        if self._holder is None and waiting:
            first = waiting[0]
            hanging = self._now_s < self._hang_until_s
            if not hanging or self._may_end_hang(self._talks[first]):
                self._grant(first)
        if self._holder is not None:
            talk = self._talks[self._holder]
            self._key_members(talk)
            self.tell_undelivered(talk)
        for position, name in enumerate(self._waiting(), start=1):
            self._tell_waiting(name, position)

    def _may_end_hang(self, talk: Talk) -> bool:
        """Of at least the last talker's priority; after an advisory talk, anybody."""
        return max(talk.rank, 0) >= self._last_priority

    def _waiting(self) -> list[str]:
        waiting = [t for t in self._talks.values() if t.standing is Standing.WAITING]
        if not waiting:
            return []
        return [talk.channel or talk.talker for talk in _in_order(waiting)]

    def _grant(self, name: str) -> None:
        talk = self._talks[name]
        late = talk.decided
        talk = dataclasses.replace(
            talk, standing=Standing.HOLDER, decided=True, position=0, queued_at_s=None
        )
        self._talks[name] = self._carried = talk
        self._holder = name
        self._count += 1
        self._transmission = f"{self._floor.tag}-{self._count}"
        self._granted_at_s = self._now_s
        self.effects.append(Decided(decision="granted", talk=talk, late_entry=late))

    def _key_members(self, talk: Talk) -> None:
        for channel in self._rules.members:
            if channel == talk.channel or not self._rules.keyed_for(talk, channel):
                continue
            if channel in self._keyed:
                self._renew(channel, talk)
            elif channel not in self._suspended:
                self._key(channel, talk)

    def _renew_at_s(self, channel: str) -> float:
        """A third of a lease from now."""
        return self._now_s + self._rules.lease_of(channel) / 3

    def _renew(self, channel: str, talk: Talk) -> None:
        keyed = self._keyed[channel]
        if self._now_s >= keyed.renew_at_s:
            self._keyed[channel] = dataclasses.replace(keyed, renew_at_s=self._renew_at_s(channel))
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
            self._keyed[channel] = Keyed(renew_at_s=self._renew_at_s(channel))
            self.effects.append(Key(channel=channel, transmission=self._transmission, talk=talk))

    def _may_try_again(self, missed: Missed) -> bool:
        """Busy: after a while. Away: now that it is present. Refused: not in this talk."""
        if missed.retry_at_s is not None:
            return self._now_s >= missed.retry_at_s
        return missed.reason == "its agent is away"

    def _tell_waiting(self, name: str, position: int) -> None:
        talk, holder = self._talks[name], self.holding()
        if talk.decided:
            if talk.queued_at_s is not None and talk.position != position:
                talk = self._talks[name] = dataclasses.replace(talk, position=position)
                self.effects.append(
                    Decided(decision="queued", talk=talk, position=position, again=True)
                )
            return
        who = (holder.talker_alias or holder.talker) if holder else ""
        reason = f"{who} talks" if who else "the last talk has just ended"
        next_in = holder is None or (self._revoke_at_s is not None and talk.rank > holder.rank)
        if not self._rules.queue and not next_in:
            if talk.channel is None:
                # Who was told no lets go; late entry would key the radios for nobody.
                self.deny(name, reason)
                return
            told = self._talks[name] = dataclasses.replace(talk, decided=True)
            self.effects.append(
                Decided(decision="denied", talk=told, reason=reason, position=position)
            )
            return
        queued_at_s = self._now_s if self._rules.queue else None
        talk = self._talks[name] = dataclasses.replace(
            talk, decided=True, position=position, queued_at_s=queued_at_s
        )
        self.effects.append(Decided(decision="queued", talk=talk, reason=reason, position=position))
