"""The other end of an OpenBridge: a master that seals each burst, with radios behind it."""

import asyncio
import hashlib
import hmac
import random
import secrets
from typing import Any, Self

from simulators.homebrew_repeater import Heard, burst
from simulators.homebrew_repeater.disturbance import Disturbance
from simulators.homebrew_repeater.slot import Slot, Talk, Voice
from simulators.homebrew_repeater.wire import Dmrd, MalformedPacket, read_dmrd
from simulators.waiting import Changes

Address = tuple[str, int]
BURST_BYTES = 53


class OpenBridgeEnd(asyncio.DatagramProtocol):
    """Listens on loopback; use as an async context manager.

    key: of both ends. network_id: its own, in what it sends. far: where the other end is, to be set
    before a talk. heard: the talks that came, each burst of them checked. forged: datagrams that
    another key has sealed. network: what happens to the talks that it sends.
    """

    def __init__(
        self, key: str, *, network_id: int = 3129, host: str = "127.0.0.1", seed: int | None = None
    ) -> None:
        self.key = key
        self.network_id = network_id
        self.host, self.port = host, 0
        self.far: Address | None = None
        self.heard: list[Heard] = []
        self.forged = 0
        self.malformed = 0
        self.changes = Changes()
        self.network = Disturbance(random.Random(seed))
        self._slots: dict[int, Slot] = {}
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

    def talk(
        self,
        source: int,
        talkgroup: int,
        *,
        emergency: bool = False,
        private: bool = False,
        voice: Voice | None = None,
    ) -> Talk:
        """A radio behind this end talks, until `release` of what is given back."""
        control = burst.LinkControl(
            source=source, destination=talkgroup, emergency=emergency, private=private
        )
        talk = Talk(
            repeater=self.network_id,
            slot=1,
            control=control,
            stream=secrets.randbits(32) or 1,
            colour_code=1,
            alias="",
            position=None,
            send=lambda packet: self.network.send(packet.encode()[:BURST_BYTES], self.send),
            send_alias=lambda _source, _block, _data: None,
            send_position=lambda _source, _data: None,
            finished=self._talks.discard,
            voice=voice,
        )
        self._talks.add(talk)
        return talk

    def send(self, datagram: bytes, key: str | None = None) -> None:
        """Seal anything, with a key of one's own choice, and send it."""
        digest = hmac.new((key or self.key).encode(), datagram, hashlib.sha1).digest()
        self.send_raw(datagram + digest)

    def send_raw(self, datagram: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing() and self.far:
            self._transport.sendto(datagram, self.far)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        datagram, digest = data[:BURST_BYTES], data[BURST_BYTES:]
        mine = hmac.new(self.key.encode(), datagram, hashlib.sha1).digest()
        if not hmac.compare_digest(mine, digest):
            self.forged += 1
        else:
            self._take(datagram)
        self.changes.notify()

    def _take(self, datagram: bytes) -> None:
        try:
            packet = read_dmrd(datagram)
        except MalformedPacket:
            self.malformed += 1
            return
        if packet.slot != 1:
            self.malformed += 1
            return
        self._place(packet).receive(packet)

    def _place(self, packet: Dmrd) -> Slot:
        """Each talkgroup has a place of its own."""
        return self._slots.setdefault(
            packet.destination, Slot(1, self.heard.append, self.changes.notify)
        )
