"""A key is a lease: with every later message lost, nothing stays keyed longer than its lease."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.agents.lease import Leases

requests = st.lists(
    st.tuples(
        st.sampled_from(["a", "b"]),
        st.sampled_from(["t1", "t2", "t3"]),
        st.floats(0.1, 5),
        st.floats(0, 2),
        st.booleans(),
    ),
    max_size=40,
)


@given(requests)
def test_no_key_outlives_its_lease_when_all_later_messages_are_lost(
    history: list[tuple[str, str, float, float, bool]],
) -> None:
    leases, now_s, longest_s = Leases(), 0.0, 0.0
    for channel, transmission, lease_s, wait_s, release in history:
        now_s += wait_s
        leases.expire(now_s)
        if release:
            leases.release(channel, transmission)
        else:
            leases.request(channel, transmission, lease_s, now_s)
            longest_s = max(longest_s, now_s + lease_s)
    held = len(leases)
    assert len(leases.expire(longest_s)) == held
    assert len(leases) == 0


def test_a_renewal_extends_and_another_transmission_replaces() -> None:
    leases = Leases()
    assert leases.request("c", "t1", 2.0, 0.0) is None
    assert leases.request("c", "t1", 2.0, 1.0) is None
    assert leases.expire(2.5) == []
    assert leases.request("c", "t2", 2.0, 2.5) == "t1"
    assert leases.release("c", "t1") is False
    assert leases.transmission("c") == "t2"
    assert leases.expire(4.5) == [("c", "t2")]
