"""Waiting on conditions instead of sleeping."""

import asyncio
import time
from collections.abc import Callable

import pytest


async def wait_until(
    condition: Callable[[], object], timeout_s: float = 30.0, what: str = ""
) -> None:
    """Return as soon as condition() is true. Fails after timeout_s naming what was awaited."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {timeout_s} s: {what or condition}")
        await asyncio.sleep(0.002)
