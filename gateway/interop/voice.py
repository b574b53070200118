"""The bridge's part in voice: frames of who holds a floor go on to every member that is keyed for
it, as they are, in the transmission that this member was keyed with. Everything else is dropped.

The agent of who talks sends nothing by itself; it is asked together with the keys, and asked again
as they are renewed, so that a bridge that dies stops the voice as it stops the keys.
"""

import dataclasses
from collections.abc import Callable, Iterable, Sequence

from adapters.events import VoiceFlag
from gateway.bus.client import Bus
from gateway.bus.voice import VoiceRoute, readdressed, voice_route
from gateway.bus.voice_line import VoiceLine
from gateway.interop import model
from gateway.interop.lease import BridgeLease
from gateway.interop.machines import Machine
from gateway.interop.speaking import Speaker

FORWARD_LEASE_S = 2.0
ASK_AGAIN_AFTER_S = 0.25
"""Members' keys are renewed one by one; the talker's agent is asked once for several."""
LATEST_MS = 360
"""The deepest jitter buffer. What left its agent longer ago is of no use to anybody; a bridge that
has too much to do would be later with every frame, and catches up by dropping them."""


@dataclasses.dataclass(slots=True)
class RelayCounters:
    """Frames. passed: went on to a member at least. sent: to all members together. not_carried: of
    a talk that holds no floor, or that nobody is keyed for. late: left its agent too long ago.
    encrypted: where the patch does not carry that. standby: heard while another bridges."""

    received: int = 0
    passed: int = 0
    sent: int = 0
    not_carried: int = 0
    late: int = 0
    encrypted: int = 0
    standby: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class _Asked:
    channel: str
    stream: str
    at_s: float


class VoiceRelay:
    """of_channel: the floors that a channel is a member of. now_s: the loop's clock."""

    def __init__(
        self,
        bus: Bus,
        lease: BridgeLease,
        speaker: Speaker,
        of_channel: Callable[[str], Sequence[Machine]],
        now_s: Callable[[], float],
    ) -> None:
        self.counters = RelayCounters()
        self._bus, self._lease, self._speaker = bus, lease, speaker
        self._of_channel, self._now_s = of_channel, now_s
        self._asked: dict[str, _Asked] = {}
        self._line: VoiceLine | None = None

    def define(self, floors: Iterable[model.Floor]) -> None:
        """Listen where voice can pass at all, and not where it cannot."""
        wanted = any(floor.rules.voice is model.Voice.FRAMES for floor in floors)
        pattern = self._bus.topics.voice_in_all()
        if wanted and self._line is None:
            self._line = self._bus.voice("bridge")
            self._line.subscribe(pattern, self._on_in)
        elif self._line is not None and not wanted:
            self._line.unsubscribe(pattern)
            self._line = None

    # --- asking the talker's agent --------------------------------------------------------------

    def keyed(self, machine: Machine, key: model.Key) -> None:
        """A member was keyed, or its key renewed."""
        talk, rules = key.talk, machine.floor.rules
        if talk.channel is None or not self._lease.held:
            return
        if rules.passes(talk.channel, key.channel) is not model.Voice.FRAMES:
            return
        asked, now_s = self._asked.get(machine.id), self._now_s()
        if asked is not None and not _is(talk, asked):
            self._stop(machine, asked)
        elif asked is not None and now_s < asked.at_s + ASK_AGAIN_AFTER_S:
            return
        self._asked[machine.id] = _Asked(talk.channel, talk.stream, now_s)
        lease_s = max(FORWARD_LEASE_S, rules.lease_of(key.channel))
        self._ask(machine, talk.channel, talk.stream, lease_s, rules.bridge_encrypted)

    def stepped(self, machine: Machine) -> None:
        """A talk that holds the floor no longer, or that nobody is keyed for, is no longer ours to
        hear, though it may go on in its own system."""
        asked = self._asked.get(machine.id)
        if asked is None:
            return
        floor = machine.floor
        if floor.keyed and floor.talk is not None and _is(floor.talk, asked):
            return
        self._stop(machine, asked)

    def forget(self, machine: Machine) -> None:
        """The floor goes away."""
        if (asked := self._asked.get(machine.id)) is not None:
            self._stop(machine, asked)

    def lost(self) -> None:
        """The broker is gone, or the lease."""
        self._asked.clear()

    def _stop(self, machine: Machine, asked: _Asked) -> None:
        del self._asked[machine.id]
        if any(_same(asked, other) for other in self._asked.values()):
            return  # another patch carries it
        if any(_is(talk, asked) for talk in machine.floor.talks.values()):
            self._ask(machine, asked.channel, asked.stream, 0.0, False)

    def _ask(
        self, machine: Machine, channel_id: str, stream: str, lease_s: float, encrypted: bool
    ) -> None:
        self._speaker.command(
            machine.patch_id,
            channel_id,
            "voice.forward",
            transmission=stream,
            lease_ms=int(lease_s * 1000),
            encrypted=encrypted,
        )

    # --- passing on -----------------------------------------------------------------------------

    def _on_in(self, topic: str, message: bytes) -> None:
        self.counters.received += 1
        if not self._lease.held:
            self.counters.standby += 1
            return
        channel_id = self._bus.topics.parse_voice_in(topic)
        route = voice_route(message)
        if self._is_late(channel_id or "", route):
            self.counters.late += 1
            return
        sent = 0
        for machine in self._of_channel(channel_id or ""):
            sent += self._pass_on(machine.floor, channel_id, route, message)
        self.counters.sent += sent
        if sent:
            self.counters.passed += 1
        else:
            self.counters.not_carried += 1

    def _is_late(self, channel_id: str, route: VoiceRoute) -> bool:
        """By the clock of who sent it; we know that as early at worst, so nothing is too late that
        only seems so."""
        clock_ms = self._speaker.clock_ms(channel_id) if route.uptime_ms else None
        return clock_ms is not None and clock_ms - route.uptime_ms > LATEST_MS

    def _pass_on(
        self, floor: model.Floor, channel_id: str | None, route: VoiceRoute, message: bytes
    ) -> int:
        talk, rules = floor.talk, floor.rules
        if talk is None or talk.channel != channel_id or talk.stream != route.transmission:
            return 0
        if rules.voice is not model.Voice.FRAMES or self._line is None:
            return 0
        if route.flags & VoiceFlag.ENCRYPTED and not rules.bridge_encrypted:
            self.counters.encrypted += 1
            return 0
        hearers = [each for each in floor.keyed if route.codec in rules.members[each].voice]
        if not hearers:
            return 0
        out = readdressed(message, route, floor.transmission)
        return sum(self._line.publish(self._bus.topics.voice_out(each), out) for each in hearers)


def _is(talk: model.Talk, asked: _Asked) -> bool:
    return talk.channel == asked.channel and talk.stream == asked.stream


def _same(one: _Asked, other: _Asked) -> bool:
    return (one.channel, one.stream) == (other.channel, other.stream)
