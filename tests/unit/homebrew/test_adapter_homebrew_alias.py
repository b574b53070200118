"""Talker aliases in their four formats."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.homebrew.alias import AliasBook, decode_alias


def blocks_of(text_format: int, length: int, data: bytes) -> dict[int, bytes]:
    whole = bytes((text_format << 6 | length << 1,)) + data
    padded = whole.ljust(28, b"\0")
    return {number: padded[number * 7 : number * 7 + 7] for number in range(4)}


def seven_bit(text: str) -> dict[int, bytes]:
    bits = "00" + f"{len(text):05b}" + "".join(f"{ord(character):07b}" for character in text)
    whole = int(bits.ljust(224, "0"), 2).to_bytes(28, "big")
    return {number: whole[number * 7 : number * 7 + 7] for number in range(4)}


@pytest.mark.parametrize(
    ("blocks", "name"),
    [
        (seven_bit("BJ1ABC Zhang"), "BJ1ABC Zhang"),
        (seven_bit("x" * 31), "x" * 31),
        (blocks_of(1, 4, b"caf\xe9"), "café"),
        (blocks_of(2, 12, "张三 A12".encode()), "张三 A12"),
        (blocks_of(3, 6, "张三 A12".encode("utf-16-be")), "张三 A12"),
        (blocks_of(2, 9, b"ab\x00cd"), "ab"),
        (blocks_of(1, 5, b"a\nb\x1bc"), "abc"),
        (blocks_of(2, 0, b""), ""),
    ],
)
def test_formats(blocks: dict[int, bytes], name: str) -> None:
    assert decode_alias(blocks) == name


def test_only_the_blocks_that_are_needed_are_awaited() -> None:
    whole = blocks_of(2, 12, b"Patrol 12abc")
    assert decode_alias({0: whole[0]}) is None
    assert decode_alias({1: whole[1]}) is None
    assert decode_alias({0: whole[0], 1: whole[1]}) == "Patrol 12abc"


def test_a_book_tells_what_is_new() -> None:
    book = AliasBook()
    first, second = blocks_of(2, 9, b"Patrol 12"), blocks_of(2, 9, b"Patrol 34")
    assert not book.add(2001, 1, first[1])
    assert book.add(2001, 0, first[0])
    assert not book.add(2001, 0, first[0])
    assert book.name_of(2001) == "Patrol 12"
    assert book.name_of(2002) == ""
    changed = [book.add(2001, number, second[number]) for number in (0, 1)]
    assert changed[-1]
    assert book.name_of(2001) == "Patrol 34"


def test_another_name_does_not_borrow_blocks_of_the_old() -> None:
    book = AliasBook()
    for number, data in blocks_of(2, 12, b"Patrol 12abc").items():
        book.add(2001, number, data)
    assert not book.add(2001, 0, blocks_of(2, 12, b"Sierra 99xyz")[0])
    assert book.name_of(2001) == "Patrol 12abc"


def test_a_book_is_bounded() -> None:
    book = AliasBook(capacity=2)
    for source in (1, 2, 3):
        book.add(source, 0, blocks_of(2, 2, b"ab")[0])
    assert [book.name_of(source) for source in (1, 2, 3)] == ["", "ab", "ab"]


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 3), st.binary(min_size=7, max_size=7)),
        max_size=20,
    )
)
def test_any_blocks_give_a_printable_name(blocks: list[tuple[int, int, bytes]]) -> None:
    book = AliasBook(capacity=2)
    for source, number, data in blocks:
        book.add(source, number, data)
        assert book.name_of(source).isprintable()
