"""Which talkgroups a repeater asks for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.homebrew.options import LARGEST_TALKGROUP, wanted


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("TS1=3101,3102;TS2=9", {1: {3101, 3102}, 2: {9}}),
        ("ts1 = 3101 , 3102 ;", {1: {3101, 3102}}),
        ("TS2=", {2: set()}),
        ("TS1=*;TS2=9", {2: {9}}),
        ("TS1_1=91;TS1_2=92;TS2_1=9", {1: {91, 92}, 2: {9}}),
        ("StartRef=4001;RelinkTime=15;TS1=3101;PASS=x", {1: {3101}}),
        ("TS1=3101,0", {}),
        ("TS1=16777216", {}),
        ("TS3=1;TS1:3101;TS1=a", {}),
    ],
)
def test_options(text: str, expected: dict[int, set[int]]) -> None:
    assert wanted(text) == {slot: frozenset(numbers) for slot, numbers in expected.items()}


@given(st.text(max_size=60) | st.text(alphabet="TS12_=,;* 0", max_size=40))
def test_any_text(text: str) -> None:
    found = wanted(text)
    assert set(found) <= {1, 2}
    assert all(1 <= number <= LARGEST_TALKGROUP for each in found.values() for number in each)
