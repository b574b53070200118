"""How a Zello connection that broke comes back: a new adapter with the refresh token of the one
before it, and with the account itself where that token is worth nothing any more."""

import contextlib
import dataclasses
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from lab import running
from patience import wait_until
from zello_stage import PASSWORD, a_token

from adapters.base import Adapter
from adapters.errors import AuthenticationFailed
from adapters.zello.adapter import ZelloAdapter
from adapters.zello.settings import ZelloSettings
from gateway.agents import supervisor
from gateway.agents.supervisor import Budget, Failure, Supervised
from simulators.zello_server import Kind, ZelloServer

TOKEN_ENDS_S = datetime(2025, 3, 1, 8, 30, tzinfo=UTC).timestamp()
"""By the clock of this machine it has run out."""


@dataclasses.dataclass(slots=True)
class Kept:
    """What a gateway keeps running: made holds every adapter that was built for it."""

    server: ZelloServer
    made: list[Adapter] = dataclasses.field(default_factory=list)
    failures: list[Failure] = dataclasses.field(default_factory=list)
    given: dict[str, Any] = dataclasses.field(default_factory=dict)

    def make(self) -> Adapter:
        settings = {"url": self.server.url, "username": "gateway", "password": PASSWORD}
        adapter = ZelloAdapter(ZelloSettings.model_validate(settings | self.given), ("ops",))
        self.made.append(adapter)
        return adapter


@contextlib.asynccontextmanager
async def kept(**more: Any) -> AsyncIterator[tuple[Kept, Supervised]]:
    """A supervised connection that is up."""
    given = {"auth_token": a_token(TOKEN_ENDS_S)} if more.get("require_token") else {}
    async with ZelloServer(accounts={"gateway": PASSWORD}, channels=["ops"], **more) as server:
        it = Kept(server, given=given)
        supervised = Supervised(
            "ptt",
            it.make,
            budget=Budget(),
            on_event=lambda _event: None,
            on_failure=it.failures.append,
        )
        async with running(supervised.run()):
            await server.log.wait(Kind.LOGON)
            await wait_until(lambda: supervised.online)
            yield it, supervised


async def restart(server: ZelloServer, failures: list[Failure]) -> None:
    await server.down()
    await wait_until(lambda: failures)
    await server.up()


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "FIRST_DELAY_S", 0.02)


async def test_a_new_adapter_comes_back_though_the_auth_token_has_run_out() -> None:
    async with kept(require_token=True, clock=lambda: TOKEN_ENDS_S - 60) as (it, supervised):
        it.server.clock = lambda: TOKEN_ENDS_S + 60
        for number in (2, 3):
            await restart(it.server, it.failures)
            await it.server.log.wait(Kind.LOGON, count=number)
            await wait_until(lambda: supervised.online)
            it.failures.clear()
        assert len(it.made) >= 3
        assert it.server.log.of(Kind.LOGON_REFUSED) == []


async def test_a_token_that_is_refused_gives_way_to_the_password_at_once() -> None:
    async with kept() as (it, supervised):
        it.server.forget_tokens()
        await restart(it.server, it.failures)
        await it.server.log.wait(Kind.LOGON, count=2)
        await wait_until(lambda: supervised.online)
        assert [each.detail for each in it.server.log.of(Kind.LOGON_REFUSED)] == ["not authorized"]
        assert all(each.error.retryable for each in it.failures)


async def test_a_server_in_trouble_does_not_cost_the_token() -> None:
    async with kept(require_token=True, clock=lambda: TOKEN_ENDS_S - 60) as (it, supervised):
        it.server.clock = lambda: TOKEN_ENDS_S + 60
        it.server.refuse_logon = "internal server error"
        it.server.drop_connections()
        await it.server.log.wait(Kind.LOGON_REFUSED, count=2)
        it.server.refuse_logon = ""
        await it.server.log.wait(Kind.LOGON, count=2)
        await wait_until(lambda: supervised.online)
        assert {each.detail for each in it.server.log.of(Kind.LOGON_REFUSED)} == {
            "internal server error"
        }


async def test_a_password_that_is_wrong_afterwards_is_told_and_not_tried_again() -> None:
    async with kept() as (it, supervised):
        it.server.accounts["gateway"] = "planted-changed"
        it.server.drop_connections()
        await wait_until(lambda: supervised.final)
        last = it.failures[-1]
        assert isinstance(last.error, AuthenticationFailed)
        assert last.retry_in_s is None
        assert "'gateway'" in last.error.message
        assert "check name and password" in last.error.message
        assert "planted" not in str(last.error)
        # With the token and without it: two logons, then nobody knocks until something changes.
        refused = len(it.server.log.of(Kind.LOGON_REFUSED))
        assert refused == 2
        supervised.nudge()
        await it.server.log.wait(Kind.LOGON_REFUSED, count=refused + 1)
        await wait_until(lambda: len(it.failures) > 2 and supervised.final)
        assert len(it.server.log.of(Kind.LOGON_REFUSED)) == refused + 1
        it.server.accounts["gateway"] = PASSWORD
        supervised.nudge()
        await wait_until(lambda: supervised.online)


async def test_an_auth_token_that_has_run_out_is_named() -> None:
    async with kept(require_token=True, clock=lambda: TOKEN_ENDS_S - 60) as (it, supervised):
        it.server.clock = lambda: TOKEN_ENDS_S + 60
        it.server.forget_tokens()
        it.server.drop_connections()
        await wait_until(lambda: supervised.final)
        assert "auth_token ran out at 2025-03-01 08:30 UTC" in it.failures[-1].error.message


async def test_a_token_is_of_one_account_at_one_server() -> None:
    async with kept() as (it, _):
        it.server.accounts["other"] = PASSWORD
        it.given["username"] = "other"
        it.server.drop_connections()
        await it.server.log.wait(Kind.LOGON, "other")
        assert it.server.log.of(Kind.LOGON_REFUSED) == []
