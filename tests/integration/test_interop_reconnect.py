"""A PTT server whose connections break in the middle of a talk: what is still true goes on."""

import pytest
from brokers import RunningBroker
from lab import PTT_CHANNEL, SLOT, TALKGROUP, radio_lab, ready
from patience import wait_until

from gateway.agents import supervisor
from simulators.zello_server import Kind


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "FIRST_DELAY_S", 0.1)


async def test_a_radio_that_still_talks_is_heard_again_by_the_phones(
    embedded_broker: RunningBroker,
) -> None:
    async with radio_lab(embedded_broker) as lab:
        assert lab.radio.press(TALKGROUP, SLOT)
        first = await lab.phone.wait_heard()
        assert lab.server.drop_connections() == 1
        await wait_until(lambda: first.ended_s is not None)
        await lab.server.log.wait(Kind.LOGON, "gateway", count=2)
        again = await lab.phone.wait_heard(2)
        assert again.sender == "gateway"
        assert lab.patch_state()["floor"] == "taken"
        await lab.radio.release()
        await lab.phone.wait_heard(2, ended=True)
        await wait_until(lambda: lab.patch_state()["floor"] == "idle")
        assert len(lab.server.log.of(Kind.START, "gateway")) == 2, "keyed once in each life"


async def test_a_phone_that_talked_when_it_broke_holds_the_floor_no_longer(
    embedded_broker: RunningBroker,
) -> None:
    async with radio_lab(embedded_broker) as lab:
        assert lab.phone.press("Patrol")
        first = await lab.listener.wait_heard()
        lab.server.drop_connections()
        await wait_until(lambda: lab.patch_state()["floor"] == "idle")
        await lab.listener.wait_heard(ended=True)
        assert first.ended_by == "terminator"
        idle = lab.heard.of("floor.idle", PTT_CHANNEL)[-1]
        assert idle["reason"] in ("lost", "the system is away")
        lab.phone.release()
        await lab.server.log.wait(Kind.LOGON, "gateway", count=2)
        await wait_until(lambda: ready(lab), what="both members are well again")
        assert lab.phone.press("Patrol")
        await lab.listener.wait_heard(2)
