"""Bits of a raw byte sequence payload (RBSP), as parameter sets of H.264 and H.265 are coded."""

from adapters.errors import ProtocolViolation

MAX_PARAMETER_SET_BYTES = 4096


def unescape(nal: bytes) -> bytes:
    """A NAL unit without its emulation prevention bytes (00 00 03 becomes 00 00)."""
    return nal.replace(b"\x00\x00\x03", b"\x00\x00")


class BitReader:
    """Reads unsigned fields from the most significant bit on.

    Raises: ProtocolViolation when more is read than there is.
    """

    def __init__(self, data: bytes) -> None:
        if len(data) > MAX_PARAMETER_SET_BYTES:
            raise ProtocolViolation(f"a parameter set of {len(data)} bytes is not believable")
        self._value = int.from_bytes(data, "big")
        self._left = len(data) * 8

    def read(self, bits: int) -> int:
        """The next bits as an unsigned number."""
        self._left -= bits
        if self._left < 0:
            raise ProtocolViolation("a parameter set ends too early")
        return (self._value >> self._left) & ((1 << bits) - 1)

    def flag(self) -> bool:
        return self.read(1) == 1

    def ue(self) -> int:
        """An unsigned Exp-Golomb number (H.264 clause 9.1)."""
        zeros = 0
        while not self.flag():
            zeros += 1
            if zeros > 32:
                raise ProtocolViolation("a parameter set holds a number that is too long")
        return (1 << zeros) - 1 + self.read(zeros)

    def se(self) -> int:
        """A signed Exp-Golomb number (H.264 clause 9.1.1)."""
        number = self.ue()
        return (number + 1) // 2 if number % 2 else -(number // 2)
