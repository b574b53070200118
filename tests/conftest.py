"""What all tests share: real brokers, and waiting on conditions instead of sleeping."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from brokers import RunningBroker, running
from demo import Demo, running_demo


@pytest.fixture(params=["embedded", "mosquitto"])
async def broker(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[RunningBroker]:
    """Every test that asks for it runs on both brokers."""
    async with running(request.param, tmp_path) as it:
        yield it


@pytest.fixture
async def embedded_broker(tmp_path: Path) -> AsyncIterator[RunningBroker]:
    async with running("embedded", tmp_path) as it:
        yield it


async def wait_until(
    condition: Callable[[], object], timeout_s: float = 5.0, what: str = ""
) -> None:
    """Return as soon as condition() is true. Fails after timeout_s naming what was awaited."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {timeout_s} s: {what or condition}")
        await asyncio.sleep(0.002)


@pytest.fixture
def eventually() -> Callable[..., object]:
    return wait_until


@pytest.fixture(scope="session")
def demo() -> Iterator[Demo]:
    """One `hutong demo` for all tests that only look at it; its radios are silent until pressed."""
    with running_demo("--no-traffic") as it:
        yield it
