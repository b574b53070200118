"""Whatever a feed says, and in whatever order: talks begin and end in pairs, one on a channel."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from recorder_feed import START, Air, call

from adapters.events import (
    EmergencyCleared,
    EmergencyRaised,
    FloorIdle,
    FloorRefreshed,
    FloorTaken,
)

_CALLS = st.builds(
    call,
    st.sampled_from([0, 1, 2, 3]),
    st.sampled_from([101, 102, 103]),
    call_num=st.integers(1, 4),
    sys_name=st.sampled_from(["p25trunk", "south", "airport"]),
    talkgroup_patches=st.sampled_from(["", "101,102", "101,102,103"]),
    call_state=st.sampled_from([-1, 0, 1]),
    mon_state=st.sampled_from([0, 5, 6]),
    rec_state=st.sampled_from([-1, 1, 3, 4]),
    emergency=st.booleans(),
    encrypted=st.booleans(),
    start_time=st.integers(START - 3, START + 3),
)
_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["call", "call_start", "calls_active", "end", "call_end", "wait"]),
        st.sampled_from(["east", "west"]),
        st.lists(_CALLS, max_size=3),
        st.sampled_from([0.0, 0.2, 1.0, 6.0]),
        st.integers(-3, 0),
    ),
    max_size=40,
)


def play(air: Air, steps: list[tuple[str, str, list[dict[str, Any]], float, int]]) -> None:
    for kind, instance, calls, seconds, late_s in steps:
        air.after(seconds)
        ts = START + int(air.now_s - 100) + late_s
        if kind == "wait":
            air.tick()
        elif kind == "calls_active":
            air.active(*calls, instance=instance, ts=ts)
        elif calls:
            name = "end" if kind == "end" else "call"
            air.say(kind, name, calls[0], instance=instance, ts=ts)


@settings(max_examples=150, deadline=None)
@given(_STEPS)
def test_talks_begin_and_end_in_pairs(
    steps: list[tuple[str, str, list[dict[str, Any]], float, int]],
) -> None:
    air = Air()
    for instance in ("east", "west"):
        air.systems(
            {"sys_name": "p25trunk", "type": "p25", "sysid": "1AE", "wacn": "BEE00"},
            {"sys_name": "south", "type": "p25", "sysid": "1AE", "wacn": "BEE00"},
            {"sys_name": "airport", "type": "conventional", "sysid": "0", "wacn": "0"},
            instance=instance,
        )
    play(air, steps)
    air.after(6)  # nothing is heard any more
    air.tick()
    talking: dict[str, str] = {}
    streams: set[tuple[str, str]] = set()
    emergencies: set[tuple[str, str]] = set()
    for event in air.events:
        match event:
            case FloorRefreshed():
                assert talking.get(event.address) == event.stream
            case FloorTaken():
                assert event.address not in talking, "two talks on one channel"
                assert (event.address, event.stream) not in streams, "a stream comes once"
                talking[event.address] = event.stream
                streams.add((event.address, event.stream))
            case FloorIdle():
                assert talking.pop(event.address, None) == event.stream
            case EmergencyRaised():
                assert (event.address, event.unit) not in emergencies
                emergencies.add((event.address, event.unit))
            case EmergencyCleared():
                emergencies.remove((event.address, event.unit))
    assert not talking, "a talk that nobody ends"
    assert air.feed.next_expiry_s() is None
    calls = air.feed._calls
    assert not calls._also
    assert set(calls._of_leg) == {k for c in calls._channels.values() for k in c.legs}
