"""What all tests share: real brokers, and waiting on conditions instead of sleeping."""

import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import hypothesis
import pytest

sys.path.insert(0, str(Path(__file__).parent))
os.environ.setdefault("HUTONG_HELLO_INTERFACES", "127.0.0.1")  # tests stay on loopback

from brokers import RunningBroker, running
from demo import Demo, running_demo

# The same examples in every run; `--hypothesis-profile=default` looks for new ones.
hypothesis.settings.register_profile("same", derandomize=True, database=None)
hypothesis.settings.load_profile("same")


MULTICAST = frozenset(
    {
        *("test_onvif", "test_onvif_cases", "test_onvif_discovery", "test_onvif_hello"),
        *("test_fleet_hello", "test_fleet_sockets", "test_api_devices_onvif", "test_bad_devices"),
        *("test_simulators_command", "test_ws_discovery_simulator", "test_cli", "test_demo"),
        *("test_demo_quality", "test_media_server_gateway"),
    }
)
"""Files in which cameras look for each other by multicast, where all of a machine hear all."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With several workers: a file stays with one, and so do all that would hear each other."""
    for item in items:
        heard = item.path.stem in MULTICAST or "demo" in getattr(item, "fixturenames", ())
        item.add_marker(pytest.mark.xdist_group("multicast" if heard else str(item.path)))


@pytest.fixture(params=["embedded", "mosquitto"])
async def broker(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[RunningBroker]:
    """Every test that asks for it runs on both brokers."""
    async with running(request.param, tmp_path) as it:
        yield it


@pytest.fixture
async def embedded_broker(tmp_path: Path) -> AsyncIterator[RunningBroker]:
    async with running("embedded", tmp_path) as it:
        yield it


@pytest.fixture(scope="session")
def demo() -> Iterator[Demo]:
    """One `hutong demo` for all tests that only look at it; its radios are silent until pressed."""
    with running_demo("--no-traffic") as it:
        yield it
