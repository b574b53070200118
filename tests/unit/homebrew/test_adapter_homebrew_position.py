"""Where a radio is, from 7 bytes of link control."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.homebrew.position import AGAIN_S, PositionBook, decode_position
from simulators.homebrew_repeater import burst


@pytest.mark.parametrize(
    ("data", "longitude_deg", "latitude_deg", "error_m"),
    [
        ("00000000000000", 0.0, 0.0, 2.0),
        ("0e000000000000", 0.0, 0.0, None),
        ("0c000000000000", 0.0, 0.0, None),
        ("00800000400000", 90.0, 45.0, 2.0),
        ("01800000c00000", -90.0, -45.0, 2.0),
        ("f4ffffff7fffff", 179.999989, 89.999989, 200.0),
    ],
)
def test_by_the_layout_of_the_standard(
    data: str, longitude_deg: float, latitude_deg: float, error_m: float | None
) -> None:
    position = decode_position(bytes.fromhex(data))
    assert (position.longitude_deg, position.latitude_deg) == (longitude_deg, latitude_deg)
    assert position.error_m == error_m


@given(st.floats(-179.9, 179.9), st.floats(-89.9, 89.9))
def test_what_a_radio_writes_is_read_back(longitude_deg: float, latitude_deg: float) -> None:
    position = decode_position(burst.position_block(longitude_deg, latitude_deg)[2:])
    assert position.longitude_deg == pytest.approx(longitude_deg, abs=2e-5)
    assert position.latitude_deg == pytest.approx(latitude_deg, abs=2e-5)
    assert position.error_m == 2.0 * 10


@given(st.binary(max_size=16))
def test_any_bytes(data: bytes) -> None:
    if len(data) != 7:
        with pytest.raises(ValueError, match="bytes"):
            decode_position(data)
        return
    position = decode_position(data)
    assert -180 <= position.longitude_deg < 180
    assert -90 <= position.latitude_deg < 90


def test_a_radio_that_stays_is_told_seldom_and_one_that_moves_at_once() -> None:
    book, here = PositionBook(capacity=2), decode_position(bytes(7))
    there = decode_position(bytes.fromhex("00800000400000"))
    assert book.is_news(1, here, 0.0)
    assert not book.is_news(1, here, AGAIN_S - 0.1)
    assert book.is_news(1, here, AGAIN_S)
    assert book.is_news(1, there, AGAIN_S + 0.1)
    for other in (2, 3):
        assert book.is_news(other, here, 100.0)
    assert book.is_news(1, there, 100.0), "the one heard longest ago was forgotten"
