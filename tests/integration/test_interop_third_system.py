"""What we key on one system and a third one hears: a hotspot beside the repeater."""

import dataclasses
from typing import Any

import pytest
from brokers import RunningBroker
from lab import ORG, Lab, definitions, radio_lab, running
from patience import wait_until

from gateway.agents.build import radio_adapter
from gateway.agents.radio import Channel, RadioAgent
from gateway.agents.supervisor import Budget
from gateway.interop.definitions import ChannelDefinition, Definitions, PatchMember
from gateway.roster import traits_of
from simulators.mmdvm_host import BrokerPlace, MmdvmHost
from simulators.zello_server import Kind

HOTSPOT, HOTSPOT_CHANNEL = "system-hotspot", "channel-hotspot"


def with_a_hotspot(gateway_unit_id: str) -> Definitions:
    """The lab's patch, into which the hotspot's talkgroup talks too."""
    defined = definitions()
    hotspot = ChannelDefinition(
        id=HOTSPOT_CHANNEL,
        name="Hotspot",
        org=ORG,
        system_id=HOTSPOT,
        receive_only=True,
        advisory=True,
        gateway_unit_id=gateway_unit_id,
    )
    members = (*defined.patches[0].members, PatchMember(channel=HOTSPOT_CHANNEL))
    return dataclasses.replace(
        defined,
        channels=(*defined.channels, hotspot),
        patches=(dataclasses.replace(defined.patches[0], members=members),),
    )


def agent_of(lab: Lab, settings: dict[str, Any]) -> RadioAgent:
    return RadioAgent(
        lab.bus,
        system_id=HOTSPOT,
        org=ORG,
        make=lambda addresses: radio_adapter("mmdvm", settings, addresses),
        traits=traits_of("mmdvm"),
        channels=(Channel(id=HOTSPOT_CHANNEL, address="DMR/1/3101", org=ORG),),
        budget=Budget(),
    )


@pytest.mark.parametrize("known", [True, False], ids=["our unit", "a stranger"])
async def test_our_own_transmission_that_a_hotspot_hears_keys_nobody(
    embedded_broker: RunningBroker, known: bool
) -> None:
    at = embedded_broker.address
    who = {"username": at.username or "", "password": at.password or ""}
    async with radio_lab(embedded_broker) as lab:
        lab.phone.press("Patrol")
        ours = (await lab.listener.wait_heard()).source  # who we are on the repeater
        lab.phone.release()
        await lab.listener.wait_heard(ended=True)
        await wait_until(lambda: lab.patch_state().get("floor") == "idle")
        lab.bridge.define(with_a_hotspot(str(ours)))
        settings = {"broker": f"mqtt://{at.host}:{at.port}", "name": "hotspot", **who}
        async with (
            MmdvmHost(
                BrokerPlace(host=at.host, port=at.port, **who),
                name="hotspot",
                client_id="MMDVMHost-1",
                period_s=0.2,
            ) as host,
            running(agent_of(lab, settings).run()),
        ):
            await wait_until(lambda: lab.channel_state(HOTSPOT_CHANNEL).get("health") == "ok")
            lab.phone.press("Patrol")
            await lab.listener.wait_heard(2)
            hotspot = host.radio(ours if known else 3180202)
            hotspot.press(3101, slot=1)
            await wait_until(lambda: lab.heard.of("floor.taken", HOTSPOT_CHANNEL))
            lab.phone.release()
            await lab.listener.wait_heard(2, ended=True)
            # The hotspot is late with its end: what it heard goes on when the floor is free.
            if not known:  # it is heard: our name alone is what keeps it out
                await lab.server.log.wait(Kind.START, "gateway")
            hotspot.release()
            await wait_until(lambda: lab.heard.of("floor.idle", HOTSPOT_CHANNEL))
            await wait_until(lambda: lab.patch_state().get("floor") == "idle")
            if known:
                assert lab.bridge.counters.echoes >= 1
                assert lab.heard.of("floor.granted", HOTSPOT_CHANNEL) == []
                assert lab.server.log.of(Kind.START, "gateway") == []
