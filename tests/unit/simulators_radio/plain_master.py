"""A small Homebrew master for the tests: written from the byte offsets, shares no code."""

import asyncio
import hashlib
from collections.abc import Callable
from types import TracebackType
from typing import Self

Address = tuple[str, int]


class PlainMaster(asyncio.DatagramProtocol):
    """Answers one passphrase; keeps every datagram with its time of arrival."""

    def __init__(self, passphrase: bytes = b"s3cret", address: Address = ("127.0.0.1", 0)) -> None:
        self.passphrase = passphrase
        self.address = address
        self.salt = b"\x01\x02\x03\x04"
        self.seen: list[tuple[float, bytes]] = []
        self.peers: dict[bytes, Address] = {}
        self.answers_pings = True
        self.answers = True
        self._changed = asyncio.Event()

    async def __aenter__(self) -> Self:
        self.loop = asyncio.get_running_loop()
        self.transport, _ = await self.loop.create_datagram_endpoint(
            lambda: self, local_addr=self.address
        )
        self.address = self.transport.get_extra_info("sockname")[:2]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.transport.close()
        await asyncio.sleep(0)

    def datagram_received(self, data: bytes, addr: Address) -> None:
        self.seen.append((self.loop.time(), data))
        self._changed.set()
        if self.answers:
            self._answer(data, addr)

    def _answer(self, data: bytes, addr: Address) -> None:
        if data[:5] == b"RPTCL":
            self.peers.pop(data[5:9], None)
        elif data[:4] == b"RPTL":
            self.transport.sendto(b"RPTACK" + self.salt, addr)
        elif data[:4] == b"RPTK":
            right = hashlib.sha256(self.salt + self.passphrase).digest() == data[8:40]
            self.transport.sendto((b"RPTACK" if right else b"MSTNAK") + data[4:8], addr)
        elif data[:4] == b"RPTC":
            self.peers[data[4:8]] = addr
            self.transport.sendto(b"RPTACK" + data[4:8], addr)
        elif data[:4] == b"RPTO":
            self.transport.sendto(b"RPTACK" + data[4:8], addr)
        elif data[:7] == b"RPTPING" and self.answers_pings:
            known = self.peers.get(data[7:11]) == addr
            self.transport.sendto((b"MSTPONG" if known else b"MSTNAK") + data[7:11], addr)

    def send(self, repeater: int, datagram: bytes) -> None:
        self.transport.sendto(datagram, self.peers[repeater.to_bytes(4, "big")])

    def of(self, word: bytes) -> list[bytes]:
        return [data for _, data in self.seen if data.startswith(word)]

    async def until(self, condition: Callable[[], bool], timeout_s: float = 5.0) -> None:
        async with asyncio.timeout(timeout_s):
            while not condition():
                self._changed.clear()
                await self._changed.wait()
