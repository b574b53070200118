"""OpenBridge: voice between two masters, each burst sealed, without signing in.

There is timeslot 1 only, and room for any number of talkgroups on it at once. So each talkgroup
is to the air what a repeater is elsewhere: a place for one talk; and so is each unit that is
called by another one.
"""

import dataclasses
from collections.abc import Sequence

from adapters.base import Emit
from adapters.events import KeyChannel, Outcome, Result
from adapters.homebrew import wire
from adapters.homebrew.keying import parse_address
from adapters.homebrew.peer import BUSY_S
from adapters.homebrew.settings import HomebrewSettings
from adapters.homebrew.sign_in import Peer, Repeater
from adapters.homebrew.station import Station

_UNIT = 1 << 24
"""Above all ids, so that a unit and a talkgroup of the same number are two places."""


class _FarEnd:
    """The other master; nothing says whether it is there."""

    nobody = "there is no other end"

    def __init__(self, settings: HomebrewSettings) -> None:
        assert settings.repeater_id is not None
        far = Repeater(
            repeater_id=settings.repeater_id,
            peer=settings.far_address,
            digest=b"",
            heard_s=0.0,
            color_code=settings.color_code,
            configured=True,
        )
        self.signed_in: tuple[Repeater, ...] = (far,)


class OpenBridge(Station):
    """One link, over a socket that is connected to the far end."""

    def __init__(
        self, settings: HomebrewSettings, channels: Sequence[str], emit: Emit, echo_s: float
    ) -> None:
        self.dropped_bursts = 0
        self._key = settings.passphrase.get_secret_value().encode()
        super().__init__(settings, channels, emit, echo_s, _FarEnd(settings), by_talkgroup=True)

    def key(self, command: KeyChannel) -> Outcome:
        channel = parse_address(command.address)
        if channel is not None and channel.slot != 1:
            reason = "OpenBridge carries timeslot 1 only"
            return Outcome(result=Result.REFUSED, reason=reason)
        return super().key(command)

    def _receive(self, data: bytes, peer: Peer) -> None:
        now_s = self._loop.time()
        try:
            burst = wire.decode(wire.unseal(data, self._key))
        except wire.MalformedPacketError as error:
            self._report_malformed(str(error), self._settings.far_address, now_s)
            return
        if not isinstance(burst, wire.Dmrd) or burst.slot != 1:
            self.dropped_bursts += 1
            return
        place = burst.destination_id | (_UNIT if burst.private else 0)
        burst = dataclasses.replace(burst, repeater_id=place)
        talk = self._air.talk_at(burst.repeater_id, burst.slot)
        other = talk is not None and burst.is_talk and not talk.carries(burst)
        if talk is not None and other and now_s < talk.heard_s + BUSY_S:
            self.dropped_bursts += 1
            return
        self._hear(burst, data, now_s)

    def _repeat(self, burst: wire.Dmrd, data: bytes, now_s: float) -> None:
        """Nothing goes back where it came from."""

    def _send(self, datagram: bytes, peer: Peer) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if self._paused:
            self.dropped_datagrams += 1  # the network takes nothing; voice is not kept for later
            return
        transport.sendto(wire.seal(datagram[: wire.DMRD_LENGTH], self._key))
