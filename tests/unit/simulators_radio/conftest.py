from collections.abc import AsyncIterator

import pytest
from plain_master import PlainMaster


@pytest.fixture
async def master() -> AsyncIterator[PlainMaster]:
    async with PlainMaster() as running:
        yield running
