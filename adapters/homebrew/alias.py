"""Talker aliases: the name of a radio, sent in up to four blocks. Pure.

Source: ETSI TS 102 361-2, clauses 7.1.1.4 and 7.2.18; g4klx/MMDVMHost DMRTA.cpp.
"""

from collections import OrderedDict

BLOCK_LENGTH = 7
BLOCKS = 4

_SEVEN_BIT, _LATIN_1, _UTF_8, _UTF_16 = range(4)


class AliasBook:
    """The aliases of the radios heard last. Bounded: the one heard longest ago goes first."""

    def __init__(self, capacity: int = 1024) -> None:
        self._capacity = capacity
        self._blocks: OrderedDict[int, dict[int, bytes]] = OrderedDict()
        self._names: dict[int, str] = {}

    def name_of(self, source_id: int) -> str:
        """The alias, empty while it is not known whole."""
        return self._names.get(source_id, "")

    def add(self, source_id: int, block: int, data: bytes) -> bool:
        """Note a block (0..3, 7 bytes each); true when the alias is new or changed by it."""
        blocks = self._blocks.setdefault(source_id, {})
        self._blocks.move_to_end(source_id)
        if block == 0 and blocks.get(0, data) != data:
            blocks.clear()  # another name: its old blocks belong to nobody
        blocks[block] = data
        if len(self._blocks) > self._capacity:
            forgotten, _ = self._blocks.popitem(last=False)
            self._names.pop(forgotten, None)
        name = decode_alias(blocks)
        if not name or self._names.get(source_id) == name:
            return False
        self._names[source_id] = name
        return True


def decode_alias(blocks: dict[int, bytes]) -> str | None:
    """The name that the blocks spell, None while one of them is missing.

    blocks: 7 bytes each, by number. The first byte of block 0 has the format (2 bits) and the
    length in characters (5 bits); UTF-8 is counted in bytes.
    """
    if 0 not in blocks:
        return None
    first = blocks[0][0]
    text_format, length = first >> 6, first >> 1 & 0x1F
    needed_bytes = _needed_bytes(text_format, length)
    needed_blocks = min(-(-needed_bytes // BLOCK_LENGTH), BLOCKS)
    if any(number not in blocks for number in range(needed_blocks)):
        return None
    data = b"".join(blocks.get(number, bytes(BLOCK_LENGTH)) for number in range(BLOCKS))
    name = _spell(data, text_format, length).split("\x00")[0]
    return "".join(filter(str.isprintable, name)).strip()


def _needed_bytes(text_format: int, length: int) -> int:
    if text_format == _SEVEN_BIT:
        return -(-(7 + 7 * length) // 8)
    return 1 + (2 * length if text_format == _UTF_16 else length)


def _spell(data: bytes, text_format: int, length: int) -> str:
    if text_format == _SEVEN_BIT:
        bits = int.from_bytes(data, "big")
        total = len(data) * 8
        last = min(length, total // 7 - 1)
        codes = (bits >> total - 7 * (place + 2) & 0x7F for place in range(last))
        return "".join(map(chr, codes))
    if text_format == _UTF_16:
        return data[1 : 1 + 2 * length].decode("utf-16-be", "replace")
    encoding = "latin-1" if text_format == _LATIN_1 else "utf-8"
    return data[1 : 1 + length].decode(encoding, "replace")
