"""Tokens and what stands behind them; on both databases."""

import asyncio
from collections.abc import Iterator

import pytest
from databases import Registry
from sqlalchemy import select

from gateway.access.errors import NotSignedIn, TooManyAttempts, UserDisabled, WrongCredentials
from gateway.access.passwords import Passwords
from gateway.access.sessions import Access, hash_token
from registry import organizations, users
from registry.database import Database
from registry.models import SESSIONS
from registry.organizations import NewOrganization
from registry.partition import SYSTEM, Role
from registry.users import NewRole, NewUser, User

pytest_plugins = ["databases"]

HERE = "10.0.0.1"
PASSWORD = "correct horse"


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    cheap = Passwords(time_cost=1, memory_cost_kib=64)
    yield cheap
    cheap.close()


@pytest.fixture
def user(registry: Registry, passwords: Passwords) -> User:
    for kind, parent, slug in (("district", None, "d"), ("station", "d", "s")):
        new = NewOrganization(kind=kind, name=slug, slug=slug, parent=parent)
        registry(organizations.create, SYSTEM, new)
    roles = (NewRole(role="viewer", organization="d/s"),)
    new_user = NewUser(name="li", password_hash=passwords.hash_now(PASSWORD), roles=roles)
    return registry(users.create, SYSTEM, new_user)


async def test_a_token_leads_to_its_user_and_stands_nowhere(
    database: Database, passwords: Passwords, user: User
) -> None:
    access = Access(database, passwords=passwords)
    signed_in = await access.sign_in(" li ", PASSWORD, HERE)
    assert (signed_in.user_id, signed_in.expires_in_s) == (user.id, 12 * 3600)
    principal = await access.authenticate(signed_in.token)
    assert (principal.user_id, principal.name) == (user.id, "li")
    assert principal.may({Role.VIEWER}, "d/s/w")
    stored = await database.read(lambda c: c.execute(select(SESSIONS)).all())
    assert signed_in.token not in repr(stored)
    assert signed_in.token not in repr(signed_in)
    assert hash_token(signed_in.token) == bytes(stored[0].token_hash)
    for wrong in ("", "x", signed_in.token[:-1], signed_in.token.swapcase()):
        with pytest.raises(NotSignedIn):
            await access.authenticate(wrong)


async def test_wrong_passwords_back_off_and_disabled_users_stay_out(
    database: Database, passwords: Passwords, user: User
) -> None:
    clock = Clock()
    access = Access(database, passwords=passwords, clock=clock)
    for _ in range(5):
        with pytest.raises(WrongCredentials):
            await access.sign_in("li", "wrong one", HERE)
    with pytest.raises(TooManyAttempts):
        await access.sign_in("li", PASSWORD, HERE)
    clock.now_s += 1
    await access.sign_in("li", PASSWORD, HERE)
    await database.write(lambda c: users.update(c, SYSTEM, user.id, {"disabled": True}))
    with pytest.raises(UserDisabled):
        await access.sign_in("li", PASSWORD, HERE)
    with pytest.raises(WrongCredentials):
        await access.sign_in("li", "wrong one", HERE)


async def test_a_burst_of_guesses_is_not_let_through(
    database: Database, passwords: Passwords, user: User
) -> None:
    access = Access(database, passwords=passwords)
    answers = await asyncio.gather(
        *(access.sign_in("li", f"guess number {number}", HERE) for number in range(50)),
        return_exceptions=True,
    )
    assert sum(isinstance(each, WrongCredentials) for each in answers) <= 5
    assert {type(each) for each in answers} == {WrongCredentials, TooManyAttempts}


async def test_a_lookup_is_believed_for_two_seconds_at_most(
    database: Database, passwords: Passwords, user: User
) -> None:
    clock = Clock()
    access = Access(database, passwords=passwords, clock=clock)
    token = (await access.sign_in("li", PASSWORD, HERE)).token

    async def roles() -> set[Role]:
        return {grant.role for grant in (await access.authenticate(token)).grants}

    async def give(role: str) -> None:
        given = [NewRole(role=role, organization="d/s")]
        await database.write(lambda c: users.set_roles(c, SYSTEM, user.id, given))

    assert await roles() == {Role.VIEWER}
    # Another process gives another role: seen when the lookup is too old.
    await give("dispatcher")
    clock.now_s += 1.9
    assert await roles() == {Role.VIEWER}
    clock.now_s += 0.1
    assert await roles() == {Role.DISPATCHER}
    # This process says so itself: seen at once.
    await give("admin")
    access.forget(user.id)
    assert await roles() == {Role.ADMIN}
    await give("viewer")
    access.forget("somebody else")
    assert await roles() == {Role.ADMIN}
    access.forget_all()
    assert await roles() == {Role.VIEWER}
    await database.write(lambda c: users.update(c, SYSTEM, user.id, {"disabled": True}))
    access.forget(user.id)
    with pytest.raises(NotSignedIn):
        await roles()


async def test_hot_pages_do_not_ask_the_database_who_asks(
    database_url: str, passwords: Passwords, user: User
) -> None:
    database = Database(database_url)
    access = Access(database, passwords=passwords)
    token = (await access.sign_in("li", PASSWORD, HERE)).token
    first = await access.authenticate(token)
    await database.close()
    assert await access.authenticate(token) is first


async def test_what_is_forgotten_during_a_lookup_does_not_come_back_with_it(
    database: Database, passwords: Passwords, user: User
) -> None:
    access = Access(database, passwords=passwords)
    token = (await access.sign_in("li", PASSWORD, HERE)).token
    looking = asyncio.create_task(access.authenticate(token))
    await asyncio.sleep(0)
    access.forget_all()
    await looking
    assert not access._known


async def test_the_cache_is_bounded(database: Database, passwords: Passwords, user: User) -> None:
    access = Access(database, passwords=passwords, cache_room=2)
    tokens = [(await access.sign_in("li", PASSWORD, HERE)).token for _ in range(4)]
    for token in tokens * 2:
        assert (await access.authenticate(token)).user_id == user.id
    assert len(access._known) == 2


async def test_refreshing_ends_the_old_token_and_the_chain_ends_some_day(
    database: Database, passwords: Passwords, user: User
) -> None:
    access = Access(database, passwords=passwords, lifetime_s=100, longest_s=150)
    first = await access.sign_in("li", PASSWORD, HERE)
    assert first.expires_in_s == 100
    await access.authenticate(first.token)
    second = await access.refresh(first.token)
    assert 99 <= second.expires_in_s <= 100
    assert (await access.authenticate(second.token)).user_id == user.id
    for over in (access.authenticate, access.refresh):
        with pytest.raises(NotSignedIn):
            await over(first.token)
    short = Access(database, passwords=passwords, lifetime_s=100, longest_s=40)
    capped = await short.refresh(second.token)
    assert 38 <= capped.expires_in_s <= 40
    over_now = Access(database, passwords=passwords, longest_s=0)
    with pytest.raises(NotSignedIn):
        await over_now.refresh(capped.token)
    await access.sign_out("x")


async def test_one_refresh_of_two_at_once_wins(
    database: Database, passwords: Passwords, user: User
) -> None:
    access = Access(database, passwords=passwords)
    token = (await access.sign_in("li", PASSWORD, HERE)).token
    answers = await asyncio.gather(
        *(access.refresh(token) for _ in range(4)), return_exceptions=True
    )
    assert sum(isinstance(each, NotSignedIn) for each in answers) == 3
