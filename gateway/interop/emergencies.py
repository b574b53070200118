"""Emergencies: of a unit on a channel, not of one talk.

They outlive the release, and end by the system's own clear, by a dispatcher, or after
`emergency_hold_s` without talk. Each begin and each end is told, and so is a member whom an
emergency did not reach.
"""

import dataclasses

from gateway.interop.model import (
    EMERGENCY_PRIORITY,
    Emergency,
    EmergencyCleared,
    EmergencyRaised,
    Talk,
    TalkHeard,
)
from gateway.interop.scratch import Scratch

MOST_EMERGENCIES = 256


class Emergencies(Scratch):
    """The rules of emergencies, on a scratch copy of a floor."""

    def expire_emergencies(self) -> None:
        for key, emergency in list(self._emergencies.items()):
            talk = self._talks.get(emergency.channel)
            if talk is not None and talk.talker == emergency.talker:
                continue
            if self._now_s >= emergency.heard_s + self._rules.emergency_hold_s:
                self._over(key, "timeout")

    def hear_emergency(self, heard: TalkHeard) -> bool:
        """Is this talk one of an emergency? It may begin one."""
        flagged = heard.emergency and self._quieted.get(heard.channel) != heard.stream
        key = (heard.channel, heard.talker)
        known = self._emergencies.get(key)
        if known is None and not flagged:
            return False
        if known is None:
            self._raise(heard.channel, heard.talker, heard.talker_alias, "talk")
        else:
            self._emergencies[key] = dataclasses.replace(known, heard_s=self._now_s)
        return True

    def take_raised(self, raised: EmergencyRaised) -> None:
        if raised.channel not in self._rules.members:
            return
        if (raised.channel, raised.talker) not in self._emergencies:
            self._raise(raised.channel, raised.talker, raised.talker_alias, "system")
        talk = self._talks.get(raised.channel)
        if talk is not None and talk.talker == raised.talker:
            self._talks[raised.channel] = with_emergency(talk)

    def take_cleared(self, cleared: EmergencyCleared) -> None:
        for key in list(self._emergencies):
            if key[0] == cleared.channel and cleared.talker in ("", key[1]):
                self._over(key, cleared.user or "system")

    def _raise(self, channel: str, talker: str, alias: str, by: str) -> None:
        if len(self._emergencies) >= MOST_EMERGENCIES:
            self._over(next(iter(self._emergencies)), "too many")
        self._emergencies[(channel, talker)] = Emergency(
            channel=channel,
            talker=talker,
            talker_alias=alias,
            since_s=self._now_s,
            heard_s=self._now_s,
        )
        self.tell_emergency("raised", channel, talker, alias, by)

    def _over(self, key: tuple[str, str], by: str) -> None:
        """A talk that goes on is an ordinary one from here on."""
        emergency = self._emergencies.pop(key)
        talk = self._talks.get(emergency.channel)
        if talk is not None and talk.talker == emergency.talker:
            self._quieted[emergency.channel] = talk.stream
            self._talks[emergency.channel] = dataclasses.replace(
                talk, emergency=False, priority=talk.plain_priority
            )
        self.tell_emergency(
            "cleared", emergency.channel, emergency.talker, emergency.talker_alias, by
        )

    def tell_undelivered(self, talk: Talk) -> None:
        """An emergency holds the floor, and somebody who should hear it does not."""
        for channel, missed in self._missed.items():
            if talk.emergency and channel not in self._undelivered:
                self._undelivered |= {channel}
                self.tell_emergency(
                    "undelivered", channel, talk.talker, talk.talker_alias, "", missed.reason
                )


def with_emergency(talk: Talk) -> Talk:
    return dataclasses.replace(talk, emergency=True, priority=EMERGENCY_PRIORITY)
