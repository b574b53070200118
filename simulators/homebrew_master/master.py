"""A master of the Homebrew protocol with radios of its own behind it."""

import asyncio
import hashlib
import random
import secrets
from typing import Any, Self

from simulators.homebrew_repeater import Heard, burst
from simulators.homebrew_repeater.disturbance import Disturbance
from simulators.homebrew_repeater.slot import Slot, Talk, Voice
from simulators.homebrew_repeater.wire import Dmrd, MalformedPacket, read_dmrd
from simulators.waiting import Changes

Address = tuple[str, int]
OWN_ID = 1
"""What its own radios' repeater is called; each peer gets its own id instead."""


class HomebrewMaster(asyncio.DatagramProtocol):
    """Listens on loopback; use as an async context manager.

    passphrase: what every peer signs in with. peers: by id, those that are signed in. heard: the
    talks that peers sent, each burst of them checked. options: what each peer has asked for.

    Faults, to be set at any time: silent answers nothing; refuse_login answers RPTL with MSTNAK;
    no_pongs lets pings go unanswered; keep_ids sends talks with its own repeater's id; network is
    what happens to the talks that it sends.
    """

    def __init__(
        self, passphrase: str, *, host: str = "127.0.0.1", port: int = 0, seed: int | None = None
    ) -> None:
        self.host, self.port = host, port
        self.passphrase = passphrase
        self.peers: dict[int, Address] = {}
        self.callsigns: dict[int, str] = {}
        self.options: dict[int, str] = {}
        self.heard: list[Heard] = []
        self.malformed = 0
        self.pings = 0
        self.goodbyes = 0
        self.silent = False
        self.refuse_login = False
        self.no_pongs = False
        self.keep_ids = False
        self.changes = Changes()
        self.network = Disturbance(random.Random(seed))
        self._salts: dict[int, bytes] = {}
        self._trusted: set[int] = set()
        self._slots = {
            number: Slot(number, self.heard.append, self.changes.notify) for number in (1, 2)
        }
        self._talks: set[Talk] = set()
        self._transport: asyncio.DatagramTransport | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(
            lambda: self, local_addr=(self.host, self.port)
        )
        self._transport = transport
        self.port = transport.get_extra_info("sockname")[1]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for talk in list(self._talks):
            talk.finish_now()
        for slot in self._slots.values():
            slot.end("unplugged")
        self.network.close()
        if self._transport is not None:
            self._transport.close()

    # --- its own radios -------------------------------------------------------------------------

    def talk(
        self,
        source: int,
        talkgroup: int,
        slot: int = 1,
        *,
        alias: str = "",
        emergency: bool = False,
        private: bool = False,
        encrypted: bool = False,
        voice: Voice | None = None,
    ) -> Talk:
        """A radio behind the master talks, until `release` of what is given back."""
        control = burst.LinkControl(
            source=source,
            destination=talkgroup,
            private=private,
            emergency=emergency,
            encrypted=encrypted,
        )
        talk = Talk(
            repeater=OWN_ID,
            slot=slot,
            control=control,
            stream=secrets.randbits(32) or 1,
            colour_code=1,
            alias=alias,
            position=None,
            send=self._send_to_peers,
            send_alias=lambda _source, _block, _data: None,
            send_position=lambda _source, _data: None,
            finished=self._talks.discard,
            voice=voice,
        )
        self._talks.add(talk)
        return talk

    def _send_to_peers(self, packet: Dmrd) -> None:
        self.network.send(packet.encode(), self._deliver)

    def _deliver(self, datagram: bytes) -> None:
        for peer in self.peers:
            own = datagram[11:15] if self.keep_ids else peer.to_bytes(4, "big")
            self.send(peer, datagram[:11] + own + datagram[15:])

    def send(self, peer: int, datagram: bytes) -> None:
        """Anything, to a peer that is signed in."""
        self._write(datagram, self.peers[peer])

    # --- faults ---------------------------------------------------------------------------------

    def forget(self) -> None:
        """As after a restart: it knows nobody, and says so when it is spoken to."""
        self.peers.clear()
        self._trusted.clear()
        self.changes.notify()

    def close_all(self) -> None:
        """Say MSTCL to every peer."""
        for peer, address in self.peers.items():
            self._write(b"MSTCL" + peer.to_bytes(4, "big"), address)
        self.forget()

    # --- asyncio.DatagramProtocol ---------------------------------------------------------------

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if not self.silent:
            self._take(data, addr)
        self.changes.notify()

    def _take(self, data: bytes, address: Address) -> None:
        if data.startswith(b"DMRD"):
            self._voice(data, address)
        elif data.startswith(b"RPTPING"):
            self._ping(data[7:11], address)
        elif data.startswith(b"RPTCL") and len(data) == 9:
            self.peers.pop(int.from_bytes(data[5:9], "big"), None)
            self.goodbyes += 1
        elif data[:4] in (b"RPTL", b"RPTK", b"RPTC", b"RPTO"):
            self._sign_in(data[:4], data[4:8], data[8:], address)
        else:
            self.malformed += 1

    def _sign_in(self, word: bytes, peer: bytes, rest: bytes, address: Address) -> None:
        number = int.from_bytes(peer, "big")
        if word == b"RPTL":
            if self.refuse_login:
                self._write(b"MSTNAK" + peer, address)
                return
            salt = self._salts.setdefault(number, secrets.token_bytes(4))
            self._write(b"RPTACK" + salt, address)
            return
        if word == b"RPTK":
            salt = self._salts.pop(number, b"")
            if hashlib.sha256(salt + self.passphrase.encode()).digest() == rest:
                self._trusted.add(number)
        if number not in self._trusted:
            self._write(b"MSTNAK" + peer, address)
            return
        if word == b"RPTC":
            if len(rest) != 294:
                self.malformed += 1
                return
            self.callsigns[number] = rest[:8].decode(errors="replace").strip()
            self.peers[number] = address
        elif word == b"RPTO":
            self.options[number] = rest.decode(errors="replace")
        self._write(b"RPTACK" + peer, address)

    def _ping(self, peer: bytes, address: Address) -> None:
        self.pings += 1
        known = self.peers.get(int.from_bytes(peer, "big")) == address
        if not known:
            self._write(b"MSTNAK" + peer, address)
        elif not self.no_pongs:
            self._write(b"MSTPONG" + peer, address)

    def _voice(self, datagram: bytes, address: Address) -> None:
        try:
            packet = read_dmrd(datagram)
        except MalformedPacket:
            self.malformed += 1
            return
        if self.peers.get(packet.repeater) != address:
            self.malformed += 1
            return
        self._slots[packet.slot].receive(packet)

    def _write(self, datagram: bytes, address: Address) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(datagram, address)
