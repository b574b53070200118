"""One supervisor owns every retry: back-off, budget, final errors, nudges, clean ends."""

import asyncio
from collections.abc import Callable

import pytest
from lab import running
from patience import wait_until
from scripted import Script, ScriptedAdapter, maker

from adapters.base import Adapter
from adapters.errors import AuthenticationFailed, Unreachable
from gateway.agents import supervisor
from gateway.agents.supervisor import Budget, Failure, Supervised


def supervised(
    make: Callable[[], Adapter], failures: list[Failure], budget: Budget | None = None
) -> Supervised:
    return Supervised(
        "device",
        make,
        budget=budget or Budget(),
        on_event=lambda _event: None,
        on_failure=failures.append,
        jitter=lambda: 1.0,
    )


async def test_retries_wait_longer_and_longer_up_to_the_longest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(supervisor, "FIRST_DELAY_S", 0.001)
    monkeypatch.setattr(supervisor, "LONGEST_DELAY_S", 0.01)
    script, failures = Script(failures=[Unreachable("gone")] * 6), []
    async with running(supervised(maker(script), failures).run()):
        await wait_until(lambda: script.running and script.attempts == 7)
    assert [f.retry_in_s for f in failures] == [0.001, 0.002, 0.004, 0.008, 0.01, 0.01]


async def test_having_been_online_begins_the_delays_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "FIRST_DELAY_S", 0.001)
    script, failures = Script(failures=[Unreachable("gone")] * 3), []
    it = supervised(maker(script), failures)
    async with running(it.run()):
        await wait_until(lambda: it.adapter is not None)
        script.broken.set()
        await wait_until(lambda: len(failures) > 3)
    assert [f.retry_in_s for f in failures[:4]] == [0.001, 0.002, 0.004, 0.001]


async def test_a_final_error_is_not_retried_until_somebody_changes_something() -> None:
    script, failures = Script(failures=[AuthenticationFailed("wrong password")]), []
    it = supervised(maker(script), failures)
    async with running(it.run()):
        await wait_until(lambda: failures)
        assert failures[0].retry_in_s is None
        assert script.attempts == 1
        it.nudge()
        await wait_until(lambda: it.adapter is not None)
        assert script.attempts == 2


async def test_a_nudge_brings_the_next_attempt_forward() -> None:
    script, failures = Script(failures=[Unreachable("gone")]), []
    it = supervised(maker(script), failures)
    loop = asyncio.get_running_loop()
    async with running(it.run()):
        await wait_until(lambda: failures)
        began_s = loop.time()
        it.nudge()
        await wait_until(lambda: it.adapter is not None)
        assert loop.time() - began_s < 0.5  # the delay itself is 1 s


async def test_no_more_attempts_at_once_than_the_budget_has() -> None:
    budget, script, failures = Budget(2), Script(silent=True), []
    many = [supervised(maker(script), failures, budget) for _ in range(6)]
    async with running(*(each.run() for each in many)):
        await wait_until(lambda: script.running == 2)
        for _ in range(20):
            await asyncio.sleep(0)
        assert script.at_once == 2
    assert script.running == 0


async def test_an_online_device_gives_its_place_to_the_next() -> None:
    budget, script, failures = Budget(1), Script(), []
    many = [supervised(maker(script), failures, budget) for _ in range(4)]
    async with running(*(each.run() for each in many)):
        await wait_until(lambda: all(each.adapter for each in many))


@pytest.mark.parametrize("where", ["make", "run"])
async def test_an_adapters_own_mistake_is_a_failure_and_ends_nothing_else(where: str) -> None:
    script, failures = Script(failures=[RuntimeError("a mistake")]), []

    def make() -> Adapter:
        if where == "make":
            raise ValueError("sealed by another key")
        return ScriptedAdapter(script)

    it = supervised(make, failures)
    async with running(it.run()) as (task,):
        await wait_until(lambda: failures)
        assert not task.done()
    assert failures[0].error.retryable is (where == "run")
    assert ("another key" in str(failures[0].error)) is (where == "make")


async def test_cancelling_waits_for_the_adapter_to_end() -> None:
    script, failures = Script(), []
    it = supervised(maker(script), failures)
    async with running(it.run()):
        await wait_until(lambda: it.adapter is not None)
        assert script.running == 1
    assert script.running == 0
    assert it.adapter is None
    assert failures == []
