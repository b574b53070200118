"""Putting datagrams back in order, within a small window."""

from collections.abc import Iterator

from adapters.errors import ProtocolViolation

_HALF = 0x8000


class ReorderWindow:
    """RTP packets of one sender in the order of their sequence numbers.

    A packet that comes early waits until the missing ones have come, `limit` packets wait, or
    the first has waited `hold_s`; then the missing ones count as lost, which is for whoever reads
    on to notice. Old packets and sudden restarts pass as they are, for the same reader to judge.
    """

    def __init__(self, limit: int = 64, hold_s: float = 0.1) -> None:
        self._limit = limit
        self._hold_s = hold_s
        self._expected = -1
        self._restart = -1
        self._held: dict[int, tuple[float, bytes]] = {}

    @property
    def waiting(self) -> int:
        return len(self._held)

    def push(self, packet: bytes, now_s: float) -> list[bytes]:
        """The packets whose turn has come. now_s: on any monotonic clock.
        Raises: ProtocolViolation for what is too short to be a packet."""
        if len(packet) < 12:
            raise ProtocolViolation("this is not an RTP packet")
        sequence = packet[2] << 8 | packet[3]
        if sequence == self._expected and not self._held:
            self._expected = (sequence + 1) & 0xFFFF
            return [packet]
        return list(self._sort(sequence, packet, now_s))

    def _sort(self, sequence: int, packet: bytes, now_s: float) -> Iterator[bytes]:
        ahead = (sequence - self._expected) & 0xFFFF if self._expected >= 0 else 0
        if ahead >= _HALF:
            continues = sequence == self._restart
            self._restart = (sequence + 1) & 0xFFFF
            if continues:
                yield from self._flush()
                self._expected = self._restart
            yield packet
        elif ahead == 0 or ahead > 2 * self._limit:
            if ahead:
                yield from self._flush()
            yield packet
            self._expected = (sequence + 1) & 0xFFFF
            yield from self._drain()
        else:
            self._held[sequence] = (now_s, packet)
            oldest_s = next(iter(self._held.values()))[0]
            if len(self._held) > self._limit or now_s - oldest_s >= self._hold_s:
                self._expected = min(self._held, key=lambda n: (n - self._expected) & 0xFFFF)
                yield from self._drain()

    def _drain(self) -> Iterator[bytes]:
        while self._expected in self._held:
            yield self._held.pop(self._expected)[1]
            self._expected = (self._expected + 1) & 0xFFFF

    def _flush(self) -> Iterator[bytes]:
        for sequence in sorted(self._held, key=lambda n: (n - self._expected) & 0xFFFF):
            yield self._held.pop(sequence)[1]
