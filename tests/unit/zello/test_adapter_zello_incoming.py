"""Streams of others: floor events from messages, packets and time alone."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from adapters.events import Event, FloorIdle, FloorRefreshed, FloorTaken
from adapters.zello.incoming import STREAMS, IncomingStreams

AT = datetime(2026, 1, 1, tzinfo=UTC)


def start(
    streams: IncomingStreams, stream_id: int = 7, now_s: float = 0, cause: str | None = None
) -> list[Event]:
    return streams.started(
        stream_id=stream_id, address="ops", sender="alex", caused_by=cause, now_s=now_s, at=AT
    )


def test_a_stream_from_start_to_stop() -> None:
    streams = IncomingStreams(3.0)
    (taken,) = start(streams)
    assert taken == FloorTaken(at=AT, address="ops", stream="7", talker="alex", hold_s=3.0)
    assert streams.packet(7, 0.06, AT) == []
    assert streams.stopped(7, "released", AT) == [
        FloorIdle(at=AT, address="ops", stream="7", reason="released")
    ]
    assert streams.stopped(7, "released", AT) == []
    assert streams.packet(7, 0.5, AT) == []
    assert streams.unknown_packets == 1


def test_refreshes_come_once_a_second_and_only_with_packets() -> None:
    streams = IncomingStreams(3.0)
    start(streams)
    at_s = [n / 10 for n in range(1, 35)]
    refreshed = [now_s for now_s in at_s if streams.packet(7, now_s, AT)]
    assert refreshed == [1.0, 2.0, 3.0]


def test_without_packets_a_stream_is_lost_and_comes_back_late() -> None:
    streams = IncomingStreams(3.0)
    start(streams)
    streams.packet(7, 1.0, AT)
    assert streams.next_expiry_s() == 4.0
    assert streams.expire(3.9, AT) == []
    (idle,) = streams.expire(4.0, AT)
    assert isinstance(idle, FloorIdle)
    assert idle.reason == "lost"
    assert streams.next_expiry_s() is None
    (again,) = streams.packet(7, 5.0, AT)
    assert isinstance(again, FloorTaken)
    assert not isinstance(again, FloorRefreshed)
    assert again.late_entry
    assert len(streams.stopped(7, "released", AT)) == 1


def test_a_lost_stream_that_stops_has_ended_already() -> None:
    streams = IncomingStreams(3.0)
    start(streams)
    streams.expire(3.0, AT)
    assert streams.stopped(7, "released", AT) == []


def test_an_id_that_is_used_again_ends_what_it_was() -> None:
    streams = IncomingStreams(3.0)
    start(streams)
    assert [type(event) for event in start(streams)] == [FloorIdle, FloorTaken]


def test_a_channel_and_a_connection_that_are_lost() -> None:
    streams = IncomingStreams(3.0)
    start(streams, 1)
    streams.started(stream_id=2, address="b", sender="eve", caused_by="t-1", now_s=0, at=AT)
    (lost,) = streams.channel_lost("b", AT)
    assert lost == FloorIdle(at=AT, address="b", stream="2", reason="lost", caused_by="t-1")
    assert [event.address for event in streams.all_lost(AT)] == ["ops"]  # type: ignore[attr-defined]
    assert streams.all_lost(AT) == []


def test_streams_that_never_stop_are_bounded() -> None:
    streams = IncomingStreams(3.0)
    for number in range(STREAMS):
        assert len(start(streams, number)) == 1
    ended, _ = start(streams, STREAMS)
    assert isinstance(ended, FloorIdle)
    assert ended.stream == "0"


@given(
    st.lists(
        st.tuples(
            st.sampled_from(("start", "packet", "stop", "expire", "channel", "all")),
            st.integers(1, 3),
            st.floats(0, 2),
        ),
        max_size=40,
    )
)
def test_every_start_has_one_end_whatever_comes(sequence: list[tuple[str, int, float]]) -> None:
    streams = IncomingStreams(3.0)
    running: set[str] = set()
    now_s = 0.0

    def check(events: list[Event]) -> None:
        for event in events:
            match event:
                case FloorRefreshed():
                    assert event.stream in running
                case FloorTaken():
                    assert event.stream not in running
                    running.add(event.stream)
                case FloorIdle():
                    running.remove(event.stream)

    for what, number, wait_s in sequence:
        now_s += wait_s
        match what:
            case "start":
                check(start(streams, number, now_s))
            case "packet":
                check(streams.packet(number, now_s, AT))
            case "stop":
                check(streams.stopped(number, "released", AT))
            case "expire":
                check(streams.expire(now_s, AT))
            case "channel":
                check(streams.channel_lost("ops", AT))
            case _:
                check(streams.all_lost(AT))
    check(streams.expire(now_s + 3, AT))
    assert not running
