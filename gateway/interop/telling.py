"""What floors decided, said to everybody: who has the floor, emergencies, members taken out."""

from collections.abc import Iterable

from gateway.interop import model
from gateway.interop.machines import Machine
from gateway.interop.showing import decision_data, words_for
from gateway.interop.speaking import Speaker


class Teller:
    """An emergency of several patches is told once."""

    def __init__(self, speaker: Speaker) -> None:
        self._speaker = speaker
        self._emergencies: set[tuple[str, str]] = set()

    def tell(self, machine: Machine, told: Iterable[model.Told], transmission: str) -> None:
        """transmission: the floor's own, when it was decided."""
        for each in told:
            match each:
                case model.Decided():
                    self._decided(machine, each, transmission)
                case model.EmergencyChanged():
                    self._emergency(machine, each)
                case model.Suspended():
                    self._suspended(machine, each)

    def _decided(self, machine: Machine, decided: model.Decided, transmission: str) -> None:
        talk = decided.talk
        channel_id = talk.channel or talk.pressed_on
        if channel_id is None:
            return
        data = decision_data(decided, transmission=transmission, patch=machine.patch_id)
        self._speaker.decision(channel_id, f"floor.{decided.decision}", data)
        member = machine.floor.rules.members.get(channel_id)
        words = words_for(decided) if talk.channel is not None else None
        if words is not None and member is not None and member.can_tell:
            self._speaker.command(
                machine.patch_id, channel_id, "text.send", text=words, caused_by=talk.stream
            )

    def _emergency(self, machine: Machine, changed: model.EmergencyChanged) -> None:
        """What the system itself said is on the wire already; what several patches say is one."""
        key = (changed.channel, changed.talker)
        if changed.change == "raised":
            known = key in self._emergencies
            self._emergencies.add(key)
        else:
            known = changed.change == "cleared" and key not in self._emergencies
            if changed.change == "cleared":
                self._emergencies.discard(key)
        if known or changed.by == "system":
            return
        data = {
            "talker": changed.talker,
            "talker_alias": changed.talker_alias,
            "patch": machine.patch_id,
            "by": changed.by or None,
            "reason": changed.reason,
        }
        self._speaker.decision(changed.channel, f"emergency.{changed.change}", data)

    def _suspended(self, machine: Machine, suspended: model.Suspended) -> None:
        data = {
            "patch": machine.patch_id,
            "reason": suspended.reason,
            "by": suspended.user or None,
        }
        kind = "member.resumed" if suspended.user else "member.suspended"
        self._speaker.decision(suspended.channel, kind, data)
