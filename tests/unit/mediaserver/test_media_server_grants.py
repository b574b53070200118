"""Who reads by whose ticket, decided without a server."""

from datetime import UTC, datetime

import pytest

from gateway.live import KnownProfile, Ticket, View
from gateway.live.mediaserver.grants import LATE_S, GrantBook, Judgement
from gateway.live.mediaserver.wire import Reader

OWNER = "h0123456789-"
PATH = f"{OWNER}path"
ONE, TWO = "http://one:9997", "http://two:9997"
NOW_S = 1_000.0


def ticket(name: str = "t1", point: str = "gate", user: str = "li", token_id: str = "") -> Ticket:
    return Ticket(
        token=f"secret of {name}",
        id=name,
        user_id=user,
        point_id=point,
        profile="main",
        known=KnownProfile(),
        clear=True,
        purpose="a fire",
        expires_at=datetime.now(UTC),
        deadline_s=NOW_S + 30,
        token_id=token_id,
    )


def reader(
    session: str, ticket_id: str = "t1", *, path: str = PATH, created_s: float = 5.0
) -> Reader:
    return Reader(
        kind="rtspsessions", id=session, ticket_id=ticket_id, path=path, created_s=created_s
    )


@pytest.fixture
def book() -> GrantBook:
    it = GrantBook(OWNER)
    it.add(ticket(), ONE, PATH)
    return it


def kicks(judgement: Judgement) -> list[str]:
    return [kicked.id for kicked, _ in judgement.kicks]


def test_the_first_session_takes_the_ticket(book: GrantBook) -> None:
    first = book.judge(ONE, [reader("a")], NOW_S)
    assert [grant.ticket.id for grant in first.opened] == ["t1"]
    again = book.judge(ONE, [reader("a")], NOW_S + 2)
    assert (again.opened, again.closed, again.kicks) == ([], [], [])
    over = book.judge(ONE, [], NOW_S + 7)
    assert [(each.seconds, each.ended) for each in over.closed] == [(7.0, "the viewer left")]


def test_of_two_seen_at_once_the_older_stays(book: GrantBook) -> None:
    seen = [reader("young", created_s=9.0), reader("old", created_s=8.0)]
    judgement = book.judge(ONE, seen, NOW_S)
    assert kicks(judgement) == ["young"]
    assert judgement.replays == 1


def test_whoever_took_it_keeps_it_whatever_clocks_say(book: GrantBook) -> None:
    book.judge(ONE, [reader("a", created_s=9.0)], NOW_S)
    seen = [reader("b", created_s=8.0), reader("a", created_s=9.0)]
    assert kicks(book.judge(ONE, seen, NOW_S)) == ["b"]


@pytest.mark.parametrize(
    ("seen", "server"),
    [
        (reader("x", "nobodys"), ONE),
        (reader("x", ""), ONE),
        (reader("x", path=f"{OWNER}another"), ONE),
        (reader("x"), TWO),
    ],
)
def test_what_was_not_handed_out_goes(book: GrantBook, seen: Reader, server: str) -> None:
    assert kicks(book.judge(server, [seen], NOW_S)) == ["x"]


def test_paths_of_others_are_their_own_business(book: GrantBook) -> None:
    judgement = book.judge(ONE, [reader("x", "nobodys", path="somebodys")], NOW_S)
    assert judgement.kicks == []


def test_a_used_ticket_opens_nothing_more(book: GrantBook) -> None:
    book.judge(ONE, [reader("a")], NOW_S)
    book.judge(ONE, [], NOW_S + 1)
    assert kicks(book.judge(ONE, [reader("b")], NOW_S + 2)) == ["b"]


def test_a_lost_right_ends_all_views_of_it_until_they_are_gone(book: GrantBook) -> None:
    book.add(ticket("t2", user="wang"), ONE, PATH)
    seen = [reader("a"), reader("b", "t2")]
    book.judge(ONE, seen, NOW_S)
    lost = View(user_id="li", point_id="gate", clear=True)
    assert book.end_view(lost, "the right has ended") == 1
    for later_s in (1, 2, 3):
        assert kicks(book.judge(ONE, seen, NOW_S + later_s)) == ["a"]
    over = book.judge(ONE, [reader("b", "t2")], NOW_S + 4)
    assert [each.ended for each in over.closed] == ["the right has ended"]
    assert [grant.ticket.id for grant in book.running()] == ["t2"]


def test_a_program_loses_its_views_and_the_person_it_acts_for_keeps_theirs(
    book: GrantBook,
) -> None:
    book.add(ticket("t2", token_id="token"), ONE, PATH)
    book.judge(ONE, [reader("a"), reader("b", "t2")], NOW_S)
    lost = View(user_id="li", point_id="gate", clear=True, token_id="token")
    assert {grant.view for grant in book.running()} > {lost}
    assert book.end_view(lost, "the right has ended") == 1
    assert kicks(book.judge(ONE, [reader("a"), reader("b", "t2")], NOW_S)) == ["b"]


def test_an_unused_ticket_can_be_ended_too(book: GrantBook) -> None:
    assert book.wanted(NOW_S) == {PATH}
    assert book.end("t1", "used here")
    assert not book.end("t1", "used here")
    assert book.wanted(NOW_S) == set()
    assert kicks(book.judge(ONE, [reader("a")], NOW_S)) == ["a"]


def test_a_path_is_wanted_while_somebody_may_still_come(book: GrantBook) -> None:
    assert book.wanted(NOW_S + 30 + LATE_S - 1) == {PATH}
    assert book.wanted(NOW_S + 30 + LATE_S + 1) == set()
    book.judge(ONE, [reader("a")], NOW_S + 29)
    assert book.wanted(NOW_S + 10_000) == {PATH}


def test_nothing_is_kept_of_tickets_that_are_over(book: GrantBook) -> None:
    book.judge(ONE, [reader("a")], NOW_S)
    book.judge(ONE, [], NOW_S + 1)
    assert len(book) == 1, "so that a replay is known"
    book.judge(ONE, [], NOW_S + 30 + LATE_S + 1)
    assert len(book) == 0


def test_a_server_that_is_gone_ends_its_views_only(book: GrantBook) -> None:
    book.add(ticket("t2"), TWO, PATH)
    book.judge(ONE, [reader("a")], NOW_S)
    book.judge(TWO, [reader("b", "t2")], NOW_S)
    closed = book.close_all(ONE, NOW_S + 20, "the media server is away")
    assert [(each.id, each.ended) for each in closed] == [("t1", "the media server is away")]
    assert [grant.ticket.id for grant in book.running()] == ["t2"]
    assert kicks(book.judge(ONE, [reader("a")], NOW_S + 21)) == ["a"]
