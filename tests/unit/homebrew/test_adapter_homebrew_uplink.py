"""Signing in with a master, step by step, from messages and time alone."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import AuthenticationFailed, ProtocolViolation, TimedOut, Unreachable
from adapters.homebrew import wire
from adapters.homebrew.settings import HomebrewSettings
from adapters.homebrew.uplink import ATTEMPTS, MISSES, REPLY_S, Step, Uplink
from adapters.homebrew.wire import FromMaster, Word

OURS = 460_900
ID = OURS.to_bytes(4, "big")
SALT = b"\x01\x02\x03\x04"


def settings(**given: object) -> HomebrewSettings:
    fields = {"mode": "peer", "passphrase": "s3cret", "repeater_id": OURS, **given}
    return HomebrewSettings.model_validate(fields)


def uplink(**given: object) -> Uplink:
    return Uplink(settings(**given), ("127.0.0.1", 62031), "master.example:62031")


def ack(body: bytes = ID) -> FromMaster:
    return FromMaster(word=Word.ACK, body=body)


def signed_in(**given: object) -> Uplink:
    link = uplink(**given)
    link.start(0.0)
    for body in (SALT, ID, ID):
        step = link.receive(ack(body), 0.0)
    assert step.signed_in
    return link


def test_it_signs_in_step_by_step() -> None:
    link = uplink(options="TS1=3101;TS2=9", callsign="BY2HT", color_code=7)
    assert link.start(0.0).datagram == b"RPTL" + ID
    digest = hashlib.sha256(SALT + b"s3cret").digest()
    assert link.receive(ack(SALT), 0.1).datagram == b"RPTK" + ID + digest
    configuration = link.receive(ack(), 0.2).datagram
    assert configuration is not None
    said = wire.decode(configuration)
    assert isinstance(said, wire.Configuration)
    assert (said.callsign, said.color_code, said.slots) == ("BY2HT", 7, "3")
    assert link.receive(ack(), 0.3).datagram == b"RPTO" + ID + b"TS1=3101;TS2=9"
    assert link.signed_in == ()
    assert link.receive(ack(), 0.4) == Step(signed_in=True)
    assert [(r.repeater_id, r.color_code) for r in link.signed_in] == [(OURS, 7)]


def test_what_is_not_answered_is_said_again_and_then_given_up() -> None:
    link = uplink()
    link.start(0.0)
    said = [link.tick(REPLY_S * n).datagram for n in range(1, ATTEMPTS)]
    assert said == [b"RPTL" + ID] * (ATTEMPTS - 1)
    failure = link.tick(REPLY_S * ATTEMPTS).failure
    assert isinstance(failure, TimedOut)
    assert "RPTL" in failure.message
    assert "master.example" not in failure.message


def test_it_is_not_said_again_before_its_time() -> None:
    link = uplink()
    link.start(0.0)
    assert link.tick(REPLY_S - 0.1) == Step()
    assert link.due_s() == REPLY_S


def test_a_second_challenge_does_not_pass_for_an_answer_to_our_passphrase() -> None:
    link = uplink()
    link.start(0.0)
    link.receive(ack(SALT), 0.1)
    assert link.receive(ack(SALT), 0.2) == Step()
    assert link.receive(ack(), 0.3).datagram is not None


def test_refusals_by_what_was_refused() -> None:
    nak = FromMaster(word=Word.NAK, body=ID)
    link = uplink()
    link.start(0.0)
    assert isinstance(link.receive(nak, 0.1).failure, AuthenticationFailed)
    link = uplink()
    link.start(0.0)
    link.receive(ack(SALT), 0.1)
    failure = link.receive(nak, 0.2).failure
    assert isinstance(failure, AuthenticationFailed)
    assert "passphrase" in failure.message
    assert "s3cret" not in str(failure)
    link = uplink()
    link.start(0.0)
    for body in (SALT, ID):
        link.receive(ack(body), 0.1)
    assert isinstance(link.receive(nak, 0.2).failure, ProtocolViolation)
    gone = signed_in().receive(nak, 1.0).failure
    assert isinstance(gone, Unreachable)


def test_pings_that_are_answered_go_on_for_ever_and_three_misses_end_it() -> None:
    link = signed_in(ping_interval_s=5.0)
    pong = FromMaster(word=Word.PONG, body=ID)
    for turn in range(1, 50):
        assert link.tick(5.0 * turn).datagram == b"RPTPING" + ID
        link.receive(pong, 5.0 * turn + 0.1)
    for miss in range(MISSES):
        assert link.tick(250.0 + 5.0 * miss).datagram is not None
    assert isinstance(link.tick(250.0 + 5.0 * MISSES).failure, Unreachable)


def test_a_master_that_closes_is_gone_for_now() -> None:
    closing = FromMaster(word=Word.CLOSING, body=ID)
    failure = signed_in().receive(closing, 1.0).failure
    assert isinstance(failure, Unreachable)
    assert failure.retryable


@pytest.mark.parametrize(
    ("datagram", "word", "body"),
    [
        (b"RPTACK" + SALT, Word.ACK, SALT),
        (b"MSTNAK" + ID, Word.NAK, ID),
        (b"MSTPONG" + ID, Word.PONG, ID),
        (b"MSTCL" + ID, Word.CLOSING, ID),
        (b"RPTSBKN" + ID, Word.BEACON, b""),
    ],
)
def test_the_words_of_a_master(datagram: bytes, word: Word, body: bytes) -> None:
    assert wire.decode_from_master(datagram) == FromMaster(word=word, body=body)


@given(
    st.binary(max_size=64)
    | st.builds(
        lambda word, rest: word + rest,
        st.sampled_from([b"DMRD", b"DMRA", b"DMRG", b"RPTACK", b"MSTNAK", b"MSTPONG", b"MSTCL"]),
        st.binary(max_size=60),
    )
)
def test_any_datagram_of_a_master_is_read_or_refused(datagram: bytes) -> None:
    try:
        wire.decode_from_master(datagram)
    except wire.MalformedPacketError as error:
        assert 0 <= error.offset <= max(len(datagram), 4)


@given(st.text(max_size=12), st.integers(0, 15), st.text(max_size=30))
def test_a_configuration_is_what_a_repeater_would_say(
    callsign: str, color_code: int, description: str
) -> None:
    said = wire.encode_configuration(
        OURS, callsign=callsign, color_code=color_code, description=description
    )
    assert len(said) == wire.CONFIGURATION_LENGTH
    read = wire.decode(said)
    assert isinstance(read, wire.Configuration)
    assert (read.repeater_id, read.color_code) == (OURS, color_code)


@pytest.mark.parametrize("given", [{"repeater_id": None}, {"port": 0}, {"callsign": ""}])
def test_a_peer_must_be_somebody(given: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"repeater_id|callsign"):
        settings(**given)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"far": "192.0.2.7"},
        {"far": "192.0.2.7:0"},
        {"far": "192.0.2.7:65536"},
        {"far": "a b:1"},
    ],
)
def test_an_openbridge_has_a_far_end(given: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="far"):
        settings(mode="openbridge", **given)
    whole = settings(mode="openbridge", far="[2001:db8::7]:62044")
    assert whole.far_address == ("2001:db8::7", 62044)
