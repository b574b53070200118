"""What must hold of a floor after every step, whatever happened: for tests and for the bench.

The witness plays the radios: it obeys each command as an agent would, and looks at what is on the
air. Nothing here runs in a gateway.
"""

from collections.abc import Iterable

from gateway.interop import model as m


class BrokenInvariant(Exception):
    """What does not hold, in words."""


def check(floor: m.Floor) -> None:
    """Raises: BrokenInvariant for a floor that contradicts itself."""
    rules = floor.rules
    holders = [n for n, t in floor.talks.items() if t.standing is m.Standing.HOLDER]
    if holders != ([floor.holder] if floor.holder is not None else []):
        raise BrokenInvariant(f"holders {holders}, and the floor says {floor.holder}")
    if floor.holder is None and floor.keyed:
        raise BrokenInvariant("keyed while nobody holds the floor")
    for channel in floor.keyed:
        if channel not in rules.members or not rules.keyable(channel):
            raise BrokenInvariant(f"{channel} is keyed and may not be")
        if floor.talk is not None and not rules.keyed_for(floor.talk, channel):
            raise BrokenInvariant(f"{channel} is keyed, and nothing passes to it from the talker")
        if channel in floor.talks:
            raise BrokenInvariant(f"{channel} is keyed while it talks itself")
        if channel in floor.suspended:
            raise BrokenInvariant(f"{channel} is keyed while it is suspended")
    for channel in floor.missed:
        if channel not in rules.members or not rules.keyable(channel):
            raise BrokenInvariant(f"{channel} is awaited for nothing")
        if floor.talk is not None and not rules.keyed_for(floor.talk, channel):
            raise BrokenInvariant(f"{channel} is awaited, and nothing passes to it")
    talk = floor.talk
    if talk is None:
        return
    if talk.channel is not None and not rules.members[talk.channel].may_talk:
        raise BrokenInvariant(f"{talk.channel} holds the floor and may not talk")
    if talk.channel is not None and not rules.reaches(talk.channel):
        raise BrokenInvariant(f"{talk.channel} holds the floor and nobody can hear it")
    if talk.encrypted and not rules.bridge_encrypted:
        raise BrokenInvariant("an encrypted talk is bridged")
    if talk.channel in floor.suspended:
        raise BrokenInvariant(f"{talk.channel} holds the floor while it is suspended")
    for waiting in floor.talks.values():
        outranks = waiting.standing is m.Standing.WAITING and waiting.rank > talk.rank
        if outranks and floor.revoke_at_s is None:
            raise BrokenInvariant(f"{waiting.talker} waits for {talk.talker}, whom it outranks")


class Witness:
    """The air: who is keyed, with what, until when."""

    def __init__(self) -> None:
        self.keyed: dict[str, tuple[str, float]] = {}

    def see(
        self, happened: m.Input, effects: Iterable[m.Effect], floor: m.Floor, now_s: float
    ) -> None:
        """Raises: BrokenInvariant."""
        if isinstance(happened, m.TalkHeard) and happened.caused_by is not None:
            self._ours_is_not_bridged(happened, effects, now_s)
        if isinstance(happened, m.KeyAnswered) and happened.outcome != "done":
            self._ended(happened.channel, happened.transmission)
        if isinstance(happened, m.TalkEnded) and happened.caused_by is not None:
            self._ended(happened.channel, happened.caused_by)
        if isinstance(happened, m.MemberPresent) and not happened.present:
            self.keyed.pop(happened.channel, None)
        for effect in effects:
            if isinstance(effect, m.Key):
                self._key(effect, floor, now_s)
            elif isinstance(effect, m.Unkey):
                self._ended(effect.channel, effect.transmission)
        check(floor)

    def live(self, now_s: float) -> set[str]:
        """The channels whose key has not run out."""
        return {channel for channel, (_, until_s) in self.keyed.items() if now_s < until_s}

    def _key(self, key: m.Key, floor: m.Floor, now_s: float) -> None:
        held = self.keyed.get(key.channel)
        if held is not None and now_s < held[1] and held[0] != key.transmission:
            raise BrokenInvariant(f"{key.channel} is keyed twice")
        self.keyed[key.channel] = (key.transmission, now_s + floor.rules.lease_of(key.channel))

    def _ended(self, channel: str, transmission: str) -> None:
        held = self.keyed.get(channel)
        if held is not None and held[0] == transmission:
            del self.keyed[channel]

    def _ours_is_not_bridged(
        self, heard: m.TalkHeard, effects: Iterable[m.Effect], now_s: float
    ) -> None:
        for effect in effects:
            if (
                isinstance(effect, m.Decided)
                and not effect.late_entry
                and effect.talk.channel == heard.channel
                and effect.talk.stream == heard.stream
                and effect.talk.since_s == now_s
                and effect.decision == "granted"
            ):
                raise BrokenInvariant(f"what we caused on {heard.channel} was bridged")
