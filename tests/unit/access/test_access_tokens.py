"""Access tokens as `Access` knows them: for how long, how often, and whose use is noted."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from databases import Registry
from lab import running
from patience import wait_until

from gateway.access.errors import NotSignedIn, TooManyAttempts
from gateway.access.passwords import Passwords
from gateway.access.sessions import Access, hash_token
from gateway.access.tokens import TokenUses, is_access_token, new_access_token
from registry import organizations, tokens, users
from registry.database import Database
from registry.errors import DatabaseAway
from registry.identity import now
from registry.organizations import NewOrganization
from registry.partition import SYSTEM
from registry.tokens import NewToken
from registry.users import NewRole, NewUser, User

pytest_plugins = ["databases"]


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def access(database: Database, clock: Clock) -> Iterator[Access]:
    cheap = Passwords(time_cost=1, memory_cost_kib=64)
    yield Access(database, passwords=cheap, clock=clock)
    cheap.close()


@pytest.fixture
def user(registry: Registry) -> User:
    new = NewOrganization(kind="district", name="d", slug="d", parent=None)
    registry(organizations.create, SYSTEM, new)
    roles = (NewRole(role="viewer", organization="d"),)
    return registry(users.create, SYSTEM, NewUser(name="li", password_hash="#", roles=roles))


def make(registry: Registry, user: User, **more: Any) -> tuple[str, tokens.Token]:
    secret = new_access_token()
    new = NewToken(name="t", token_hash=hash_token(secret), user=user.id, **more)
    return secret, registry(tokens.create, SYSTEM, new)


def test_tokens_are_told_from_those_of_sessions() -> None:
    made = {new_access_token() for _ in range(100)}
    assert len(made) == 100
    assert all(is_access_token(each) and each.isascii() for each in made)
    assert not is_access_token("")
    assert not is_access_token("Hutong_x")


async def test_a_token_leads_to_its_user_and_is_believed_for_two_seconds(
    access: Access, registry: Registry, user: User, clock: Clock
) -> None:
    secret, token = make(registry, user)
    principal = await access.authenticate(secret)
    assert (principal.user_id, principal.name) == (user.id, "li")
    assert principal.token is not None
    assert (principal.token.id, principal.token.narrowed) == (token.id, False)
    assert secret not in repr(principal)
    registry(tokens.revoke, SYSTEM, token.id)  # by another process
    clock.now_s += 1.9
    assert await access.authenticate(secret) is principal
    clock.now_s += 0.2
    with pytest.raises(NotSignedIn):
        await access.authenticate(secret)


async def test_what_this_process_ends_is_over_at_once(
    access: Access, registry: Registry, user: User
) -> None:
    secret, token = make(registry, user)
    await access.authenticate(secret)
    registry(tokens.revoke, SYSTEM, token.id)
    access.forget(user.id)
    with pytest.raises(NotSignedIn):
        await access.authenticate(secret)


async def test_nothing_is_believed_beyond_its_end(
    access: Access, registry: Registry, user: User, clock: Clock
) -> None:
    secret, _ = make(registry, user, ends_at=now() + timedelta(seconds=60))
    await access.authenticate(secret)
    ((_principal, until_s),) = access._known.values()
    assert until_s == clock.now_s + 2.0
    short, _ = make(registry, user, ends_at=now() + timedelta(seconds=1))
    await access.authenticate(short)
    until_s = access._known[hash_token(short)][1]
    assert clock.now_s < until_s <= clock.now_s + 1.0


async def test_the_same_wrong_token_waits_longer_and_longer(access: Access, clock: Clock) -> None:
    wrong = new_access_token()
    for _ in range(5):
        with pytest.raises(NotSignedIn):
            await access.authenticate(wrong)
    waits = []
    for _ in range(8):
        with pytest.raises(TooManyAttempts) as refused:
            await access.authenticate(wrong)
        waits.append(refused.value.retry_after_s)
        clock.now_s += waits[-1]
        with pytest.raises(NotSignedIn):
            await access.authenticate(wrong)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    with pytest.raises(NotSignedIn):
        await access.authenticate(new_access_token())
    with pytest.raises(NotSignedIn):
        await access.authenticate("of a session")


class Away:
    """A database that is away until `back`; what was written then."""

    def __init__(self) -> None:
        self.back = False
        self.tried = 0
        self.written: list[Any] = []

    async def write(self, fn: Any) -> None:
        self.tried += 1
        if not self.back:
            raise DatabaseAway("away")
        self.written.append(dict(fn.args[0]))


async def test_uses_wait_for_the_database_and_only_the_latest_of_each() -> None:
    database = Away()
    uses = TokenUses(database, retry_s=0.001)  # type: ignore[arg-type]
    before = set(asyncio.all_tasks())
    async with running(uses.run()):
        uses.used("a", None)
        await wait_until(lambda: database.tried >= 2)
        uses.used("a", None)
        uses.used("b", None)
        uses.used("c", now() - timedelta(minutes=4))  # written down a moment ago
        database.back = True
        await wait_until(lambda: not uses._waiting)
        assert set().union(*database.written) == {"a", "b"}
        uses.used("c", now() - timedelta(minutes=6))
        await wait_until(lambda: not uses._waiting)
        assert list(database.written[-1]) == ["c"]
    assert set(asyncio.all_tasks()) == before
