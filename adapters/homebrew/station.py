"""What a master and a peer of one have in common: bursts in, events and transmissions out."""

import abc
import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from typing import cast

from adapters.base import Emit
from adapters.events import (
    EMERGENCY_PRIORITY,
    ChannelHealth,
    ChannelMeasured,
    EmergencyRaised,
    FloorIdle,
    FloorRefreshed,
    FloorTaken,
    KeyChannel,
    Malformed,
    Outcome,
    PrivateTalk,
    UnitLocation,
    VoiceFrame,
    VoiceHeard,
)
from adapters.homebrew import voice, wire
from adapters.homebrew.air import Air, Change, Step, Talk
from adapters.homebrew.alias import AliasBook
from adapters.homebrew.keying import Echoes, parse_address
from adapters.homebrew.limit import Limit
from adapters.homebrew.position import PositionBook, decode_position
from adapters.homebrew.settings import HomebrewSettings
from adapters.homebrew.sign_in import Peer, Stations
from adapters.homebrew.transmitter import Transmitter

logger = logging.getLogger(__name__)

EVENT_HOLD_S = 3.0
"""What events say of how long a talk lives: three times the interval of their refreshes."""
CARRY_S = 0.36
"""How long a repeater's timeslot stays with a repeated talk that is not heard: a superframe."""
MALFORMED_PER_S = 50


class Station(asyncio.DatagramProtocol, abc.ABC):
    """One UDP socket. Everything happens in callbacks of the event loop; it has no tasks.

    failed: gets the exception that ended it. closed: is done when the socket is gone.
    stations: who is signed in, with us or we with them.
    """

    def __init__(
        self,
        settings: HomebrewSettings,
        channels: Sequence[str],
        emit: Emit,
        echo_s: float,
        stations: Stations,
        *,
        by_talkgroup: bool = False,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.failed: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[None] = loop.create_future()
        self.dropped_datagrams = 0
        self._loop = loop
        self._settings = settings
        self._channels = channels
        self._voiced = frozenset(channels)
        self._emit = emit
        self._stations = stations
        self._echoes = Echoes(settings.gateway_radio_id, echo_s)
        self._air = Air(settings.hold_s, self._echoes.cause_of)
        self._aliases = AliasBook()
        self._positions = PositionBook()
        self._transmitter = Transmitter(
            stations=stations,
            air=self._air,
            echoes=self._echoes,
            gateway_id=settings.gateway_radio_id,
            send=self._send,
            fail=self._fail,
            by_talkgroup=by_talkgroup,
        )
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._carried: dict[tuple[int, int], tuple[int, float]] = {}
        self._malformed_limit = Limit(MALFORMED_PER_S)
        self._health: bool | None = None
        self._transport: asyncio.DatagramTransport | None = None
        self._paused = False

    @abc.abstractmethod
    def _receive(self, data: bytes, peer: Peer) -> None:
        """Take a datagram of whomever."""

    def _sign_off(self) -> None:
        """Say that we go; the socket is still there."""

    # --- asyncio.DatagramProtocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not an isinstance: neither Python 3.11's transport nor uvloop's is of that class.
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Peer) -> None:
        try:
            self._receive(data, addr)
        except Exception as error:
            self._fail(error)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False

    def error_received(self, exc: Exception) -> None:
        # An ICMP answer to something we sent; the ping time-out decides about that repeater.
        logger.debug("homebrew.send_failed", extra={"reason": str(exc)})

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.closed.done():
            self.closed.set_result(None)
        if exc is not None:
            self._fail(exc)

    def _fail(self, error: BaseException) -> None:
        if not self.failed.done():
            self.failed.set_exception(error)

    # --- the air ---

    def _hear(self, burst: wire.Dmrd, data: bytes, now_s: float) -> None:
        """Take a burst of somebody who is signed in."""
        before = self._air.talk_at(burst.repeater_id, burst.slot)
        changes = self._air.hear(burst, now_s)
        talk = self._air.talk_at(burst.repeater_id, burst.slot)
        if talk is not None and talk.caused_by is None and burst.is_talk:
            self._yield_slot(burst, talk.address, now_s)
        if burst.is_terminator and before is not None and before.carries(burst):
            self._tell_voice(voice.ended(before))
        self._tell(changes, now_s)
        if talk is not None:
            self._tell_voice(voice.heard(talk, burst, now_s))
        self._arm("air", self._air.next_expiry_s(), self._expire_air)
        if not burst.is_talk:
            if not self._transmitter.has_slot(burst.slot):
                self._repeat(burst, data, now_s)
            return
        if talk is None and burst.is_terminator and before is not None and before.carries(burst):
            talk = before
        if talk is not None and talk.caused_by is None:  # neither late nor an echo of ours
            self._repeat(burst, data, now_s)

    def _yield_slot(self, burst: wire.Dmrd, address: str, now_s: float) -> None:
        """The air goes before us: a repeater that sends us its radio has given it the slot."""
        for transmission in self._transmitter.yield_slot(burst, now_s):
            ours = transmission.channel.address
            logger.info("homebrew.yielded", extra={"channel": ours, "talk": address})
            self._emit(
                FloorIdle(
                    at=now(),
                    address=ours,
                    stream=transmission.stream,
                    reason="system",
                    caused_by=transmission.name,
                )
            )

    def _repeat(self, burst: wire.Dmrd, data: bytes, now_s: float) -> None:
        """Pass a burst on to the other repeaters whose timeslot is free or has this talk."""
        for repeater in self._stations.signed_in:
            place = (repeater.repeater_id, burst.slot)
            if repeater.repeater_id == burst.repeater_id or self._air.talk_at(*place) is not None:
                continue
            if not burst.private and not repeater.takes(burst.slot, burst.destination_id):
                continue
            stream_id, until_s = self._carried.get(place, (burst.stream_id, 0.0))
            if stream_id != burst.stream_id and now_s < until_s:
                continue
            if burst.is_talk and not burst.is_terminator:
                self._carried[place] = (burst.stream_id, now_s + CARRY_S)
            else:
                self._carried.pop(place, None)
            self._send(wire.readdress(data, repeater.repeater_id), repeater.peer)

    def _tell_voice(self, frame: VoiceHeard | None) -> None:
        """Pass on what is heard on a channel that is registered."""
        if frame is not None and frame.address in self._voiced:
            self._emit(frame)

    def _note_alias(self, source_id: int, block: int, data: bytes, now_s: float) -> None:
        if self._aliases.add(source_id, block, data):
            self._tell(self._air.renamed(source_id, now_s), now_s)

    def _note_position(self, source_id: int, data: bytes, now_s: float) -> None:
        position = decode_position(data)
        if self._positions.is_news(source_id, position, now_s):
            self._emit(
                UnitLocation(
                    at=now(),
                    unit=str(source_id),
                    unit_alias=self._aliases.name_of(source_id),
                    longitude_deg=position.longitude_deg,
                    latitude_deg=position.latitude_deg,
                )
            )

    # --- events ---

    def report_health(self) -> None:
        """Tell the channels' health when it has changed."""
        healthy = bool(self._stations.signed_in)
        if healthy is self._health:
            return
        self._health = healthy
        for address in self._channels:
            if parse_address(address) is None:
                health, reason = "down", f"{address!r} is not a timeslot and talkgroup like 1/3101"
            else:
                health, reason = ("ok", "") if healthy else ("down", self._stations.nobody)
            self._emit(ChannelHealth(at=now(), address=address, health=health, reason=reason))

    def _report_malformed(self, reason: str, peer: Peer, now_s: float) -> None:
        """Tell of bad input, but let nobody make it a flood."""
        left_out = self._malformed_limit.admit(now_s)
        if left_out is None:
            return
        if left_out:
            reason = f"{reason}; {left_out} more were not told"
        self._emit(Malformed(at=now(), reason=reason, peer=f"{peer[0]}:{peer[1]}"))

    def _tell(self, changes: Sequence[Change], now_s: float) -> None:
        for change in changes:
            talk = change.talk
            match change.step:
                case Step.STARTED:
                    self._emit(self._floor(FloorTaken, talk))
                case Step.REFRESHED:
                    self._emit(self._floor(FloorRefreshed, talk))
                case Step.ENDED | Step.LOST:
                    reason = "released" if change.step is Step.ENDED else "lost"
                    self._emit(self._idle(talk, reason))
                    self._measure(talk)
                case Step.EMERGENCY:
                    self._emit(
                        EmergencyRaised(
                            at=now(),
                            address=talk.address,
                            unit=str(talk.source_id),
                            unit_alias=self._aliases.name_of(talk.source_id),
                        )
                    )
                case Step.ALIAS if change.alias_block is not None:
                    self._note_alias(talk.source_id, *change.alias_block, now_s)
                case Step.POSITION:
                    if talk.caused_by is None:
                        self._note_position(talk.source_id, change.position, now_s)
                case Step.PRIVATE_STARTED | Step.PRIVATE_ENDED:
                    self._emit(self._private(talk, active=change.step is Step.PRIVATE_STARTED))

    def _measure(self, talk: Talk) -> None:
        """Tell how a talk was received, of channels that are registered."""
        reception, sent = talk.reception, talk.numbering.following
        if sent and talk.address in self._voiced:
            self._emit(
                ChannelMeasured(
                    at=now(),
                    address=talk.address,
                    rssi_dbm=reception.rssi_dbm,
                    bit_error_percent=reception.bit_error_percent,
                    loss_percent=reception.loss_percent(sent),
                )
            )

    def _private(self, talk: Talk, *, active: bool) -> PrivateTalk:
        return PrivateTalk(
            at=now(),
            unit=str(talk.source_id),
            unit_alias=self._aliases.name_of(talk.source_id),
            to=str(talk.destination_id),
            active=active,
        )

    def _floor(self, event: type[FloorTaken], talk: Talk) -> FloorTaken:
        return event(
            at=now(),
            address=talk.address,
            stream=talk.stream,
            talker=str(talk.source_id),
            talker_alias=self._aliases.name_of(talk.source_id),
            priority=EMERGENCY_PRIORITY if talk.emergency else 0,
            emergency=talk.emergency,
            encrypted=talk.encrypted,
            late_entry=talk.late_entry,
            hold_s=max(EVENT_HOLD_S, self._settings.hold_s),
            caused_by=talk.caused_by,
        )

    def _idle(self, talk: Talk, reason: str) -> FloorIdle:
        # An end that names a transmission says that it is over; an echo may well end before it.
        ours_goes_on = self._transmitter.is_running(talk.caused_by)
        return FloorIdle(
            at=now(),
            address=talk.address,
            stream=talk.stream,
            reason=reason,
            caused_by=None if ours_goes_on else talk.caused_by,
        )

    def key(self, command: KeyChannel) -> Outcome:
        """Begin to transmit: the header is on the wire when this returns `done`."""
        return self._transmitter.key(command)

    def unkey(self, name: str, *, drain: bool) -> None:
        """End a transmission; one that is not there is none. drain: when its voice is out."""
        self._transmitter.unkey(name, drain=drain)

    async def play(self, frames: AsyncIterator[VoiceFrame]) -> None:
        """Send voice in its transmission until it or the transmission ends."""
        await self._transmitter.play(frames)

    # --- time and the socket ---

    def _arm(self, name: str, at_s: float | None, callback: Callable[[float], None]) -> None:
        """Set a timer unless it is set; it may fire early and is then set again."""
        if at_s is None or name in self._timers:
            return
        self._timers[name] = self._loop.call_at(at_s, self._fire, name, callback)

    def _fire(self, name: str, callback: Callable[[float], None]) -> None:
        del self._timers[name]
        try:
            callback(self._loop.time())
        except Exception as error:
            self._fail(error)

    def _expire_air(self, now_s: float) -> None:
        self._tell(self._air.expire(now_s), now_s)
        self._arm("air", self._air.next_expiry_s(), self._expire_air)

    def _send(self, datagram: bytes, peer: Peer) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if self._paused:
            self.dropped_datagrams += 1  # the network takes nothing; voice is not kept for later
            return
        transport.sendto(datagram, peer)

    def local_address(self) -> tuple[str, int] | None:
        """Host and port that it listens on."""
        if self._transport is None:
            return None
        host, port = self._transport.get_extra_info("sockname")[:2]
        return host, port

    def close(self) -> None:
        """Unkey everything, say that we go, stop all timers, close the socket."""
        self._transmitter.stop_all()
        self._sign_off()
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        if self._transport is None:
            self.connection_lost(None)
        else:
            self._transport.close()


def now() -> datetime:
    """The time of an event that happens now."""
    return datetime.now(UTC)
