"""The UDP side of a peer: we sign in with somebody else's master."""

import asyncio
import dataclasses
import logging
from collections.abc import Sequence

from adapters.base import Emit
from adapters.errors import Unreachable
from adapters.events import Online
from adapters.homebrew import wire
from adapters.homebrew.settings import HomebrewSettings
from adapters.homebrew.sign_in import Peer
from adapters.homebrew.station import Station, now
from adapters.homebrew.uplink import Step, Uplink

logger = logging.getLogger(__name__)

BUSY_S = 0.36
"""A timeslot stays with the talk that has it: another one's bursts are dropped for so long."""


class MasterPeer(Station):
    """One connection, over a socket that is connected to the master."""

    def __init__(
        self,
        settings: HomebrewSettings,
        channels: Sequence[str],
        emit: Emit,
        echo_s: float,
        device: str,
    ) -> None:
        self.dropped_bursts = 0
        self._device = device
        self._uplink = Uplink(settings, (settings.host, settings.port), device)
        super().__init__(settings, channels, emit, echo_s, self._uplink)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._follow(self._uplink.start(self._loop.time()))
        self._watch(self._loop.time())

    def error_received(self, exc: Exception) -> None:
        """ICMP: nobody listens at the master's port, or none at all is there."""
        reason = getattr(exc, "strerror", None) or type(exc).__name__
        self._fail(Unreachable(f"the master cannot be reached: {reason}", device=self._device))

    def _receive(self, data: bytes, peer: Peer) -> None:
        now_s = self._loop.time()
        try:
            message = wire.decode_from_master(data)
        except wire.MalformedPacketError as error:
            self._report_malformed(str(error), peer, now_s)
            return
        match message:
            case wire.FromMaster():
                self._follow(self._uplink.receive(message, now_s))
            case _ if not self._uplink.signed_in:
                pass  # of an earlier connection of ours
            case wire.Dmrd():
                self._hear_from_master(message, data, now_s)
            case wire.AliasBlock():
                self._note_alias(message.source_id, message.block, message.data, now_s)
            case wire.Position():
                self._note_position(message.source_id, message.data, now_s)

    def _hear_from_master(self, burst: wire.Dmrd, data: bytes, now_s: float) -> None:
        """Some masters leave the id of the repeater that heard it. Talks that a master lets
        through at once take turns, or they would end each other with every burst."""
        burst = dataclasses.replace(burst, repeater_id=self._uplink.id)
        talk = self._air.talk_at(burst.repeater_id, burst.slot)
        if (
            talk is not None
            and burst.is_talk
            and not talk.carries(burst)
            and now_s < talk.heard_s + BUSY_S
        ):
            self.dropped_bursts += 1
            return
        self._hear(burst, data, now_s)

    def _follow(self, step: Step) -> None:
        if step.datagram is not None:
            self._send(step.datagram, ())
        if step.failure is not None:
            self._fail(step.failure)
        if step.signed_in:
            logger.info("homebrew.signed_in", extra={"repeater": self._uplink.id})
            self._emit(Online(at=now()))
            self.report_health()

    def _watch(self, now_s: float) -> None:
        self._follow(self._uplink.tick(now_s))
        if not self.failed.done():
            self._arm("uplink", self._uplink.due_s(), self._watch)

    def _send(self, datagram: bytes, peer: Peer) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if self._paused:
            self.dropped_datagrams += 1  # the network takes nothing; voice is not kept for later
            return
        transport.sendto(datagram)

    def _sign_off(self) -> None:
        if self._uplink.signed_in:
            self._send(wire.encode_closing(self._uplink.id), ())
