"""Passwords, sealed secrets, and the back-off of sign-in."""

import asyncio
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.access.attempts import ALLOWANCES, AT_ONCE, Attempts
from gateway.access.errors import SignInBusy, TooManyAttempts, Unsealable
from gateway.access.passwords import Passwords
from gateway.access.secrets import Sealer, load_key, new_key, read_key
from registry.errors import Invalid


def cheap() -> Passwords:
    return Passwords(time_cost=1, memory_cost_kib=64)


async def test_a_password_is_known_by_its_hash_alone() -> None:
    passwords = cheap()
    try:
        hashed = await passwords.hash("correct horse")
        assert hashed.startswith("$argon2id$")
        assert "horse" not in hashed
        assert await passwords.hash("correct horse") != hashed
        assert await passwords.verify(hashed, "correct horse")
        for wrong in ("correct hors", "Correct horse", "", "x" * 300):
            assert not await passwords.verify(hashed, wrong)
        assert not await passwords.verify("no hash at all", "correct horse")
        # Not even the password behind the hash that stands in for nobody.
        assert not await passwords.verify(None, "nobody has this password")
    finally:
        passwords.close()


@pytest.mark.parametrize("password", ["", "1234567", "x" * 257])
async def test_a_password_has_a_length(password: str) -> None:
    passwords = cheap()
    try:
        with pytest.raises(Invalid, match="8 to 256"):
            await passwords.hash(password)
    finally:
        passwords.close()


async def test_more_sign_ins_than_there_is_room_for_are_refused() -> None:
    passwords = Passwords(time_cost=1, memory_cost_kib=64, threads=1, waiting=2)
    try:
        answers = await asyncio.gather(
            *(passwords.verify(None, "x") for _ in range(5)), return_exceptions=True
        )
        assert [type(each) for each in answers] == [bool, bool, SignInBusy, SignInBusy, SignInBusy]
        assert await passwords.verify(None, "x") is False
    finally:
        passwords.close()


def test_the_default_is_what_rfc_9106_recommends() -> None:
    passwords = Passwords()
    try:
        assert passwords.hash_now("correct horse").startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    finally:
        passwords.close()


@settings(deadline=None)
@given(text=st.text(), key=st.binary(min_size=32, max_size=32))
def test_what_was_sealed_opens_under_its_key_alone(text: str, key: bytes) -> None:
    sealed = Sealer(key).seal(text)
    assert Sealer(key).open(sealed) == text
    other = Sealer(bytes(byte ^ 1 for byte in key))
    with pytest.raises(Unsealable, match="HUTONG_SECRET_KEY"):
        other.open(sealed)


@settings(deadline=None)
@given(position=st.integers(0), flipped=st.integers(1, 255))
def test_a_changed_byte_is_noticed(position: int, flipped: int) -> None:
    sealer = Sealer(b"k" * 32)
    sealed = bytearray(sealer.seal("a password"))
    sealed[position % len(sealed)] ^= flipped
    with pytest.raises(Unsealable):
        sealer.open(bytes(sealed))


@settings(deadline=None)
@given(sealed=st.binary(max_size=40))
def test_any_bytes_are_opened_or_refused(sealed: bytes) -> None:
    with pytest.raises(Unsealable):
        Sealer(b"k" * 32).open(sealed)


def test_two_seals_of_one_text_differ_and_keys_are_kept_apart() -> None:
    sealer = Sealer(b"k" * 32)
    assert sealer.seal("x") != sealer.seal("x")
    assert len({sealer.derive("a"), sealer.derive("b"), b"k" * 32}) == 3
    with pytest.raises(ValueError, match="32 bytes"):
        Sealer(b"short")


def test_a_key_file_is_made_once_and_for_us_alone(tmp_path: Path) -> None:
    file = tmp_path / "secret.key"
    key = load_key(file)
    assert len(key) == 32
    assert load_key(file) == key
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["secret.key"]
    file.write_text("planted-secret")
    with pytest.raises(ValueError, match=r"secret\.key is not 32 bytes") as refused:
        load_key(file)
    assert "planted-secret" not in str(refused.value)


def test_a_key_in_the_environment_is_base64_of_32_bytes() -> None:
    assert len(read_key(f" {new_key()}\n")) == 32
    assert new_key() != new_key()
    for wrong in ("", "x", "é" * 44, "A" * 43):
        with pytest.raises(ValueError, match="HUTONG_SECRET_KEY must be 32 bytes"):
            read_key(wrong)


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def wait_s(attempts: Attempts, name: str, address: str) -> int:
    try:
        attempts.check(name, address)
    except TooManyAttempts as waiting:
        return waiting.retry_after_s
    return 0


def test_waits_double_for_a_name_at_an_address() -> None:
    clock = Clock()
    attempts = Attempts(clock)
    waits = []
    for _ in range(8):
        attempts.failed("li", "10.0.0.1")
        waits.append(wait_s(attempts, "li", "10.0.0.1"))
        clock.now_s += 60
    assert waits == [0, 0, 0, 0, 1, 2, 4, 8]
    assert wait_s(attempts, "li", "10.0.0.1") == 0
    for _ in range(12):
        attempts.failed("li", "10.0.0.1")
    assert wait_s(attempts, "LI ", "10.0.0.1") == 300
    assert wait_s(attempts, "wang", "10.0.0.1") == 0
    clock.now_s += 299.5
    assert wait_s(attempts, "li", "10.0.0.1") == 1
    clock.now_s += 0.5
    assert wait_s(attempts, "li", "10.0.0.1") == 0


def test_an_address_that_guesses_at_many_names_waits_for_all() -> None:
    attempts = Attempts(Clock())
    for number in range(30):
        attempts.failed(f"name {number}", "10.0.0.1")
    assert wait_s(attempts, "another", "10.0.0.1") == 300
    assert wait_s(attempts, "another", "10.0.0.2") == 0


def test_a_name_guessed_at_from_everywhere_waits_but_not_for_long() -> None:
    attempts = Attempts(Clock())
    for number in range(100):
        attempts.failed("li", f"10.0.0.{number}")
    assert wait_s(attempts, "li", "10.9.9.9") == ALLOWANCES["name"].longest_s == 30


def test_success_and_time_forgive() -> None:
    clock = Clock()
    attempts = Attempts(clock)
    for _ in range(10):
        attempts.failed("li", "10.0.0.1")
    attempts.succeeded("li", "10.0.0.1")
    assert wait_s(attempts, "li", "10.0.0.1") == 0
    for _ in range(10):
        attempts.failed("wang", "10.0.0.2")
    clock.now_s += 1000
    attempts.failed("wang", "10.0.0.2")
    assert wait_s(attempts, "wang", "10.0.0.2") == 0


def test_guesses_at_once_are_limited_too() -> None:
    attempts = Attempts(Clock())
    running = [attempts.attempt("li", "10.0.0.1") for _ in range(AT_ONCE)]
    for each in running:
        each.__enter__()
    with pytest.raises(TooManyAttempts), attempts.attempt("li", "10.0.0.1"):
        pass
    with attempts.attempt("wang", "10.0.0.1"):
        pass
    for each in running:
        each.__exit__(None, None, None)
    with attempts.attempt("li", "10.0.0.1"):
        pass


def test_memory_is_bounded() -> None:
    attempts = Attempts(Clock(), room=50)
    for number in range(1000):
        attempts.failed(f"name {number}", f"10.0.{number % 256}.{number // 256}")
    assert len(attempts._failures) == 50
