"""The limit of reports."""

from adapters.homebrew.limit import Limit


def test_a_second_admits_so_many_and_the_next_says_how_many_were_left_out() -> None:
    limit = Limit(2)
    assert [limit.admit(10.0 + n / 10) for n in range(5)] == [0, 0, None, None, None]
    assert limit.admit(11.0) == 3
    assert limit.admit(11.5) == 0
    assert limit.admit(11.9) is None
    assert limit.admit(20.0) == 1
