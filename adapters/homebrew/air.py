"""What the radios do: bursts in, beginnings and ends of talks out. Pure; the clock is passed in.

On each timeslot of each repeater there is at most one talk. A talk is known by its stream id,
source and destination together, because some senders reuse stream ids.
"""

import dataclasses
import enum
from collections import OrderedDict
from collections.abc import Callable, Iterator

from adapters.homebrew import dmr
from adapters.homebrew.numbering import Numbering
from adapters.homebrew.reception import Reception
from adapters.homebrew.wire import Dmrd, Frame

REFRESH_S = 1.0
ENDED_STREAMS = 256

Origin = Callable[[Dmrd, float], str | None]
"""Says which transmission of ours a burst is the echo of at a time, None for a radio's own."""


@dataclasses.dataclass(slots=True, kw_only=True)
class Talk:
    """A talk on the air. heard_s, refreshed_s: monotonic. caused_by: see `Origin`.

    reported: its beginning has been told; another talk on its channel delays that. barred: a
    second copy of a talk that has ended; never told. private_told: as a call from one to one.
    emergency_told, refreshed: done at least once.
    fragments: of the embedded link control, so far. numbering, reception: of the voice that was
    told.
    """

    repeater_id: int
    slot: int
    source_id: int
    destination_id: int
    stream_id: int
    private: bool
    late_entry: bool
    caused_by: str | None
    heard_s: float
    refreshed_s: float
    emergency: bool = False
    encrypted: bool = False
    reported: bool = False
    barred: bool = False
    private_told: bool = False
    emergency_told: bool = False
    refreshed: bool = False
    fragments: bytes = b""
    numbering: Numbering = dataclasses.field(default_factory=Numbering)
    reception: Reception = dataclasses.field(default_factory=Reception)

    @property
    def address(self) -> str:
        return f"{self.slot}/{self.destination_id}"

    @property
    def stream(self) -> str:
        return f"{self.stream_id:08x}"

    def carries(self, burst: Dmrd) -> bool:
        return (
            self.stream_id == burst.stream_id
            and self.source_id == burst.source_id
            and self.destination_id == burst.destination_id
            and self.private == burst.private
        )


class Step(enum.Enum):
    """What became of a talk."""

    STARTED = "started"
    REFRESHED = "refreshed"
    ENDED = "ended"
    LOST = "lost"
    EMERGENCY = "emergency"
    ALIAS = "alias"
    POSITION = "position"
    PRIVATE_STARTED = "private started"
    PRIVATE_ENDED = "private ended"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """alias_block: number and 7 bytes, where the step is `ALIAS`. position: 7 bytes, where it is
    `POSITION`."""

    step: Step
    talk: Talk
    alias_block: tuple[int, bytes] | None = None
    position: bytes = b""


class Air:
    """The talks that the repeaters of one system receive from their radios.

    hold_s: a talk without a burst for so long is lost. origin: tells our own echoes.
    """

    def __init__(self, hold_s: float, origin: Origin) -> None:
        self._hold_s = hold_s
        self._origin = origin
        self._talks: dict[tuple[int, int], Talk] = {}
        self._ended: OrderedDict[tuple[int, int], float] = OrderedDict()

    def talk_at(self, repeater_id: int, slot: int) -> Talk | None:
        """The talk that this repeater receives on this timeslot."""
        return self._talks.get((repeater_id, slot))

    def occupant(self, slot: int) -> Talk | None:
        """A radio's talk on this timeslot of any repeater; echoes of ours do not count."""
        for talk in self._talks.values():
            if talk.slot == slot and talk.caused_by is None:
                return talk
        return None

    def active(self) -> Iterator[Talk]:
        """The talks whose beginning was told and whose end was not."""
        return (talk for talk in self._talks.values() if talk.reported)

    def hear(self, burst: Dmrd, now_s: float) -> list[Change]:
        """Take a burst of a signed-in repeater. Control and data bursts change nothing."""
        if not burst.is_talk:
            return []
        key = (burst.repeater_id, burst.slot)
        talk = self._talks.get(key)
        changes: list[Change] = []
        if talk is not None and not talk.carries(burst):
            if burst.is_terminator:
                return []  # a late one, of a talk that was replaced
            changes += self._end(talk, Step.LOST)
            talk = None
        if talk is None:
            if burst.is_terminator or self._is_late(burst, now_s):
                return changes
            talk = self._begin(burst, now_s)
            return changes + self._report(talk, now_s) + self._read(talk, burst, now_s)
        talk.heard_s = now_s
        if burst.is_terminator:
            self._remember_end(burst, now_s)
            return self._end(talk, Step.ENDED)
        return self._read(talk, burst, now_s) + self._refresh(talk, now_s)

    def expire(self, now_s: float) -> list[Change]:
        """End the talks that have not been heard for `hold_s`."""
        silent = [talk for talk in self._talks.values() if talk.heard_s + self._hold_s <= now_s]
        return [change for talk in silent for change in self._end(talk, Step.LOST)]

    def next_expiry_s(self) -> float | None:
        """When `expire` may have something to do; None while nobody talks."""
        heard = [talk.heard_s for talk in self._talks.values()]
        return min(heard) + self._hold_s if heard else None

    def renamed(self, source_id: int, now_s: float) -> list[Change]:
        """The alias of a radio became known: tell it with the talk that it has."""
        talks = [talk for talk in self._talks.values() if talk.source_id == source_id]
        return [change for talk in talks for change in self._refresh_early(talk, now_s)]

    def drop_repeater(self, repeater_id: int) -> list[Change]:
        """The repeater is gone, and with it what it received."""
        gone = [talk for talk in self._talks.values() if talk.repeater_id == repeater_id]
        return [change for talk in gone for change in self._end(talk, Step.LOST)]

    def _begin(self, burst: Dmrd, now_s: float) -> Talk:
        talk = Talk(
            repeater_id=burst.repeater_id,
            slot=burst.slot,
            source_id=burst.source_id,
            destination_id=burst.destination_id,
            stream_id=burst.stream_id,
            private=burst.private,
            late_entry=not (burst.is_header or burst.is_privacy_header),
            caused_by=self._origin(burst, now_s),
            heard_s=now_s,
            refreshed_s=now_s,
        )
        if burst.is_header:
            _read_header(talk, burst.payload)
        elif burst.is_privacy_header:
            talk.encrypted = True
        self._talks[burst.repeater_id, burst.slot] = talk
        return talk

    def _report(self, talk: Talk, now_s: float) -> list[Change]:
        """Tell of a beginning, unless it is a private call or its channel is held already.

        An emergency is told at once in any case.
        """
        if talk.private:
            return self._report_private(talk)
        if talk.barred:
            return []
        changes = _raise_emergency(talk)
        if self._is_held(talk):
            return changes
        talk.reported = True
        talk.refreshed_s = now_s
        return [*changes, Change(step=Step.STARTED, talk=talk)]

    def _report_private(self, talk: Talk) -> list[Change]:
        """Tell that two radios talk with each other, once however many repeaters hear it."""
        told = any(
            other.private_told
            and (other.source_id, other.destination_id) == (talk.source_id, talk.destination_id)
            for other in self._talks.values()
            if other is not talk
        )
        if told or talk.caused_by is not None:
            return []
        talk.private_told = True
        return [Change(step=Step.PRIVATE_STARTED, talk=talk)]

    def _is_held(self, talk: Talk) -> bool:
        """Another repeater receives a talk on the same channel, and that one was told of."""
        return any(
            other.reported
            and other.address == talk.address
            and (other.caused_by is None) == (talk.caused_by is None)
            for other in self._talks.values()
            if other is not talk
        )

    def _read(self, talk: Talk, burst: Dmrd, now_s: float) -> list[Change]:
        """Read what a burst says beside its voice; it stands in for a header that was lost."""
        if burst.is_privacy_header and not talk.encrypted:
            talk.encrypted = True
            return self._refresh_early(talk, now_s)
        if burst.frame is not Frame.VOICE or not 1 <= burst.kind <= 4:
            return []
        if burst.kind == 1:
            talk.fragments = b""
        if len(talk.fragments) != (burst.kind - 1) * 4:
            return []  # one was lost; the next superframe has them again
        talk.fragments += dmr.embedded_fragment(burst.payload)
        if burst.kind != 4:
            return []
        try:
            link_control = dmr.decode_embedded(talk.fragments)
        except dmr.MalformedBurstError:
            return []
        alias_number = link_control.flco - dmr.FLCO_ALIAS_HEADER
        if 0 <= alias_number <= 3:
            block = (alias_number, link_control.to_bytes()[2:])
            return [Change(step=Step.ALIAS, talk=talk, alias_block=block)]
        if link_control.flco == dmr.FLCO_POSITION:
            data = link_control.to_bytes()[2:]
            return [Change(step=Step.POSITION, talk=talk, position=data)]
        return self._note_options(talk, link_control, now_s)

    def _note_options(
        self, talk: Talk, link_control: dmr.LinkControl, now_s: float
    ) -> list[Change]:
        if link_control.flco not in (dmr.FLCO_GROUP, dmr.FLCO_PRIVATE):
            return []
        before = (talk.emergency, talk.encrypted)
        talk.emergency |= link_control.emergency
        talk.encrypted |= link_control.encrypted
        if before == (talk.emergency, talk.encrypted):
            return []
        return _raise_emergency(talk) + self._refresh_early(talk, now_s)

    def _refresh_early(self, talk: Talk, now_s: float) -> list[Change]:
        """Tell at once what was learnt late, if that is the talk's first refresh; else it comes
        with the next, for there may be one in a second."""
        if not talk.reported or talk.refreshed:
            return []
        return self._refresh_now(talk, now_s)

    def _refresh(self, talk: Talk, now_s: float) -> list[Change]:
        if not talk.reported or now_s - talk.refreshed_s < REFRESH_S:
            return []
        return self._refresh_now(talk, now_s)

    def _refresh_now(self, talk: Talk, now_s: float) -> list[Change]:
        talk.refreshed = True
        talk.refreshed_s = now_s
        return [Change(step=Step.REFRESHED, talk=talk)]

    def _end(self, talk: Talk, step: Step) -> list[Change]:
        del self._talks[talk.repeater_id, talk.slot]
        if talk.private_told:
            return [Change(step=Step.PRIVATE_ENDED, talk=talk)]
        if not talk.reported:
            return []
        changes = [Change(step=step, talk=talk)]
        for other in self._talks.values():
            if other.address != talk.address or other.reported:
                continue
            if other.source_id == talk.source_id and step is Step.ENDED:
                other.barred = True
            other.late_entry = True
            changes += self._report(other, talk.heard_s)
        return changes

    def _remember_end(self, burst: Dmrd, now_s: float) -> None:
        self._ended[burst.repeater_id, burst.stream_id] = now_s
        if len(self._ended) > ENDED_STREAMS:
            self._ended.popitem(last=False)

    def _is_late(self, burst: Dmrd, now_s: float) -> bool:
        """A burst that overtook nobody: its stream has ended by terminator.

        Only a header may reuse such a stream id, and not before `hold_s`.
        """
        ended_s = self._ended.get((burst.repeater_id, burst.stream_id))
        if ended_s is None:
            return False
        if burst.is_header and now_s - ended_s > self._hold_s:
            del self._ended[burst.repeater_id, burst.stream_id]
            return False
        return True


def _read_header(talk: Talk, payload: bytes) -> None:
    """Note the service options; a header that fails its check leaves them to the voice frames."""
    try:
        link_control = dmr.decode_header(payload)
    except dmr.MalformedBurstError:
        return
    talk.emergency = link_control.emergency
    talk.encrypted = link_control.encrypted


def _raise_emergency(talk: Talk) -> list[Change]:
    if not talk.emergency or talk.emergency_told or talk.private or talk.caused_by is not None:
        return []
    talk.emergency_told = True
    return [Change(step=Step.EMERGENCY, talk=talk)]
