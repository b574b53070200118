"""The sign-in of repeaters, as a state machine."""

import hashlib
import itertools
from collections.abc import Callable

import pytest

from adapters.homebrew import wire
from adapters.homebrew.settings import HomebrewSettings
from adapters.homebrew.sign_in import CHALLENGES, Peer, Roster, SignedIn, SignedOff, SignInRefused

HERE, THERE = ("127.0.0.1", 40001), ("127.0.0.1", 40002)
REPEATER = 310001


def a_roster(**settings: object) -> Roster:
    given = {"passphrase": "planted", "ping_timeout_s": 15, **settings}
    numbers = itertools.count(1)
    return Roster(HomebrewSettings.model_validate(given), lambda: next(numbers).to_bytes(4, "big"))


def answer_to(roster: Roster, passphrase: str, peer: Peer = HERE) -> wire.Authentication:
    challenge = roster.receive(wire.Login(repeater_id=REPEATER), peer, 0).datagram
    assert challenge is not None
    assert challenge[:6] == b"RPTACK"
    digest = hashlib.sha256(challenge[6:] + passphrase.encode()).digest()
    return wire.Authentication(repeater_id=REPEATER, digest=digest)


def configuration(color_code: int | None = 7) -> wire.Configuration:
    return wire.Configuration(
        repeater_id=REPEATER, callsign="BJ1ABC", rx_frequency_hz="", tx_frequency_hz="",
        color_code=color_code, latitude_deg="", longitude_deg="", location="", description="",
        slots="3", software="", package="",
    )  # fmt: skip


def sign_in(roster: Roster, peer: Peer = HERE, now_s: float = 0) -> None:
    roster.receive(answer_to(roster, "planted", peer), peer, now_s)
    reply = roster.receive(configuration(), peer, now_s)
    assert reply.datagram == wire.encode_ack(REPEATER)
    assert [type(each) for each in reply.notices] == [SignedIn]


def test_a_repeater_signs_in_step_by_step() -> None:
    roster = a_roster()
    reply = roster.receive(answer_to(roster, "planted"), HERE, 0)
    assert reply.datagram == wire.encode_ack(REPEATER)
    assert reply.notices == ()
    assert roster.find(REPEATER, HERE) is None, "it has not said what it is yet"
    assert roster.receive(wire.Ping(repeater_id=REPEATER), HERE, 0).datagram == wire.encode_nak(
        REPEATER
    )
    reply = roster.receive(configuration(), HERE, 0)
    assert isinstance(reply.notices[0], SignedIn)
    found = roster.find(REPEATER, HERE)
    assert found is not None
    assert (found.callsign, found.color_code) == ("BJ1ABC", 7)
    assert roster.find(REPEATER, THERE) is None
    assert roster.find_by_peer(HERE) is found
    assert [each.repeater_id for each in roster.signed_in] == [REPEATER]


def test_a_wrong_passphrase_is_refused_and_named_without_it() -> None:
    roster = a_roster()
    reply = roster.receive(answer_to(roster, "mistaken"), HERE, 0)
    assert reply.datagram == wire.encode_nak(REPEATER)
    (notice,) = reply.notices
    assert isinstance(notice, SignInRefused)
    assert str(REPEATER) in notice.reason
    assert "mistaken" not in notice.reason
    assert "planted" not in repr(notice)
    assert roster.receive(configuration(), HERE, 0).datagram == wire.encode_nak(REPEATER)


def test_a_challenge_is_good_for_one_answer() -> None:
    roster = a_roster()
    answer = answer_to(roster, "mistaken")
    roster.receive(answer, HERE, 0)
    right = hashlib.sha256((1).to_bytes(4, "big") + b"planted").digest()
    late = wire.Authentication(repeater_id=REPEATER, digest=right)
    assert roster.receive(late, HERE, 0).datagram == wire.encode_nak(REPEATER)


def test_a_repeater_may_have_a_passphrase_of_its_own() -> None:
    roster = a_roster(passphrases={REPEATER: "its own"})
    assert roster.receive(answer_to(roster, "planted"), HERE, 0).notices
    assert roster.receive(answer_to(roster, "its own"), HERE, 0).notices == ()


def test_only_listed_repeaters_get_a_challenge() -> None:
    roster = a_roster(repeaters=[310002])
    reply = roster.receive(wire.Login(repeater_id=REPEATER), HERE, 0)
    assert reply.datagram == wire.encode_nak(REPEATER)
    assert "list" in reply.notices[0].reason  # type: ignore[union-attr]


def test_packets_that_were_lost_may_be_sent_again() -> None:
    roster = a_roster()
    first = roster.receive(wire.Login(repeater_id=REPEATER), HERE, 0).datagram
    assert roster.receive(wire.Login(repeater_id=REPEATER), HERE, 1).datagram == first
    answer = answer_to(roster, "planted")
    for _ in range(2):
        assert roster.receive(answer, HERE, 2).datagram == wire.encode_ack(REPEATER)
    notices = [roster.receive(configuration(), HERE, 3).notices for _ in range(2)]
    assert len(notices[0]) == 1
    assert notices[1] == ()


def test_a_stranger_takes_nothing_from_a_signed_in_repeater() -> None:
    roster = a_roster()
    sign_in(roster)
    roster.receive(wire.Login(repeater_id=REPEATER), THERE, 1)
    roster.receive(wire.Authentication(repeater_id=REPEATER, digest=bytes(32)), THERE, 1)
    for message in (
        configuration(1),
        wire.Closing(repeater_id=REPEATER),
        wire.Ping(repeater_id=REPEATER),
        wire.Options(repeater_id=REPEATER, text="TS1=1"),
    ):
        reply = roster.receive(message, THERE, 1)
        assert reply.datagram == wire.encode_nak(REPEATER)
        assert reply.notices == ()
    found = roster.find(REPEATER, HERE)
    assert found is not None
    assert (found.color_code, found.options) == (7, "")


def test_a_repeater_that_comes_back_from_another_port_replaces_itself() -> None:
    roster = a_roster()
    sign_in(roster)
    reply = roster.receive(answer_to(roster, "planted", THERE), THERE, 1)
    assert [type(each) for each in reply.notices] == [SignedOff]
    roster.receive(configuration(), THERE, 1)
    assert roster.find(REPEATER, HERE) is None
    assert roster.find(REPEATER, THERE) is not None


def test_silence_signs_off_and_pings_do_not() -> None:
    roster = a_roster()
    sign_in(roster)
    assert roster.next_expiry_s() == 15
    assert roster.receive(wire.Ping(repeater_id=REPEATER), HERE, 14).datagram == b"MSTPONG" + (
        REPEATER
    ).to_bytes(4, "big")
    assert roster.expire(15) == ()
    (notice,) = roster.expire(29)
    assert isinstance(notice, SignedOff)
    assert "15 s" in notice.reason
    assert roster.next_expiry_s() is None
    assert roster.signed_in == ()


def test_signing_off() -> None:
    roster = a_roster()
    sign_in(roster)
    reply = roster.receive(wire.Closing(repeater_id=REPEATER), HERE, 1)
    assert isinstance(reply.notices[0], SignedOff)
    assert roster.signed_in == ()


def test_options_are_kept() -> None:
    roster = a_roster()
    sign_in(roster)
    roster.receive(wire.Options(repeater_id=REPEATER, text="TS1=3101"), HERE, 1)
    found = roster.find(REPEATER, HERE)
    assert found is not None
    assert found.options == "TS1=3101"


@pytest.mark.parametrize("strangers", [CHALLENGES + 1])
def test_challenges_are_bounded(strangers: int) -> None:
    roster = a_roster()
    answer = answer_to(roster, "planted")
    login: Callable[[int], wire.Login] = lambda number: wire.Login(repeater_id=number)  # noqa: E731
    for number in range(strangers):
        roster.receive(login(number), THERE, 0)
    assert roster.receive(answer, HERE, 0).datagram == wire.encode_nak(REPEATER)


def test_a_challenge_runs_out() -> None:
    roster = a_roster()
    answer = answer_to(roster, "planted")
    assert roster.receive(answer, HERE, 31).datagram == wire.encode_nak(REPEATER)
