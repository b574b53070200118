"""What `hutong doctor` finds out about the broker that it is given."""

from pathlib import Path

import pytest
from brokers import Mosquitto, RunningBroker, mosquitto_path

from gateway import broker_check
from gateway.broker_check import BrokerUnfit, examine_broker
from gateway.bus.address import BrokerAddress
from gateway.bus.link import connect


class Given(Mosquitto):
    """A Mosquitto with lines of one's own in its configuration."""

    def __init__(self, directory: Path, *lines: str) -> None:
        super().__init__(directory)
        self._lines = lines

    def configuration(self) -> str:
        return "\n".join((f"listener {self._port} 127.0.0.1", "user root", *self._lines, ""))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    if mosquitto_path() is None:
        pytest.skip("mosquitto is not installed: apt-get install mosquitto")
    return tmp_path


async def left_behind(address: BrokerAddress) -> list[str]:
    """What a broker still keeps below the doctor's topics."""
    kept: list[str] = []
    async with connect(address, "looks", lambda topic, _payload: kept.append(topic)) as link:
        await link.subscribe("hutong/v1/doctor/#", 0)
        await link.subscribe("hutong/v1/nothing", 0)  # answered after what was kept
    return kept


async def test_a_broker_that_is_fit_is_left_as_it_was(broker: RunningBroker) -> None:
    said = await examine_broker(broker.address)
    assert "1500 of 1500 retained messages" in said
    assert await left_behind(broker.address) == []


async def test_mosquittos_own_limits_are_found_and_what_to_set(directory: Path) -> None:
    async with Given(directory, "allow_anonymous true") as broker:
        with pytest.raises(BrokerUnfit, match="max_queued_messages 0"):
            await examine_broker(broker.address, within_s=10)
        assert await left_behind(broker.address) == []


async def test_a_broker_whose_rights_swallow_what_is_published_is_told(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker_check, "MANY", 20)
    rights = directory / "rights"
    rights.write_text("topic read hutong/v1/#\n")
    lines = ("allow_anonymous true", f"acl_file {rights}")
    async with Given(directory, *lines) as broker:
        with pytest.raises(BrokerUnfit, match="the right to read and write there"):
            await examine_broker(broker.address, within_s=2)
