"""One step of a floor: a scratch copy that the rules change, and the moves that rules share."""

import dataclasses

from gateway.interop.breaker import KEPT_SPANS, loops, note
from gateway.interop.model import (
    Decided,
    Effect,
    EmergencyChanged,
    Floor,
    Offence,
    Standing,
    Suspended,
    Talk,
    Unkey,
)

OFFENCES_COUNT_FOR_S = 600.0
LONGEST_PENALTY_S = 600.0
MOST_OFFENDERS = 256


class Scratch:
    """Takes a floor apart; `result` puts it together again."""

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
        self._revoke_at_s = floor.revoke_at_s
        self._emergencies = dict(floor.emergencies)
        self._quieted = dict(floor.quieted)
        self._undelivered = floor.undelivered
        self._offences = dict(floor.offences)
        self._carried = floor.carried
        self._spans = floor.spans
        self._follows = dict(floor.follows)
        self._suspended = floor.suspended
        self._unkeyed_at_s = dict(floor.unkeyed_at_s)
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
            revoke_at_s=self._revoke_at_s,
            emergencies=self._emergencies,
            quieted=self._quieted,
            undelivered=self._undelivered,
            offences=self._offences,
            carried=self._carried,
            spans=self._spans,
            follows=self._follows,
            suspended=self._suspended,
            unkeyed_at_s=self._unkeyed_at_s,
            count=self._count,
        )

    def holding(self) -> Talk | None:
        return self._talks[self._holder] if self._holder is not None else None

    # --- the floor falls idle -------------------------------------------------------------------

    def end_talk(self, name: str, reason: str) -> None:
        talk = self._talks.get(name)
        if talk is None:
            return
        if name == self._holder:
            self.let_go(reason)
            if talk.channel is None:
                # No agent says so of a console.
                self.effects.append(Decided(decision="released", talk=talk, reason=reason))
        del self._talks[name]
        self._missed.pop(name, None)
        if talk.channel is not None:
            self._watch_for_loop(talk, talk.heard_s if reason == "timeout" else self._now_s)

    def revoke(self, reason: str, user: str = "") -> None:
        """Take the floor away from who holds it; barred until its own stream ends."""
        name, told = self._holder, self._revoke_at_s is not None
        assert name is not None
        self.let_go(reason)
        self._hang_until_s = self._now_s
        talk = self.bar(name)
        if not told or user:
            self.effects.append(Decided(decision="revoked", talk=talk, reason=reason, user=user))

    def bar(self, name: str) -> Talk:
        """Its late frames never open the floor."""
        talk = dataclasses.replace(
            self._talks[name], standing=Standing.BARRED, decided=True, queued_at_s=None
        )
        self._talks[name] = talk
        if talk.channel is not None:
            self._barred[talk.channel] = talk.stream
        return talk

    def deny(self, name: str, reason: str) -> None:
        self.effects.append(Decided(decision="denied", talk=self.bar(name), reason=reason))

    def let_go(self, reason: str) -> None:
        """The floor falls idle: every member is unkeyed at once, and the hang time begins."""
        assert self._holder is not None
        if self._keyed:
            span = (self._granted_at_s, self._now_s)
            self._spans = (*self._spans, span)[-KEPT_SPANS:]
        for channel in list(self._keyed):
            self.unkey(channel, reason)
        self._missed.clear()
        self._undelivered = frozenset()
        self._revoke_at_s = None
        self._last_priority = max(self._talks[self._holder].rank, 0)
        self._hang_until_s = self._now_s + self._rules.hang_s
        self._holder = None

    def unkey(self, channel: str, reason: str) -> None:
        self.note_unkeyed(channel)
        self.effects.append(Unkey(channel=channel, transmission=self._transmission, reason=reason))

    def note_unkeyed(self, channel: str) -> None:
        del self._keyed[channel]
        self._unkeyed_at_s[channel] = self._now_s

    # --- offenders ------------------------------------------------------------------------------

    def note_offence(self, talk: Talk) -> None:
        """Cut at the talk limit: the second time it costs, and twice as much each further time."""
        self._offences = {
            talker: offence
            for talker, offence in self._offences.items()
            if self._now_s - offence.last_s < OFFENCES_COUNT_FOR_S
        }
        before = self._offences.pop(_who(talk), None)
        count = before.count + 1 if before is not None else 1
        penalty_s = 0.0
        if count > 1:
            penalty_s = min(self._rules.penalty_s * 2 ** min(count - 2, 20), LONGEST_PENALTY_S)
        if len(self._offences) >= MOST_OFFENDERS:
            del self._offences[next(iter(self._offences))]
        self._offences[_who(talk)] = Offence(
            count=count, last_s=self._now_s, until_s=self._now_s + penalty_s
        )

    def penalty_left_s(self, talk: Talk) -> float:
        offence = self._offences.get(_who(talk))
        if offence is None or talk.emergency or not talk.talker:
            return 0.0
        return max(0.0, offence.until_s - self._now_s)

    # --- the breaker ----------------------------------------------------------------------------

    def _watch_for_loop(self, talk: Talk, ended_s: float) -> None:
        """A talk on a member ended; a person whom the directory knows is no echo."""
        channel = talk.channel
        if channel is None or talk.unit or channel in self._suspended:
            return
        follows = note(self._follows.get(channel, ()), talk.since_s, ended_s, self._spans)
        if follows:
            self._follows[channel] = follows
        else:
            self._follows.pop(channel, None)
        if loops(follows):
            self.suspend(channel, f"its talk follows our keys every {follows[-1].delay_s:.1f} s")

    def suspend(self, channel: str, reason: str) -> None:
        self._suspended |= {channel}
        self._follows.pop(channel, None)
        if channel in self._keyed:
            self.unkey(channel, "suspended")
        self._missed.pop(channel, None)
        self.effects.append(Suspended(channel=channel, reason=reason))

    def tell_emergency(
        self, change: str, channel: str, talker: str, alias: str, by: str, reason: str = ""
    ) -> None:
        self.effects.append(
            EmergencyChanged(
                change=change,
                channel=channel,
                talker=talker,
                talker_alias=alias,
                by=by,
                reason=reason,
            )
        )


def _who(talk: Talk) -> str:
    """One person, many addresses."""
    return talk.unit or talk.talker
