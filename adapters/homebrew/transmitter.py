"""Our own transmissions, on the timer of the event loop."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable

from adapters.events import (
    AMBE_DMR,
    DONE,
    DRAIN_MS,
    KeyChannel,
    Outcome,
    Result,
    VoiceFlag,
    VoiceFrame,
)
from adapters.homebrew.air import Air
from adapters.homebrew.jitter import JitterBuffer
from adapters.homebrew.keying import (
    BURST_S,
    Echoes,
    Talkgroup,
    Transmission,
    parse_address,
    parse_unit,
)
from adapters.homebrew.sign_in import Peer, Repeater, Stations
from adapters.homebrew.wire import VOICE_FRAMES, Dmrd

DRAIN_S = DRAIN_MS / 1000


class Transmitter:
    """Keys talkgroups on all repeaters of the system. At most one transmission on a timeslot; with
    by_talkgroup each talkgroup is a resource of its own, and the air's repeaters are talkgroups.

    send: takes a datagram and where it goes. fail: takes what a timer ran into.
    """

    def __init__(
        self,
        *,
        stations: Stations,
        air: Air,
        echoes: Echoes,
        gateway_id: int,
        send: Callable[[bytes, Peer], None],
        fail: Callable[[BaseException], None],
        by_talkgroup: bool = False,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._stations = stations
        self._air = air
        self._echoes = echoes
        self._gateway_id = gateway_id
        self._send = send
        self._fail = fail
        self._by_talkgroup = by_talkgroup
        self._transmissions: dict[str, Transmission] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def has_slot(self, slot: int) -> bool:
        return any(each.channel.slot == slot for each in self._transmissions.values())

    def is_running(self, name: str | None) -> bool:
        return name in self._transmissions

    def yield_slot(self, burst: Dmrd, now_s: float) -> list[Transmission]:
        """The air goes before us: a radio talks on a timeslot. Gives what we ended for it."""
        if self._by_talkgroup and burst.private:
            return []
        taken = Talkgroup(slot=burst.slot, talkgroup=burst.destination_id)
        yielded = [e for e in self._transmissions.values() if self._share(e.channel, taken)]
        for transmission in yielded:
            self._stop(transmission, now_s, besides=burst.repeater_id)
        return yielded

    def stop_all(self) -> None:
        now_s = self._loop.time()
        for transmission in list(self._transmissions.values()):
            self._stop(transmission, now_s)

    def key(self, command: KeyChannel) -> Outcome:
        """Begin to transmit: the header has been sent when this returns `done`.

        `refused`: not a talkgroup, or no repeater. `busy`: the timeslot is taken.
        """
        channel = parse_address(command.address)
        if channel is None:
            reason = f"{command.address!r} is not a timeslot and talkgroup like 1/3101"
            return Outcome(result=Result.REFUSED, reason=reason)
        running = self._transmissions.get(command.transmission)
        if running is not None:
            if running.channel == channel:
                running.drained_by_s = None
                return DONE
            reason = f"this transmission is on {running.channel.address}"
            return Outcome(result=Result.REFUSED, reason=reason)
        if not self._stations.signed_in:
            return Outcome(result=Result.REFUSED, reason=self._stations.nobody)
        if not self.takers(channel):
            reason = f"no repeater asks for {channel.address}"
            return Outcome(result=Result.REFUSED, reason=reason)
        self._cut_short(channel)
        occupied = self._occupied_by(channel)
        if occupied:
            return Outcome(result=Result.BUSY, reason=occupied)
        transmission = Transmission(
            name=command.transmission,
            channel=channel,
            source_id=parse_unit(command.talker_source) or self._gateway_id,
            stream_id=secrets.randbits(32) or 1,
            due_s=self._loop.time(),
        )
        self._transmissions[transmission.name] = transmission
        self._echoes.began(transmission)
        self._transmit(transmission)
        return DONE

    def unkey(self, name: str, *, drain: bool) -> None:
        """End a transmission; one that is not there is none. drain: when its voice is out."""
        transmission = self._transmissions.get(name)
        if transmission is None:
            return
        now_s = self._loop.time()
        if drain and transmission.jitter is not None:
            transmission.jitter.close()
            transmission.drained_by_s = transmission.drained_by_s or now_s + DRAIN_S
            if not transmission.is_drained(now_s):
                return
        self._stop(transmission, now_s)

    async def play(self, frames: AsyncIterator[VoiceFrame]) -> None:
        """Send voice in the transmission that it names, until it ends or the transmission does."""
        playing: Transmission | None = None

        def stop() -> None:
            limit.reschedule(0.0)

        limit = asyncio.timeout(None)
        try:
            async with limit:
                async for frame in frames:
                    if playing is None:
                        playing = self._transmissions.get(frame.transmission)
                        if playing is None:
                            return
                        jitter = playing.open_voice(stop)
                    if frame.transmission == playing.name:
                        _give(jitter, frame, self._loop.time())
        except TimeoutError:
            if not limit.expired():
                raise
        finally:
            if playing is not None:
                playing.close_voice(stop)

    def _cut_short(self, channel: Talkgroup) -> None:
        """End what only sends the rest of its voice where the channel is wanted."""
        for other in list(self._transmissions.values()):
            if other.drained_by_s is not None and self._share(other.channel, channel):
                self._stop(other, self._loop.time())

    def takers(self, channel: Talkgroup) -> list[Repeater]:
        """The repeaters that a talkgroup goes out at."""
        slot, talkgroup = channel.slot, channel.talkgroup
        return [each for each in self._stations.signed_in if each.takes(slot, talkgroup)]

    def _occupied_by(self, channel: Talkgroup) -> str:
        if self._by_talkgroup:
            talk = self._air.talk_at(channel.talkgroup, channel.slot)
        else:
            talk = self._air.occupant(channel.slot)
        if talk is not None:
            what = "in a private call" if talk.private else f"on {talk.address}"
            return f"timeslot {channel.slot} is taken by radio {talk.source_id} {what}"
        for other in self._transmissions.values():
            if self._share(other.channel, channel):
                return f"timeslot {channel.slot} has our transmission on {other.channel.address}"
        return ""

    def _share(self, one: Talkgroup, other: Talkgroup) -> bool:
        """Whether there is room for one of the two only."""
        same = not self._by_talkgroup or one.talkgroup == other.talkgroup
        return same and one.slot == other.slot

    def _transmit(self, transmission: Transmission) -> None:
        """Send the burst that is due and set the timer for the next."""
        now_s = self._loop.time()
        if transmission.is_drained(now_s):
            self._stop(transmission, now_s)
            return
        transmission.prepare()
        for repeater in self.takers(transmission.channel):
            datagram = transmission.burst(repeater.repeater_id, repeater.color_code)
            self._send(datagram, repeater.peer)
        transmission.sequence += 1
        transmission.due_s += BURST_S
        now_s = self._loop.time()
        if now_s - transmission.due_s > BURST_S * VOICE_FRAMES:
            transmission.due_s = now_s  # the loop stood still: go on from here, not in a burst
        self._timers[transmission.name] = self._loop.call_at(
            transmission.due_s, self._tick, transmission
        )

    def _tick(self, transmission: Transmission) -> None:
        try:
            self._transmit(transmission)
        except Exception as error:
            self._fail(error)

    def _stop(self, transmission: Transmission, now_s: float, besides: int | None = None) -> None:
        """Send the terminator, except to the repeater `besides`, which does not listen now."""
        del self._transmissions[transmission.name]
        timer = self._timers.pop(transmission.name, None)
        if timer is not None:
            timer.cancel()
        self._echoes.ended(transmission, now_s)
        for repeater in self.takers(transmission.channel):
            if repeater.repeater_id != besides:
                datagram = transmission.terminator(repeater.repeater_id, repeater.color_code)
                self._send(datagram, repeater.peer)
        transmission.end()


def _give(jitter: JitterBuffer, frame: VoiceFrame, now_s: float) -> None:
    """Have a frame played in its turn. What is encrypted cannot be: the receivers would need the
    privacy header of its own talk, and without it hear noise."""
    if frame.payload:
        if frame.codec == AMBE_DMR and not frame.flags & VoiceFlag.ENCRYPTED:
            jitter.put(frame.sequence, frame.payload, now_s)
        else:
            jitter.counts.unfit += 1
    if frame.flags & VoiceFlag.LAST:
        jitter.end(frame.sequence + bool(frame.payload))
