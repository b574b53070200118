"""The UDP side of a Homebrew master: repeaters sign in to it."""

import logging
import secrets
from collections.abc import Sequence

from adapters.base import Emit
from adapters.events import ChannelMeasured
from adapters.homebrew import wire
from adapters.homebrew.keying import parse_address
from adapters.homebrew.settings import HomebrewSettings
from adapters.homebrew.sign_in import Notice, Peer, Repeater, Roster, SignedIn, SignedOff
from adapters.homebrew.station import Station, now

logger = logging.getLogger(__name__)


class Master(Station):
    """One running master."""

    def __init__(
        self, settings: HomebrewSettings, channels: Sequence[str], emit: Emit, echo_s: float
    ) -> None:
        self._roster = Roster(settings, lambda: secrets.token_bytes(wire.SALT_LENGTH))
        super().__init__(settings, channels, emit, echo_s, self._roster)
        self._stations_told: dict[str, int] = {}

    def _receive(self, data: bytes, peer: Peer) -> None:
        now_s = self._loop.time()
        try:
            message = wire.decode(data)
        except wire.MalformedPacketError as error:
            self._report_malformed(str(error), peer, now_s)
            return
        match message:
            case wire.Dmrd():
                if self._sender(message.repeater_id, peer, now_s):
                    self._hear(message, data, now_s)
            case wire.AliasBlock():
                if self._sender(message.repeater_id, peer, now_s):
                    self._note_alias(message.source_id, message.block, message.data, now_s)
            case wire.Position():
                if self._sender(message.repeater_id, peer, now_s):
                    self._note_position(message.source_id, message.data, now_s)
            case _:
                reply = self._roster.receive(message, peer, now_s)
                if reply.datagram is not None:
                    self._send(reply.datagram, peer)
                self._notice(reply.notices, peer, now_s)
                if isinstance(message, wire.Options):
                    self.report_health()
                self._arm("roster", self._roster.next_expiry_s(), self._expire_roster)

    def report_health(self) -> None:
        """Tell the channels' health, and at how many repeaters each goes out, where that has
        changed."""
        super().report_health()
        for address in self._channels:
            channel = parse_address(address)
            if channel is None:
                continue
            stations = len(self._transmitter.takers(channel))
            if stations != self._stations_told.get(address):
                self._stations_told[address] = stations
                self._emit(ChannelMeasured(at=now(), address=address, stations=stations))

    def _sender(self, repeater_id: int | None, peer: Peer, now_s: float) -> Repeater | None:
        """The signed-in repeater that speaks; one that is not is told to sign in."""
        if repeater_id is None:
            repeater = self._roster.find_by_peer(peer)
        else:
            repeater = self._roster.find(repeater_id, peer)
        if repeater is not None:
            repeater.heard_s = now_s
        elif repeater_id is not None:
            self._send(wire.encode_nak(repeater_id), peer)
        return repeater

    def _notice(self, notices: Sequence[Notice], peer: Peer, now_s: float) -> None:
        for notice in notices:
            match notice:
                case SignedIn():
                    self._log_repeater("homebrew.repeater_signed_in", notice.repeater, "")
                case SignedOff():
                    repeater_id = notice.repeater.repeater_id
                    self._log_repeater(
                        "homebrew.repeater_signed_off", notice.repeater, notice.reason
                    )
                    self._tell(self._air.drop_repeater(repeater_id), now_s)
                    for slot in (1, 2):
                        self._carried.pop((repeater_id, slot), None)
                case _:
                    self._report_malformed(notice.reason, peer, now_s)
        if notices:
            self.report_health()

    def _log_repeater(self, event: str, repeater: Repeater, reason: str) -> None:
        where = f"{repeater.peer[0]}:{repeater.peer[1]}"
        extra = {"repeater": repeater.repeater_id, "callsign": repeater.callsign, "peer": where}
        logger.info(event, extra=extra | ({"reason": reason} if reason else {}))

    def _expire_roster(self, now_s: float) -> None:
        self._notice(self._roster.expire(now_s), (), now_s)
        self._arm("roster", self._roster.next_expiry_s(), self._expire_roster)

    def _sign_off(self) -> None:
        for repeater in self._roster.signed_in:
            self._send(wire.encode_master_closing(repeater.repeater_id), repeater.peer)
